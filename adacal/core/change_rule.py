"""When a sample may stop because its output no longer changes: for outputs of any form.

A detector's maps or a mask have no one confidence, but every task says how far two outputs are
apart. The rule looks at the divergence between the running means after t - 1 and t steps: it says
how much is still to come, without labels and whatever the output is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adacal.core.divergence import symmetric_kl
from adacal.core.errors import CalibrationError, ConfigError

NEVER = -1.0
"""Threshold of a step at which nothing may stop; a divergence is never below 0."""


@dataclass(frozen=True)
class ChangeRule:
    """Exit at the first step that changes the output by at most that step's threshold.

    Attributes:
        thresholds: one per step, length T, in units of the divergence; `NEVER` where none may stop.
            The first is not used, because one output is no change; nor the last, which always ends.
        divergence: how far two raw outputs are apart, one number a sample, later output first.
        allowed: mean divergence between the output at exit and after T steps that the thresholds
            kept to on the samples they were fitted on.
    """

    thresholds: tuple[float, ...]
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl
    allowed: float = 0.0

    def __post_init__(self) -> None:
        """Checks that there are finite thresholds and a function."""
        several = isinstance(self.thresholds, tuple | list) and len(self.thresholds) > 0
        if not several or not all(
            isinstance(value, int | float) and math.isfinite(value) for value in self.thresholds
        ):
            raise ConfigError(
                f"exit thresholds must be finite, one per step; got {self.thresholds!r}; fit them, "
                f"or give a divergence for every step ({NEVER:g} where none may stop)"
            )
        if not callable(self.divergence):
            raise ConfigError(
                f"divergence must be a function of two outputs; got {self.divergence!r}"
            )

    def exits(self, running_mean: Any, step: int, previous: Any = None) -> Tensor | None:
        """Says which samples are done after a step.

        Args:
            running_mean: mean output over the steps so far, each tensor [B, ...].
            step: index of the step, 0 to T - 2.
            previous: the mean before that step; None at the first one.
        Returns:
            Boolean, shape [B]; None if no sample may stop at this step.
        """
        if previous is None or self.thresholds[step] < 0:
            return None
        return self.divergence(running_mean, previous) <= self.thresholds[step]


def fit_change_rule(
    changes: Tensor,
    gaps: Tensor,
    allowed: float,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
) -> ChangeRule:
    """Finds one threshold, and the first step it holds from, that save most steps.

    Of a threshold and all below it, the mean gap at exit must be at most `allowed`. It is one
    number for all steps, since numbers of their own fit a few calibration samples too well
    (decision 0009). A first step of its own is needed where a deep network's output stands still
    until spikes arrive: such a step changes nothing and says nothing.

    Args:
        changes: divergence between running means after t - 1 and t steps, t = 2 … T, shape
            [T - 1, B].
        gaps: divergence between running means after t and T steps, t = 1 … T, shape [T, B].
        allowed: most mean divergence between the output at exit and after T steps.
        divergence: what `changes` were measured with; becomes the rule's.
    Raises:
        CalibrationError: the shapes do not fit, or values are negative or not finite.
    """
    _check(changes, gaps)
    changes, gaps = changes.double(), gaps.double()
    steps = len(gaps)
    most, thresholds = 0, (NEVER,) * steps
    for first in range(1, steps - 1):
        threshold, saved = _largest(changes[first - 1 : -1], gaps[first:], allowed)
        if saved >= most and saved > 0:
            most = saved
            thresholds = (NEVER,) * first + (threshold,) * (steps - first)
    return ChangeRule(thresholds, divergence, float(allowed))


def _largest(changes: Tensor, gaps: Tensor, allowed: float) -> tuple[float, int]:
    """Returns the largest threshold that keeps to `allowed`, and the steps it saves in all.

    Args:
        changes: of the steps at which samples may stop, shape [S, B].
        gaps: of these steps and the last one, shape [S + 1, B].
    """
    # A sample stops at the first step whose change is at most the threshold. When the threshold
    # reaches the least change so far, the sample moves from the step after to that step.
    moves, order = changes.cummin(0).values.flatten().sort(stable=True)
    growth = (gaps[:-1] - gaps[1:]).flatten()[order].cumsum(0)
    last_of_ties = torch.ones_like(moves, dtype=torch.bool)
    last_of_ties[:-1] = moves[1:] > moves[:-1]
    kept = growth <= allowed * gaps.shape[1]
    good = (kept | ~last_of_ties).int().cummin(0).values.bool() & last_of_ties
    if not bool(good.any()):
        return NEVER, 0
    place = int(good.nonzero().max())
    # Half way to the next one, so that rounding moves no calibration sample to the other side.
    after = moves[min(place + 1, len(moves) - 1)]
    return float((moves[place] + after) / 2), place + 1


def _check(changes: Tensor, gaps: Tensor) -> None:
    fits = gaps.dim() == 2 and gaps.numel() > 0
    if not fits or changes.shape != (gaps.shape[0] - 1, gaps.shape[1]):
        raise CalibrationError(
            "a rule on changes needs changes of shape [T - 1, B] and gaps of shape [T, B]; got "
            f"{list(changes.shape)} and {list(gaps.shape)}; give one number a sample and step"
        )
    values = torch.cat([changes, gaps])
    if not bool(torch.isfinite(values).all()) or bool((values < -1e-6).any()):
        raise CalibrationError(
            "the divergence between outputs of successive steps must be finite and not negative; "
            f"got {float(values.min()):g} to {float(values.max()):g}; check the network's "
            "thresholds and the divergence"
        )
