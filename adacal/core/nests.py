"""Nests of tensors: what networks take and return."""

from __future__ import annotations

from collections.abc import Callable
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
