"""How the steps of a current lie in memory, for scans that walk through it by themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dense:
    """A current whose steps lie dense in memory.

    Attributes:
        order: dimensions of a step from the widest stride to the narrowest.
        sizes: sizes of a step in that order.
    """

    order: tuple[int, ...]
    sizes: tuple[int, ...]

    @cached_property
    def numel(self) -> int:
        """Elements of a step."""
        return math.prod(self.sizes)

    @cached_property
    def natural(self) -> bool:
        """Whether dimensions come in their own order."""
        return self.order == tuple(range(len(self.order)))

    def rows(self, channel: int | None, rows: int) -> tuple[int, int, int]:
        """Returns (outer, channels, inner) of a step, channels None if there is one threshold."""
        if channel is None:
            total = math.prod(self.sizes)
            return rows, 1, total // rows
        at = self.order.index(channel)
        return math.prod(self.sizes[:at]), self.sizes[at], math.prod(self.sizes[at + 1 :])


def dense(step: Tensor) -> Dense | None:
    """How one step lies in memory; None if there are gaps or overlaps."""
    strides, several = step.stride(), step.dim() > 0 and step.shape[0] > 1
    # the stride of a single row says nothing: layers give any
    order = sorted(range(step.dim()), key=lambda dim: (dim > 0 or several, -strides[dim], dim))
    expected = 1
    for dim in reversed(order):
        if step.shape[dim] != 1 and step.stride(dim) != expected:
            return None
        expected *= step.shape[dim]
    return Dense(tuple(order), tuple(step.shape[dim] for dim in order))


def like(tensor: Tensor, layout: Dense, dtype: torch.dtype | None = None) -> Tensor:
    """An empty tensor whose steps lie in memory as a layout says, one after the other."""
    steps = tensor.dim() - len(layout.order)
    if layout.natural:
        return tensor.new_empty(tensor.shape, dtype=dtype)
    empty = tensor.new_empty(*tensor.shape[:steps], *layout.sizes, dtype=dtype)
    places = [steps + layout.order.index(dim) for dim in range(len(layout.order))]
    return empty.permute(*range(steps), *places)


def along(value: Tensor | None, step: Tensor) -> set[int]:
    """The dimensions of a step that a parameter varies along."""
    if value is None:
        return set()
    missing = step.dim() - value.dim()
    return {missing + dim for dim, size in enumerate(value.shape) if size > 1}


def memory_of(tensor: Tensor, layout: Dense) -> Any:
    """All memory of a tensor with such steps, or of one such step, as a flat numpy array."""
    step = layout.numel
    steps = tensor.shape[0] if tensor.dim() > len(layout.order) else 1
    span = step + (steps - 1) * (tensor.stride(0) if steps > 1 else 0)
    flat = (tensor.detach() if tensor.requires_grad else tensor).as_strided((span,), (1,))
    return flat.numpy()
