"""How compiled loops walk through a current: what is laid out for them, and in which threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.byte_sums import Bytes, Weights
from adacal.core.dense import Dense, along, dense
from adacal.core.loops import CHUNK, SUMS, Job
from adacal.core.tally import ONE, Sums, Tally
from adacal.core.team import Loops
from adacal.core.weighed import APART, Readers

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

NOTHING = torch.empty(0, dtype=torch.float32)
"""Stands for potentials that are not kept."""
_SHORT = 512
"""Neurons of one threshold in a row, below which thresholds are laid out neuron by neuron."""
_READERS = 4
"""Weights of spikes that are kept laid out."""


@dataclass(frozen=True)
class Plan:
    """How a current of one shape and layout is walked through, and the parameters laid out for it.

    Attributes:
        layout: of one step.
        outer, channels, row, by_row: see `_burst`; a step has `outer * channels` lines.
        neurons: of one row of a batch.
        threshold, shift: numbers as the loops read them.
        start: initial potentials likewise; None if they vary along more than thresholds do.
        most: φ, as the loops take it.
    """

    layout: Dense
    outer: int
    channels: int
    row: int
    by_row: int
    neurons: int
    threshold: Any
    shift: Any
    start: Any
    most: float
    _readers: dict[Weights, Readers] = field(default_factory=dict)
    _job: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        job = Job(size=self.layout.numel, channels=self.channels, row=self.row, by_row=self.by_row)
        job.most = self.most
        job.threshold, job.shift = self.threshold.ctypes.data, self.shift.ctypes.data
        job.start = 0 if self.start is None else self.start.ctypes.data
        object.__setattr__(self, "_job", bytes(job))

    def job(self, loops: Loops, steps: int, step: int, count_step: int, *, scaled: bool) -> Job:
        """Returns what loops are told of so many steps, but for addresses.

        Args:
            loops: what will walk.
            steps: how many.
            step, count_step: numbers from one step to the next.
            scaled: whether counts are to be multiplied by thresholds.
        """
        job = Job.from_buffer_copy(self._job)
        job.steps, job.step, job.count_step, job.scaled = steps, step, count_step, scaled
        loops.divide(job, self.outer * self.channels, steps * self.layout.numel)
        return job

    def walk(self, loops: Loops, job: Job, taken: Tensor, tally: Tally) -> list[list[int]]:
        """Walks through all of it, with counts taken.

        Args:
            loops: what does so.
            job: with addresses.
            taken: takes counts as bytes.
            tally: says what is to be summed up.
        Returns:
            Of each step what `_burst` adds up.
        """
        job.codes, job.code_step, job.summed = taken.data_ptr(), taken.stride(0), tally.sums
        readers = self._expected(tally)
        sums = SUMS + 2 * int(readers is not None and self.ask(job, readers))
        totals = np.zeros((job.parts, job.steps * sums + APART), np.int64)
        job.totals, job.totals_apart = totals.ctypes.data, totals.shape[1]
        loops.run(job)
        whole = totals[0] if len(totals) == 1 else totals.sum(0)
        of_steps: list[list[int]] = whole[: job.steps * sums].reshape(-1, sums).tolist()
        return of_steps

    def ask(self, job: Job, readers: Readers) -> bool:
        """Asks a job of this plan for sums of weighed spikes; whether that can be done."""
        return readers.tell(job, self.layout, self.neurons, self.row, int(self.most))

    def _expected(self, tally: Tally) -> Readers | None:
        weights = tally.expected
        if weights is None:
            return None
        if weights not in self._readers:
            if len(self._readers) >= _READERS:
                self._readers.clear()
            self._readers[weights] = Readers([weights])
        return self._readers[weights]

    def tell(self, tally: Tally, taken: Tensor, whole: list[list[int]]) -> bool:
        """Tells a tally what was taken and summed up; False if some counts fit no byte (NaN)."""
        if any(step[0] for step in whole):
            return False
        known: dict[Weights, Sums] = {ONE: [step[1:3] for step in whole]} if tally.sums else {}
        if tally.expected is not None and len(whole[0]) > SUMS:
            known[tally.expected] = [step[SUMS:] for step in whole]
        tally.fill(Bytes(taken, self.layout), known)
        return True


def make_plan(first: Tensor, neuron: BurstParameters) -> Plan | None:
    """Returns the plan of currents with such steps; None if plain torch has to do it."""
    layout, initial = dense(first), neuron.initial_potential
    varying = along(neuron.threshold, first) | along(neuron.shift, first)
    values = (neuron.threshold, neuron.shift, initial)
    if layout is None or len(varying) > 1 or any(foreign(value) for value in values):
        return None
    outer, channels, inner = layout.rows(next(iter(varying), None), first.shape[0])
    by_row = inner < _SHORT and channels > 1
    times = _together(channels * inner, outer, layout, first.shape[0]) if by_row else 1

    def laid(value: Tensor) -> Any:
        flat = value.detach().reshape(-1).expand(channels)
        return (
            flat.repeat_interleave(inner).repeat(times) if by_row else flat.contiguous()
        ).numpy()

    return Plan(
        layout=layout,
        outer=outer // times,
        channels=1 if by_row else channels,
        row=channels * inner * times if by_row else inner,
        by_row=int(by_row),
        neurons=first[0].numel(),
        threshold=laid(neuron.threshold),
        shift=laid(first.new_zeros(1) if neuron.shift is None else neuron.shift),
        start=laid(initial) if along(initial, first) <= varying else None,
        most=float(neuron.max_spikes),
    )


def _together(row: int, outer: int, layout: Dense, rows: int) -> int:
    """How many short rows of neurons, one after the other in memory, are walked through as one."""
    if layout.order[0] != 0 or outer % rows:  # or thresholds differ between the rows
        return 1
    apart = outer // rows  # of one sample, or of a row of it
    return max(n for n in range(1, max(2, CHUNK // row + 1)) if apart % n == 0)


def alike(membrane: Tensor, potential: Tensor) -> bool:
    """Whether one can be read as the other is written."""
    same = membrane.shape == potential.shape and membrane.stride() == potential.stride()
    return same and not foreign(membrane)


def foreign(value: Tensor | None) -> bool:
    """Whether loops cannot read a parameter."""
    return value is not None and (value.dtype is not torch.float32 or value.device.type != "cpu")
