"""Toy nets, and synapses counted one by one in plain Python: the oracle of the exact counter."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adacal.core.conversion import convert
from adacal.core.network import SpikingNetwork

Map = NDArray[np.float64]
ACCUMULATE_PJ, MAC_PJ = 0.9, 4.6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Gives every parameter and statistic a value that is neither 0 nor 1, by seed."""
    random = seeded(seed)
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        if not value.is_floating_point():
            continue
        draw = torch.rand(value.shape, generator=random)
        with torch.no_grad():
            if "running_var" in name:
                value.copy_(0.05 + 0.1 * draw)
            elif value.dim() > 1:
                value.copy_((draw - 0.45) * 2.2 / math.sqrt(value[0].numel()))
            else:
                value.copy_(0.7 + 0.6 * draw if "weight" in name else 0.6 * (draw - 0.4))
    return net.eval()


def spiking(
    net: nn.Module, inputs: Tensor, T: int = 3, max_spikes: int = 2, **options: Any
) -> SpikingNetwork:
    """Converts and calibrates on the inputs themselves."""
    network = convert(net, inputs, T=T, max_spikes=max_spikes, **options)
    network.calibrate([inputs], "light")
    return network


class Captured:
    """Records what reaches a module of a network while it runs (the tensors as they are)."""

    def __init__(self, module: nn.Module) -> None:
        self.inputs: list[Tensor] = []
        self._handle = module.register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.inputs.append(args[0])

    def rows(self, *, last: bool = False) -> Map:
        """All that came, or what came last: a pass may be run to write a tape before it counts."""
        self._handle.remove()
        seen = self.inputs[-1:] if last else self.inputs
        found = torch.cat([tensor.as_subclass(Tensor).detach() for tensor in seen])
        return found.double().numpy()


def spikes_into(network: SpikingNetwork, module: nn.Module, site: str, inputs: Tensor) -> Map:
    """Runs the network and returns the spike counts that reach a module, shape [T*B, C, ...]."""
    captured = Captured(module)
    network.predict(inputs)
    rows = captured.rows()
    theta = torch.as_tensor(network.neurons[site].threshold).double().numpy()
    if theta.ndim:
        shape = [1] * rows.ndim
        shape[network.neurons[site].channel_dim] = -1
        theta = theta.reshape(shape)
    counts = rows / theta
    assert np.allclose(counts, counts.round(), atol=1e-3)
    return np.asarray(counts.round())


# synapses, one by one ----------------------------------------------------------------------------


