"""The loops of the compiled scan, the one place where single numbers are walked through.

Numba keeps what it compiled until this file changes; so all that the loops depend on is in here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from adacal.core.team import Loops

CHUNK = 1024
"""Neurons whose potentials stay in the nearest cache while all steps pass over them."""
SUMS = 3
"""Of each step, without weights: whether one count is no number, spikes and events."""

Scan = Callable[..., None]
Made = TypeVar("Made")


_WHOLE = (
    "current", "step", "counts", "count_step", "size", "codes", "code_step", "weight", "weights",
    "readers", "exact", "totals", "totals_apart", "potential", "threshold", "shift", "start",
    "before", "steps", "channels", "row", "by_row", "scaled", "inplace", "summed", "lines", "parts",
    "part", "ask_part", "ask_parts", "threads",
)  # fmt: skip


class Job(ctypes.Structure):
    """What one scan is told; of arrays the address of their first number, 0 where there is none.

    Attributes:
        current, counts: what comes in and goes out, with `inplace` the same.
        step, count_step: numbers from one step to the next.
        size: neurons of a step.
        codes, code_step: counts as bytes, likewise.
        weight, weights: how much each neuron's spikes weigh, and how many of these there are.
        readers: for whom they weigh that, each with weights of its own, one after the other.
        exact: of so many the weighed spikes add up to less than 2^24, which 32 bits hold exactly.
        totals, totals_apart: sums, and how far apart those of two parts are.
        potential: takes what is left after the last step.
        threshold, shift, start: parameters, one a channel, or with `by_row` one a neuron of a row.
        before: potentials to begin with, place by place, where there is no `start`.
        steps: T.
        channels, row, by_row: see `_burst`.
        scaled: whether counts are to be multiplied by thresholds.
        summed: whether counts are to be added up.
        lines: in all, of which each part takes as many.
        parts: how many may be had at most.
        part: which of these this is, where no function is to be asked.
        ask_part, ask_parts: functions that say which it is and how many there are; 0 for none.
        threads: how many are started where one is asked.
        most: φ.
    """

    _fields_ = [*((name, ctypes.c_int64) for name in _WHOLE), ("most", ctypes.c_double)]


_LAID = np.dtype(Job)


def array_at(address: int, size: int, kind: Any) -> Any:
    """So many numbers of a kind that lie at an address; none at 0. Compiled: see `_teach`."""
    if address == 0 or size == 0:
        return np.empty(0, kind)
    memory = ctypes.c_char * (size * np.dtype(kind).itemsize)
    return np.frombuffer(memory.from_address(address), kind)


def job_at(address: int) -> Any:
    """The job that lies at an address."""
    return Job.from_address(address)


def asked(address: int) -> int:
    """What a function without arguments returns, a C int."""
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


def share(at: int) -> tuple[int, int, int]:
    """Which part of the job at an address falls to this thread, and its lines from and up to."""
    job = job_at(at)
    part, parts = job.part, job.parts
    if job.ask_part != 0:
        part, parts = asked(job.ask_part), min(parts, asked(job.ask_parts))
    if part >= parts:  # more threads than are of use
        return part, 0, 0
    return part, job.lines * part // parts, job.lines * (part + 1) // parts


def sum_of(counts: Any) -> tuple[Any, Any]:
    """Sum of counts, and how many are not 0. Compiled to add in any order: see `_teach`."""
    spikes, events = np.float32(0), np.float32(0)
    for i in range(counts.size):
        spikes += counts[i]
        events += np.float32(1) if counts[i] > 0 else np.float32(0)
    return spikes, events


def weighed_sum_of(counts: Any, weights: Any) -> tuple[Any, Any]:
    """As `sum_of`, of counts times weights, and of the weights where they are not 0."""
    spikes, events = np.float32(0), np.float32(0)
    for i in range(counts.size):
        spikes += counts[i] * weights[i]
        events += weights[i] if counts[i] > 0 else np.float32(0)
    return spikes, events


def add_sums(
    counts: Any, at: int, weight: Any, weights: int, readers: int, exact: int, totals: Any, to: int
) -> None:
    """Adds counts up, to `totals` from `to` on: see `_burst`; `at` is where in a step they are."""
    spikes, events = sum_of(counts)
    if spikes != spikes:
        totals[to] = 1
        return
    totals[to + 1] += np.int64(spikes)
    totals[to + 2] += np.int64(events)
    for reader in range(readers):
        place = reader * weights + at % weights
        for begin in range(0, counts.size, exact):
            end = min(begin + exact, counts.size)
            weigh = weight[place + begin : place + end]
            spikes, events = weighed_sum_of(counts[begin:end], weigh)
            totals[to + SUMS + 2 * reader] += np.int64(spikes)
            totals[to + SUMS + 2 * reader + 1] += np.int64(events)


def compile_burst() -> Loops:
    """Returns the loops of `_burst` as machine code; compiled once and kept on disk."""
    return _compile_job(_burst)


def compile_sums() -> Loops:
    """Returns the loops of `_sums` as machine code."""
    return _compile_job(_sums)


def compile_spike_sums() -> Loops:
    """Returns the loops of `_spike_sums` as machine code."""
    return _compile_job(_spike_sums)


def had(compile_loops: Callable[[], Made]) -> Made | None:
    """Returns compiled loops; None where there are none, and plain torch has to do."""
    try:
        return compile_loops()
    except Exception:  # whatever a compiler may meet
        return None


def kept_on_disk(decorator: Any, signature: Any, loops: Scan, **options: Any) -> Any:
    """Returns compiled loops, read from where numba keeps them if they are there."""
    options["error_model"] = "numpy"
    try:
        return decorator(signature, cache=True, **options)(loops)
    except RuntimeError:  # there is no folder to keep what was compiled
        return decorator(signature, **options)(loops)


def _compile_job(loops: Scan) -> Loops:
    import numba

    _teach()
    # `contract` lets u - k * theta round once, as torch does where the processor can
    signature = numba.void(numba.int64)
    made = kept_on_disk(numba.cfunc, signature, loops, fastmath={"contract"})
    return Loops(made.ctypes, made.address, of=made)


def _burst(at: int) -> None:
    """The loops, which numba compiles: for each piece of memory all steps, its potentials in cache.

    Does the part of a `Job` that falls to the thread which calls it.
    Potentials begin at `start`, which is laid out as thresholds are, or if there is none at
    `before`, place by place; `potential` takes them.

    A step is lines of `row` neurons, in turns of `channels`; those of a line have one threshold, or
    with `by_row` (then there is one channel) each its own. To `codes` counts are written as bytes.
    To `totals` [steps, SUMS + 2 * readers] are added whether one is no number, counts and ones
    where they are not 0, if they are to be `summed`, and for each reader both times their `weight`,
    which neurons have in turns. Sums of whole numbers below 2^24 are the same in any order.
    """
    job = job_at(at)
    part, begin, end = share(at)
    if begin >= end:
        return
    steps, step, count_step, code_step = job.steps, job.step, job.count_step, job.code_step
    channels, row, by_row = job.channels, job.row, job.by_row != 0
    scaled, inplace, summed = job.scaled != 0, job.inplace != 0, job.summed != 0
    most, last, size = np.float32(job.most), steps - 1, job.size
    codes_at, potential_at, readers, weights = job.codes, job.potential, job.readers, job.weights
    sums, exact = SUMS + 2 * readers, job.exact
    current = array_at(job.current, last * step + size, np.float32)
    counts = array_at(job.counts, last * count_step + size, np.float32)
    codes = array_at(codes_at, last * code_step + size, np.uint8)
    weight = array_at(job.weight, readers * weights, np.float32)
    totals = array_at(
        job.totals + 8 * job.totals_apart * part if job.totals != 0 else 0, sums * steps, np.int64
    )
    potential = array_at(potential_at, size, np.float32)
    before = array_at(job.before, size, np.float32)
    parameters = row if by_row else channels
    theta = array_at(job.threshold, parameters, np.float32)
    shift = array_at(job.shift, parameters, np.float32)
    start = array_at(job.start, parameters, np.float32)
    levels, shifts = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    u, starts = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    alone = steps == 1 and potential_at == 0  # then potentials are not kept
    width = min(row, CHUNK)
    for line in range(begin, end):
        channel = line % channels
        if not by_row:
            levels[:width], shifts[:width] = theta[channel], shift[channel]
            if start.size > 0:
                starts[:width] = start[channel]
        for low in range(0, row, CHUNK):
            length = min(CHUNK, row - low)
            at = line * row + low
            # slices, because an index that may count from the end is not read several at a time
            level, added, first = levels[:length], shifts[:length], starts[:length]
            if by_row:
                level, added = theta[low : low + length], shift[low : low + length]
                if start.size > 0:
                    first = start[low : low + length]
            if start.size == 0:
                first = before[at : at + length]
            if not alone:
                u[:length] = first
            for t in range(steps):
                x = current[t * step + at : t * step + at + length]
                k = counts[t * count_step + at : t * count_step + at + length]
                # one loop cannot take several numbers at a time where it may read what it writes
                # under another name, so that each case has its own; NaN stays NaN, as in torch
                if alone and inplace:
                    for i in range(length):
                        fired = np.floor(((first[i] + k[i]) + added[i]) / level[i])
                        fired = np.float32(0) if fired < 0 else fired
                        k[i] = most if fired > most else fired
                elif alone:
                    for i in range(length):
                        fired = np.floor(((first[i] + x[i]) + added[i]) / level[i])
                        fired = np.float32(0) if fired < 0 else fired
                        k[i] = most if fired > most else fired
                elif inplace:
                    for i in range(length):
                        v = (u[i] + k[i]) + added[i]
                        fired = np.floor(v / level[i])
                        fired = np.float32(0) if fired < 0 else fired
                        fired = most if fired > most else fired
                        k[i] = fired
                        u[i] = v - fired * level[i]
                else:
                    for i in range(length):
                        v = (u[i] + x[i]) + added[i]
                        fired = np.floor(v / level[i])
                        fired = np.float32(0) if fired < 0 else fired
                        fired = most if fired > most else fired
                        k[i] = fired
                        u[i] = v - fired * level[i]
                if codes_at != 0:
                    code = codes[t * code_step + at : t * code_step + at + length]
                    odd = np.int32(0)
                    for i in range(length):
                        code[i] = np.uint8(k[i])
                        odd = np.int32(odd | np.int32(k[i] != k[i]))
                    totals[t * sums] |= odd
                if summed:
                    add_sums(k, at, weight, weights, readers, exact, totals, t * sums)
                if scaled:
                    for i in range(length):
                        k[i] = k[i] * level[i]
            if potential_at != 0:
                potential[at : at + length] = u[:length]


def _sums(at: int) -> None:
    """Sums of the first 1, 2, … steps of a job's numbers; wide, as torch's `cumsum`."""
    job = job_at(at)
    _, begin, end = share(at)
    if begin >= end:
        return
    steps, step, sum_step = job.steps, job.step, job.count_step
    x = array_at(job.current, (steps - 1) * step + job.size, np.float32)
    sums = array_at(job.counts, (steps - 1) * sum_step + job.size, np.float32)
    wide = np.empty(CHUNK, np.float64)
    for low in range(begin, end, CHUNK):
        length = min(CHUNK, end - low)
        wide[:length] = 0
        for t in range(steps):
            now = x[t * step + low : t * step + low + length]
            total = sums[t * sum_step + low : t * sum_step + low + length]
            for i in range(length):
                wide[i] += now[i]
                total[i] = np.float32(wide[i])


def _spike_sums(at: int) -> None:
    """Adds up a job's numbers, which are counts, as `_burst` does; lines are pieces of a `row`."""
    job = job_at(at)
    part, begin, end = share(at)
    if begin >= end:
        return
    steps, step, row = job.steps, job.step, job.row
    readers, weights, exact = job.readers, job.weights, job.exact
    sums, pieces = SUMS + 2 * readers, (row + CHUNK - 1) // CHUNK
    counts = array_at(job.current, (steps - 1) * step + job.size, np.float32)
    weight = array_at(job.weight, readers * weights, np.float32)
    totals = array_at(job.totals + 8 * job.totals_apart * part, sums * steps, np.int64)
    for line in range(begin, end):
        low = line % pieces * CHUNK
        first, length = line // pieces * row + low, min(CHUNK, row - low)
        for t in range(steps):
            k = counts[t * step + first : t * step + first + length]
            add_sums(k, first, weight, weights, readers, exact, totals, t * sums)


@lru_cache(maxsize=1)
def _teach() -> None:
    """Tells numba how to make what the functions above do.

    A tensor tells its address five to ten times as fast as it gives a flat array of its memory.
    """
    import numba
    from llvmlite import ir
    from numba.core import cgutils
    from numba.extending import intrinsic, overload, register_jitable

    def as_pointer(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return numba.types.voidptr(numba.int64), generate

    def as_called(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(ir.IntType(32), []).as_pointer()
            found = builder.call(builder.inttoptr(arguments[0], kind), [])
            return builder.sext(found, ir.IntType(64))

        return numba.int64(numba.int64), generate

    pointer: Any = intrinsic(as_pointer)
    called: Any = intrinsic(as_called)

    # numba compares names and annotations of the outer one with those of the inner
    overload(array_at)(
        lambda address, size, kind: (
            lambda address, size, kind: numba.carray(
                pointer(address), size if address != 0 else 0, kind
            )
        )
    )
    overload(job_at)(lambda address: lambda address: numba.carray(pointer(address), 1, _LAID)[0])
    overload(asked)(lambda address: lambda address: called(address))
    register_jitable(share)
    register_jitable(add_sums)
    for sums in (sum_of, weighed_sum_of):
        register_jitable(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")(sums)
