"""How compiled loops walk through a current: what is laid out for them, and in which threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.byte_sums import Bytes, Weights
from adacal.core.dense import Dense, along, dense
from adacal.core.loops import CHUNK, Job
from adacal.core.tally import ONE, Sums, Tally
from adacal.core.team import Loops

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

NOTHING = torch.empty(0, dtype=torch.float32)
"""Stands for potentials that are not kept."""
_SHORT = 512
"""Neurons of one threshold in a row, below which thresholds are laid out neuron by neuron."""
SUMS = 3
"""Of each step, without weights: whether one count is no number, spikes and events."""
APART = 16
"""Numbers between the sums of two parts, which threads would else write to one line of cache."""
_HELD = (1 << 24) - 1
"""Whole numbers up to here are held by 32 bits of floating point."""
_FEW = 64
"""Weighed spikes that have to stay below together; sums of fewer take longer than elsewhere."""
_READERS = 4
"""Weights of spikes that are kept laid out."""


class _Weighed:
    """Weights of readers as they lie in memory.

    Args:
        numbers: by reader, those of neurons that come in turns.
        exact: how many sums hold exactly; 0 where they are not to be used.
    """

    __slots__ = ("_numbers", "address", "exact", "turn")

    def __init__(self, numbers: Any, exact: int) -> None:
        self._numbers, self.exact, self.turn = numbers, exact, numbers.shape[1]
        self.address: int = numbers.ctypes.data


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
    _weighed: dict[tuple[Weights, ...], _Weighed] = field(default_factory=dict)
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
        weighed = tally.expected is not None and self.ask(job, (tally.expected,))
        sums = SUMS + 2 * int(weighed)
        totals = np.zeros((job.parts, job.steps * sums + APART), np.int64)
        job.totals, job.totals_apart = totals.ctypes.data, totals.shape[1]
        loops.run(job)
        whole = totals[0] if len(totals) == 1 else totals.sum(0)
        of_steps: list[list[int]] = whole[: job.steps * sums].reshape(-1, sums).tolist()
        return of_steps

    def ask(self, job: Job, readers: tuple[Weights, ...]) -> bool:
        """Asks a job for sums of weighed spikes, too; whether that can be done.

        Args:
            job: of this plan.
            readers: for whom spikes weigh something; `readers` not empty.
        """
        weighed = self._weighed.get(readers)
        if weighed is None:
            if len(self._weighed) >= _READERS:
                self._weighed.clear()
            weighed = self._weighed[readers] = self._laid(readers)
        if not weighed.exact:
            return False
        job.weight, job.weights, job.readers = weighed.address, weighed.turn, len(readers)
        job.exact = weighed.exact
        return True

    def tell(self, tally: Tally, taken: Tensor, whole: list[list[int]]) -> bool:
        """Tells a tally what was taken and summed up; False if some counts fit no byte (NaN)."""
        if any(step[0] for step in whole):
            return False
        known: dict[Weights, Sums] = {ONE: [step[1:3] for step in whole]} if tally.sums else {}
        if tally.expected is not None and len(whole[0]) > SUMS:
            known[tally.expected] = [step[SUMS:] for step in whole]
        tally.fill(Bytes(taken, self.layout), known)
        return True

    def _laid(self, readers: tuple[Weights, ...]) -> _Weighed:
        laid = [reader.laid(self.layout, int(self.most)) for reader in readers]
        # lines of several rows, which have thresholds of their own, have no weights in turns
        fit = self.layout.order[0] == 0 and not self.neurons % self.row
        if not fit or any(weight is None or len(weight) != self.neurons for weight in laid):
            return _Weighed(np.empty((0, 0), np.float32), 0)
        largest = max(1.0, *(reader.largest for reader in readers)) * self.most
        exact = _HELD // int(largest)
        numbers = np.array(laid, np.float32)
        by_channel = numbers.reshape(len(readers), self.layout.sizes[1], -1)
        if not by_channel.shape[2] % self.row and (by_channel == by_channel[:, :1]).all():
            numbers = np.ascontiguousarray(by_channel[:, 0])  # read again and again from the cache
        return _Weighed(numbers, min(exact, CHUNK) if exact >= _FEW else 0)


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
