"""Seen: a weight as it was, to tell later whether what was made of it still holds."""

from __future__ import annotations

import torch
from torch import Tensor

_LOOKED_AT = 64
"""Numbers of a weight that are compared."""


class Seen:
    """What was seen of a weight, without keeping it alive.

    Changes in place are told by the tensor's version. Those through `.data` are not counted there:
    of them another memory is seen, and other values among 64 that are spread over the weight.
    """

    def __init__(self, weight: Tensor) -> None:
        self._place = weight.data_ptr(), weight.shape, weight.stride()
        self._version = None if weight.is_inference() else weight._version
        self._values = _some(weight).clone()

    def is_still(self, weight: Tensor) -> bool:
        """Whether a weight is as it was."""
        return (
            (weight.data_ptr(), weight.shape, weight.stride()) == self._place
            and (weight.is_inference() or weight._version == self._version)
            and torch.equal(_some(weight), self._values)
        )


def _some(weight: Tensor) -> Tensor:
    order = sorted(range(weight.dim()), key=weight.stride, reverse=True)
    flat = weight.detach().permute(order).reshape(-1)  # as it lies in memory, without a copy
    return flat[:: max(1, flat.numel() // _LOOKED_AT)]
