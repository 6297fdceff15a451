"""Networks of every kind of call that a tape holds, and outputs without any tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import tapes
from adacal.core.network import SpikingNetwork
from toys import Call, Gate, Levels, linear_net


def flat(nest: Any) -> list[Tensor]:
    if isinstance(nest, Tensor):
        return [nest]
    values = nest.values() if isinstance(nest, dict) else nest
    return [t for value in values if not isinstance(value, str | float | int) for t in flat(value)]


def assert_equal(ours: Any, theirs: Any) -> None:
    for one, other in zip(flat(ours), flat(theirs), strict=True):
        assert torch.equal(one, other)


def fresh(network: SpikingNetwork, inputs: Tensor) -> Any:
    """The output without any tape."""
    kept, network.tapes = network.tapes, tapes.Tapes()
    try:
        return network(inputs)
    finally:
        network.tapes = kept


class Overwriting(nn.Module):
    """Overwrites a part of what a layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        F.relu(x[:, :3], inplace=True)
        return self.third(F.relu(self.second(x)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "a perceptron": (linear_net, (5,)),
    "a product of two that change": (Gate, (2, 6, 6)),
    "a nest of outputs": (Levels, (2, 8, 8)),
    "parts of channels": (
        lambda: Call(lambda x: torch.cat([F.relu(part) for part in x.chunk(2, 1)], 1)), (5,),
    ),
    "shapes": (
        lambda: Call(lambda x: F.relu(x.unsqueeze(-1)).squeeze(-1)[:, [0, 1, 2, 3, 4, 5]]), (5,),
    ),
    "named inputs": (lambda: Call(lambda x: F.relu(input=x).add(other=x)), (5,)),
    "a norm that stays analogue": (lambda: Call(lambda x: F.layer_norm(F.relu(x), (6,))), (5,)),
    "something to overwrite": (lambda: Call(lambda x: F.relu_(x.mul_(2))), (5,)),
    "a clamp and a slope": (lambda: Call(lambda x: F.leaky_relu(x.clamp(min=0), 0.5)), (5,)),
}  # fmt: skip
