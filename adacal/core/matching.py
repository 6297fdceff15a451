"""Shifts that restore a channel's mean, thresholds matched to it on the current that arrives.

An MMSE threshold assumes a constant current. Deeper in a network the current comes in lumps, a
binary neuron cannot catch up with them, and its mean output is `b * a + noise` with a slope b
below 1. Slopes multiply from layer to layer while noise averages out over the fan-in, so the
nearest output (least squared error, which trades slope for noise) is not the best one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from adacal.core.neuron import BurstNeuron
from adacal.core.side_by_side import SideBySide

FACTORS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.7)
"""Thresholds tried, in units of the threshold to start from."""
SLOPE_WEIGHT = 2.0
"""How much the variance lost by a slope other than 1 counts against the variance of the noise."""
_SILENT = 1e-12
_LEAST_SLOPE = 0.02


def restore_mean(
    neuron: BurstNeuron, wanted: Tensor, steps: Tensor, T: int, repeats: int, damping: float
) -> None:
    """Light calibration: `shift += wanted - mean over T of the output`, by channel, repeatedly.

    Args:
        neuron: channels last; its shift is changed in place.
        wanted: mean activation of the ANN, shape [K*C], activation units.
        steps: current at some positions, shape [T, n, C]; see `adacal.core.side_by_side`.
        T: number of steps.
        repeats: rounds; the first corrects in full, as SNN Calibration does.
        damping: share of the remaining error corrected in each later round.
    """
    several, shift = SideBySide(neuron, steps, T), torch.as_tensor(neuron.shift).to(steps)
    for number in range(repeats):
        missing = wanted - several.outputs(shift).mean((0, 1))
        shift = shift + (1.0 if number == 0 else damping) * missing.to(shift)
    neuron.shift = shift


def matched_threshold(
    neuron: BurstNeuron,
    activation: Tensor,
    steps: Tensor,
    T: int,
    *,
    factors: Sequence[float] = FACTORS,
    slope_weight: float = SLOPE_WEIGHT,
    per_channel: bool = True,
    repeats: int = 3,
    damping: float = 0.7,
) -> Tensor:
    """Chooses, for each channel, the threshold whose output follows the ANN's activation best.

    Every candidate first gets its own shift (`restore_mean`, on the first quarter of the
    positions, which should be in random order). Of the output s and the activation a
    at the same positions, with slope `b = cov(a, s) / var(a)`, it is judged by
    `(var(s) - b^2 var(a)) / b^2 + slope_weight * (1 - b)^2 var(a)`: the noise in units of the
    activation, and the signal lost.

    Args:
        neuron: channels last, with the thresholds to start from.
        activation: the ANN's activation, shape [C, n], activation units.
        steps: current that arrives at the same positions, shape [T, n, C].
        T: number of steps.
        factors: candidates, in units of the threshold to start from.
        slope_weight: see above.
        per_channel: one choice per channel; otherwise one factor for all.
        repeats, damping: of the shift of each candidate.
    Returns:
        Thresholds, shape [C].

    >>> neuron = BurstNeuron(threshold=torch.tensor([1.0]), channel_dim=-1)
    >>> constant = torch.tensor([[0.2, 0.4, 0.6, 0.8, 1.0]])  # whole multiples of 1.2 / 6
    >>> matched_threshold(neuron, constant, constant.T.repeat(6, 1, 1), T=6)
    tensor([1.2000])
    """
    channels = activation.shape[0]
    start = torch.as_tensor(neuron.threshold, dtype=steps.dtype, device=steps.device)
    scale = torch.tensor(factors, dtype=steps.dtype, device=steps.device)
    candidates = (scale[:, None] * start.expand(channels)).flatten()  # [K*C], candidate outermost
    several = replace(
        neuron,
        threshold=candidates,
        shift=torch.zeros_like(candidates),
        initial_potential=None,
        slope=_repeated(neuron.slope, len(factors)),
    )
    few = max(1, steps.shape[1] // 4)
    wanted = activation[:, :few].mean(1).repeat(len(factors))
    restore_mean(several, wanted, steps[:, :few], T, repeats, damping)
    output = SideBySide(several, steps, T).mean_outputs(torch.as_tensor(several.shift))
    output = output.T.unflatten(0, (len(factors), channels))  # [K, C, n]
    loss = _mismatch(activation, output, slope_weight)
    if not per_channel:
        loss = loss.sum(1, keepdim=True).expand_as(loss)
    best = loss.argmin(0)
    return candidates.view(len(factors), channels).gather(0, best[None])[0]


def _mismatch(activation: Tensor, output: Tensor, slope_weight: float) -> Tensor:
    """Returns what `matched_threshold` judges by, [K, C], for outputs [K, C, n]."""
    centred = activation - activation.mean(1, keepdim=True)
    deviation = output - output.mean(2, keepdim=True)
    signal = centred.square().mean(1)
    laid_alike = centred.T.contiguous().T  # a product of unlike layouts takes 10 times as long
    slope = (deviation * laid_alike).mean(2) / signal.clamp_min(_SILENT)
    slope = slope.clamp_min(_LEAST_SLOPE)
    noise = (deviation.square().mean(2) - slope.square() * signal).clamp_min(0)
    return noise / slope.square() + slope_weight * (1 - slope).square() * signal


def _repeated(value: Tensor | float | None, times: int) -> Tensor | float | None:
    return value.repeat(times) if isinstance(value, Tensor) and value.dim() else value
