"""The neuron dynamics as pure functions over tensors; every faster backend has these signatures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from adacal.core import compiled
from adacal.core.tally import Tally

PLANS = 32
"""Shapes of current that something is kept for."""


@dataclass(frozen=True, kw_only=True)
class BurstParameters:
    """Parameters of a population of burst neurons, broadcastable to `[B, C, *]`.

    Attributes:
        threshold: θ > 0, activation units.
        max_spikes: φ, most spikes a neuron may fire in one step; 1 is a plain integrate-and-fire.
        shift: constant added to the current at every step, activation units.
        initial_potential: membrane potential before the first step, activation units.
        plans: what the compiled scans have made of them, by the layout of a current.
    """

    threshold: Tensor
    max_spikes: int
    shift: Tensor | None
    initial_potential: Tensor
    plans: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """All but the plans, which hold addresses of what is laid out for this very object."""
        return {**vars(self), "plans": {}}

    def plan(self, current: Tensor, make: Callable[[Tensor, BurstParameters], Any]) -> Any:
        """Returns what `make` makes of a step of a current, made once for each place and layout."""
        key = (current.device, current.shape[1:], current.stride()[1:])
        return self.kept(key, lambda: make(current[0], self))

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """Returns what `make` makes, once for each key while there are few."""
        if key in self.plans:
            return self.plans[key]
        made = make()
        if len(self.plans) >= PLANS:
            self.plans.clear()
        self.plans[key] = made
        return made


def burst_scan(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None = None,
    *,
    out: Tensor | None = None,
    scaled: bool = False,
    keep: bool = True,
    tally: Tally | None = None,
) -> tuple[Tensor, Tensor]:
    """Runs burst integrate-and-fire neurons over all steps of a time-batched current.

    At each step: u += x_t + shift; k = clamp(floor(u / theta), 0, max_spikes); u -= k * theta
    (METHOD section 1; reset by subtraction).

    Args:
        current: input current, shape [T, B, C, *], activation units.
        neuron: parameters, broadcastable to [B, C, *].
        membrane: potential to go on from, shape [B, C, *]; the initial potential if None.
        out: takes the counts, shape of `current`; may be `current` itself.
        scaled: give counts times theta, the neurons' output, instead of counts.
        keep: whether the potential after the last step is wanted; without it, it may be empty.
        tally: takes the counts, if given.
    Returns:
        Spike counts k, shape of `current`, whole numbers in {0, …, max_spikes}, and the membrane
        potential after the last step, shape [B, C, *], activation units.

    >>> neuron = BurstParameters(threshold=torch.tensor(1.0), max_spikes=2, shift=None,
    ...                          initial_potential=torch.tensor(0.5))
    >>> counts, membrane = burst_scan(torch.full((3, 1, 1), 1.25), neuron)
    >>> counts.flatten().tolist(), membrane.item()
    ([1.0, 2.0, 1.0], 0.25)
    """
    options: dict[str, Any] = {"scaled": scaled, "keep": keep, "tally": tally}
    if current.is_cuda:
        from adacal.core import triton_scan  # loads Triton

        found = triton_scan.scan(current, neuron, membrane, out, **options)
    else:
        found = compiled.scan(current, neuron, membrane, out, **options)
    if found is not None:
        return found
    if tally is not None:  # added up apart, from counts that are not scaled yet
        counts, membrane = burst_scan(current, neuron, membrane, out=out, keep=keep)
        tally.take(counts)
        return counts.mul_(neuron.threshold) if scaled else counts, membrane
    return plain_scan(current, neuron, membrane, out=out, scaled=scaled)


def plain_scan(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None = None,
    *,
    out: Tensor | None = None,
    scaled: bool = False,
) -> tuple[Tensor, Tensor]:
    """As `burst_scan`, in plain torch: runs anywhere, and says what a faster one has to give."""
    theta, shift = neuron.threshold, neuron.shift
    potential = _start(current, neuron, membrane)
    if out is None:
        out = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        potential.add_(current[step])
        if shift is not None:
            potential.add_(shift)
        fired = torch.div(potential, theta, out=out[step])
        fired.floor_().clamp_(0, neuron.max_spikes)
        potential.addcmul_(fired, theta, value=-1)
        if scaled:
            fired.mul_(theta)
    return out, potential


def capped_scan(
    current: Tensor,
    neuron: BurstParameters,
    cap: float,
    membrane: Tensor | None = None,
    fired_before: Tensor | None = None,
    steps_before: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Burst neurons whose mean output is held at `cap` (ReLU6, hardtanh from 0).

    As `burst_scan`, and after t steps at most floor(t * cap / theta + 1/2) spikes have been fired:
    the multiple of theta / t nearest to `cap`, so never more than `cap` if theta divides it.

    Args:
        current: input current, shape [T, B, C, *].
        neuron: parameters, broadcastable to [B, C, *].
        cap: upper bound of the activation function, activation units.
        membrane, fired_before, steps_before: where an earlier call ended (stepwise execution).
    Returns:
        Spike counts, membrane potential, and spikes fired since the first step, shape [B, C, *].
    """
    theta, shift = neuron.threshold, neuron.shift
    potential = _start(current, neuron, membrane)
    total = torch.zeros_like(potential) if fired_before is None else fired_before.clone()
    counts = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        potential.add_(current[step])
        if shift is not None:
            potential.add_(shift)
        allowed = torch.floor((steps_before + step + 1) * cap / theta + 0.5)
        fired = torch.div(potential, theta).floor_().clamp_(0, neuron.max_spikes)
        fired = torch.minimum(fired, allowed - total)
        counts[step] = fired
        total.add_(fired)
        potential.addcmul_(fired, theta, value=-1)
    return counts, potential, total


