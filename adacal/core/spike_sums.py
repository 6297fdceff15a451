"""Sums of spikes that no scan of bursts has added up: of other neurons, and behind max pools."""

from __future__ import annotations

from torch import Tensor

from adacal.core import compiled
from adacal.core.dense import dense
from adacal.core.loops import CHUNK, Job
from adacal.core.weighed import Room


def sum_up(counts: Tensor, most: int, room: Room) -> bool:
    """Adds counts up in compiled loops; whether that could be done.

    Args:
        counts: float32, whole, not negative, shape [steps, B*m, C, *].
        most: largest count.
        room: takes the sums.
    """
    loops = compiled.spike_sums() if compiled.takes(counts, counts.numel()) else None
    layout = None if loops is None else dense(counts[0])
    if loops is None or layout is None:
        return False
    steps, rows = counts.shape[:2]
    row = layout.numel // rows
    job = Job(current=counts.data_ptr(), step=counts.stride(0), steps=steps, row=row)
    job.size = layout.numel
    loops.divide(job, rows * -(-row // CHUNK), counts.numel())
    if not (room.tell(job) and room.readers.tell(job, layout, row, row, most)):
        return False
    loops.run(job)
    return True
