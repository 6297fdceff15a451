"""Shape-only calls made again on a companion of their tensor: one that has fewer rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from adacal.core.calls import Call

_EXPANSIONS = frozenset(["expand", "expand_as", "broadcast_to"])


def replay(call: Call, share: int) -> Callable[[Tensor], Any] | None:
    """Returns the function that does to a companion what a shape-only call does to its tensor.

    Args:
        call: views, transposes, splits or the like of its first argument.
        share: rows of the tensor for each row of the companion.
    Returns:
        None where the rows that the call asks for cannot be shared out so.

    >>> import torch
    >>> call = Call(torch.reshape, "reshape", (torch.ones(6, 8), (6, 2, 4)))
    >>> replay(call, share=3)(torch.ones(2, 8)).shape
    torch.Size([2, 2, 4])
    """
    source: Tensor = call.args[0]
    sizes = _target_sizes(call)
    if sizes is not None and (not sizes or (sizes[0] > 0 and sizes[0] % share)):
        return None

    def again(companion: Tensor) -> Any:
        if sizes is not None:
            first = sizes[0] // share if sizes[0] > 0 else sizes[0]
            change = companion.expand if call.name in _EXPANSIONS else companion.reshape
            return change(first, *sizes[1:])
        if call.name in {"squeeze", "squeeze_"} and not call.args[1:] and not call.kwargs:
            # a companion of a single row would lose it
            return companion.squeeze([d for d in range(1, source.dim()) if source.shape[d] == 1])
        return call.run_on(companion)

    return again


def _target_sizes(call: Call) -> list[int] | None:
    """The shape asked for by a view, reshape or expand, rows first; None for other functions."""
    if call.name in {"view_as", "reshape_as", "expand_as"}:
        return list(call.argument(1, "other").shape)
    if call.name not in {"view", "reshape"} | _EXPANSIONS:
        return None
    wanted = call.args[1:] or tuple(call.kwargs.values())
    if len(wanted) == 1 and isinstance(wanted[0], list | tuple):
        wanted = tuple(wanted[0])
    return [int(size) for size in wanted] if all(isinstance(v, int) for v in wanted) else []
