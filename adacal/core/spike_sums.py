"""Sums of spikes that no scan of bursts has added up: of other neurons, and behind max pools."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from adacal.core import compiled
from adacal.core.byte_sums import Weights
from adacal.core.dense import Dense, dense
from adacal.core.loops import CHUNK, Job
from adacal.core.weighed import Room, Weighed, lay_out

_FORMS = 32
"""Shapes of counts that something is kept for."""


class SpikeSums:
    """Adds spikes of one source up in compiled loops.

    Args:
        readers: layers with weights of their own.
        most: largest count.
    """

    def __init__(self, readers: tuple[Weights, ...], most: int) -> None:
        self._readers, self._most = readers, most
        self._laid: dict[Any, tuple[Dense, Weighed] | None] = {}

    def add(self, counts: Tensor, room: Room) -> bool:
        """Adds counts up; whether that could be done.

        Args:
            counts: float32, whole, not negative, shape [steps, B*m, C, *].
            room: takes the sums.
        """
        loops = compiled.spike_sums() if compiled.takes(counts, counts.numel()) else None
        laid = None if loops is None else self._lay_out(counts)
        if loops is None or laid is None:
            return False
        layout, weighed = laid
        steps, rows = counts.shape[:2]
        row = layout.numel // rows
        job = Job(current=counts.data_ptr(), step=counts.stride(0), steps=steps, row=row)
        job.size = layout.numel
        weighed.tell(job)
        loops.divide(job, rows * -(-row // CHUNK), counts.numel())
        if not room.tell(job):
            return False
        loops.run(job)
        return True

    def _lay_out(self, counts: Tensor) -> tuple[Dense, Weighed] | None:
        key = counts.shape, counts.stride()
        if key not in self._laid:
            if len(self._laid) >= _FORMS:
                self._laid.clear()
            layout, found = dense(counts[0]), None
            if layout is not None:
                row = layout.numel // counts.shape[1]
                weighed = lay_out(self._readers, layout, row, row, self._most)
                found = None if weighed is None else (layout, weighed)
            self._laid[key] = found
        return self._laid[key]
