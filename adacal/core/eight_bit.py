"""Layers in 8 bits: spikes as bytes times weights rounded to bytes, added up as whole numbers.

A layer that spikes enter computes `sum_i W[o, i] * θ[i] * k[i]`, of which the counts k are small
whole numbers. With `W[o, i] * θ[i] = s[o] * q[o, i]`, q rounded to whole numbers from -127 to 127
and one scale for each output, the sum over `q * k` is one of whole numbers, exact and in any order,
and `s[o]` comes in behind it. What is rounded are weights, each by at most a 254th of the largest
of its output; spikes are not.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core import dimensions, functions
from adacal.core.calls import Call
from adacal.core.errors import UnsupportedModelError
from adacal.core.pooling import elements_averaged
from adacal.core.seen import Seen
from adacal.core.spike_bytes import MOST, SpikeBytes, bytes_of, pooled

LARGEST = 127
"""Largest weight; -128 has no opposite."""
_SIZES = 8
"""Sizes of input that a weight is kept packed for."""
_AXES = {"linear": 0, "conv1d": 1, "conv2d": 2}


class EightBit:
    """Runs layers that spikes enter in 8 bits and keeps their packed weights for the next run."""

    def __init__(self) -> None:
        self._kept: dict[Any, dict[Any, _Packed]] = {}

    def __reduce__(self) -> tuple[type[EightBit], tuple[()]]:
        return EightBit, ()  # packed weights cannot be copied

    def begin(self) -> None:
        """Has nothing to do: weights are looked at layer by layer."""

    def run(self, call: Call) -> Tensor:
        """Makes the call of a layer: in 8 bits where spikes enter it, else as it is.

        Left as they are: layers that take anything but the spikes of one site or of a pool over
        them, transposed and 3D convolutions, and sums that 32 bits may not hold.

        Returns:
            Currents, float32, laid out as the layer itself would have done.
        Raises:
            UnsupportedModelError: a weight is not finite.
        """
        spikes = bytes_of(call.args[0])
        layer = None if spikes is None else _read(call, spikes)
        if spikes is None or layer is None:
            return call.run()
        return layer.run(spikes.counts, self._packed(layer, spikes))

    def _packed(self, layer: _Layer, spikes: SpikeBytes) -> _Packed:
        # one weight may serve several sites, as the head of a detector does
        key = id(layer.weight), spikes.site, layer.options
        if key not in self._kept:
            self._kept[key] = {}
            # one that a network makes anew at every pass goes with it
            weakref.finalize(layer.weight, self._kept.pop, key, None)
        # and is packed for a size of input: of another it would be laid out anew at every call
        size = spikes.counts.shape[2:] if layer.axes else (), len(spikes.counts) == 1
        sizes = self._kept[key]
        kept = sizes.get(size)
        if kept is None or not kept.is_of(layer.weight, spikes.threshold):
            if len(sizes) >= _SIZES:
                sizes.pop(next(iter(sizes)))
            kept = sizes[size] = _pack(layer, spikes)
        return kept


def run_pool(call: Call) -> Any:
    """Runs a pool, and says what spikes its result is made of if its input is of spikes."""
    result = call.run()
    after_pool(call, result)
    return result


def after_pool(call: Call, result: Any) -> None:
    """Says what spikes the result of a pool is made of if its input is of spikes."""
    source = call.args[0]
    if bytes_of(source) is None:
        return
    elements: int | None = 1
    if call.name in functions.AVERAGE_POOL:
        elements = elements_averaged(call, source)
    if elements is None:
        return
    if call.name in {"max", "amax"}:
        dims = set(dimensions.reduced(call, source))
    else:
        dims = set(range(source.dim() - dimensions.pooled_axes(call.name), source.dim()))
    pooled(source, result, dims, elements)


def rounded(weight: Tensor, threshold: Tensor, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Rounds what single spikes add to 8 bits, with one scale for each output.

    Args:
        weight: [O, I/groups, *].
        threshold: θ of the I inputs, any shape of I numbers or of one.
        groups: of a convolution.
    Returns:
        Whole numbers q as int8, shape of `weight`, and the scales s, shape [O], activation units:
        `weight * threshold` is `s * q` to half a scale.

    >>> rounded(torch.tensor([[1.0, -0.5]]), torch.tensor([1.27, 2.54]))
    (tensor([[ 127, -127]], dtype=torch.int8), tensor([0.0100]))
    """
    outputs, inputs, *kernel = weight.shape
    theta = threshold.detach().flatten().expand(inputs * groups).reshape(groups, 1, inputs)
    theta = theta.expand(groups, outputs // groups, inputs).reshape(outputs, inputs)
    spike = weight.detach() * theta.reshape(outputs, inputs, *[1] * len(kernel))
    largest = spike.abs().flatten(1).amax(1)
    scale = torch.where(largest == 0, torch.ones_like(largest), largest / LARGEST)
    codes = (spike / scale.reshape(outputs, *[1] * (weight.dim() - 1))).round_()
    return codes.clamp_(-LARGEST, LARGEST).to(torch.int8), scale


@lru_cache(maxsize=1)
def trouble() -> str:
    """Says why layers cannot run in 8 bits here, as a half sentence; empty if they can.

    oneDNN must multiply bytes into 32 bits at once (AVX512_VNNI, AMX): older instructions keep 16
    and cut sums off. It must also give the sums that floats give, on a trial.
    """
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    if supported is None or not supported():
        return "this processor has no instructions for it (AVX512_VNNI)"
    try:
        return "" if _agrees() else "its sums differ from those of float32 on this processor"
    except (AttributeError, RuntimeError) as error:  # no such operation, or it refuses
        return f"torch {torch.__version__} cannot do it: {' '.join(str(error).split())[:200]}"


@dataclass(frozen=True)
class _Layer:
    """A linear layer (axes = 0) or a convolution over one or two axes."""

    axes: int
    weight: Tensor
    bias: Tensor | None
    options: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
    """Stride, padding and dilation, each of two axes, and groups."""
    last: bool
    """Whether channels come last in the memory of the result."""

    def run(self, counts: Tensor, packed: _Packed) -> Tensor:
        whole = torch.ops.onednn
        numbers = (1.0, 0, packed.data, packed.scale, packed.zeros, self.bias)
        as_float: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")
        if self.axes == 0:
            return whole.qlinear_pointwise(counts, *numbers, *as_float)
        rows = counts if self.axes == 2 else counts.unsqueeze(3)
        rows = rows.contiguous(memory_format=torch.channels_last)
        result = whole.qconv2d_pointwise(rows, *numbers, *self.options, *as_float)
        result = result if self.axes == 2 else result.squeeze(3)
        return result if self.last else result.contiguous()


@dataclass(frozen=True)
class _Packed:
    """A weight in 8 bits as oneDNN wants it, and what it was made from."""

    weight: Seen
    threshold: Tensor
    data: Tensor
    scale: Tensor
    zeros: Tensor

    def is_of(self, weight: Tensor, threshold: Tensor) -> bool:
        return self.weight.is_still(weight) and torch.equal(self.threshold, threshold)


def _read(call: Call, spikes: SpikeBytes) -> _Layer | None:
    """Reads a layer from its call; None if it is to run as it is."""
    axes, weight = _AXES.get(call.name), call.argument(1, "weight")
    rows, bias = spikes.counts, call.argument(2, "bias")
    if axes is None or rows.dim() < 2 or (axes and rows.dim() != axes + 2):
        return None
    channels = rows.dim() - 1 if axes == 0 else 1
    varying = [dim for dim, size in enumerate(spikes.threshold.shape) if size > 1]
    least = rows.dim() - spikes.threshold.dim()
    if any(least + dim != channels for dim in varying):
        return None
    if weight.dim() != axes + 2 or weight.dtype is not torch.float32:
        return None
    if spikes.most * LARGEST * weight[0].numel() >= 2**31:
        return None
    named = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    values = [call.argument(*name) for name in named] if axes else [1, 0, 1]
    if any(isinstance(value, str) for value in values):  # padding="same"
        return None
    pairs = zip(values, named, strict=True)
    stride, padding, dilation = (_pair(value, axes, name[2]) for value, name in pairs)
    groups = int(call.argument(6, "groups", 1)) if axes else 1
    last = any(_channels_last(tensor) for tensor in (call.args[0], weight))
    return _Layer(axes, weight, bias, (stride, padding, dilation, groups), last)


def _channels_last(tensor: Tensor) -> bool:
    if tensor.dim() != 4 or tensor.is_contiguous():
        return False
    return tensor.is_contiguous(memory_format=torch.channels_last)


def _pair(value: int | tuple[int, ...], axes: int, neutral: int) -> tuple[int, ...]:
    """Two numbers, one for each axis; a single axis is followed by one of size 1."""
    own = (value,) if isinstance(value, int) else tuple(value)
    own = own * axes if len(own) == 1 else own
    return own if axes == 2 else (*own[:1], neutral)


def _pack(layer: _Layer, spikes: SpikeBytes) -> _Packed:
    codes, scale = rounded(layer.weight, spikes.threshold, layer.options[3])
    if not bool(scale.isfinite().all()):
        raise UnsupportedModelError(
            f"a weight of shape {list(layer.weight.shape)} has values that are not finite, or too "
            "large for its thresholds; load other weights"
        )
    if layer.axes == 0:
        data = torch.ops.onednn.qlinear_prepack(codes, None)
    else:
        size = [*spikes.counts.shape, 1][:4]
        data = codes if layer.axes == 2 else codes.unsqueeze(3)
        data = torch.ops.onednn.qconv_prepack(data, scale, 1.0, 0, *layer.options, size)
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    return _Packed(Seen(layer.weight), spikes.threshold.clone(), data, scale, zeros)


def _agrees() -> bool:
    """Whether sums near the largest come out as float64 has them."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(200, MOST + 1, (2, 32, 5, 5), generator=generator, dtype=torch.uint8)
    weight = torch.randint(-LARGEST, LARGEST + 1, (16, 32, 3, 3), generator=generator)
    weight = weight.to(torch.float32)
    weight[:8] = weight[:8].abs()
    weight[:, 0, 0, 0] = LARGEST  # so that scales are 1
    rows, flat = counts.flatten(1)[:, :288], weight.flatten(1)
    return all(
        torch.equal(_tried(call), call.function(*(v.double() for v in call.args)).float())
        for call in (
            Call(F.conv2d, "conv2d", (counts, weight)),
            Call(F.linear, "linear", (rows.contiguous(), flat)),
        )
    )


def _tried(call: Call) -> Tensor:
    counts, threshold = call.args[0], torch.ones(1, dtype=torch.float32)
    spikes = SpikeBytes("trial", counts, threshold, MOST, 0)
    layer = _read(call, spikes)
    assert layer is not None
    return layer.run(counts, _pack(layer, spikes))
