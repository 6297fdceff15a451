"""Where channels and rows lie after an operation that moves dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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
        "unsqueeze",
        "unsqueeze_",
    ]
)
_RESHAPING = frozenset(["view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"])


def moved_channels(
    func: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    source: Tensor,
    channel_dim: int,
) -> int:
    """Returns the channel dimension of the result; -1 where channels are last (tokens)."""
    if name in _PERMUTING:
        at, dims = _after(func, args, kwargs, source.dim(), channel_dim % source.dim())
        return -1 if at == dims - 1 and dims > 2 else at
    if name in _RESHAPING or name in {"mean", "squeeze", "__getitem__"}:
        return -1 if channel_dim == -1 else 1
    return channel_dim


def moved_rows(
    func: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    source: Tensor,
    row_dim: int,
) -> int:
    """Returns the dimension of the result that holds the rows."""
    dims = source.dim()
    if name in _PERMUTING:
        return _after(func, args, kwargs, dims, row_dim)[0]
    if name == "stack":
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        return row_dim + int(dim % (dims + 1) <= row_dim)
    if name == "__getitem__":
        return _indexed(args[1], dims, row_dim)
    if row_dim == 0:
        return 0
    if name in {"select", "unbind", "squeeze", "squeeze_", "mean", "sum"}:
        given = args[1] if len(args) > 1 else kwargs.get("dim", 0 if name == "unbind" else None)
        squeezing = name.startswith("squeeze")
        gone: list[int] = [given] if isinstance(given, int) else list(given or [])
        if given is None and squeezing:
            gone = list(range(dims))
        kept = kwargs.get("keepdim", name in {"mean", "sum"} and len(args) > 2 and args[2])
        before = [dim for dim in gone if dim % dims < row_dim]
        if squeezing:
            before = [dim for dim in before if source.shape[dim] == 1]
        return row_dim if kept else row_dim - len(before)
    return row_dim


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


def attention_with_rows_in_dimension_1(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes multi_head_attention_forward return its weights as [L, rows, S], like its output."""

    def attend(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        output, weights = function(*args, **kwargs)
        return output, None if weights is None else weights.movedim(0, 1)

    return attend


def _after(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], dims: int, at: int
) -> tuple[int, int]:
    """Finds where dimension `at` goes, on a tensor without data whose sizes are all different."""
    probe = torch.empty(*range(2, dims + 2), device="meta")
    shape = func(probe, *args[1:], **kwargs).shape
    return list(shape).index(at + 2), len(shape)


def _indexed(index: Any, dims: int, at: int) -> int:
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
        place = next(i for i, item in enumerate(items) if item is Ellipsis)
        used = sum(item is not None and item is not Ellipsis for item in items)
        items[place : place + 1] = [slice(None)] * (dims - used)
    result = position = 0
    for item in items:
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
