"""Input-aware adaptive timesteps: fitted exit rules and inference that drops finished samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from adacal.core import exit_rules
from adacal.core.change_rule import ChangeRule, fit_change_rule
from adacal.core.checks import check_choice, check_number
from adacal.core.converted import Prediction
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import EnergyMeter
from adacal.core.errors import CalibrationError, ConfigError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule, Score
from adacal.core.inputs import joined_inputs, listed
from adacal.core.layout import RunState
from adacal.core.nests import collect, refill
from adacal.core.phases import refuse_warmup
from adacal.core.traces import is_rows

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

Rule: TypeAlias = ExitRule | ChangeRule
RuleName = Literal["paper", "accuracy", "agreement", "change"]
CHANGE_TOLERANCE = 0.1
OVERHEAD = {"cpu": 1 << 15, "cuda": 1 << 22}
"""Activations of a site that are computed in the time that intercepting its calls takes.

Measured on ResNets of CIFAR size, one core and one H200; devices not named count as GPUs.
"""
_SAMPLES_AT_ONCE = 16
"""Maps of all steps are kept for so many samples while a rule on changes is fitted."""


def fit_exit_rule(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    score: Literal["entropy", "confidence"] = "entropy",
    rule: RuleName = "paper",
    base: float = 0.6,
    tolerance: float | None = None,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
) -> Rule:
    """Fits when a sample may stop, on calibration samples (METHOD section 7).

    Args:
        network: a calibrated network; for all rules but `change` its output is logits [B, K].
        batches: (inputs, labels) pairs from training data; for `change` inputs do.
        score: `entropy` (1 - H/log K) or `confidence` (largest probability); not for `change`.
        rule: `paper`, one threshold a step from the mean entropies; `accuracy`, the smallest single
            threshold that loses at most `tolerance` points on these samples; `agreement`, one
            threshold a step above which none of these samples changes its class later; `change`,
            the largest change of the output from step to step at which the output is, in the mean
            over these samples, close enough to what it is after all T steps. `change` needs no
            labels, and outputs may have any form; it never stops before the second step.
        base: the paper's a (0.6 for CIFAR, 0.995 for ImageNet).
        tolerance: for `accuracy` points of accuracy (0 unless given). For `change` the divergence
            between the output at exit and after T steps, as a share of that between the ANN's
            output and the network's after T steps, means over these samples (0.1 unless given).
        divergence: how far two raw outputs are apart, one number a sample, for `change`.
    Raises:
        CalibrationError: labels are missing, or the divergence is not finite.
        ConfigError: an unknown rule, or a number out of range.
        UnsupportedModelError: the output is not logits, for another rule than `change`.
    """
    check_options(score, rule, base, tolerance)
    refuse_warmup(network)
    if rule == "change":
        share = CHANGE_TOLERANCE if tolerance is None else tolerance
        return _fit_change(network, joined_inputs(batches, network), share, divergence)
    outputs, labels = [], []
    for batch in listed(batches):
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            raise CalibrationError("fitting an exit rule needs labels; pass (inputs, labels) pairs")
        outputs.append(logits_by_step(network, batch[0]))
        labels.append(_labels(batch[1], outputs[-1].shape[1]))
    if not outputs:
        raise CalibrationError("no calibration samples were given; pass at least one batch")
    joined, wanted = torch.cat(outputs, 1), torch.cat(labels)
    if rule == "paper":
        return exit_rules.fit_paper_rule(joined, wanted, a=base, score=score)
    if rule == "agreement":
        return exit_rules.fit_agreement_rule(joined, score=score)
    points = 0.0 if tolerance is None else tolerance
    return exit_rules.fit_accuracy_rule(joined, wanted, tolerance=points, score=score)


def check_options(
    score: str = "entropy", rule: str = "paper", base: float = 0.6, tolerance: float | None = None
) -> None:
    """Raises ConfigError for options of `fit_exit_rule` that make no sense."""
    check_choice("exit score", score, get_args(Score))
    check_choice("exit rule", rule, get_args(RuleName))
    check_number("base", base, 0, 1, example=0.6)
    if rule == "change":
        share = CHANGE_TOLERANCE if tolerance is None else tolerance
        check_number("tolerance", share, 0, above=True, example=CHANGE_TOLERANCE)
    elif tolerance is not None:
        check_number("tolerance", tolerance, 0, example=0)


def require_logits(output: Any, dimensions: int = 2) -> None:
    """Raises UnsupportedModelError unless an output is one tensor of so many dimensions."""
    if not isinstance(output, Tensor) or output.dim() != dimensions:
        raise UnsupportedModelError(
            "early exit by a score needs logits of shape [B, K], and this network's output is of "
            "another form; take rule='change' (for a method iat=dict(rule='change')), which looks "
            "at how the output changes"
        )


def _labels(given: Any, samples: int) -> Tensor:
    try:
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.dim() == 0 or found.shape[0] != samples:
        got = f"shape {list(found.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise CalibrationError(
            f"fitting an exit rule needs one label for each of the {samples} samples; got {got}; "
            "pass (inputs, labels) pairs"
        )
    return found


def logits_by_step(network: SpikingNetwork, inputs: Tensor) -> Tensor:
    """Returns the running mean of the logits, shape [T, B, K].

    Raises:
        UnsupportedModelError: the output is not one tensor of logits.
    """
    outputs = network.steps(inputs)
    require_logits(outputs, 3)
    found: Tensor = outputs
    return found


@torch.no_grad()
def _fit_change(
    network: SpikingNetwork,
    inputs: Tensor,
    share: float,
    divergence: Callable[[Any, Any], Tensor],
) -> ChangeRule:
    changes, gaps, errors = [], [], []
    for part in inputs.split(_SAMPLES_AT_ONCE, int(network.stream)):
        run = _Run(network, part)
        means = [mean for _ in range(network.T) for mean in run.advance(1)]
        last = means[-1]
        if network.T > 1:
            changes.append(torch.stack([divergence(b, a) for a, b in pairwise(means)]))
        gaps.append(torch.stack([divergence(last, mean) for mean in means]))
        ann = network.ann(part.mean(0) if network.stream else part)
        errors.append(divergence(ann, last))
    gap = torch.cat(gaps, 1)
    change = torch.cat(changes, 1) if changes else gap[:0]
    allowed = share * float(torch.cat(errors).mean())
    return fit_change_rule(change, gap, allowed, divergence)


@torch.no_grad()
def run_until_confident(
    network: SpikingNetwork, inputs: Tensor, rule: Rule, meter: EnergyMeter | None = None
) -> Prediction:
    """Runs step by step; samples that are done leave the batch, state and all.

    Args:
        network: a calibrated network.
        inputs: shape [B, ...] ([T, B, ...] for streams).
        rule: fitted for at least the network's T.
        meter: counts what was run.
    Raises:
        ConfigError: the rule was fitted for fewer steps.
        UnsupportedModelError: the rule takes logits [B, K] and the output is not, or an output
            does not have its samples in dimension 0.
    """
    if not isinstance(rule, ExitRule | ChangeRule):
        raise ConfigError(
            f"an exit rule is what network.fit_exit_rule(...) returns; got {rule!r}; fit one"
        )
    refuse_warmup(network)
    if len(rule.thresholds) < network.T:
        raise ConfigError(
            f"the exit rule knows {len(rule.thresholds)} steps and the network runs {network.T}; "
            "fit the rule on this network"
        )
    run = _Run(network, inputs, meter)
    timesteps = torch.full((run.active.numel(),), network.T)
    whole: list[Tensor] = []
    first = 0
    while first < network.T:
        at_once = 1 if meter is not None else steps_at_once(network, run.active)
        gone = torch.zeros_like(run.active, dtype=torch.bool)
        steps = range(first, min(first + at_once, network.T))
        first = steps.stop
        before = run.previous()
        for step, mean in zip(steps, run.advance(len(steps)), strict=True):
            if isinstance(rule, ExitRule):
                require_logits(mean)
            if not whole:
                whole = [row.new_empty(len(timesteps), *row.shape[1:]) for row in run.rows]
            done = rule.exits(mean, step, before)
            before = mean
            if step + 1 == network.T:
                done = torch.ones_like(gone)
            if done is None or not bool((done & ~gone).any()):
                continue
            new = done & ~gone
            leaving = run.active[new]
            for output, row in zip(whole, run.rows, strict=True):
                output[leaving] = row[new]
            timesteps[leaving.cpu()] = step + 1
            gone |= new
        if bool(gone.all()):
            break
        if bool(gone.any()):
            run.keep(~gone)
    return Prediction(output=run.nest(whole), timesteps=timesteps)


def steps_at_once(network: SpikingNetwork, samples: Tensor) -> int:
    """Returns how many steps a run with early exit takes in one pass of the network.

    Intercepting the calls of a network costs the same for one row as for many. While few rows are
    left to compute, steps that may turn out not to be needed are cheaper than further passes.

    Args:
        network: its sites say how much one row of it is.
        samples: a tensor with one entry for each sample in the run, where the network is.
    """
    row = sum(site.rows * math.prod(site.shape) for site in network.sites)
    enough = OVERHEAD.get(samples.device.type, OVERHEAD["cuda"]) * len(network.sites)
    return min(network.T, max(1, math.ceil(enough / max(1, row * len(samples)))))


class _Run:
    """A stepwise run of a batch: the running mean of the output, and the samples still in it.

    Args:
        network, inputs, meter: as of `run_until_confident`.

    Attributes:
        active: positions of the samples still in the run, shape [samples left].
        rows: running mean of each tensor of the output.
    """

    def __init__(
        self, network: SpikingNetwork, inputs: Tensor, meter: EnergyMeter | None = None
    ) -> None:
        self.active = torch.arange(inputs.shape[int(network.stream)], device=inputs.device)
        self.rows: list[Tensor] = []
        self._network = network
        self._inputs = inputs
        self._meter = meter
        self._state = RunState()
        self._step = 0
        self._totals: list[Tensor] = []
        self._form: Any = None

    def advance(self, steps: int) -> Iterator[Any]:
        """Runs further steps in one pass; yields the mean output over all steps so far, by step."""
        network, first = self._network, self._step
        frames = self._inputs
        if network.stream:
            frames = frames[first : first + steps].index_select(1, self.active)
        with torch.no_grad():
            now = network.run_steps(frames, self._meter, self._state, first, steps)
        blocks = [row.unflatten(0, (steps, -1)) for row in self._rows_of(now, steps)]
        for number in range(steps):
            found = [block[number] for block in blocks]
            if self._totals:
                found = [a + b for a, b in zip(self._totals, found, strict=True)]
            self._form, self._totals = now, found
            self._step += 1
            self.rows = [total / self._step for total in self._totals]
            yield self.nest(self.rows)

    def previous(self) -> Any:
        """Returns the mean output so far, of the samples still in the run; None before step 1."""
        return self.nest(self.rows) if self._step else None

    def nest(self, rows: list[Tensor]) -> Any:
        """Returns tensors in the form of the network's output."""
        return refill(self._form, is_rows, rows)

    def keep(self, alive: Tensor) -> None:
        """Drops the samples whose entry in `alive` (bool, [samples left]) is False."""
        self._state.keep(alive)
        self.active = self.active[alive]
        self._totals = [total[alive] for total in self._totals]
        self.rows = [row[alive] for row in self.rows]
        if not self._network.stream:
            self._inputs = self._inputs[alive]

    def _rows_of(self, now: Any, steps: int) -> list[Tensor]:
        """The tensors of an output that have a row for each sample and step."""
        rows, samples = collect(now, is_rows), self.active.numel()
        wrong = next((r for r in rows if r.dim() == 0 or len(r) != steps * samples), None)
        if wrong is not None or not rows:
            shape = "no tensor" if wrong is None else f"shape {list(wrong.shape)}"
            raise UnsupportedModelError(
                f"early exit needs outputs with the {samples} samples in dimension 0; got {shape}; "
                "run all steps for this network"
            )
        return rows
