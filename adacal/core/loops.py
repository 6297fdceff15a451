"""The loops of the compiled scan, the one place where single numbers are walked through."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

CHUNK = 1024
"""Neurons whose potentials stay in the nearest cache while all steps pass over them."""

Scan = Callable[..., None]


def compile_burst() -> Scan:
    """Returns the loops of `_burst` as machine code; compiled once and kept on disk."""
    import numba

    _teach_addresses()
    f, w, n = numba.float32[::1], numba.int32[::1], numba.int64
    n2, yes = numba.int64[:, ::1], numba.boolean
    signature = numba.void(
        n, n, n, n, n, n, n, w, n2, n, f, f, f, n, numba.float32, n, n, n, n, yes, yes, yes, n, n
    )
    return _compile(signature, _burst)


def compile_sums() -> Scan:
    """Returns the loops of `_sums` as machine code."""
    import numba

    f, n = numba.float32[::1], numba.int64
    return _compile(numba.void(f, n, f, n, n, n, n), _sums)


def compile_weigh() -> Scan:
    """Returns the loops of `_weigh` as machine code."""
    import numba

    n = numba.int64
    return _compile(
        numba.void(numba.uint8[::1], n, n, n, numba.int32[::1], n, numba.int64[:, ::1]), _weigh
    )


def compile_add_up() -> Scan:
    """Returns the loops of `_add_up` as machine code."""
    import numba

    f, n = numba.float32[::1], numba.int64
    return _compile(numba.void(numba.uint8[::1], n, n, n, n, f, f), _add_up)


def compile_each_step() -> Scan:
    """Returns the loops of `_each_step` as machine code."""
    return _compile(_beside(), _each_step)


def compile_mean_of_steps() -> Scan:
    """Returns the loops of `_mean_of_steps` as machine code."""
    return _compile(_beside(), _mean_of_steps)


def compile_gaps() -> Scan:
    """Returns the loops of `_gaps` as machine code."""
    import numba

    f, f2, one = numba.float32[::1], numba.float32[:, ::1], numba.float32
    signature = numba.void(f2, f, f, one, one, one, numba.float32[:, :, ::1])
    return _compile(signature, _gaps, contract=False)


def _beside() -> Any:
    import numba

    f, f2, n = numba.float32[::1], numba.float32[:, ::1], numba.int64
    return numba.void(f, n, n, f2, f2, f2, numba.float32, f, n, n)


def had(compile_loops: Callable[[], Scan]) -> Scan | None:
    """Returns compiled loops; None where there are none, and plain torch has to do."""
    try:
        return compile_loops()
    except Exception:  # whatever a compiler may meet
        return None


def _compile(signature: Any, loops: Scan, *, contract: bool = True) -> Scan:
    import numba

    # `contract` lets u - k * theta round once, as torch does where the processor can
    fastmath = {"contract"} if contract else False
    options: Any = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return numba.njit(signature, cache=True, **options)(loops)
    except RuntimeError:  # there is no folder to keep what was compiled
        return numba.njit(signature, **options)(loops)


def _floats(address: int, size: int) -> Any:
    """So many float32 that lie at an address; none at 0. Compiled: see `_teach_addresses`."""
    kind = ctypes.c_float * (size if address else 0)
    return np.ctypeslib.as_array(kind.from_address(address))


def _bytes(address: int, size: int) -> Any:
    """As `_floats`, of bytes."""
    kind = ctypes.c_uint8 * (size if address else 0)
    return np.ctypeslib.as_array(kind.from_address(address))


@lru_cache(maxsize=1)
def _teach_addresses() -> None:
    """Tells numba how to make `_floats` and `_bytes`.

    A tensor tells its address five to ten times as fast as it gives a flat array of its memory.
    """
    import numba
    from numba.core import cgutils
    from numba.extending import intrinsic, overload

    def as_pointer(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return numba.types.voidptr(numba.int64), generate

    pointer: Any = intrinsic(as_pointer)

    # numba compares names and annotations of the outer one with those of the inner
    overload(_floats)(
        lambda address, size: lambda address, size: numba.carray(pointer(address), size, np.float32)
    )
    overload(_bytes)(
        lambda address, size: lambda address, size: numba.carray(pointer(address), size, np.uint8)
    )


def _burst(
    current_at: int, step: int, counts_at: int, count_step: int, size: int, codes_at: int,
    code_step: int, weight: Any, totals: Any, potential_at: int, theta: Any, shift: Any,
    start: Any, before_at: int, most: Any, steps: int, channels: int, row: int, by_row: int,
    scaled: bool, inplace: bool, summed: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """The loops, which numba compiles: for each piece of memory all steps, its potentials in cache.

    Of what is as large as a step, of `size` neurons, or several, the address is given; 0 for none.
    With `inplace`, `counts` is the memory of `current`. Potentials begin at `start`, which is laid
    out as thresholds are, or if that is empty at `before`, place by place; `potential` takes them.

    A step is lines of `row` neurons, in turns of `channels`, of which `begin` to `end` are walked;
    those of a line have one threshold, or with `by_row` (then there is one channel) each its own.
    To `codes` counts are written as bytes; to `totals` [steps, 5] are added then, if
    they are to be `summed`, counts and ones where they are not 0, and both times their `weight`, if
    it has room, which neurons have in turns (see `_weigh`); last there is whether one is no number.
    """
    last = steps - 1
    current = _floats(current_at, last * step + size)
    counts = _floats(counts_at, last * count_step + size)
    codes = _bytes(codes_at, last * code_step + size)
    potential, before = _floats(potential_at, size), _floats(before_at, size)
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
                    totals[t, 4] |= odd
                    both = np.int32(0)  # of a chunk, spikes stay below 2^18 and ones below 2^11
                    if summed:
                        for i in range(length):
                            one = np.int32(1 << 20) if code[i] > 0 else np.int32(0)
                            both = np.int32(both + np.int32(code[i]) + one)
                    totals[t, 0] += both & ((1 << 20) - 1)
                    totals[t, 1] += both >> 20
                    if weight.size > 0:
                        place = at % weight.size
                        weights = weight[place : place + length]
                        weighed, ones = np.int32(0), np.int32(0)
                        for i in range(length):
                            weighed = np.int32(weighed + np.int32(np.int32(code[i]) * weights[i]))
                            ones = np.int32(ones + (weights[i] if code[i] > 0 else np.int32(0)))
                        totals[t, 2] += weighed
                        totals[t, 3] += ones
                if scaled:
                    for i in range(length):
                        k[i] = k[i] * level[i]
            if potential_at != 0:
                potential[at : at + length] = u[:length]


def _each_step(
    current: Any, step: int, width: int, theta: Any, shift: Any, start: Any, most: Any,
    out: Any, steps: int, rows: int,
) -> None:  # fmt: skip
    """Outputs `out` [steps, rows, width] of neurons whose current lies there in the same order.

    Thresholds, shifts and potentials to start from, [1, tile], are those of rows that are walked
    through together.
    """
    tile = theta.shape[1]
    u = np.empty(tile, np.float32)
    for begin in range(0, rows * width, tile):
        size = min(tile, rows * width - begin)
        level, added, first = theta[0, :size], shift[0, :size], start[0, :size]
        for i in range(size):
            u[i] = first[i]
        for t in range(steps):
            x = current[t * step + begin : t * step + begin + size]
            sent = out[t * rows * width + begin : t * rows * width + begin + size]
            for i in range(size):
                v = (u[i] + x[i]) + added[i]
                fired = np.floor(v / level[i])
                fired = np.float32(0) if fired < 0 else fired
                fired = most if fired > most else fired
                sent[i] = fired
                u[i] = v - fired * level[i]
            for i in range(size):
                sent[i] = sent[i] * level[i]


def _mean_of_steps(
    current: Any, step: int, width: int, theta: Any, shift: Any, start: Any, most: Any,
    out: Any, steps: int, rows: int,
) -> None:  # fmt: skip
    """Mean outputs `out` [rows, K*width] of K candidates on one current of `width` channels.

    Parameters are as of `_each_step`, for each candidate: [K, tile].
    """
    candidates, tile = theta.shape
    u, total = np.empty(tile, np.float32), np.empty(tile, np.float32)
    for candidate in range(candidates):
        for begin in range(0, rows * width, tile):
            size = min(tile, rows * width - begin)
            level, added = theta[candidate, :size], shift[candidate, :size]
            first = start[candidate, :size]
            for i in range(size):
                u[i] = first[i]
                total[i] = 0
            for t in range(steps):
                x = current[t * step + begin : t * step + begin + size]
                for i in range(size):
                    v = (u[i] + x[i]) + added[i]
                    fired = np.floor(v / level[i])
                    fired = np.float32(0) if fired < 0 else fired
                    fired = most if fired > most else fired
                    u[i] = v - fired * level[i]
                    total[i] += fired
            for i in range(size):
                total[i] = (total[i] / np.float32(steps)) * level[i]
            for low in range(0, size, width):
                at = (begin + low) * candidates + candidate * width
                mean, here = out[at : at + width], total[low : low + width]
                for i in range(width):
                    mean[i] = here[i]


def _gaps(values: Any, theta: Any, height: Any, T: Any, offset: Any, most: Any, out: Any) -> None:
    """Squared distances of values [R, n] from what quantisers make of them, `out` [R, K, n].

    A quantiser has the threshold `theta` and gives multiples of `height`, at most `most` of them.
    """
    for row in range(values.shape[0]):
        for k in range(theta.size):
            x, gap, level, one = values[row], out[row, k], theta[k], height[k]
            for i in range(x.size):
                fired = np.floor((x[i] * T) / level + offset)
                fired = np.float32(0) if fired < 0 else fired
                fired = most if fired > most else fired
                missing = fired * one - x[i]
                gap[i] = missing * missing


def _sums(x: Any, step: int, sums: Any, sum_step: int, steps: int, begin: int, end: int) -> None:
    """Sums of the first 1, 2, … steps of numbers `begin` to `end`; wide, as torch's `cumsum`."""
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


