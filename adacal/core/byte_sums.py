"""Sums over spikes that are kept as bytes, in compiled loops where they can be had."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.dense import Dense, dense, like, memory_of
from adacal.core.loops import CHUNK, Scan, had
from adacal.core.small_loops import PIECE, compile_add_up, compile_weigh

_ORDER = 2**31
"""Sums of a piece of memory stay below."""


class Weights:
    """How much a spike of each neuron weighs: the synapses of each input of a layer.

    Args:
        values: whole numbers, shape of one row, [1, C, *], or a single one for all neurons.

    Attributes:
        same: what all of them are; None if they differ.
        total: their sum.
        largest: their largest, without its sign.
    """

    def __init__(self, values: Tensor) -> None:
        first = values.flatten()[0]
        self.values = values
        self.same = float(first) if bool((values == first).all()) else None
        self.total = float(values.sum(dtype=torch.float64))
        self.largest = float(values.detach().abs().max())
        self._laid: dict[tuple[int, ...], Any] = {}
        self._on: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}

    def equal(self, other: Weights) -> bool:
        """Whether they are the same numbers."""
        return self is other or torch.equal(self.values, other.values)

    def laid(self, layout: Dense, most: int) -> Any:
        """Returns them in the order of memory, 32 bits each; None where that cannot be.

        A sum may not fit, or they may be of other rows: sites can have any, input by input.

        Args:
            layout: of rows.
            most: largest count.
        """
        alike = self.values.numel() == 1 or self.values.dim() == len(layout.order)
        if not alike or self.largest * most * max(CHUNK, PIECE) >= _ORDER:
            return None
        if layout.order not in self._laid:
            values = self.values.detach().cpu()
            whole = values.to(torch.int32)
            laid = whole.permute(layout.order) if values.numel() > 1 else whole
            fits = torch.equal(whole.to(values.dtype), values)
            self._laid[layout.order] = laid.reshape(-1).contiguous().numpy() if fits else None
        return self._laid[layout.order]

    def on(self, layout: Dense, most: int, device: torch.device) -> Tensor | None:
        """As `laid`, as a tensor on a device."""
        laid, key = self.laid(layout, most), (layout.order, device)
        if laid is None:
            return None
        if key not in self._on:
            self._on[key] = torch.from_numpy(laid).to(device)
        return self._on[key]


@dataclass(frozen=True, slots=True)
class Bytes:
    """Counts as bytes.

    Attributes:
        counts: uint8, shape [steps, B*m, C, *].
        layout: of a step.
    """

    counts: Tensor
    layout: Dense

    @property
    def memory(self) -> Any:
        """All of it, flat, for loops on a CPU."""
        return memory_of(self.counts, self.layout)


def weigh(spikes: Bytes, weights: Weights, most: int) -> list[list[int]] | None:
    """Adds up counts times weights, and the weights where a count is not 0.

    Args:
        spikes: the counts.
        weights: of a row of a step.
        most: largest count.
    Returns:
        For each step both sums, whole numbers; None where the loops cannot be had.
    """
    counts, layout, kernel = spikes.counts, spikes.layout, _weigh_kernel()
    if not counts.is_cpu or kernel is None or layout.order[0] != 0:
        return None
    flat = weights.laid(layout, most)
    steps, rows = counts.shape[:2]
    size = math.prod(layout.sizes) // rows
    if flat is None or len(flat) not in (1, size):
        return None
    sums = np.zeros((steps, 2), np.int64)
    kernel(spikes.memory, counts.stride(0), steps, rows, flat, size, sums)
    return sums.tolist()


def add_up(spikes: Bytes, batch: int) -> tuple[Tensor, Tensor] | None:
    """Adds counts of samples up.

    Args:
        spikes: the counts.
        batch: samples B.
    Returns:
        Spikes and events, float32, shape [steps*m, C, *]; None where the loops cannot be had.
    """
    counts, layout, kernel = spikes.counts, spikes.layout, _add_up_kernel()
    if not counts.is_cpu or kernel is None or layout.order[0] != 0:
        return None
    of_sample = counts.unflatten(1, (batch, -1))[:, 0]
    own = dense(of_sample[0])
    if own is None:
        return None
    both = [like(of_sample, own, torch.float32).zero_() for _ in range(2)]
    flat = (memory_of(sums, own) for sums in both)
    size = math.prod(own.sizes)
    kernel(spikes.memory, counts.stride(0), len(counts), batch, size, *flat)
    return both[0].flatten(0, 1), both[1].flatten(0, 1)


@lru_cache(maxsize=1)
def _weigh_kernel() -> Scan | None:
    return had(compile_weigh)


@lru_cache(maxsize=1)
def _add_up_kernel() -> Scan | None:
    return had(compile_add_up)
