"""Small networks whose weights and inputs are dyadic, so that every sum in them is exact."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.conversion import convert
from adacal.core.network import SpikingNetwork
from adacal.core.quantised_relu import quantised_relu


def dyadic(shape: tuple[int, ...], seed: int, denominator: int = 8, bound: int = 8) -> Tensor:
    """Random multiples of 1/denominator between -bound/denominator and bound/denominator."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-bound, bound + 1, shape, generator=generator) / denominator


def make_dyadic(module: nn.Module, seed: int = 0) -> nn.Module:
    """Gives all weights dyadic values and batch norms powers of two; eval mode."""
    for number, parameter in enumerate(module.parameters()):
        parameter.data = dyadic(tuple(parameter.shape), seed + number, denominator=4, bound=2)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.eps = 1e-30  # added to a variance, it rounds to nothing; some torch refuse 0
            part.running_mean.copy_(dyadic(tuple(part.running_mean.shape), seed))
            part.running_var.fill_(0.25)
    return module.eval()


def with_dyadic_neurons(
    network: SpikingNetwork, *, theta: float = 0.5, shift: float = 0.125
) -> SpikingNetwork:
    """Gives every neuron a dyadic threshold and shift."""
    for neuron in network.neurons.values():
        neuron.threshold, neuron.shift = theta, shift
    return network


class QuantisedReLU(nn.Module):
    """ReLU clipped at a trainable ceiling, in levels."""

    def __init__(self, ceiling: float, levels: int) -> None:
        super().__init__()
        self.ceiling = nn.Parameter(torch.tensor(ceiling))
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        return quantised_relu(x, self.ceiling, self.levels)


def quantised(net: nn.Module, inputs: Tensor, levels: int) -> nn.Module:
    """A copy of a trained network, its modules of ReLU clipped at their largest outputs."""
    copied = copy.deepcopy(net)
    for name, part in net.named_modules():
        if isinstance(part, nn.ReLU):
            seen: list[float] = []
            handle = part.register_forward_hook(lambda *a, s=seen: s.append(float(a[2].max())))
            with torch.no_grad():
                net(inputs)
            handle.remove()
            copied.set_submodule(name, QuantisedReLU(seen[0], levels))
    return copied


class Everything(nn.Module):
    """Conv, batch norm, both max pools, concat, residual in place, leaky relu, relu6, groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.left = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.right = nn.Conv2d(4, 4, 1)
        self.leaky = nn.LeakyReLU(0.25)
        self.relu6 = nn.ReLU6()
        self.mix = nn.Conv2d(8, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        x = torch.cat([self.leaky(self.left(x)), self.relu6(self.right(x))], 1)
        x = self.mix(x)
        y = F.relu(x)
        y += x
        y = torch.relu_(y)
        return self.head(F.adaptive_max_pool2d(y, 1).flatten(1))


class Gate(nn.Module):
    """x * sigmoid(conv(x)) after a neuron: two changing factors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return x * self.gate(x).sigmoid()


class Call(nn.Module):
    """Any function after a first linear layer, and a last layer behind it."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(5, width)
        self.function = function
        self.last = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


class Functional(nn.Module):
    """A network that is one function of its input."""

    def __init__(self, function: Callable[[Tensor], Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def linear_net(seed: int = 0) -> nn.Module:
    """A perceptron with two hidden layers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    ).eval()


def everything_network(
    *, T: int = 4, max_spikes: int = 2, stream: bool = False, max_pool: str = "running_max"
) -> SpikingNetwork:
    """`Everything` converted, all numbers in it dyadic."""
    ann = make_dyadic(Everything())
    example = dyadic((T, 1, 2, 8, 8) if stream else (1, 2, 8, 8), 5)
    network = convert(
        ann,
        example,
        T=T,
        max_spikes=max_spikes,
        stream=stream,
        max_pool=max_pool,  # type: ignore[arg-type]
    )
    return with_dyadic_neurons(network)


@contextmanager
def spikes_of(network: SpikingNetwork) -> Iterator[dict[str, list[Tensor]]]:
    """Records the spike counts of every run without a meter while active, by site name."""
    seen: dict[str, list[Tensor]] = {name: [] for name in network.neurons}
    patch = pytest.MonkeyPatch()
    for name, neuron in network.neurons.items():
        original = neuron.output

        def recording(current: Tensor, T: int, *rest, neuron=neuron, name=name, original=original):  # type: ignore[no-untyped-def]
            theta = neuron.parameters(current[0], T).threshold
            output = original(current, T, *rest)
            seen[name].append((output / theta).round())
            return output

        patch.setattr(neuron, "output", recording)
    try:
        yield seen
    finally:
        patch.undo()


class Levels(nn.Module):
    """A small dense network: maps of two levels in a nest, a constant and a number beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.scores = nn.Conv2d(4, 3, 1)
        self.boxes = nn.Conv2d(4, 4, 1)
        self.register_buffer("grid", torch.arange(4.0))

    def forward(self, x: Tensor) -> dict[str, object]:
        fine = F.relu(self.stem(x))
        levels = (fine, F.relu(self.down(fine)))
        return {
            "maps": [(self.scores(level), self.boxes(level)) for level in levels],
            "grid": self.grid,
            "stride": 2,
        }


def mean_square(later: Any, earlier: Any) -> Tensor:
    """A divergence of outputs of `Levels`: mean squared difference of all maps, shape [B]."""
    parts = [
        (a - b).square().flatten(1)
        for ours, theirs in zip(later["maps"], earlier["maps"], strict=True)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return torch.cat(parts, 1).mean(1)


def levels_network(*, T: int = 6, stream: bool = False) -> SpikingNetwork:
    """`Levels` converted, all numbers in it dyadic."""
    example = dyadic((T, 1, 2, 8, 8) if stream else (1, 2, 8, 8), 5)
    network = convert(make_dyadic(Levels()), example, T=T, max_spikes=2, stream=stream)
    return with_dyadic_neurons(network)
