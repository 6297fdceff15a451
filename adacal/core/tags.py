"""Tag: the spikes that travel beside a tensor, and how functions that keep them spikes act on it.

A tag holds the spikes of a tensor summed over samples, one row a step. Shape-only functions and
pools act on it as on the tensor (an average pool is thereby folded into the fan-out of the layer
after it), concatenations join tags and residual additions add them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core import functions, pooling
from adacal.core.calls import Call
from adacal.core.layout import Layout
from adacal.core.replay import replay
from adacal.core.traces import trace_of

_UNCHANGED = frozenset(
    [
        "contiguous",
        "clone",
        "detach",
        "dropout",
        "dropout_",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_dropout",
        "feature_alpha_dropout",
        "float",
        "double",
        "half",
        "bfloat16",
        "to",
        "type",
        "type_as",
        "cuda",
        "cpu",
        "batch_norm",
        "neg",
        "__neg__",
        "requires_grad_",
        "identity",
        "_dropout_identity",
    ]
)
_SUMS = frozenset(["add", "iadd", "radd", "sub", "isub", "rsub", "subtract"])
_CONCATENATIONS = frozenset(["cat", "concat", "concatenate"])


@dataclass(frozen=True, kw_only=True)
class Tag:
    """Spikes of a tensor, summed over samples.

    Attributes:
        spikes: shape [steps*m, ...] where the tensor is [steps*B*m, ...]; each of the k spikes of a
            burst counts.
        events: as `spikes`, a burst counts once.
        analogue: 1 where an element is no spike (after a concat with analogue values), else 0.
        scale: θ of each element, broadcastable without rows, while it is known.
    """

    spikes: Tensor
    events: Tensor
    analogue: Tensor | None = None
    scale: Tensor | None = None


def tag_of(tensor: Any) -> Tag | None:
    """Returns the tag that travels beside a tensor; None if it is no tensor of spikes."""
    trace = trace_of(tensor) if isinstance(tensor, Tensor) else None
    return trace.tag if trace is not None and isinstance(trace.tag, Tag) else None


def per_step(rows: Tensor, layout: Layout) -> Tensor:
    """Sums rows [steps*B*m, ...] over samples: [steps*m, ...]."""
    blocks = rows.unflatten(0, (layout.blocks, layout.batch, -1))
    return blocks.sum(1).flatten(0, 1)


def set_bits(codes: Tensor) -> Tensor:
    """Number of ones in the binary code of whole numbers.

    >>> set_bits(torch.tensor([0.0, 1.0, 5.0, 7.0]))
    tensor([0., 1., 2., 3.])
    """
    rest = codes.to(torch.int32)
    ones = torch.zeros_like(rest)
    while bool((rest > 0).any()):
        ones += rest & 1
        rest = rest >> 1
    return ones.to(codes.dtype)


def is_sum(call: Call) -> bool:
    """Whether a call adds or subtracts; its tag is `added`."""
    return call.name.strip("_") in _SUMS and isinstance(call.args[0], Tensor | int | float)


def added(call: Call) -> tuple[Tag | None, list[Tag]]:
    """Adds the tags of a residual addition.

    Returns the tag of the sum, and the tags whose spikes are spent: where the sum is no longer
    made of spikes alone, each of them costs one accumulate.
    """
    tensors = [value for value in call.args[:2] if isinstance(value, Tensor)]
    traced = [value for value in tensors if trace_of(value) is not None]
    tags = [tag_of(value) for value in traced]
    if len(traced) < 2:
        return tags[0] if tags and _same_shape(tensors) else None, []
    known = [tag for tag in tags if tag is not None]
    if len(known) < len(tags) or not _same_shape(traced):
        return None, known
    masks = [tag.analogue for tag in known if tag.analogue is not None]
    total = Tag(
        spikes=sum(tag.spikes for tag in known[1:]) + known[0].spikes,
        events=sum(tag.events for tag in known[1:]) + known[0].events,
        analogue=torch.stack(masks).amax(0) if masks else None,
    )
    return total, []


def passed_on(call: Call, result: Any, layout: Layout, *, keep_graph: bool = False) -> Any:
    """Returns the tag of what a linear operation or max pool gives; None if it is analogue.

    Args:
        call: the operation; sums are left to `added`.
        result: of a max pool; None where an average stands in for it.
        layout: how the rows are laid out.
        keep_graph: let gradients reach the spikes before a max pool.
    Returns:
        A list of tags where the operation returns several tensors.
    """
    if call.name in _CONCATENATIONS:
        return _concatenated(call, layout)
    source = call.args[0] if call.args else None
    tag = tag_of(source)
    if tag is None or source is None:
        return None
    if call.name in _UNCHANGED:
        return replace(tag, scale=None) if call.name == "batch_norm" else tag
    if call.name in functions.SCALINGS:
        return replace(tag, scale=None) if _keeps_shape(call.args[1], source) else None
    if call.name in functions.MAX_POOL and result is not None:
        return _max_pooled(tag, call, result, layout, keep_graph=keep_graph)
    pool = call.name in functions.AVERAGE_POOL | functions.MAX_POOL
    if pool or call.name.strip("_") in {"mean", "sum"}:
        return _sum_pooled(tag, call)
    if call.name == "pad":
        widths, mode = call.argument(1, "pad"), call.argument(2, "mode", "constant")
        return _changed(tag, lambda rows: F.pad(rows, widths, mode=mode))
    nearest = {"nearest", "nearest-exact"}
    if call.name == "interpolate" and call.argument(3, "mode", "nearest") not in nearest:
        return None
    if call.name in functions.SHAPE_ONLY or call.name == "interpolate":
        return _replayed(tag, call)
    return None


def _concatenated(call: Call, layout: Layout) -> Tag | None:
    tensors: list[Tensor] = call.argument(0, "tensors")
    dim: int = call.argument(1, "dim", 0)
    tags = [tag_of(tensor) for tensor in tensors]
    if not any(tag is not None for tag in tags) or dim % tensors[0].dim() == 0:
        return None
    parts: list[Tag] = []
    for tensor, tag in zip(tensors, tags, strict=True):
        if tag is None:
            per_sample = tensor.shape[0] // (layout.blocks * layout.batch)
            zeros = tensor.new_zeros(layout.blocks * per_sample, *tensor.shape[1:])
            parts.append(Tag(spikes=zeros, events=zeros, analogue=torch.ones_like(zeros)))
        else:
            parts.append(tag)
    analogue = None
    if any(tag.analogue is not None for tag in parts):
        masks = [torch.zeros_like(p.spikes) if p.analogue is None else p.analogue for p in parts]
        analogue = torch.cat(masks, dim)
    pairs = zip(parts, tensors, strict=True)
    scales = [p.scale.expand(1, *t.shape[1:]) for p, t in pairs if p.scale is not None]
    return Tag(
        spikes=torch.cat([tag.spikes for tag in parts], dim),
        events=torch.cat([tag.events for tag in parts], dim),
        analogue=analogue,
        scale=torch.cat(scales, dim) if len(scales) == len(parts) else None,
    )


def _max_pooled(
    tag: Tag, call: Call, result: Any, layout: Layout, *, keep_graph: bool
) -> Tag | None:
    if tag.scale is None or tag.analogue is not None:
        return None
    values = result[0] if isinstance(result, tuple) else result
    scale = tag.scale.expand(1, *call.args[0].shape[1:]).contiguous()
    scale = pooling.maximum(call, scale)
    counts = (values / scale).round().abs()
    if layout.steps == 0:
        counts = set_bits(counts)
    spikes = per_step(counts, layout)
    events = per_step((counts != 0).to(counts.dtype), layout)
    window = _sum_pooled(tag, call) if keep_graph else None
    if window is not None:
        # A pooled spike is shared among the spikes of its window: the gradient of the total
        # with respect to an input spike is then its mean fan-out.
        share = spikes / window.spikes.detach().clamp_min(1e-12)
        spikes = window.spikes * share
    return Tag(spikes=spikes, events=events, scale=scale)


def _sum_pooled(tag: Tag, call: Call) -> Tag | None:
    """A spike counts once for each window it is in."""
    add = pooling.window_sum(call, tag.spikes[:1])
    return None if add is None else _changed(tag, add)


def _replayed(tag: Tag, call: Call) -> Any:
    source: Tensor = call.args[0]
    again = replay(call, source.shape[0] // tag.spikes.shape[0])
    if again is None:
        return None
    scale = tag.scale
    if scale is not None:
        scale = scale.expand(1, *source.shape[1:])
    spikes, events = again(tag.spikes), again(tag.events)
    analogue = again(tag.analogue) if tag.analogue is not None else None
    if isinstance(spikes, list | tuple):
        masks = analogue if analogue is not None else [None] * len(spikes)
        scales = _replayed_scales(again, scale, tag.spikes, len(spikes))
        return [
            Tag(spikes=s, events=e, analogue=a, scale=c)
            for s, e, a, c in zip(spikes, events, masks, scales, strict=True)
        ]
    [scale] = _replayed_scales(again, scale, tag.spikes, 1)
    return Tag(spikes=spikes, events=events, analogue=analogue, scale=scale)


def _replayed_scales(
    again: Callable[[Tensor], Any], scale: Tensor | None, like: Tensor, count: int
) -> list[Tensor | None]:
    """The thresholds take part only while one row describes a sample."""
    if scale is None or scale.shape[1:] != like.shape[1:]:
        return [None] * count
    found = again(scale.expand_as(like).contiguous())
    found = list(found) if isinstance(found, list | tuple) else [found]
    return [item[:1] if item.shape[0] == like.shape[0] else None for item in found]


def _changed(tag: Tag, change: Callable[[Tensor], Tensor]) -> Tag:
    return Tag(
        spikes=change(tag.spikes),
        events=change(tag.events),
        analogue=change(tag.analogue) if tag.analogue is not None else None,
    )


def _same_shape(tensors: list[Tensor]) -> bool:
    return all(tensor.shape == tensors[0].shape for tensor in tensors)


def _keeps_shape(factor: Any, source: Tensor) -> bool:
    if not isinstance(factor, Tensor) or factor.dim() == 0:
        return True
    return torch.broadcast_shapes(factor.shape, source.shape) == source.shape