def _weigh(
    counts: Any, step: int, steps: int, rows: int, weight: Any, size: int, sums: Any
) -> None:
    """Adds up whole counts times weights, and the weights where a count is not 0, step by step.

    A step is `rows` rows of `size` neurons, which all have the weights `weight`, or one for all.
    `sums` [steps, 2] takes them; what 1,024 neurons add must fit 32 bits.
    """
    whole = np.int32
    same = np.empty(CHUNK, np.int32)
    same[:] = weight[0]
    for low in range(0, size, CHUNK):
        length = min(CHUNK, size - low)
        weights = weight[low : low + length] if weight.size == size else same[:length]
        for t in range(steps):
            for row in range(rows):
                at = t * step + row * size + low
                k = counts[at : at + length]
                spikes, events = whole(0), whole(0)
                for i in range(length):
                    spikes = whole(spikes + whole(whole(k[i]) * weights[i]))
                    events = whole(events + (weights[i] if k[i] > 0 else whole(0)))
                sums[t, 0] += spikes
                sums[t, 1] += events


def _add_up(
    counts: Any, step: int, steps: int, batch: int, size: int, spikes: Any, events: Any
) -> None:
    """Adds counts of samples of `size` neurons up, and ones where a count is not 0."""
    for t in range(steps):
        for low in range(0, size, CHUNK):
            length = min(CHUNK, size - low)
            total = spikes[t * size + low : t * size + low + length]
            ones = events[t * size + low : t * size + low + length]
            for sample in range(batch):
                at = t * step + sample * size + low
                k = counts[at : at + length]
                for i in range(length):
                    total[i] += np.float32(k[i])
                    ones[i] += np.float32(1) if k[i] > 0 else np.float32(0)
