"""Advanced calibration: initial potentials, weights of the producing layers (METHOD 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adacal.core.checks import check_number, check_whole
from adacal.core.neuron import BurstNeuron, per_channel
from adacal.core.sites import Site
from adacal.core.traces import Producer, Trace, traced_tensors

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


@dataclass(frozen=True, kw_only=True)
class WeightOptions:
    """How weights are optimised, layer by layer.

    Attributes:
        iterations: Adam steps a layer (5,000 in the paper).
        learning_rate: at the start; cosine to 0.
        batch_size: samples a step.
        seed: order of the samples.
    """

    iterations: int = 200
    learning_rate: float = 1e-4
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("iterations", self.iterations, 0, example=200)
        check_number("learning_rate", self.learning_rate, 0, above=True, example=1e-4)
        check_whole("batch_size", self.batch_size, example=32)
        check_whole("seed", self.seed, 0)


def improve(
    network: SpikingNetwork,
    site: Site,
    trace: Trace,
    reference: Tensor,
    current: Tensor,
    options: WeightOptions,
    *,
    free: set[str],
    weights: bool,
) -> Tensor:
    """Fits the producing layer's weights to the ANN's activation and returns the new current.

    Minimises `||f(x) - s(x)||^2` between the ANN's activation and the neuron's mean output by Adam,
    the floor of the quantiser passed straight through. The ANN's own weights stay as they are: the
    change acts on the spiking stream only.

    Args:
        network: receives `weight_changes`.
        site, trace: where, and which layer produced the current.
        reference: the ANN's pre-activation, shape [B, C, *].
        current: the spiking stream's current, shape [T, B, C, *].
        options: how long and how fast.
        free: modules whose weights may change, from `free_modules`.
        weights: whether to fit weights at all.
    """
    producer = trace.producer
    if not weights or producer is None or producer.module not in free:
        return current
    change = _fit(network, producer, reference, current, options, network.neurons[site.name])
    network.weight_changes[producer.module] = change / _per_output(producer, change)
    rows = producer.args[0].unflatten(0, (network.T + 1, -1))[1:]
    added = [_apply(producer, step, change) for step in rows]
    return current + torch.stack(added)


def set_potential(
    T: int, neuron: BurstNeuron, activation: Tensor, current: Tensor, share: float
) -> None:
    """Moves the initial potential of every neuron by `share * T * mean over samples(f(x) - s)`."""
    parameters = neuron.parameters(current[0], T)
    counts, theta = neuron.scan(current, T)
    missing = (activation - (counts * theta).mean(0)).mean(0)
    start = parameters.initial_potential
    start = start[0] if start.dim() else start
    neuron.initial_potential = start + share * T * missing


def free_modules(network: SpikingNetwork, inputs: Tensor) -> set[str]:
    """Modules whose weights one site alone depends on without another site between.

    A change of other weights (shared by several calls, or feeding a shortcut or the output as
    well) would act where it was not fitted, so they are left alone.

    Args:
        network: only its ANN is run.
        inputs: a few samples, shape [B, ...] of a single step.
    """
    once = {name for name, calls in network.synaptic_calls.items() if calls == 1}
    weights = {
        name: module.weight
        for name, module in network.module.named_modules()
        if name in once and isinstance(getattr(module, "weight", None), Tensor)
    }
    readers = dict.fromkeys(weights, 0)

    def read(rows: Tensor) -> None:
        if not rows.requires_grad:
            return
        uneven = torch.linspace(1, 2, rows.numel(), device=rows.device, dtype=rows.dtype)
        leaves = list(weights.values())
        found = torch.autograd.grad(
            rows, leaves, uneven.view(rows.shape), retain_graph=True, allow_unused=True
        )
        for name, gradient in zip(weights, found, strict=True):
            # what an in-place activation has overwritten has a gradient, of zeros
            readers[name] += gradient is not None and bool(gradient.any())

    def cut(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        read(rows)
        return network.neurons[site.name].activation(rows.detach()), None

    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            for output in traced_tensors(network.reference_pass(inputs, cut)):
                read(output)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
    return {name for name, count in readers.items() if count == 1}


def _fit(
    network: SpikingNetwork,
    producer: Producer,
    reference: Tensor,
    current: Tensor,
    options: WeightOptions,
    neuron: BurstNeuron,
) -> Tensor:
    T = network.T
    inputs = producer.args[0].unflatten(0, (T + 1, -1))[1:].mean(0)
    target = neuron.activation(reference)
    base = current.mean(0)
    theta = neuron.parameters(base, T).threshold
    shift = torch.as_tensor(neuron.shift, device=base.device, dtype=base.dtype)
    if shift.dim() == 1:
        shift = per_channel(shift, base.dim(), neuron.channel_dim)
    order = torch.Generator().manual_seed(options.seed)
    everything = torch.arange(base.shape[0], device=base.device)

    def error(change: Tensor, pick: Tensor) -> Tensor:
        mean = base[pick] + shift + _apply(producer, inputs[pick], change)
        spiked = _straight_through(mean, theta, neuron.max_spikes, T)
        return (target[pick] - spiked).square().mean()

    with torch.enable_grad():
        change = torch.zeros_like(producer.args[1]).requires_grad_()
        optimizer = torch.optim.Adam([change], lr=options.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(options.iterations, 1))
        for _ in range(options.iterations):
            pick = torch.randint(base.shape[0], (options.batch_size,), generator=order)
            pick = pick.to(base.device)
            loss = error(change, pick)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    found = change.detach()
    none = torch.zeros_like(found)
    return found if error(found, everything) < error(none, everything) else none


def _straight_through(mean: Tensor, theta: Tensor, max_spikes: int, T: int) -> Tensor:
    clipped = mean.clamp_min(0).minimum(theta * max_spikes)
    levels = torch.floor(clipped.detach() * T / theta + 0.5)
    return clipped + (levels * theta / T - clipped.detach())


def _apply(producer: Producer, inputs: Tensor, change: Tensor) -> Tensor:
    """The producing operation with the weight change alone, in the units of the site's current."""
    rest = list(producer.args[2:])
    if rest:
        rest[0] = None
    kwargs = {key: None if key == "bias" else value for key, value in producer.kwargs.items()}
    return producer.function(inputs, change, *rest, **kwargs)


def _per_output(producer: Producer, change: Tensor) -> Tensor | float:
    """The factor from the layer's own output to the site's current, by output channel."""
    if isinstance(producer.scale, float):
        return producer.scale
    shape = [1] * change.dim()
    shape[1 if "transpose" in producer.function.__name__ else 0] = -1
    scale = producer.scale.reshape(shape)
    return torch.where(scale.abs() < 1e-8, torch.ones_like(scale), scale)
