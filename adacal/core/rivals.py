"""Neurons that the literature puts beside bursts: with gates, offsets, signed spikes, levels.

Pure functions over tensors, as in `adacal.core.kernels`. A *warm-up* is a first phase of `warmup`
steps after which the neurons start afresh; its spikes are sent and cost, its output is not used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adacal.core.kernels import BurstParameters, burst_scan

SILENT_BELOW = 1e-3
"""Residual potential, in units of theta, that a gated neuron needs to go on (SRP's code)."""
MARGIN = 1e-3
"""How far beyond the threshold an offset moves a potential, in units of theta (COS's code)."""
FIRES_FROM = 0.75
"""Share of a level at which a neuron of several levels fires it: half way to the next in ratio."""


def gated_scan(
    current: Tensor,
    neuron: BurstParameters,
    warmup: int,
    membrane: Tensor | None = None,
    gate: Tensor | None = None,
    steps_before: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Integrate-and-fire neurons of which those left without potential are silent after a warm-up.

    A potential that is not above 0 after `warmup` steps says that the ANN's activation is hardly
    positive: what the neuron fired came from the order in which its inputs arrived. All neurons
    then start again from their initial potential and these fire no more (Hao et al., AAAI 2023).

    Args:
        current: input current, shape [steps, B, C, *].
        neuron: parameters, broadcastable to [B, C, *].
        warmup: steps before the gate is set, at least 1.
        membrane, gate, steps_before: where an earlier call ended (stepwise execution).
    Returns:
        Spike counts; the membrane potential after the last step; and the gate, shape [B, C, *]:
        1 where the neuron may fire, all 1 during the warm-up.
    """
    start = neuron.initial_potential.to(current).expand(current.shape[1:])
    potential = (start if membrane is None else membrane).clone()
    may_fire = torch.ones_like(potential) if gate is None else gate
    counts = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        if steps_before + step == warmup:
            may_fire = (potential > SILENT_BELOW * neuron.threshold).to(potential)
            potential = start.clone()
        counts[step : step + 1], potential = burst_scan(current[step : step + 1], neuron, potential)
        if steps_before + step >= warmup:
            counts[step].mul_(may_fire)
    return counts, potential, may_fire


def offset_scan(current: Tensor, neuron: BurstParameters, warmup: int) -> Tensor:
    """Integrate-and-fire neurons whose start is moved by the one spike too few or too many.

    Each neuron first hears the currents of the warm-up and keeps what it would fire to itself. Is
    its potential then negative though it fired, one spike was too much: its start is lowered just
    enough to lose the weakest. Is it at the threshold or above, one was missing: its start is
    raised just enough to fire where it was nearest to it. Then it runs the warm-up again, now
    sending its spikes (the layer behind hears them for its own warm-up), and then the steps after
    it (Hao et al., ICLR 2023).

    Args:
        current: input current, shape [warmup + T, B, C, *].
        neuron: parameters, broadcastable to [B, C, *].
        warmup: steps of the first phase, at least 1.
    Returns:
        Spike counts, shape of `current`.
    """
    start = offset_start(current[:warmup], neuron)
    return torch.cat(
        [burst_scan(part, neuron, start)[0] for part in (current[:warmup], current[warmup:])]
    )


def offset_start(current: Tensor, neuron: BurstParameters) -> Tensor:
    """Returns the initial potential that makes up for one wrong spike; see `offset_scan`.

    Args:
        current: currents of the warm-up, shape [steps, B, C, *].
        neuron: parameters, broadcastable to [B, C, *].
    """
    theta = neuron.threshold
    first = neuron.initial_potential.to(current).expand(current.shape[1:])
    potential, fired = first.clone(), torch.zeros_like(first)
    weakest, nearest = torch.full_like(first, torch.inf), torch.full_like(first, -torch.inf)
    for step in current:
        potential = potential + step
        if neuron.shift is not None:
            potential = potential + neuron.shift
        spike = (potential >= theta).to(potential)
        weakest = torch.where(spike > 0, torch.minimum(weakest, potential), weakest)
        nearest = torch.where(spike > 0, nearest, torch.maximum(nearest, potential))
        fired = fired + spike
        potential = potential - spike * theta
    lower = torch.maximum(weakest - (1 - MARGIN) * theta, theta)
    higher = torch.maximum((1 + MARGIN) * theta - nearest, theta)
    # where every step has fired there is none to gain: it goes on firing (COS's code raises it by
    # 1001 thresholds, what its placeholder for "never silent" comes to)
    higher = torch.where(torch.isfinite(higher), higher, current.shape[0] * theta)
    start = torch.where((potential < 0) & (fired > 0), first - lower, first)
    return torch.where(potential >= theta, first + higher, start)


def memory_scan(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None = None,
    fired_before: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Signed neurons with memory for ReLU: a spike sent too early is taken back by a negative one.

    At each step u += x_t + shift; k = 1 where u >= theta; k = -1 where u <= -theta and more spikes
    have been sent than taken back; u -= k * theta (Wang et al., IJCAI 2022).

    Args:
        current: input current, shape [T, B, C, *].
        neuron: parameters, broadcastable to [B, C, *].
        membrane, fired_before: where an earlier call ended (stepwise execution).
    Returns:
        Spike counts in {-1, 0, 1}, the membrane potential, and the sum of the counts.
    """
    potential, total = _begin(current, neuron, membrane, fired_before)
    counts = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        _charge(potential, current[step], neuron)
        fired = (potential >= neuron.threshold).to(potential)
        fired -= ((potential <= -neuron.threshold) & (total > 0)).to(potential)
        counts[step] = fired
        total += fired
        potential.addcmul_(fired, neuron.threshold, value=-1)
    return counts, potential, total


def level_scan(
    current: Tensor,
    neuron: BurstParameters,
    levels: int,
    membrane: Tensor | None = None,
    fired_before: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Neurons of several thresholds, each half of the one before: one signed spike a step.

    With theta the smallest threshold, a neuron of n levels has 2**(n-1) * theta, ..., 2 * theta,
    theta. At each step it fires the largest of which the potential reaches 3/4, or, negative, the
    largest of which it reaches -3/4 and which the sum sent so far can give back (Huang et al. 2025,
    the rate-coded multi-threshold neuron).

    Args:
        current: input current, shape [T, B, C, *].
        neuron: parameters; `threshold` is the smallest, `max_spikes` is not used.
        levels: number of thresholds n, at least 1.
        membrane, fired_before: where an earlier call ended (stepwise execution).
    Returns:
        What is fired, in units of the smallest threshold: 0 or +-2**i; the membrane potential; and
        the sum of what was fired.
    """
    potential, total = _begin(current, neuron, membrane, fired_before)
    counts = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        _charge(potential, current[step], neuron)
        counts[step] = _fire_level(potential, total, neuron.threshold, levels)
    return counts, potential, total


def change_scan(
    current: Tensor,
    neuron: BurstParameters,
    levels: int,
    membrane: Tensor | None = None,
    fired_before: Tensor | None = None,
    estimate: Tensor | None = None,
    steps_before: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `level_scan`, for neurons that send changes of their rate only (differential coding).

    A receiver takes it that a neuron goes on at the rate it has had: with r the estimate of it, a
    neuron that is silent counts as sending r. At step t it gets its current, is charged -r, fires k
    by the rule of `level_scan`, and r grows by k/t. What the receiver decodes is r + k, whose mean
    over t steps is the new r; `decoded` gives it (Huang et al. 2025).

    Args:
        current: decoded input current, shape [T, B, C, *].
        neuron, levels: as of `level_scan`.
        membrane, fired_before, estimate, steps_before: where an earlier call ended.
    Returns:
        What is fired and the potential, as of `level_scan`; the sum of what was decoded; and r, all
        but the potential in units of the smallest threshold.
    """
    theta = neuron.threshold
    potential, total = _begin(current, neuron, membrane, fired_before)
    rate = torch.zeros_like(potential) if estimate is None else estimate.clone()
    counts = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        _charge(potential, current[step], neuron)
        potential.addcmul_(rate, theta, value=-1)
        total += rate
        counts[step] = _fire_level(potential, total, theta, levels)
        rate.add_(counts[step], alpha=1 / (steps_before + step + 1))
    return counts, potential, total, rate


def decoded(counts: Tensor, estimate: Tensor | None = None, before: int = 0) -> Tensor:
    """What a receiver makes of changes: each step's spikes and the rate estimated before them.

    Args:
        counts: what `change_scan` fired, shape [steps, B, C, *].
        estimate: the estimate before, shape [B, C, *], if these are not the first steps.
        before: how many steps there were before.

    >>> decoded(torch.tensor([4.0, -2.0, 0.0]))
    tensor([4., 2., 3.])
    >>> decoded(torch.tensor([-2.0, 0.0]), estimate=torch.tensor(4.0), before=1)
    tensor([2., 3.])
    """
    number = torch.arange(before + 1, before + counts.shape[0] + 1).to(counts)
    grown = (counts / number.reshape(-1, *[1] * (counts.dim() - 1))).cumsum(0)
    start = torch.zeros_like(counts[:1]) if estimate is None else estimate.unsqueeze(0)
    return counts + torch.cat([start, start + grown[:-1]])


def _begin(
    current: Tensor, neuron: BurstParameters, membrane: Tensor | None, fired_before: Tensor | None
) -> tuple[Tensor, Tensor]:
    if membrane is None or fired_before is None:
        start = neuron.initial_potential.to(current).expand(current.shape[1:]).clone()
        return start, torch.zeros_like(start)
    return membrane.clone(), fired_before.clone()


def _fire_level(potential: Tensor, total: Tensor, theta: Tensor, levels: int) -> Tensor:
    """Fires the best level; changes the potential and the sum sent in place."""
    fired = torch.zeros_like(potential)
    for level in range(levels):  # from the smallest up: the largest that may fire wins
        size = 2.0**level
        fired = torch.where(potential >= FIRES_FROM * size * theta, size, fired)
        back = (potential <= -FIRES_FROM * size * theta) & (total >= size)
        fired = torch.where(back, -size, fired)
    total += fired
    potential.addcmul_(fired, theta, value=-1)
    return fired


def _charge(potential: Tensor, current: Tensor, neuron: BurstParameters) -> None:
    potential.add_(current)
    if neuron.shift is not None:
        potential.add_(neuron.shift)
