"""How many synapses an operation has: the fan-out of each input element, the MACs of products."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from adacal.core import functions
from adacal.core.calls import Call
from adacal.core.traces import known_of


class FanOuts:
    """Number of synapses of each input element of layers; each kind of call is found once."""

    def __init__(self) -> None:
        self._known: dict[Any, Tensor] = {}

    def of(self, call: Call) -> Tensor:
        """Returns the fan-out, shape of one row of the input, borders included.

        Args:
            call: a convolution, a linear layer, or a matrix product with a constant second factor.

        >>> layer = Call(torch.nn.functional.linear, "linear", (torch.ones(5, 3), torch.ones(2, 3)))
        >>> FanOuts().of(layer)
        tensor([[2., 2., 2.]])
        """
        source, weight = call.args[0], call.argument(1, "weight")
        at = known_of(source).row_dim
        sample = (*source.shape[:at], 1, *source.shape[at + 1 :])
        rest = [value for value in call.args[2:] if not isinstance(value, Tensor)]
        named = sorted((k, v) for k, v in call.kwargs.items() if not isinstance(v, Tensor))
        key = (call.name, tuple(weight.shape), sample, repr(rest), repr(named))
        if key not in self._known:
            if call.name == "linear":
                self._known[key] = source.new_full(sample, float(weight.shape[0]))
            else:
                self._known[key] = _gradient_fan_out(call, sample, weight)
        return self._known[key]


def groups(call: Call) -> int:
    """Number of groups of a convolution; 1 for other operations."""
    if not call.name.startswith("conv"):
        return 1
    return int(call.argument(6, "groups", 1))


def counted_by_reference(call: Call) -> bool:
    """The reference code leaves out the classifier and 1x1 downsample convolutions."""
    if not call.name.startswith("conv"):
        return False
    kernel = call.args[1].shape[2:]
    stride = call.argument(3, "stride", 1)
    strides = (stride,) if isinstance(stride, int) else tuple(stride)
    return not (all(k == 1 for k in kernel) and any(s > 1 for s in strides))


def product_macs(call: Call, result: Any) -> float:
    """Multiply-accumulates of a product between two activations; other functions have none."""
    if call.name in {"matmul", "__matmul__", "bmm", "mm"}:
        return float(result.numel() * call.args[0].shape[-1])
    if call.name == "scaled_dot_product_attention":
        query, key, value = call.args[:3]
        pairs = math.prod(query.shape[:-1]) * key.shape[-2]
        return float(pairs * (query.shape[-1] + value.shape[-1]))
    if call.name == "multi_head_attention_forward":
        query, key = call.args[0], call.args[1]
        length, batch, width = query.shape
        projections = 4 * length * batch * width * width
        return float(projections + 2 * batch * length * key.shape[0] * width)
    if call.name in functions.SCALINGS and isinstance(result, Tensor):
        return float(result.numel())
    if call.name in functions.SYNAPTIC:
        weight = call.argument(1, "weight")
        return float(result.numel() * weight[0].numel())
    return 0.0


def _gradient_fan_out(call: Call, sample: tuple[int, ...], weight: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        probe = torch.zeros(sample, device=weight.device, requires_grad=True)
        ones = torch.ones(weight.shape, device=weight.device)
        rest = list(call.args[2:])
        if rest and isinstance(rest[0], Tensor):
            rest[0] = None
        named = {key: None if key == "bias" else value for key, value in call.kwargs.items()}
        named.pop("weight", None)
        total = call.function(probe, ones, *rest, **named).sum()
        return torch.autograd.grad(total, probe)[0]
