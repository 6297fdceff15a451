"""Seen: a weight as it was, to tell later whether what was made of it still holds."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_LOOKED_AT = 64
"""Numbers of a weight that are compared."""


class Seen:
    """What was seen of a weight, without keeping it alive (but for its memory).

    Changes in place are told by the tensor's version. Those through `.data` are not counted there:
    of them another memory is seen, and other values among 64 that are spread over the weight.

    Attributes:
        in_place: whether values can be looked at again without the weight, which lies dense.
    """

    def __init__(self, weight: Tensor) -> None:
        self._place = weight.data_ptr(), weight.shape, weight.stride()
        self._version = None if weight.is_inference() else weight._version
        self._sample = _some(weight)
        self._values = self._sample.clone()
        self.in_place = self._sample.is_set_to(_some(weight))

    def is_still(self, weight: Tensor) -> bool:
        """Whether a weight is as it was."""
        return self.unmoved(weight) and torch.equal(_some(weight), self._values)

    def unmoved(self, weight: Tensor) -> bool:
        """As `is_still`, without a look at its values, for which a GPU would be waited for."""
        return (weight.data_ptr(), weight.shape, weight.stride()) == self._place and (
            weight.is_inference() or weight._version == self._version
        )


def same_values(weights: Iterable[Seen]) -> bool:
    """Whether weights that have not moved, all of them `in_place`, have the values they had."""
    there: dict[torch.device, list[Seen]] = {}
    for weight in weights:
        there.setdefault(weight._values.device, []).append(weight)
    return all(
        torch.equal(torch.cat([w._sample for w in some]), torch.cat([w._values for w in some]))
        for some in there.values()
    )


def _some(weight: Tensor) -> Tensor:
    order = sorted(range(weight.dim()), key=weight.stride, reverse=True)
    flat = weight.detach().permute(order).reshape(-1)  # as it lies in memory, without a copy
    return flat[:: max(1, flat.numel() // _LOOKED_AT)]
