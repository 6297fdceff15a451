"""Trace: what interception knows of a tensor that carries activations, and how it is passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from adacal.core import dimensions, functions
from adacal.core.calls import Call
from adacal.core.products import product_of
from adacal.core.spike_bytes import hand_over

_ATTRIBUTE, _TAG = "_adacal_trace", "_adacal_tag"


@dataclass(frozen=True, kw_only=True)
class Producer:
    """The synaptic operation whose output reaches a tensor through per-channel scalings only.

    Attributes:
        module: path of the module that owns the weight.
        function: the torch function (conv2d, linear, ...).
        args, kwargs: its arguments as called.
        norms: variance, ε and weight of the batch norms that its output went through on the way.
    """

    module: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    norms: tuple[tuple[Tensor, float, Tensor | None], ...] = ()

    @property
    def scale(self) -> Tensor | float:
        """Factor [C] applied to its output on the way, 1.0 if there is none."""
        scale: Tensor | float = 1.0
        for variance, epsilon, weight in self.norms:
            factor = torch.rsqrt(variance + epsilon)
            scale = scale * (factor if weight is None else factor * weight).detach()
        return scale


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What interception knows of a tensor that carries activations.

    Attributes:
        static: the rows of all blocks are equal (nothing before it has fired).
        channel_dim: dimension of the channels.
        row_dim: dimension of the rows; 0 unless the network moved it.
        producer: the synaptic operation it comes from, if that is known.
        site: the site whose output it is, shapes and order aside.
    """

    static: bool
    channel_dim: int = 1
    row_dim: int = 0
    producer: Producer | None = None
    site: str | None = None


_CONSTANT = Trace(static=True)


def trace_of(tensor: Tensor) -> Trace | None:
    """Returns what interception knows of a tensor; None if it carries no activations."""
    return getattr(tensor, _ATTRIBUTE, None)


def known_of(tensor: Tensor) -> Trace:
    """As `trace_of`; what carries no activations is the same at every step."""
    return trace_of(tensor) or _CONSTANT


def is_rows(tensor: Tensor) -> bool:
    """Whether a part of a network's output differs from sample to sample."""
    return tensor.is_floating_point() and trace_of(tensor) is not None


def set_trace(tensor: Tensor, trace: Trace | None, tag: Any = None) -> None:
    """Attaches knowledge to a tensor, and what a meter says of it, which is new in every pass."""
    setattr(tensor, _ATTRIBUTE, trace)
    setattr(tensor, _TAG, tag)


def meter_tag(tensor: Any) -> Any:
    """Returns what a meter has attached to a tensor."""
    return getattr(tensor, _TAG, None)


def traced_tensors(values: Any) -> list[Tensor]:
    """Returns the tensors carrying activations in a nest of arguments."""
    found: list[Tensor] = []
    _gather((values,), found)
    return found


def _gather(values: Iterable[Any], found: list[Tensor]) -> None:
    for value in values:
        if isinstance(value, Tensor):
            if getattr(value, _ATTRIBUTE, None) is not None:
                found.append(value)
        elif isinstance(value, list | tuple):
            _gather(value, found)
        elif isinstance(value, dict):
            _gather(value.values(), found)


def all_static(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor changes from step to step."""
    return all(known_of(tensor).static for tensor in tensors)


def mark_result(result: Any, known: Trace, args: tuple[Any, ...] = (), tag: Any = None) -> Any:
    """Attaches knowledge to every tensor of a result (and to a tensor changed in place).

    Args:
        result: what a function returned.
        known: of all its tensors.
        args: the function's arguments, where it may have changed the first of them.
        tag: one for the result, or a list with one for each tensor.
    """
    if isinstance(result, Tensor):
        if result.is_floating_point():
            set_trace(result, replace(known), tag)  # a tape tells tensors apart by their traces
            if args and result is args[0]:
                mark_base(result)
    elif isinstance(result, list | tuple):
        for index, item in enumerate(result):
            item_tag = tag[index] if isinstance(tag, list | tuple) else tag
            mark_result(item, known, (), item_tag)
    elif isinstance(result, dict):
        for item in result.values():
            mark_result(item, known)
    elif result is None and args and isinstance(args[0], Tensor):
        set_trace(args[0], replace(known, producer=None))
        mark_base(args[0])
    return result


def into(input: Tensor, output: Tensor) -> Tensor:
    """Overwrites an input with an output, unless that was written there already."""
    if output is input:
        return input
    places = zip(input.shape, input.stride(), output.stride(), strict=True)
    same = all(size == 1 or step == other for size, step, other in places)
    if not (same and input.data_ptr() == output.data_ptr()):
        input.copy_(output)
    hand_over(output, input)
    return input


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Leaves inference mode, where a view does not know whose it is; grad mode stays as it was."""
    grad = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(grad):
        yield


def mark_base(view: Tensor) -> None:
    """Tells the tensor that a view was taken of that it has been changed through the view."""
    base, known = view._base, trace_of(view)
    if base is not None and known is not None:
        before = trace_of(base) or known
        static = before.static and known.static
        set_trace(base, replace(before, static=static, producer=None))


def place_after(call: Call) -> tuple[int, int]:
    """Returns where the result of a call has its rows and its channels."""
    source = call.traced[0]
    known = known_of(source)
    product = product_of(call)
    if product is not None:
        return product.place(source, known.row_dim, known.channel_dim)
    rows = dimensions.moved_rows(call, source, known.row_dim)
    return rows, dimensions.moved_channels(call, source, known.channel_dim)


def after_linear(call: Call) -> Trace:
    """Returns what is known of the result of a linear operation."""
    source = call.traced[0]
    first = known_of(source)
    row_dim, channel_dim = place_after(call)
    producer = first.producer
    if call.name == "batch_norm":
        producer = _scaled(producer, call)
        channel_dim = 1
    elif call.name.strip("_") in {"add", "iadd", "radd"}:
        producers = (known_of(tensor).producer for tensor in call.traced)
        producer = next((found for found in producers if found), None)
    elif call.name not in {"contiguous", "clone", "dropout"}:
        producer = None
    return Trace(
        static=all_static(call.traced),
        channel_dim=channel_dim,
        row_dim=row_dim,
        producer=producer,
        site=first.site if rearranges(call) else None,
    )


def rearranges(call: Call) -> bool:
    """Whether a call only lays the elements of one tensor out anew."""
    return call.name in functions.SHAPE_ONLY | functions.VIEW_PROPERTIES and len(call.traced) == 1


def _scaled(producer: Producer | None, batch_norm: Call) -> Producer | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
    options = {**dict(zip(names, batch_norm.args, strict=False)), **batch_norm.kwargs}
    if len(batch_norm.args) > 7:
        options["eps"] = batch_norm.args[7]
    if producer is None or options.get("running_var") is None:
        return None
    norm = (options["running_var"], options.get("eps", 1e-5), options.get("weight"))
    return replace(producer, norms=(*producer.norms, norm))