def _tuple(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def fan_out_by_loops(layer: nn.Module, shape: Sequence[int], after: Map | None = None) -> Map:
    """Walks over every connection of a convolution; returns the fan-out of each input element.

    Args:
        layer: Conv1d, Conv2d or ConvTranspose2d.
        shape: one sample of its input, (C, H, W) or (C, L).
        after: what each output element is worth (1 if None).
    """
    axes = len(shape) - 1
    kernel, stride = _tuple(layer.kernel_size, axes), _tuple(layer.stride, axes)
    padding, dilation = _tuple(layer.padding, axes), _tuple(layer.dilation, axes)
    with torch.no_grad():
        out_shape = tuple(layer(torch.zeros(1, *shape)).shape[1:])
    worth = np.ones(out_shape) if after is None else after
    fan = np.zeros(shape)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    per_in, per_out = shape[0] // layer.groups, out_shape[0] // layer.groups
    near, far = (shape, out_shape) if transposed else (out_shape, shape)
    for place in np.ndindex(*near[1:]):
        for tap in np.ndindex(*kernel):
            other = tuple(
                p * s - pad + d * t
                for p, s, pad, d, t in zip(place, stride, padding, dilation, tap, strict=True)
            )
            if not all(0 <= o < size for o, size in zip(other, far[1:], strict=True)):
                continue
            source, target = (place, other) if transposed else (other, place)
            for c_in in range(shape[0]):
                group = c_in // per_in
                for c_out in range(group * per_out, (group + 1) * per_out):
                    fan[(c_in, *source)] += worth[(c_out, *target)]
    return fan


def pool_windows(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> list[range]:
    """The input positions of each window along one axis (padding left out)."""
    room = size + 2 * padding - kernel
    count = (math.ceil(room / stride) if ceil_mode else room // stride) + 1
    starts = [index * stride - padding for index in range(count)]
    return [range(max(s, 0), min(s + kernel, size)) for s in starts if s < size]


def adaptive_windows(size: int, out: int) -> list[range]:
    return [range(i * size // out, math.ceil((i + 1) * size / out)) for i in range(out)]


def fan_out_of_pool(shape: Sequence[int], windows: Sequence[list[range]], after: Map) -> Map:
    """A spike is worth what each window that it is in is worth."""
    fan = np.zeros(shape)
    for channel in range(shape[0]):
        for place in np.ndindex(*(len(axis) for axis in windows)):
            spans = [axis[index] for axis, index in zip(windows, place, strict=True)]
            cells: Iterable[tuple[int, ...]] = [()]
            for span in spans:
                cells = [(*cell, position) for cell in cells for position in span]
            for cell in cells:
                fan[(channel, *cell)] += after[(channel, *place)]
    return fan


def total(spikes: Map, fan: Map) -> float:
    """Sum over all rows of spikes x fan-out, spike by spike over connections."""
    return float(sum((row * fan).sum() for row in spikes))


# nets ----------------------------------------------------------------------------------


def two_layers() -> nn.Sequential:
    """2 -> 3 -> 2, to be worked by hand: 6 MACs, then 2 synapses a spike."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
        net[0].bias.zero_()
        net[2].weight.fill_(1.0)
        net[2].bias.zero_()
    return net


def between(layer: nn.Module, *, channels: int = 4, spatial: int = 2) -> nn.Sequential:
    """conv -> relu -> `layer` (a synaptic layer, or a Sequential that ends with one)."""
    first: nn.Module = (
        nn.Conv2d(2, channels, 3, padding=1) if spatial == 2 else nn.Conv1d(2, channels, 3)
    )
    return nn.Sequential(first, nn.ReLU(), layer)


class Functional(nn.Module):
    """conv -> relu -> `way` -> last; for shape operations written as functions."""

    def __init__(self, way: Callable[[Tensor], Tensor], last: nn.Module, channels: int = 4) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Conv2d(2, channels, 3, padding=1), nn.ReLU(), last
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.way(self.act(self.first(x))))


class Small(nn.Module):
    """A residual net with batch norm, in-place ReLUs, pooling: [B, 2, 6, 6] -> [B, 3]."""

    def __init__(self, *, inplace: bool = True, max_pool: bool = False, width: int = 6) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace)
        self.pool: nn.Module = nn.MaxPool2d(2) if max_pool else nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.act3 = nn.ReLU(inplace)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act1(self.bn1(self.conv1(x))))
        y = self.act2(self.bn2(self.conv2(x)))
        y = self.conv3(y)
        y = self.act3(y + x)
        return self.head(y.mean((2, 3)))


def small(seed: int = 0, **options: Any) -> Small:
    net = filled(Small(**options), seed)
    assert isinstance(net, Small)
    return net


def images(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 2, 6, 6, generator=seeded(seed))


def trained_small(seed: int = 0, **options: Any) -> tuple[Small, Tensor, Tensor]:
    """`Small` trained for a second on a problem of three classes; with inputs and labels."""
    net, inputs, labels = _trained(seed, **options)
    return copy.deepcopy(net), inputs.clone(), labels.clone()


@functools.cache
def _trained(seed: int, **options: Any) -> tuple[Small, Tensor, Tensor]:
    net = small(seed, **options)
    random = seeded(7)
    labels = torch.randint(0, 3, (240,), generator=random)
    inputs = 0.5 * torch.rand(240, 2, 6, 6, generator=random)
    for row, label in enumerate(labels.tolist()):
        inputs[row, label % 2, 2 * label : 2 * label + 2] += 0.6
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
    for step in range(60):
        pick = slice(40 * (step % 6), 40 * (step % 6) + 40)
        loss = nn.functional.cross_entropy(net(inputs[pick]), labels[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval(), inputs, labels
