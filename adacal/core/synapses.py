"""How many synapses an operation has: the fan-out of each input element of layers, all MACs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from adacal.core import functions
from adacal.core.byte_sums import Weights
from adacal.core.calls import Call
from adacal.core.products import product_of
from adacal.core.traces import known_of

_SIZES = 8
"""Sizes of inputs that fan-outs of one kind of layer are kept for; each is as large as an input."""

_KINDS = 512
"""Kinds of layers that any are kept for."""


class FanOuts:
    """Number of synapses of each input element of layers; each kind of call is found once.

    Attributes:
        readers: what a layer last weighed the spikes of a site with, by the name of the site.
    """

    def __init__(self) -> None:
        self.readers: dict[str, Weights] = {}
        self._known: dict[Any, dict[Any, Weights]] = {}

    def __reduce__(self) -> tuple[type[FanOuts], tuple[()]]:
        return FanOuts, ()  # a copy of a network finds its own

    def of(self, call: Call) -> Weights:
        """Returns the fan-out, its values of the shape of one row of the input, borders included.

        Args:
            call: a convolution or a linear layer.

        >>> layer = Call(torch.nn.functional.linear, "linear", (torch.ones(5, 3), torch.ones(2, 3)))
        >>> FanOuts().of(layer).values
        tensor([[2., 2., 2.]])
        """
        source, weight = call.args[0], call.argument(1, "weight")
        at = known_of(source).row_dim
        sample = (*source.shape[:at], 1, *source.shape[at + 1 :])
        kind, key = _kind_of(call, weight), (sample, source.device)
        by_sample = self._known.get(kind)
        if by_sample is None:
            if len(self._known) >= _KINDS:
                self._known.clear()
            by_sample = self._known[kind] = {}
        found = by_sample.get(key)
        if found is None:
            if call.name == "linear":
                outputs = float(_outputs(weight))
                values = torch.full(sample, outputs, dtype=torch.float32, device=source.device)
            else:
                values = _gradient_fan_out(call, sample, weight)
            if len(by_sample) >= _SIZES:
                by_sample.clear()
            found = by_sample[key] = Weights(values)
        return found


def _kind_of(call: Call, weight: Tensor) -> Any:
    """What the fan-out of a layer depends on, besides the shape of its input."""
    rest = tuple([value for value in call.args[2:] if not isinstance(value, Tensor)])
    kwargs = call.kwargs
    named = sorted((k, v) for k, v in kwargs.items() if not isinstance(v, Tensor)) if kwargs else ()
    try:
        kind = call.name, weight.shape, rest, tuple(named)
        hash(kind)
    except TypeError:  # sizes in a list
        return call.name, weight.shape, str(rest), str(named)
    return kind


def _outputs(weight: Tensor) -> int:
    """Outputs of a linear layer; a weight without a dimension for them has one."""
    return int(weight.shape[0]) if weight.dim() > 1 else 1


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
    product = product_of(call)
    if product is not None:
        return product.macs()
    if call.name == "scaled_dot_product_attention":
        query, key, value = call.args[:3]
        pairs = math.prod(query.shape[:-1]) * key.shape[-2]
        return float(pairs * (query.shape[-1] + value.shape[-1]))
    if call.name == "multi_head_attention_forward":
        return _attention_macs(call)
    if call.name in functions.RECURRENT:
        return _recurrent_macs(call)
    if call.name in functions.SCALINGS and isinstance(result, Tensor):
        return float(result.numel())
    if call.name == "linear":
        return float(call.args[0].numel() * _outputs(call.args[1]))
    if call.name in functions.SYNAPTIC:
        source, weight = call.args[:2]
        fan_out = _gradient_fan_out(call, (1, *source.shape[1:]), weight)
        return float(fan_out.sum()) * source.shape[0]
    return 0.0


def _attention_macs(call: Call) -> float:
    """Projections into and out of the heads, scores and weighted sums; [L, N, E] or [L, E]."""
    query, key, value = call.args[:3]
    width = query.shape[-1]
    # the module may append a bias and a zero as keys of their own
    keys = key.shape[0] + int(call.argument(7, "bias_k") is not None)
    keys += int(bool(call.argument(9, "add_zero_attn", False)))
    projections = width * (2 * query.numel() + key.numel() + value.numel())
    return float(projections + 2 * query.numel() * keys)


def _recurrent_macs(call: Call) -> float:
    """Every weight matrix once for each vector of the input."""
    source, _, *rest = call.args
    flat = [item for value in rest for item in (value if isinstance(value, list) else [value])]
    weights = [value for value in flat if isinstance(value, Tensor) and value.dim() == 2]
    vectors = source.numel() // source.shape[-1]
    return float(vectors * sum(weight.numel() for weight in weights))


def _gradient_fan_out(call: Call, sample: tuple[int, ...], weight: Tensor) -> Tensor:
    device, exact = weight.device, torch.float32  # whatever the network computes in
    off = torch.autocast(weight.device.type, enabled=False)
    with torch.inference_mode(False), torch.enable_grad(), off:
        probe = torch.zeros(sample, dtype=exact, device=device, requires_grad=True)
        ones = torch.ones(weight.shape, dtype=exact, device=device)
        rest = list(call.args[2:])
        if rest and isinstance(rest[0], Tensor):
            rest[0] = None
        named = {key: None if key == "bias" else value for key, value in call.kwargs.items()}
        named.pop("weight", None)
        total = call.function(probe, ones, *rest, **named).sum()
        return torch.autograd.grad(total, probe)[0]
