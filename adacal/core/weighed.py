"""Weights of spikes as compiled loops read them, and room for the sums that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adacal.core.byte_sums import Weights
from adacal.core.dense import Dense
from adacal.core.loops import CHUNK, Job

APART = 16
"""Numbers between the sums of two parts, which threads would else write to one line of cache."""
EXACT = 1 << 24
"""Below are all whole numbers held by 32 bits of floating point."""
_LAYOUTS = 8
"""Ways that spikes lie in memory, for which weights are kept."""
_FEW = 64
"""Weighed spikes that have to stay below together; sums of fewer take longer than elsewhere."""


class Readers:
    """Layers that read the spikes of one source, each with weights of its own.

    Args:
        weights: of each.
    """

    def __init__(self, weights: Sequence[Weights] = ()) -> None:
        self.weights = tuple(weights)
        self._laid: dict[Any, _Laid | None] = {}

    def __len__(self) -> int:
        return len(self.weights)

    def tell(self, job: Job, layout: Dense, neurons: int, row: int, most: int) -> bool:
        """Asks a job for sums with their weights; whether loops can take these.

        Args:
            job: of spikes that lie as said here.
            layout: of a step.
            neurons: of one row of a batch.
            row: neurons that are walked through without a look at where a turn of weights begins.
            most: largest count.
        """
        if not self.weights:
            return True
        key = layout.order, layout.sizes[1:], row, most
        if key not in self._laid:
            if len(self._laid) >= _LAYOUTS:
                self._laid.clear()
            self._laid[key] = self._lay_out(layout, neurons, row, most)
        laid = self._laid[key]
        if laid is not None:
            job.readers, job.weights = laid.numbers.shape
            job.weight, job.exact = laid.address, laid.exact
        return laid is not None

    def _lay_out(self, layout: Dense, neurons: int, row: int, most: int) -> _Laid | None:
        laid = [each.laid(layout, most) for each in self.weights]
        # lines of several rows, which have thresholds of their own, have no weights in turns
        fit = layout.order[0] == 0 and not neurons % row
        if not fit or any(weight is None or len(weight) != neurons for weight in laid):
            return None
        exact = (EXACT - 1) // int(most * max(1.0, *(each.largest for each in self.weights)))
        numbers = np.array(laid, np.float32)
        widest = layout.sizes[1] if len(layout.sizes) > 1 else 1
        by_channel = numbers.reshape(len(laid), widest, -1)
        if not by_channel.shape[2] % row and (by_channel == by_channel[:, :1]).all():
            numbers = np.ascontiguousarray(by_channel[:, 0])  # read again and again from the cache
        return _Laid(numbers, numbers.ctypes.data, min(exact, CHUNK)) if exact >= _FEW else None


@dataclass(frozen=True, slots=True)
class _Laid:
    """Weights as they lie in memory.

    Attributes:
        numbers: by reader, those of neurons that come in turns.
        address: of the first.
        exact: of how many the sums of weighed spikes hold exactly.
    """

    numbers: Any
    address: int
    exact: int


@dataclass(frozen=True, slots=True)
class Room:
    """Where the sums of a scan go.

    Attributes:
        readers: for whom spikes weigh something.
        address: of the first sum.
        apart: numbers from the sums of one part of a scan to those of the next.
        parts: for so many there is room.
    """

    readers: Readers
    address: int
    apart: int
    parts: int

    def tell(self, job: Job) -> bool:
        """Tells a job; whether there is room for all its parts."""
        job.totals, job.totals_apart, job.summed = self.address, self.apart, True
        return bool(job.parts <= self.parts)