def signed_scan(
    current: Tensor,
    neuron: BurstParameters,
    slope: Tensor,
    received: Tensor | None = None,
    fired_before: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Signed neurons with memory for leaky ReLU: what they have sent follows leaky(what came in).

    The neuron keeps the sum of its current, S, and the spikes it has sent, K. At each step it
    fires `k = clamp(floor((leaky(S) - K*theta) / theta + 1/2), -max_spikes, max_spikes)`, so the
    sum of its output is leaky(S) to half a threshold unless `max_spikes` holds it back.

    Args:
        current: input current, shape [T, B, C, *].
        neuron: parameters; an initial potential other than theta/2 is not used here.
        slope: slope of the negative side, broadcastable to [B, C, *].
        received, fired_before: where an earlier call ended (stepwise execution).
    Returns:
        Signed spike counts, the sum of the current S, the sum of the counts K.
    """
    theta = neuron.threshold
    total_in = torch.zeros_like(current[0]) if received is None else received.clone()
    total_out = torch.zeros_like(current[0]) if fired_before is None else fired_before.clone()
    counts = torch.empty_like(current, memory_format=torch.contiguous_format)
    for step in range(current.shape[0]):
        total_in = total_in + current[step]
        if neuron.shift is not None:
            total_in = total_in + neuron.shift
        wanted = torch.where(total_in > 0, total_in, slope * total_in) / theta - total_out
        fired = torch.floor(wanted + 0.5).clamp_(-neuron.max_spikes, neuron.max_spikes)
        counts[step] = fired
        total_out = total_out + fired
    return counts, total_in, total_out


def quantise(
    activation: Tensor, threshold: Tensor, max_spikes: int, T: int, offset: float = 0.5
) -> Tensor:
    """Mean output over T steps of a burst neuron at constant current: an activation quantiser.

    `theta/T * clamp(floor(T*a/theta + 1/2), 0, max_spikes*T)` (METHOD section 1).

    Args:
        activation: constant current a, any shape.
        threshold: theta, broadcastable to `activation`.
        max_spikes: most spikes a step.
        T: number of steps.
        offset: initial potential in units of theta; 0 leaves the half threshold out.
    Returns:
        The quantised activation, shape of the broadcast.

    >>> quantise(torch.tensor([0.3, 0.9, 5.0]), torch.tensor(1.0), max_spikes=2, T=4)
    tensor([0.2500, 1.0000, 2.0000])
    """
    return count_spikes(activation, threshold, max_spikes, T, offset).mul_(threshold / T)


def count_spikes(
    activation: Tensor, threshold: Tensor, max_spikes: int, T: int, offset: float = 0.5
) -> Tensor:
    """Spikes that a burst neuron fires over T steps of constant current; see `quantise`.

    >>> count_spikes(torch.tensor([0.3, 0.9, 5.0]), torch.tensor(1.0), max_spikes=2, T=4)
    tensor([1., 4., 8.])
    """
    levels = torch.div(activation * T, threshold)
    return levels.add_(offset).floor_().clamp_(0, max_spikes * T)


def _start(current: Tensor, neuron: BurstParameters, membrane: Tensor | None) -> Tensor:
    if membrane is not None:
        return membrane.clone()
    start = neuron.initial_potential.to(current)
    return start.expand(current.shape[1:]).clone(memory_format=torch.contiguous_format)
