"""Tag: the spikes that travel beside a tensor, and how functions that keep them spikes act on it.

A tag holds the spikes of a tensor summed over samples: it is laid out as the tensor, with one row a
step in the dimension of the rows. Shape-only functions and pools act on it as on the tensor (an
average pool is thereby folded into the fan-out of the layer after it), concatenations join tags and
residual additions add them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core import dimensions, functions, pooling
from adacal.core.calls import Call
from adacal.core.layout import Layout
from adacal.core.replay import replay
from adacal.core.sites import Coding
from adacal.core.tally import Tally, per_step, spikes_and_events, summed_in
from adacal.core.traces import known_of, meter_tag, trace_of

_UNCHANGED = functions.names(
    """contiguous clone detach data real identity _dropout_identity dropout dropout_ dropout1d
    dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout float double half
    bfloat16 to type type_as cuda cpu requires_grad_ batch_norm neg neg_ negative __neg__ positive
    __pos__"""
)


@dataclass(frozen=True, kw_only=True)
class Tag:
    """Spikes of a tensor, summed over samples.

    Attributes:
        tally: has them.
        analogue: 1 where an element is no spike (after a concat with analogue values), else 0.
        scale: θ of each element, broadcastable to one row, while it is known.
        probe: made as `spikes` are, of zeros whose gradient is wanted (`adacal.core.recording`).
        coding: what the spikes say, see `Site`.
    """

    tally: Tally
    analogue: Tensor | None = None
    scale: Tensor | None = None
    probe: Tensor | None = None
    coding: Coding = "counts"

    @property
    def spikes(self) -> Tensor:
        """Shape [steps*m, ...] of a tensor [steps*B*m, ...]; each spike of a burst counts."""
        return self.tally.spikes

    @property
    def events(self) -> Tensor:
        """As `spikes`, a burst counts once; may be the same tensor."""
        return self.tally.events


def tag_of(tensor: Any) -> Tag | None:
    """Returns the tag that travels beside a tensor; None if it is no tensor of spikes."""
    tag = meter_tag(tensor)
    return tag if isinstance(tag, Tag) else None


def placed(tag: Tag, shape: tuple[int, ...], row_dim: int) -> Tag:
    """Lays the tag of a site out as the site's output.

    Args:
        tag: with rows in dimension 0, as the neurons of the site have them.
        shape: of one sample at the site; a site of one value a sample has (1,).
        row_dim: where the output has its rows; -1 where one value a sample is all it has.
    """
    if row_dim == 0:
        return tag

    def move(rows: Tensor) -> Tensor:
        return rows.squeeze(1) if row_dim < 0 else rows.movedim(0, row_dim)

    scale = None if tag.scale is None else tag.scale.expand(1, *shape)
    return replace(_changed(tag, move), scale=None if scale is None else move(scale))


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


def one_row(source: Tensor, value: float) -> Tensor:
    """A companion of a tensor that holds one value, in a single row."""
    shape = _one_row(source, _row_dim(source))
    return source.new_full(shape, value, dtype=summed_in(source.dtype))


def is_sum(call: Call) -> bool:
    """Whether a call adds or subtracts; its tag is `added`."""
    return call.name.strip("_") in functions.SUMS and isinstance(call.args[0], Tensor | int | float)


def added(call: Call) -> tuple[Tag | None, list[tuple[Tensor, torch.Size]]]:
    """Adds the tags of a residual addition.

    Returns the tag of the sum, and the tensors whose spikes are spent, each with the shape of the
    sum: where the sum is no longer made of spikes alone, a spike costs one accumulate for every
    element of it that it reaches.
    """
    tensors = [value for value in call.args[:2] if isinstance(value, Tensor)]
    traced = [value for value in tensors if trace_of(value) is not None]
    tags = [tag_of(value) for value in traced]
    if len(traced) < 2:
        kept = tags[0] if tags and _keeps_shape(tensors, traced[0]) else None
        return None if kept is None else replace(kept, scale=None), []
    known = [tag for tag in tags if tag is not None]
    if len(known) < len(tags) or not _same_shape(traced):
        shapes = {tensor.shape for tensor in tensors}
        shape = shapes.pop() if len(shapes) == 1 else torch.broadcast_shapes(*shapes)
        return None, [(tensor, shape) for tensor in traced if tag_of(tensor) is not None]
    masks = [tag.analogue for tag in known if tag.analogue is not None]
    spikes = sum(tag.spikes for tag in known[1:]) + known[0].spikes
    single = all(tag.events is tag.spikes for tag in known)
    events = spikes if single else sum(tag.events for tag in known[1:]) + known[0].events
    mask = torch.stack(masks).amax(0) if masks else None
    probes = [tag.probe for tag in known if tag.probe is not None]
    probe = sum(probes[1:]) + probes[0] if len(probes) == len(known) else None
    return Tag(tally=Tally.of(spikes, events), analogue=mask, probe=probe), []


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
    if call.name == "stack" or call.name in dimensions.JOINS:
        return _joined(call, layout)
    if call.name in functions.SCALINGS:
        return _scaled(call)
    if call.name == "einsum":
        return _summed_by_einsum(call)
    source = call.args[0] if call.args else None
    tag = tag_of(source)
    if tag is None or source is None:
        return None
    if call.name in _UNCHANGED:
        return replace(tag, scale=None) if call.name == "batch_norm" else tag
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
    if call.name in functions.SHAPE_ONLY | functions.VIEW_PROPERTIES | {"interpolate"}:
        return _replayed(tag, call)
    return None


def _joined(call: Call, layout: Layout) -> Tag | None:
    """Joins the tags of a concatenation or stack; what has none is analogue there."""
    tensors: list[Tensor] = call.argument(0, "tensors")
    tags = [tag_of(tensor) for tensor in tensors]
    at = _row_dim(call.traced[0])
    if not any(tag is not None for tag in tags) or dimensions.joins_rows(call, at):
        return None
    parts: list[Tag] = []
    for tensor, tag in zip(tensors, tags, strict=True):
        if tag is None:
            zeros = per_step(torch.zeros_like(tensor), layout.blocks, layout.batch, at)
            mask = torch.ones_like(zeros)
            parts.append(Tag(tally=Tally.of(zeros, zeros), analogue=mask, probe=zeros.double()))
        else:
            parts.append(tag)

    def join(rows: list[Tensor]) -> Tensor:
        joined: Tensor = call.function(rows, *call.args[1:], **call.kwargs)
        return joined

    masks = [torch.zeros_like(p.spikes) if p.analogue is None else p.analogue for p in parts]
    pairs = zip(parts, tensors, strict=True)
    scales = [p.scale.expand(_one_row(t, at)) for p, t in pairs if p.scale is not None]
    probes = [p.probe for p in parts if p.probe is not None]
    return Tag(
        tally=Tally.of(join([p.spikes for p in parts]), join([p.events for p in parts])),
        analogue=join(masks) if any(tag.analogue is not None for tag in parts) else None,
        scale=join(scales) if len(scales) == len(parts) else None,
        probe=join(probes) if len(probes) == len(parts) else None,
        coding=_of_all(parts),
    )


def _scaled(call: Call) -> Tag | None:
    """Scaling by constants leaves spikes spikes: the factor belongs to the weights behind."""
    tag = tag_of(call.traced[0])
    operands = [value for value in call.args[:2] if isinstance(value, Tensor)]
    kept = len(call.traced) == 1 and _keeps_shape(operands, call.traced[0])
    return replace(tag, scale=None) if tag is not None and kept else None


def _summed_by_einsum(call: Call) -> Tag | None:
    """An einsum of a single operand only moves and sums; of more, it is a product."""
    equation, *operands = call.args
    tag = tag_of(operands[0])
    if tag is None or len(operands) > 1:
        return None
    return _changed(tag, lambda rows: call.function(equation, rows))


def _max_pooled(
    tag: Tag, call: Call, result: Any, layout: Layout, *, keep_graph: bool
) -> Tag | None:
    if tag.coding == "changes":  # of which any may change the largest rate
        return _sum_pooled(tag, call)
    if tag.scale is None or tag.analogue is not None:
        return None
    source = call.args[0]
    at = dimensions.moved_rows(call, source, _row_dim(source))
    values = result[0] if isinstance(result, tuple) else result
    scale = tag.scale
    if not _same_in_windows(call, scale):
        whole = scale.expand(_one_row(source, _row_dim(source))).contiguous()
        scale, smallest = pooling.maximum(call, whole), -pooling.maximum(call, -whole)
        if not torch.equal(scale, smallest):
            return None  # spikes of different worth: the largest is no number of spikes
    counts = (values / scale).round().abs()
    if layout.steps == 0 or tag.coding == "powers":
        counts = set_bits(counts)
    spikes, events = spikes_and_events(counts, layout.blocks, layout.batch, at)
    window = _sum_pooled(tag, call) if keep_graph else None
    if window is not None:
        # A pooled spike is shared among the spikes of its window: the gradient of the total
        # with respect to an input spike is then its mean fan-out.
        share = spikes / window.spikes.detach().clamp_min(1e-12)
        spikes = window.spikes * share
    return Tag(tally=Tally.of(spikes, events), scale=scale, coding=tag.coding)


def _same_in_windows(call: Call, scale: Tensor) -> bool:
    """Whether the shape of thresholds says that a max pool sees one in each of its windows."""
    if call.name in {"max", "amax"}:
        return False
    return all(size == 1 for size in scale.shape[-dimensions.pooled_axes(call.name) :])


def _sum_pooled(tag: Tag, call: Call) -> Tag | None:
    """A spike counts once for each window it is in."""
    source = call.args[0]
    if call.name in functions.REDUCING and _row_dim(source) in dimensions.reduced(call, source):
        return None
    return _changed(tag, pooling.window_sum(call))


def _replayed(tag: Tag, call: Call) -> Any:
    source: Tensor = call.args[0]
    at = _row_dim(source)
    again = replay(call, at, source.shape[at] // tag.spikes.shape[at])
    if again is None:
        return None
    spikes = again(tag.spikes)
    events = spikes if tag.events is tag.spikes else again(tag.events)
    analogue = again(tag.analogue) if tag.analogue is not None else None
    probe = again(tag.probe) if tag.probe is not None else None
    scale = _replayed_scale(tag, call, again, at)
    after = dimensions.moved_rows(call, source, at)

    def first(rows: Tensor | None) -> Tensor | None:
        if rows is None:
            return None
        one = rows.narrow(after, 0, 1)
        # where rows were split or joined, one describes the others only if all are alike
        alike = rows.shape[after] == tag.spikes.shape[at] or torch.equal(rows, one.expand_as(rows))
        return one if alike else None

    if isinstance(spikes, list | tuple):
        none = [None] * len(spikes)
        found = (none if part is None else part for part in (analogue, scale, probe))
        return [
            Tag(tally=Tally.of(s, e), analogue=a, scale=first(c), probe=p, coding=tag.coding)
            for s, e, a, c, p in zip(spikes, events, *found, strict=True)
        ]
    tally, scale = Tally.of(spikes, events), first(scale)
    return Tag(tally=tally, analogue=analogue, scale=scale, probe=probe, coding=tag.coding)


def _replayed_scale(tag: Tag, call: Call, again: Callable[[Tensor], Any], at: int) -> Any:
    """The thresholds, which a single row describes, laid out as the spikes."""
    if tag.scale is None or call.name == "fold":  # which adds overlapping elements
        return None
    scale = tag.scale.expand(_one_row(call.args[0], at))
    return again(scale.expand_as(tag.spikes).contiguous())


def _changed(tag: Tag, change: Callable[[Tensor], Tensor]) -> Tag:
    spikes = change(tag.spikes)
    return Tag(
        tally=Tally.of(spikes, spikes if tag.events is tag.spikes else change(tag.events)),
        analogue=change(tag.analogue) if tag.analogue is not None else None,
        probe=change(tag.probe) if tag.probe is not None else None,
        coding=tag.coding,
    )


def _of_all(tags: list[Tag]) -> Coding:
    """The coding of a concatenation; of parts that differ, the one that costs the most care."""
    order: tuple[Coding, ...] = ("changes", "powers", "counts")
    return next(coding for coding in order if any(tag.coding == coding for tag in tags))


def _row_dim(tensor: Tensor) -> int:
    return known_of(tensor).row_dim


def _one_row(tensor: Tensor, row_dim: int) -> tuple[int, ...]:
    """The shape of a tensor if it had a single row."""
    return (*tensor.shape[:row_dim], 1, *tensor.shape[row_dim + 1 :])


def _same_shape(tensors: list[Tensor]) -> bool:
    places = {(tensor.shape, _row_dim(tensor)) for tensor in tensors}
    return len(places) == 1


def _keeps_shape(operands: list[Tensor], source: Tensor) -> bool:
    return torch.broadcast_shapes(*(tensor.shape for tensor in operands)) == source.shape
