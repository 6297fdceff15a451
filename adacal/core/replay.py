"""Shape-only calls made again on a companion of their tensor: one that has fewer rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from adacal.core import dimensions
from adacal.core.calls import Call

_RESHAPED = frozenset(["view", "reshape", "view_as", "reshape_as", "unflatten"])
_EXPANDED = frozenset(["expand", "expand_as", "broadcast_to"])
_IN_PLACE: dict[str, Callable[..., Tensor]] = {
    "transpose_": Tensor.transpose,
    "unsqueeze_": Tensor.unsqueeze,
}
"""What does to a companion what these do to their tensor, and leaves the companion as it is."""
_ALONG: dict[str, tuple[int, str, Any]] = {
    "narrow": (1, "dim", 0),
    "select": (1, "dim", 0),
    "index_select": (1, "dim", 0),
    "unbind": (1, "dim", 0),
    "chunk": (2, "dim", 0),
    "split": (2, "dim", 0),
    "split_with_sizes": (2, "dim", 0),
    "tensor_split": (2, "dim", 0),
    "roll": (2, "dims", None),
    "rot90": (2, "dims", (0, 1)),
}
"""Where a call says along which dimensions it acts, and what it takes if it does not say."""


def replay(call: Call, row_dim: int, share: int) -> Callable[[Tensor], Any] | None:
    """Returns the function that does to a companion what a shape-only call does to its tensor.

    Args:
        call: views, transposes, splits or the like of its first argument.
        row_dim: dimension of the rows, of the tensor and its companion alike.
        share: rows of the tensor for each row of the companion.
    Returns:
        None where the call treats rows differently, or asks for rows that cannot be shared out so.

    >>> import torch
    >>> call = Call(torch.reshape, "reshape", (torch.ones(6, 8), (6, 2, 4)))
    >>> replay(call, row_dim=0, share=3)(torch.ones(2, 8)).shape
    torch.Size([2, 2, 4])
    """
    source: Tensor = call.args[0]
    if _tells_rows_apart(call, source, row_dim):
        return None
    if call.name in {"squeeze", "squeeze_"}:
        # a companion of a single row would lose it
        gone = [d for d in dimensions.removed(call, source) if d != row_dim]
        return lambda companion: companion.squeeze(gone)
    if call.name in _IN_PLACE:
        call = replace(call, function=_IN_PLACE[call.name])
    sizes = _target_sizes(call, source, row_dim)
    if sizes is None:
        return call.run_on
    at = row_dim + (len(sizes) - source.dim() if call.name in _EXPANDED else 0)
    if at >= len(sizes) or (sizes[at] > 0 and sizes[at] % share):
        return None
    if sizes[at] > 0:
        sizes[at] //= share
    if call.name in _EXPANDED:
        return lambda companion: companion.expand(sizes)
    return lambda companion: companion.reshape(sizes)


def _target_sizes(call: Call, source: Tensor, row_dim: int) -> list[int] | None:
    """The shape that a view, reshape or expand asks for; None for other functions."""
    if call.name == "unflatten":
        dim = call.argument(1, "dim") % source.dim()
        if dim != row_dim:
            return None
        return [*source.shape[:dim], *call.argument(2, "sizes"), *source.shape[dim + 1 :]]
    return dimensions.asked_shape(call) if call.name in _RESHAPED | _EXPANDED else None


def _tells_rows_apart(call: Call, source: Tensor, row_dim: int) -> bool:
    """Whether a call does to some rows what it does not do to others, or may do."""
    if call.name in {"gather", "take_along_dim", "flipud"}:
        return True
    if call.name == "__getitem__":
        item = dimensions.item_at(call.args[1], source.dim(), row_dim)
        return not (isinstance(item, slice) and item == slice(None))
    given: Any
    if call.name in {"flip", "fliplr"}:
        given = 1 if call.name == "fliplr" else dimensions.asked_shape(call)
    elif call.name in _ALONG:
        given = call.argument(*_ALONG[call.name])
    else:
        return False
    dims = [given] if isinstance(given, int) else given
    return dims is None or row_dim in [dim % source.dim() for dim in dims]
