"""Prepared: what was made of the attributes of neurons, until one of them changes."""

from __future__ import annotations

from operator import is_
from typing import Any

import torch
from torch import Tensor

from adacal.core.kernels import BurstParameters


class Prepared:
    """Parameters as they were made, and all that they depend on.

    Every attribute of the neurons is told by identity, of a tensor also its version and memory, on
    a CPU its numbers, too: changes through `.data` are counted nowhere.

    Args:
        owner: the neurons, which keep this as `_prepared`.
        current: that the parameters were made for.
        T: steps of the run, if they depend on it.
        parameters: what was made.
    """

    __slots__ = (
        "_T", "_attributes", "_kind", "_names", "_numbers", "_places", "_tensors", "parameters"
    )  # fmt: skip

    def __init__(
        self, owner: object, current: Tensor, T: int | None, parameters: BurstParameters
    ) -> None:
        self.parameters = parameters
        self._names, self._attributes = frozenset(vars(owner)), _values(owner)
        self._kind, self._T = (current.dim(), current.dtype, current.device), T
        start = getattr(owner, "initial_potential", None)
        by_place = isinstance(start, Tensor) and start.dim() > 1
        self._places = current.shape[2:] if by_place else None
        tensors = [value for value in self._attributes if isinstance(value, Tensor)]
        self._tensors = [(tensor, tensor._version, tensor.data_ptr()) for tensor in tensors]
        memories = [_memory(tensor) for tensor in tensors if tensor.is_cpu]
        self._numbers = [(memory, memory.tobytes()) for memory in memories]

    @classmethod
    def of(
        cls, owner: object, current: Tensor, T: int | None, parameters: BurstParameters
    ) -> Prepared | None:
        """Returns what is to be kept; None where a change could not be seen."""
        if torch.is_inference_mode_enabled():  # what is made there cannot enter a graph later
            return None
        tensors = (value for value in vars(owner).values() if isinstance(value, Tensor))
        if any(tensor.requires_grad or tensor.is_inference() for tensor in tensors):
            return None
        return cls(owner, current, T, parameters)

    def holds(self, owner: object, current: Tensor, T: int | None) -> bool:
        """Whether nothing that they depend on has changed."""
        return self.unchanged(owner, T) and self.fits(current)

    def unchanged(self, owner: object, T: int | None) -> bool:
        """As `holds`, whatever current comes."""
        if vars(owner).keys() != self._names or not all(map(is_, self._attributes, _values(owner))):
            return False
        for tensor, version, place in self._tensors:
            if tensor._version != version or tensor.data_ptr() != place or tensor.requires_grad:
                return False
        for memory, before in self._numbers:
            if memory.tobytes() != before:
                return False
        return self._T == T and not torch.is_inference_mode_enabled()

    def fits(self, current: Tensor) -> bool:
        """Whether they do for such a current, shape [steps, B, C, *]."""
        dim, dtype, device = self._kind
        if current.dim() != dim or current.dtype is not dtype or current.device != device:
            return False
        return self._places is None or current.shape[2:] == self._places


def _values(owner: object) -> list[Any]:
    """All attributes but this one, in order."""
    return [value for name, value in vars(owner).items() if name != "_prepared"]


def _memory(tensor: Tensor) -> Any:
    """The numbers of a tensor as a numpy array in the same memory."""
    known = tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor
    return known.detach().numpy()
