"""Where channels and rows lie after an operation that moves dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adacal.core import functions
from adacal.core.calls import Call
from adacal.core.errors import UnsupportedModelError

_PERMUTING = frozenset(
    [
        "transpose",
        "transpose_",
        "swapaxes",
        "swapdims",
        "permute",
        "movedim",
        "moveaxis",
        "t",
        "T",
        "mT",
        "H",
        "mH",
        "adjoint",
        "unsqueeze",
        "unsqueeze_",
    ]
)
JOINS = {"cat": None, "concat": None, "concatenate": None, "hstack": 1, "vstack": 0, "dstack": 2}
"""The dimension that each joins along; None where the call says."""
_RESHAPING = frozenset(["view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"])


def moved_channels(call: Call, source: Tensor, channel_dim: int) -> int:
    """Returns the channel dimension of the result; -1 where channels are last (tokens)."""
    if call.name in _PERMUTING:
        at, dims = _after(call, source.dim(), channel_dim % source.dim())
        return -1 if at == dims - 1 and dims > 2 else at
    if call.name in _RESHAPING or call.name in {"mean", "squeeze", "__getitem__"}:
        return -1 if channel_dim == -1 else 1
    return channel_dim if channel_dim < 0 else channel_dim + _dimensions_before(call, source)


def moved_rows(call: Call, source: Tensor, row_dim: int) -> int:
    """Returns the dimension of the result that holds the rows.

    >>> x = torch.ones(3, 5, 2)
    >>> moved_rows(Call(torch.amax, "amax", (x, 0)), x, row_dim=1)
    0
    """
    dims = source.dim()
    if call.name in _PERMUTING:
        return _after(call, dims, row_dim)[0]
    if call.name == "stack":
        return row_dim + int(call.argument(1, "dim", 0) % (dims + 1) <= row_dim)
    if call.name == "__getitem__":
        return _indexed(call.args[1], dims, row_dim)
    if call.name in functions.REDUCING:
        return row_dim - sum(dim < row_dim for dim in removed(call, source)) if row_dim else 0
    return row_dim + _dimensions_before(call, source)


def reduced(call: Call, source: Tensor) -> list[int]:
    """The dimensions that a call like `sum` or `max` reduces; all of them if it names none.

    >>> x = torch.ones(3, 5, 2)
    >>> reduced(Call(torch.mean, "mean", (x, [-1, 1])), x), reduced(Call(torch.sum, "sum", (x,)), x)
    ([2, 1], [0, 1, 2])
    """
    given = call.argument(2 if call.name == "norm" else 1, "dim")
    chosen = [given] if isinstance(given, int) else list(given or range(source.dim()))
    return [dim % source.dim() for dim in chosen]


def removed(call: Call, source: Tensor) -> list[int]:
    """The dimensions of the source that a reduction or selection takes away."""
    if call.name == "unbind":
        return [call.argument(1, "dim", 0) % source.dim()]
    if call.name in {"select", "squeeze", "squeeze_"}:
        squeezing = call.name != "select"
        return [d for d in reduced(call, source) if not squeezing or source.shape[d] == 1]
    if isinstance(call.argument(1, "other"), Tensor):  # max(x, y), element by element
        return []
    place = {"norm": 3, "std": 3, "var": 3}.get(call.name, 2)
    return [] if call.argument(place, "keepdim", False) is True else reduced(call, source)


def _dimensions_before(call: Call, source: Tensor) -> int:
    """How many dimensions a call puts before those of its source, by broadcasting or by name."""
    if call.name in functions.EXPANDING:
        return max(0, len(asked_shape(call)) - source.dim())
    if call.name in functions.SCALINGS or call.name.strip("_") in functions.SUMS:
        operands = [value.dim() for value in call.args[:2] if isinstance(value, Tensor)]
        return max([0, *(dims - source.dim() for dims in operands)])
    return 0


def asked_shape(call: Call) -> list[int]:
    """The sizes that an expansion, repetition or reshaping asks for (the dimensions of a flip)."""
    if call.name in {"view_as", "reshape_as", "expand_as"}:
        return list(call.argument(1, "other").shape)
    wanted = call.args[1:] or tuple(call.kwargs.values())
    if len(wanted) == 1 and isinstance(wanted[0], list | tuple):
        wanted = tuple(wanted[0])
    return [int(size) for size in wanted] if all(isinstance(v, int) for v in wanted) else []


def refuse_mixed_rows(where: str, name: str, source: Tensor, result: Any, row_dim: int) -> None:
    """Refuses to fold rows that are not in dimension 0 into the dimensions before them.

    Raises:
        UnsupportedModelError: time could no longer be told from other dimensions.
    """
    if row_dim == 0 or name not in _RESHAPING or not isinstance(result, Tensor):
        return
    if result.shape[:row_dim] != source.shape[:row_dim]:
        raise UnsupportedModelError(
            f"'{name}' at '{where}' folds samples, which the network moved to dimension {row_dim}, "
            "into other dimensions; keep samples in dimension 0"
        )


def joins_rows(call: Call, row_dim: int) -> bool:
    """Whether a call puts rows behind rows, so that steps no longer follow each other."""
    if call.name in {"repeat", "tile"}:
        times, dims = asked_shape(call), call.args[0].dim()
        at = len(times) - dims + row_dim
        return at >= 0 and times[at] > 1
    if call.name not in JOINS or len(call.args[0]) < 2:
        return False
    dims, fixed = call.args[0][0].dim(), JOINS[call.name]
    if fixed is not None and dims <= max(fixed, 1):  # these add dimensions to tensors of few
        return True
    dim: int = call.argument(1, "dim", 0) if fixed is None else fixed
    return dim % dims == row_dim


def refuse_joined_rows(where: str, call: Call, row_dim: int) -> None:
    """Refuses to put samples behind samples: the rows of a step would no longer lie together.

    Raises:
        UnsupportedModelError: the call does so.
    """
    if joins_rows(call, row_dim):
        raise UnsupportedModelError(
            f"'{call.name}' at '{where}' puts samples behind samples in dimension {row_dim}, so "
            "steps could not be told from samples; run them through the network one after another, "
            "or join them before it"
        )


def refuse_windows_over_rows(where: str, call: Call, row_dim: int) -> None:
    """Refuses layers and pools that would mix the rows with their neighbours.

    Raises:
        UnsupportedModelError: the rows lie in a dimension that the operation sums over.
    """
    dims = call.traced[0].dim()
    if call.name == "linear":
        mixed = row_dim == dims - 1 and dims > 1
    elif call.name in functions.SYNAPTIC:
        mixed = row_dim > 0
    elif call.name in functions.AVERAGE_POOL | functions.MAX_POOL:
        mixed = "pool" in call.name and row_dim >= dims - pooled_axes(call.name)
    else:
        return
    if mixed:
        raise UnsupportedModelError(
            f"'{call.name}' at '{where}' sums over dimension {row_dim}, to which the network moved "
            "its samples; keep samples in dimension 0"
        )


def pooled_axes(name: str) -> int:
    """How many dimensions a pool has windows in.

    >>> pooled_axes("adaptive_max_pool2d_with_indices")
    2
    """
    return 3 if "3d" in name else 2 if "2d" in name else 1


def attention_with_rows_in_dimension_1(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes multi_head_attention_forward return its weights as [L, rows, S], like its output."""

    def attend(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        output, weights = function(*args, **kwargs)
        return output, None if weights is None else weights.movedim(0, 1)

    return attend


def _after(call: Call, dims: int, at: int) -> tuple[int, int]:
    """Finds where dimension `at` goes, on a tensor without data whose sizes are all different."""
    probe = torch.empty(*range(2, dims + 2), device="meta")
    shape = call.run_on(probe).shape
    return list(shape).index(at + 2), len(shape)


def item_at(index: Any, dims: int, at: int) -> Any:
    """What an index does to dimension `at` of a tensor of so many dimensions."""
    items = [item for item in _items(index, dims) if item is not None]
    return items[at] if at < len(items) else slice(None)


def _items(index: Any, dims: int) -> list[Any]:
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
        place = next(i for i, item in enumerate(items) if item is Ellipsis)
        used = sum(item is not None and item is not Ellipsis for item in items)
        items[place : place + 1] = [slice(None)] * (dims - used)
    return items


def _indexed(index: Any, dims: int, at: int) -> int:
    result = position = 0
    for item in _items(index, dims):
        if item is None:
            result += 1
            continue
        if position == at:
            if isinstance(item, int):
                raise UnsupportedModelError(
                    f"the network picks sample {item} out of dimension {at}, where every step has "
                    "its own; keep samples in dimension 0 and treat them alike"
                )
            return result
        position += 1
        result += int(not isinstance(item, int))
    return result + at - position
