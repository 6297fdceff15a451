"""Spikes as bytes, which travel beside the tensor of a site's output for the layers it enters."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST = 255
"""Spikes of one step that a byte holds."""
_ATTRIBUTE = "_adacal_spike_bytes"


@dataclass(frozen=True, slots=True)
class SpikeBytes:
    """What a tensor of spikes is made of: it is `counts * threshold`.

    Attributes:
        site: where the spikes come from.
        counts: uint8, shape and layout of the tensor, [T*B, C, *].
        threshold: θ, broadcastable to one row.
        most: bound of the counts.
        version: of the tensor when that was so; a later change in place is another.
    """

    site: str
    counts: Tensor
    threshold: Tensor
    most: int
    version: int


def attach(tensor: Tensor, site: str, counts: Tensor, threshold: Tensor, most: int) -> None:
    """Says what a tensor of spikes is made of; the arguments are as in `SpikeBytes`."""
    if not tensor.is_inference():  # which does not tell when it is changed
        found = SpikeBytes(site, counts, threshold, most, tensor._version)
        setattr(tensor, _ATTRIBUTE, found)


def bytes_of(tensor: Tensor) -> SpikeBytes | None:
    """Returns what a tensor is made of; None if it is not known to be, or no longer, of spikes."""
    found = getattr(tensor, _ATTRIBUTE, None)
    return found if found is not None and found.version == tensor._version else None


def forget(tensor: Tensor) -> None:
    """Takes back what was said of a tensor, where changes of it can no longer be seen."""
    setattr(tensor, _ATTRIBUTE, None)


def hand_over(source: Tensor, target: Tensor) -> None:
    """Says of another tensor with the same values what is known of the first."""
    found = bytes_of(source)
    if found is not None:
        attach(target, found.site, found.counts, found.threshold, found.most)


def as_bytes(counts: Tensor) -> Tensor | None:
    """Returns counts as bytes; None if any is no number, which a byte would hide."""
    return None if bool(counts.isnan().any()) else counts.to(torch.uint8)


def pooled(source: Tensor, result: Any, dims: Collection[int], elements: int = 1) -> None:
    """Says what a pool over spikes gave.

    Args:
        source: what went in.
        result: of a max pool, which passes some of them on, so whole thresholds; or of an average.
        dims: what is pooled; where thresholds vary along it, the result is no number of any.
        elements: how many were averaged, so that wholes are of as many parts of a threshold.
    """
    found = bytes_of(source)
    if found is None or not isinstance(result, Tensor) or result.dim() != source.dim():
        return
    threshold = found.threshold / elements
    first = source.dim() - threshold.dim()
    varying = [first + dim for dim, size in enumerate(threshold.shape) if size > 1]
    if any(dim in dims for dim in varying) or found.most * elements > MOST:
        return
    counts = as_bytes(torch.div(result, threshold).round_())
    if counts is not None:
        attach(result, found.site, counts, threshold, found.most * elements)
