"""Nests of tensors: what networks take and return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor


def map_tensors(
    value: Any, chosen: Callable[[Tensor], bool], change: Callable[[Tensor], Tensor]
) -> Any:
    """Applies `change` to the chosen tensors in a nest of tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return change(value) if chosen(value) else value
    if hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, chosen, change) for item in value))
    if isinstance(value, tuple) and type(value) is not tuple:
        return type(value)(map_tensors(item, chosen, change) for item in value)
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, chosen, change) for item in value)
    if isinstance(value, dict):
        return {key: map_tensors(item, chosen, change) for key, item in value.items()}
    return value


def join_tensors(
    parts: Sequence[Any],
    chosen: Callable[[Tensor], bool],
    join: Callable[[list[Tensor]], Tensor],
) -> Any:
    """Joins nests of one form: chosen tensors by `join`, anything else as in the first nest."""
    first = parts[0]
    if isinstance(first, Tensor):
        return join(list(parts)) if chosen(first) else first
    if isinstance(first, dict):
        return {key: join_tensors([part[key] for part in parts], chosen, join) for key in first}
    if isinstance(first, list | tuple):
        items = [join_tensors(group, chosen, join) for group in zip(*parts, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first


def collect(value: Any, chosen: Callable[[Tensor], bool]) -> list[Tensor]:
    """Returns the chosen tensors of a nest, in order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, chosen, keep)
    return found


def refill(value: Any, chosen: Callable[[Tensor], bool], tensors: Sequence[Tensor]) -> Any:
    """Returns a nest with its chosen tensors replaced; the inverse of `collect`."""
    left = iter(tensors)
    return map_tensors(value, chosen, lambda _: next(left))
