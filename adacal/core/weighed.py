"""Weights of spikes as compiled loops read them, and room for the sums that they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adacal.core.byte_sums import Weights
from adacal.core.dense import Dense
from adacal.core.loops import CHUNK, Job

SUMS = 3
"""Of each step, without weights: whether one count is no number, spikes and events."""
APART = 16
"""Numbers between the sums of two parts, which threads would else write to one line of cache."""
EXACT = 1 << 24
"""Below are all whole numbers held by 32 bits of floating point."""
_FEW = 64
"""Weighed spikes that have to stay below together; sums of fewer take longer than elsewhere."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where the sums of a scan go.

    Attributes:
        readers: weights of spikes that are summed up.
        address: of the first sum.
        apart: numbers from the sums of one part of a scan to those of the next.
        parts: for so many there is room.
    """

    readers: tuple[Weights, ...]
    address: int
    apart: int
    parts: int

    def tell(self, job: Job) -> bool:
        """Tells a job; whether there is room for all its parts."""
        job.totals, job.totals_apart, job.summed = self.address, self.apart, True
        return bool(job.parts <= self.parts)


class Weighed:
    """Weights of readers as they lie in memory.

    Args:
        numbers: by reader, those of neurons that come in turns.
        exact: of how many the sums of weighed spikes hold exactly.
    """

    __slots__ = ("_address", "_exact", "_numbers")

    def __init__(self, numbers: Any, exact: int) -> None:
        self._numbers, self._exact = numbers, exact
        self._address: int = numbers.ctypes.data

    def tell(self, job: Job) -> None:
        """Asks a job for sums with them."""
        job.readers, job.weights = self._numbers.shape
        job.weight, job.exact = self._address, self._exact


def lay_out(
    readers: tuple[Weights, ...], layout: Dense, neurons: int, row: int, most: int
) -> Weighed | None:
    """Lays weights out; None where loops cannot take them.

    Args:
        readers: layers with weights of their own.
        layout: of the spikes of a step.
        neurons: of one row of a batch.
        row: neurons that are walked through without a look at where a turn of weights begins.
        most: largest count.
    """
    laid = [reader.laid(layout, most) for reader in readers]
    # lines of several rows, which have thresholds of their own, have no weights in turns
    fit = layout.order[0] == 0 and not neurons % row
    if not fit or any(weight is None or len(weight) != neurons for weight in laid):
        return None
    exact = (EXACT - 1) // int(most * max([1.0, *(reader.largest for reader in readers)]))
    numbers = np.array(laid, np.float32).reshape(len(readers), neurons)
    by_channel = numbers.reshape(len(readers), layout.sizes[1], neurons // layout.sizes[1])
    if not by_channel.shape[2] % row and (by_channel == by_channel[:, :1]).all():
        numbers = np.ascontiguousarray(by_channel[:, 0])  # read again and again from the cache
    return Weighed(numbers, min(exact, CHUNK)) if exact >= _FEW else None
