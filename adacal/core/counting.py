"""Exact counting of synaptic operations: every spike times its fan-out, borders included.

Beside each tensor of spikes travels a *tag*: the spikes summed over samples, one row a step.
Shape-only operations and average pools act on the tag as on the tensor (an average pool is folded
into the fan-out of the layer after it), residual additions add tags, a synaptic operation reads it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core import functions
from adacal.core.interception import Site, Trace, average_version, trace_of
from adacal.core.layout import Layout

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
_SCALINGS = (
    frozenset(["mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"]) | functions.DIVISION
)
_EXPANSIONS = frozenset(["expand", "expand_as", "broadcast_to"])
_SUMS = frozenset(["add", "iadd", "radd", "sub", "isub", "rsub", "subtract"])


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


@dataclass
class LayerCount:
    """Sums over all samples seen; divide by the number of samples for a mean.

    `written`: activations of an ANN, stored once each.
    """

    spikes: float = 0.0
    events: float = 0.0
    neurons: float = 0.0
    neuron_steps: float = 0.0
    sops: float = 0.0
    event_sops: float = 0.0
    reference_sops: float = 0.0
    macs: float = 0.0
    ann_macs: float = 0.0
    written: float = 0.0


@dataclass
class SynapseCounter:
    """Counts while a network runs; give the same one to many runs to sum over batches.

    Attributes:
        layers: counts by site (spikes) and by synaptic operation (SOPs, MACs).
        sops_by_step: SOPs of each step, summed over samples, by step index.
        samples: samples seen.
        total: SOPs as a tensor that keeps its graph, where tags require gradients.
    """

    layers: dict[str, LayerCount] = field(default_factory=lambda: defaultdict(LayerCount))
    sops_by_step: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    macs_by_step: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    samples: int = 0
    total: Tensor | None = None
    keep_graph: bool = False
    leaves: dict[str, Tensor] = field(default_factory=dict)
    _layout: Layout | None = None
    _first_step: int = 0
    _fan_out: dict[Any, Tensor] = field(default_factory=dict)

    def begin(self, layout: Layout, first_step: int = 0) -> None:
        """Starts a pass (one forward, or one step of a stepwise run)."""
        self._layout = layout
        self._first_step = first_step
        if first_step == 0:
            self.samples += layout.batch

    def fired(self, site: Site, counts: Tensor, threshold: Tensor) -> Tag:
        """Takes the spikes of a site and returns the tag for its output.

        Args:
            site: where they come from.
            counts: spike counts, shape [steps, B*m, C, *]; codes of a quantised network where the
                pass has no steps: their set bits count as spikes.
            threshold: θ, broadcastable to one step.
        """
        magnitude = counts.abs() if site.kind == "signed" else counts
        if self._active().steps == 0:
            magnitude = set_bits(magnitude)
        rows = self._per_step(magnitude.flatten(0, 1))
        events = self._per_step((magnitude != 0).to(counts.dtype).flatten(0, 1))
        count = self.layers[site.name]
        count.spikes += float(rows.sum())
        count.events += float(events.sum())
        if self._first_step == 0:
            count.neurons += counts[0].numel()
        count.neuron_steps += counts.numel()
        if self.keep_graph:
            rows = rows.detach().requires_grad_()
            self.leaves[site.name] = rows
        return Tag(spikes=rows, events=events, scale=threshold)

    def activated(self, site: Site, rows: Tensor) -> None:
        """Takes the activations of a site that computes as in the ANN."""
        self.layers[site.name].neurons += rows.numel()
        self.layers[site.name].written += rows.numel()

    def input_events(self, rows: Tensor, name: str = "input") -> Tag:
        """Returns the tag of an event-frame input: a count of n events is n spikes."""
        spikes = self._per_step(rows.abs())
        events = self._per_step((rows != 0).to(rows.dtype))
        self.layers[name].spikes += float(spikes.sum())
        self.layers[name].events += float(events.sum())
        return Tag(spikes=spikes, events=events)

    # the Meter protocol ----------------------------------------------------------------------

    def follow(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        result: Any,
        name: str,
        where: str,
    ) -> Any:
        """Returns the tag of what a linear operation or max pool gives; None if it is analogue."""
        base = name.strip("_")
        if base in _SUMS and isinstance(args[0], Tensor | int | float):
            return self._sum(where, args)
        if name in {"cat", "concat", "concatenate"}:
            return self._cat(args, kwargs)
        source = args[0] if args and isinstance(args[0], Tensor) else None
        tag = _tag(source) if source is not None else None
        if tag is None or source is None:
            return None
        if name in _UNCHANGED:
            keeps = name != "batch_norm"
            return Tag(
                spikes=tag.spikes,
                events=tag.events,
                analogue=tag.analogue,
                scale=tag.scale if keeps else None,
            )
        if name in _SCALINGS:
            other = args[1]
            same = not isinstance(other, Tensor) or other.dim() == 0 or _fits(other, source)
            return (
                Tag(spikes=tag.spikes, events=tag.events, analogue=tag.analogue) if same else None
            )
        if name in functions.MAX_POOL:
            return self._max_pooled(tag, args, kwargs, result, name)
        if name in functions.AVERAGE_POOL or base in {"mean", "sum"}:
            return _sum_pooled(tag, name, args, kwargs)
        if name == "pad":
            return _map_tag(tag, lambda t: _padded(t, args, kwargs))
        if name == "interpolate":
            mode = args[3] if len(args) > 3 else kwargs.get("mode", "nearest")
            if mode not in {"nearest", "nearest-exact"}:
                return None
        if name in functions.SHAPE_ONLY or name == "interpolate":
            return self._replayed(tag, function, args, kwargs, source)
        return None

    def synapse(
        self, where: str, function: Callable[..., Any], args: Any, kwargs: Any, result: Any
    ) -> None:
        """Counts a convolution or linear layer: SOPs for spikes, MACs for analogue inputs."""
        name = functions.function_name(function)
        fan_out = self._fan_out_of(function, name, args, kwargs)
        self._count(where, name, args, kwargs, fan_out, result)

    def product(
        self, where: str, function: Callable[..., Any], args: Any, kwargs: Any, result: Any
    ) -> None:
        """Counts a matrix product with one changing factor."""
        name = functions.function_name(function)
        operands = [value for value in args if isinstance(value, Tensor)]
        if len(operands) == 2 and operands[0] is args[0] and trace_of(operands[1]) is None:
            fan_out = self._fan_out_of(function, name, args, kwargs)
            self._count(where, name, args, kwargs, fan_out, result)
        else:
            self.analogue(where, function, args, kwargs, result)

    def analogue(
        self, where: str, function: Callable[..., Any], args: Any, kwargs: Any, result: Any
    ) -> None:
        """Counts the MACs of products between two activations; other functions cost none."""
        macs = _product_macs(functions.function_name(function), args, kwargs, result)
        if macs:
            traced = [t for t in args if isinstance(t, Tensor) and trace_of(t) is not None]
            static = all(_trace(t).static for t in traced)
            self._add_macs(where, macs, static)

    # how it is done ---------------------------------------------------------------------------

    def _count(
        self, where: str, name: str, args: Any, kwargs: Any, fan_out: Tensor, result: Tensor
    ) -> None:
        layout = self._active()
        source = args[0]
        trace = _trace(source)
        count = self.layers[where]
        rows = source.shape[0] // layout.blocks
        synapses = float(fan_out.sum()) * rows / fan_out.shape[0]
        if self._first_step == 0:
            count.ann_macs += synapses
        if trace.static and self._first_step:
            return  # computed at the first step and kept
        steps = 1 if trace.static else layout.blocks
        tag: Tag | None = trace.tag
        if tag is None:
            macs = synapses * steps
            count.macs += macs
            self.macs_by_step[self._first_step] += macs
            return
        events = self._add_sops(where, tag, fan_out, steps)
        if _counted_by_reference(name, args, kwargs):
            count.reference_sops += events * _groups(name, args, kwargs)
        if tag.analogue is not None:
            macs = float(_weighted(tag.analogue, fan_out).sum()) * layout.batch
            count.macs += macs
            self.macs_by_step[self._first_step] += macs

    def _add_sops(self, where: str, tag: Tag, fan_out: Tensor, steps: int) -> float:
        """Adds the accumulates of the first `steps` steps; returns those of events."""
        blocks = self._active().blocks
        by_step = _weighted(tag.spikes, fan_out).reshape(blocks, -1).sum(1)[:steps]
        if self.keep_graph:
            total = by_step.sum()
            self.total = total if self.total is None else self.total + total
        count = self.layers[where]
        for step, value in enumerate(by_step.detach().tolist()):
            self.sops_by_step[self._first_step + step] += value
            count.sops += value
        events = float(_weighted(tag.events, fan_out).reshape(blocks, -1)[:steps].sum())
        count.event_sops += events
        return events

    def _sum(self, where: str, args: Any) -> Tag | None:
        """A residual addition: spikes added to a current cost one accumulate each."""
        tensors = [value for value in args[:2] if isinstance(value, Tensor)]
        traced = [value for value in tensors if trace_of(value) is not None]
        tags = [_tag(value) for value in traced]
        if len(traced) < 2:
            return tags[0] if tags and _same_shape(tensors) else None
        known = [tag for tag in tags if tag is not None]
        if len(known) == len(tags) and _same_shape(traced):
            return Tag(
                spikes=sum(tag.spikes for tag in known[1:]) + known[0].spikes,
                events=sum(tag.events for tag in known[1:]) + known[0].events,
                analogue=_any_analogue(known),
            )
        for tag in known:
            self._add_sops(where, tag, torch.ones_like(tag.spikes[:1]), self._active().blocks)
        return None

    def _cat(self, args: Any, kwargs: Any) -> Tag | None:
        tensors = args[0] if args else kwargs["tensors"]
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        tags = [_tag(tensor) for tensor in tensors]
        if not any(tag is not None for tag in tags) or dim % tensors[0].dim() == 0:
            return None
        blocks = self._active().blocks
        parts: list[Tag] = []
        for tensor, tag in zip(tensors, tags, strict=True):
            if tag is None:
                per_sample = tensor.shape[0] // (blocks * self._active().batch)
                zeros = tensor.new_zeros(blocks * per_sample, *tensor.shape[1:])
                parts.append(Tag(spikes=zeros, events=zeros, analogue=torch.ones_like(zeros)))
            else:
                parts.append(tag)
        mixed = any(tag.analogue is not None for tag in parts)
        scales = [tag.scale for tag in parts]
        scale = None
        if all(s is not None for s in scales):
            full = [
                s.expand(1, *t.shape[1:])
                for s, t in zip(scales, tensors, strict=True)
                if s is not None
            ]
            scale = torch.cat(full, dim)
        return Tag(
            spikes=torch.cat([tag.spikes for tag in parts], dim),
            events=torch.cat([tag.events for tag in parts], dim),
            analogue=torch.cat([_analogue(tag) for tag in parts], dim) if mixed else None,
            scale=scale,
        )

    def _max_pooled(self, tag: Tag, args: Any, kwargs: Any, result: Any, name: str) -> Tag | None:
        if result is None:
            return _sum_pooled(tag, name, args, kwargs)
        values = result[0] if isinstance(result, tuple) else result
        if tag.scale is None or tag.analogue is not None:
            return None
        scale = tag.scale.expand(1, *args[0].shape[1:]).contiguous()
        scale = _first(_call_like(name, scale, args, kwargs))
        counts = (values / scale).round().abs()
        if self._active().steps == 0:
            counts = set_bits(counts)
        spikes = self._per_step(counts)
        events = self._per_step((counts != 0).to(counts.dtype))
        if self.keep_graph:
            # A pooled spike is shared among the spikes of its window: the gradient of the total
            # with respect to an input spike is then its mean fan-out.
            window = _sum_pooled(tag, name, args, kwargs)
            if window is not None:
                share = spikes / window.spikes.detach().clamp_min(1e-12)
                spikes = window.spikes * share
        return Tag(spikes=spikes, events=events, scale=scale)

    def _replayed(
        self,
        tag: Tag,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        source: Tensor,
    ) -> Any:
        """Applies a shape-only function to the tag, whose rows are fewer."""
        name = functions.function_name(function)
        batch = source.shape[0] // tag.spikes.shape[0]
        sizes = _target_sizes(name, args, kwargs)
        if sizes is not None and (not sizes or (sizes[0] > 0 and sizes[0] % batch)):
            return None

        def replay(companion: Tensor) -> Any:
            if sizes is not None:
                first = sizes[0] // batch if sizes[0] > 0 else sizes[0]
                change = companion.expand if name in _EXPANSIONS else companion.reshape
                return change(first, *sizes[1:])
            if name in {"squeeze", "squeeze_"} and not args[1:] and not kwargs:
                return companion.squeeze(
                    [d for d in range(1, source.dim()) if source.shape[d] == 1]
                )
            return function(companion, *args[1:], **kwargs)

        scale = tag.scale
        if scale is not None:
            scale = scale.expand(1, *source.shape[1:])
        spikes, events = replay(tag.spikes), replay(tag.events)
        analogue = replay(tag.analogue) if tag.analogue is not None else None
        if isinstance(spikes, list | tuple):
            masks = analogue if analogue is not None else [None] * len(spikes)
            scales = _replay_scale(replay, scale, tag.spikes, spikes)
            return [
                Tag(spikes=s, events=e, analogue=a, scale=c)
                for s, e, a, c in zip(spikes, events, masks, scales, strict=True)
            ]
        return Tag(
            spikes=spikes,
            events=events,
            analogue=analogue,
            scale=_replay_scale(replay, scale, tag.spikes, [spikes])[0],
        )

    def _fan_out_of(
        self, function: Callable[..., Any], name: str, args: Any, kwargs: Any
    ) -> Tensor:
        """Number of synapses of each input element, shape [1, ...] (one sample)."""
        source, weight = args[0], args[1] if len(args) > 1 else kwargs["weight"]
        sample = source.shape[1:]
        rest = [value for value in args[2:] if not isinstance(value, Tensor)]
        named = sorted((k, v) for k, v in kwargs.items() if not isinstance(v, Tensor))
        key = (name, tuple(weight.shape), tuple(sample), repr(rest), repr(named))
        if key not in self._fan_out:
            if name == "linear":
                found = source.new_full((1, *sample), float(weight.shape[0]))
            else:
                found = _gradient_fan_out(function, source, weight, args, kwargs)
            self._fan_out[key] = found
        return self._fan_out[key]

    def _add_macs(self, where: str, macs: float, static: bool) -> None:
        layout = self._active()
        if self._first_step == 0:
            self.layers[where].ann_macs += macs / layout.blocks
        counted = macs / layout.blocks if static else macs
        self.layers[where].macs += counted
        self.macs_by_step[self._first_step] += counted

    def _per_step(self, rows: Tensor) -> Tensor:
        """Sums [steps*B*m, ...] over samples: [steps*m, ...]."""
        layout = self._active()
        blocks = rows.unflatten(0, (layout.blocks, layout.batch, -1))
        return blocks.sum(1).flatten(0, 1)

    def _active(self) -> Layout:
        assert self._layout is not None, "begin() comes before counting"
        return self._layout


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


def _trace(tensor: Tensor) -> Trace:
    trace = trace_of(tensor)
    return trace if trace is not None else Trace(static=True)


def _tag(tensor: Any) -> Tag | None:
    trace = trace_of(tensor) if isinstance(tensor, Tensor) else None
    return trace.tag if trace is not None and isinstance(trace.tag, Tag) else None


def _any_analogue(tags: list[Tag]) -> Tensor | None:
    masks = [tag.analogue for tag in tags if tag.analogue is not None]
    return torch.stack(masks).amax(0) if masks else None


def _analogue(tag: Tag) -> Tensor:
    return tag.analogue if tag.analogue is not None else torch.zeros_like(tag.spikes)


def _target_sizes(name: str, args: Any, kwargs: Any) -> list[int] | None:
    """The shape asked for by a view, reshape or expand, rows first; None for other functions."""
    if name in {"view_as", "reshape_as", "expand_as"}:
        return list((args[1] if len(args) > 1 else kwargs["other"]).shape)
    if name not in {"view", "reshape"} | _EXPANSIONS:
        return None
    wanted = args[1:] or tuple(kwargs.values())
    if len(wanted) == 1 and isinstance(wanted[0], list | tuple):
        wanted = tuple(wanted[0])
    return [int(size) for size in wanted] if all(isinstance(v, int) for v in wanted) else []


def _map_tag(tag: Tag, change: Callable[[Tensor], Tensor]) -> Tag:
    return Tag(
        spikes=change(tag.spikes),
        events=change(tag.events),
        analogue=change(tag.analogue) if tag.analogue is not None else None,
    )


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


def _same_shape(tensors: list[Tensor]) -> bool:
    return all(tensor.shape == tensors[0].shape for tensor in tensors)


def _fits(other: Tensor, source: Tensor) -> bool:
    return torch.broadcast_shapes(other.shape, source.shape) == source.shape


def _weighted(companion: Tensor, fan_out: Tensor) -> Tensor:
    """Spikes times fan-out, one number a row."""
    return (companion * fan_out.to(companion)).flatten(1).sum(1)


def _call_like(name: str, tensor: Tensor, args: Any, kwargs: Any) -> Any:
    if name in {"max", "amax"}:
        dim = args[1] if len(args) > 1 else kwargs["dim"]
        keepdim = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
        return tensor.amax(dim, keepdim=keepdim)
    return getattr(F, name)(tensor, *args[1:], **kwargs)


def _sum_pooled(tag: Tag, name: str, args: Any, kwargs: Any) -> Tag | None:
    """Folds a pool into the layer after it: a spike counts once for each window it is in."""
    base = name.strip("_")
    source: Tensor = args[0]
    if base in {"mean", "sum", "max", "amax"}:
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if dim is None:
            return None
        keepdim = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
        return _map_tag(tag, lambda t: t.sum(dim, keepdim=keepdim))
    if "adaptive" in base:
        size = args[1] if len(args) > 1 else kwargs["output_size"]
        axes = 3 if "3d" in base else 2 if "2d" in base else 1
        size = (size,) * axes if isinstance(size, int) else tuple(size)
        return _map_tag(tag, lambda t: _adaptive_sum(t, size, source.shape[-axes:]))
    ones = torch.ones_like(tag.spikes[:1])

    def mean(tensor: Tensor) -> Tensor:
        if name in functions.MAX_POOL:
            return average_version(name, (tensor, *args[1:]), kwargs)
        pooled: Tensor = getattr(F, base)(tensor, *args[1:], **kwargs)
        return pooled

    # mean(x) = sum(x)/d; with ones, mean = n/d and the number n of valid elements follows from the
    # same pool over window indicators, so d = n / mean(ones).
    divisor = _window_elements(ones, name, args, kwargs) / mean(ones).clamp_min(1e-12)
    return _map_tag(tag, lambda t: mean(t) * divisor)


def _window_elements(ones: Tensor, name: str, args: Any, kwargs: Any) -> Tensor:
    """Counts the input elements in each pooling window (padding left out)."""
    names = ("kernel_size", "stride", "padding")
    options = {**dict(zip(names, args[1:4], strict=False)), **kwargs}
    kernel = options["kernel_size"]
    axes = 3 if "3d" in name else 2 if "2d" in name else 1
    kernel = (kernel,) * axes if isinstance(kernel, int) else tuple(kernel)
    kernel = kernel * axes if len(kernel) < axes else kernel
    full = float(math.prod(kernel))
    pool = getattr(F, f"avg_pool{axes}d")
    position = 4 if name not in functions.MAX_POOL else 5
    ceil_mode = options.get("ceil_mode", args[position] if len(args) > position else False)
    padding = options.get("padding", 0)
    padding = (padding,) * axes if isinstance(padding, int) else tuple(padding)
    padded = F.pad(ones, [p for side in reversed(padding) for p in (side, side)])
    stride = options.get("stride") or kernel
    if ceil_mode:
        # enough zeros at the end for the last, partial windows
        padded = F.pad(padded, [p for k in reversed(kernel) for p in (0, k - 1)])
    counted = pool(padded, kernel, stride) * full
    shape = _pooled_shape(ones, pool, options, bool(ceil_mode))
    index = (slice(None), slice(None), *(slice(0, size) for size in shape))
    return counted[index]


def _pooled_shape(
    ones: Tensor, pool: Callable[..., Tensor], options: dict[str, Any], ceil_mode: bool
) -> tuple[int, ...]:
    out = pool(
        ones,
        options["kernel_size"],
        options.get("stride"),
        options.get("padding", 0),
        ceil_mode=ceil_mode,
    )
    return tuple(out.shape[2:])


def _adaptive_sum(tensor: Tensor, size: tuple[int | None, ...], extent: Any) -> Tensor:
    axes = len(size)
    pool = getattr(F, f"adaptive_avg_pool{axes}d")
    pooled = pool(tensor, size)
    for axis, (length, out) in enumerate(zip(extent, pooled.shape[-axes:], strict=True)):
        window = [math.ceil((i + 1) * length / out) - i * length // out for i in range(out)]
        shape = [1] * pooled.dim()
        shape[pooled.dim() - axes + axis] = out
        pooled = pooled * pooled.new_tensor(window).reshape(shape)
    return pooled


def _padded(tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
    widths = args[1] if len(args) > 1 else kwargs["pad"]
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    return F.pad(tensor, widths, mode=mode)


def _replay_scale(
    replay: Callable[[Tensor], Any], scale: Tensor | None, like: Tensor, results: Any
) -> list[Tensor | None]:
    """The thresholds take part only while one row describes a sample."""
    if scale is None:
        return [None] * len(results)
    full = scale.expand(like.shape[0], *scale.shape[1:]) if scale.shape[0] == 1 else None
    if full is None or full.shape != like.shape:
        return [None] * len(results)
    found = replay(full.contiguous())
    found = list(found) if isinstance(found, list | tuple) else [found]
    return [item[:1] if item.shape[0] == like.shape[0] else None for item in found]


def _gradient_fan_out(
    function: Callable[..., Any], source: Tensor, weight: Tensor, args: Any, kwargs: Any
) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        probe = torch.zeros(1, *source.shape[1:], device=source.device, requires_grad=True)
        ones = torch.ones(weight.shape, device=source.device)
        rest = list(args[2:])
        if rest and isinstance(rest[0], Tensor):
            rest[0] = None
        named = {key: None if key == "bias" else value for key, value in kwargs.items()}
        named.pop("weight", None)
        total = function(probe, ones, *rest, **named).sum()
        return torch.autograd.grad(total, probe)[0]


def _groups(name: str, args: Any, kwargs: Any) -> int:
    if not name.startswith("conv"):
        return 1
    return int(args[6]) if len(args) > 6 else int(kwargs.get("groups", 1))


def _counted_by_reference(name: str, args: Any, kwargs: Any) -> bool:
    """The reference code leaves out the classifier and 1x1 downsample convolutions."""
    if not name.startswith("conv"):
        return False
    kernel = args[1].shape[2:]
    stride = args[3] if len(args) > 3 else kwargs.get("stride", 1)
    strides = (stride,) if isinstance(stride, int) else tuple(stride)
    return not (all(k == 1 for k in kernel) and any(s > 1 for s in strides))


def _product_macs(name: str, args: Any, kwargs: Any, result: Any) -> float:
    if name in {"matmul", "__matmul__", "bmm", "mm"}:
        return float(result.numel() * args[0].shape[-1])
    if name == "scaled_dot_product_attention":
        query, key, value = args[:3]
        pairs = math.prod(query.shape[:-1]) * key.shape[-2]
        return float(pairs * (query.shape[-1] + value.shape[-1]))
    if name == "multi_head_attention_forward":
        query, key = args[0], args[1]
        length, batch, width = query.shape
        projections = 4 * length * batch * width * width
        return float(projections + 2 * batch * length * key.shape[0] * width)
    if name in _SCALINGS and isinstance(result, Tensor):
        return float(result.numel())
    if name in functions.SYNAPTIC:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        return float(result.numel() * weight[0].numel())
    return 0.0
