"""Input-aware adaptive timesteps: fitted exit rules and inference that drops finished samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core import exit_rules
from adacal.core.checks import check_choice, check_number
from adacal.core.converted import Prediction
from adacal.core.energy import EnergyMeter
from adacal.core.errors import CalibrationError, ConfigError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule, Score
from adacal.core.inputs import listed
from adacal.core.layout import RunState

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


def fit_exit_rule(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    score: Literal["entropy", "confidence"] = "entropy",
    rule: Literal["paper", "accuracy", "agreement"] = "paper",
    base: float = 0.6,
    tolerance: float = 0.0,
) -> ExitRule:
    """Fits when a sample may stop, on labelled calibration samples (METHOD section 7).

    Args:
        network: a calibrated network whose output is logits [B, K].
        batches: (inputs, labels) pairs from training data.
        score: `entropy` (1 - H/log K) or `confidence` (largest probability).
        rule: `paper`, one threshold a step from the mean entropies; `accuracy`, the smallest single
            threshold that loses at most `tolerance` points on these samples; `agreement`, one
            threshold a step above which none of these samples changes its class later.
        base: the paper's a (0.6 for CIFAR, 0.995 for ImageNet).
        tolerance: points of accuracy for `accuracy`.
    Raises:
        CalibrationError: labels are missing.
        ConfigError: an unknown rule.
    """
    check_options(score, rule, base, tolerance)
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
    return exit_rules.fit_accuracy_rule(joined, wanted, tolerance=tolerance, score=score)


def check_options(score: str, rule: str, base: float, tolerance: float) -> None:
    """Raises ConfigError for options of `fit_exit_rule` that make no sense."""
    check_choice("exit score", score, get_args(Score))
    check_choice("exit rule", rule, ("paper", "accuracy", "agreement"))
    check_number("base", base, 0, 1, example=0.6)
    check_number("tolerance", tolerance, 0, example=0)


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
    if not isinstance(outputs, Tensor) or outputs.dim() != 3:
        raise UnsupportedModelError(
            "early exit needs logits of shape [B, K]; this network's output is of another shape"
        )
    return outputs


@torch.no_grad()
def run_until_confident(
    network: SpikingNetwork, inputs: Tensor, rule: ExitRule, meter: EnergyMeter | None = None
) -> Prediction:
    """Runs step by step; samples that are sure enough leave the batch, state and all.

    Args:
        network: a calibrated network whose output is logits [B, K].
        inputs: shape [B, ...] ([T, B, ...] for streams).
        rule: fitted for at least the network's T.
        meter: counts what was run.
    Raises:
        ConfigError: the rule was fitted for fewer steps.
    """
    if not isinstance(rule, ExitRule):
        raise ConfigError(
            f"an exit rule is what network.fit_exit_rule(...) returns; got {rule!r}; fit one"
        )
    if len(rule.thresholds) < network.T:
        raise ConfigError(
            f"the exit rule knows {len(rule.thresholds)} steps and the network runs {network.T}; "
            "fit the rule on this network"
        )
    frames = inputs if network.stream else None
    current = inputs[0] if network.stream else inputs
    batch = current.shape[0]
    state = RunState()
    active = torch.arange(batch, device=inputs.device)
    timesteps = torch.full((batch,), network.T)
    output: Tensor | None = None
    total: Tensor | None = None
    for step in range(network.T):
        if frames is not None:
            current = frames[step].index_select(0, active)
        now = network.step(current, state, step, meter)
        total = now if total is None else total + now
        mean = total / (step + 1)
        if output is None:
            output = mean.new_empty(batch, *mean.shape[1:])
        if step + 1 == network.T:
            output[active] = mean
            break
        sure = rule.exits(mean, step)
        if not bool(sure.any()):
            continue
        leaving = active[sure]
        output[leaving] = mean[sure]
        timesteps[leaving.cpu()] = step + 1
        alive = ~sure
        if not bool(alive.any()):
            break
        state.keep(alive)
        active, total = active[alive], total[alive]
        if frames is None:
            current = current[alive]
    assert output is not None
    return Prediction(output=output, timesteps=timesteps)
