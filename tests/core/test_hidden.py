"""Networks that work on activations where conversion cannot see it are refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from adacal.core.analogue import keep_analogue
from adacal.core.conversion import convert
from adacal.core.errors import UnsupportedModelError
from toys import dyadic


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says it would rather not
        return torch.jit.script(function)


SCRIPT = compiled(swish)


class Straight(torch.autograd.Function):
    """Goes straight through, as quantisers do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Beside(nn.Module):
    """A residual network with something in one branch, that ends in a layer or in that."""

    def __init__(self, part: Callable[[Tensor], Tensor], *, last: bool = False) -> None:
        super().__init__()
        self.stem, self.one, self.head = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.part, self.last = part, last

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x))
        if self.last:
            return self.part(y)
        return self.head(y + F.relu(self.one(self.part(self.one(y)))))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "part",
    [lambda x: SCRIPT(x), lambda x: torch.vmap(lambda row: row * 2)(x)],
    ids=["script", "vmap"],
)
def test_activations_in_compiled_code_are_refused(part: Any, last: bool) -> None:
    with pytest.raises(UnsupportedModelError, match="works on activations from within compiled"):
        convert(Beside(part, last=last).eval(), dyadic((2, 5), 0), T=2)


def test_an_output_that_comes_from_nowhere_is_refused() -> None:
    net = Beside(lambda x: torch.ones(len(x), 3), last=True)
    with pytest.raises(UnsupportedModelError, match="cannot be followed back to the input"):
        convert(net.eval(), dyadic((2, 5), 0), T=2)


@pytest.mark.parametrize(
    ("part", "sites"),
    [
        (swish, 4),
        (Straight.apply, 2),
        (lambda x: keep_analogue(SCRIPT, x), 3),
        (lambda x: checkpoint(lambda y: y * 2, x, use_reentrant=False), 2),
        (lambda x: torch.ops.aten.mul(x, 2.0), 2),
        (lambda x: x + torch.zeros_like(x) + torch.ones(x.shape[-1]), 2),
    ],
    ids=["python", "autograd", "kept analogue", "checkpoint", "operation", "constants"],
)
def test_what_python_calls_is_seen(part: Any, sites: int) -> None:
    network = convert(Beside(part).eval(), dyadic((2, 5), 0), T=2)
    assert len(network.report()) == sites
