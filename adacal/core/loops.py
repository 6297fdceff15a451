"""The loops of the compiled scan, the one place where single numbers are walked through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CHUNK = 1024
"""Neurons whose potentials stay in the nearest cache while all steps pass over them."""

Scan = Callable[..., None]


def compile_burst() -> Scan:
    """Returns the loops of `_burst` as machine code; compiled once and kept on disk."""
    import numba

    f, b, n = numba.float32[::1], numba.uint8[::1], numba.int64
    signature = numba.void(
        f, n, f, n, b, n, f, f, f, f, numba.float32, n, n, n, n, numba.boolean, f, numba.float32,
        n, n, n,
    )  # fmt: skip
    return _compile(signature, _burst)


def compile_sums() -> Scan:
    """Returns the loops of `_sums` as machine code."""
    import numba

    f, n = numba.float32[::1], numba.int64
    return _compile(numba.void(f, n, f, n, n, n, n), _sums)


def _compile(signature: Any, loops: Scan) -> Scan:
    import numba

    # `contract` lets u - k * theta round once, as torch does where the processor can
    options: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(signature, cache=True, **options)(loops)
    except RuntimeError:  # there is no folder to keep what was compiled
        return numba.njit(signature, **options)(loops)


def _burst(
    current: Any, step: int, counts: Any, count_step: int, codes: Any, code_step: int,
    potential: Any, theta: Any, shift: Any, start: Any, most: Any, steps: int, channels: int,
    row: int, by_row: int, scaled: bool,
    sums: Any, event: Any, size: int, begin: int, end: int,
) -> None:  # fmt: skip
    """The loops, which numba compiles: for each piece of memory all steps, its potentials in cache.

    A step is `outer * channels` lines of `row` neurons; those of a line have one threshold, or with
    `by_row` (then there is one channel) each its own. Where `sums` has room, the counts of a step
    are added up there over samples, each of `size` neurons, with `event` more for each not 0; where
    `codes` has room, they are written there as bytes.
    """
    levels, shifts = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    u = np.empty(CHUNK, np.float32)
    for line in range(begin * channels, end * channels):
        channel = line % channels
        for low in range(0, row, CHUNK):
            length = min(CHUNK, row - low)
            at = line * row + low
            if by_row:
                level, added = theta[low : low + length], shift[low : low + length]
            else:
                level, added = levels[:length], shifts[:length]
                level[:], added[:] = theta[channel], shift[channel]
            # slices, because an index that may count from the end is not read several at a time
            if start.size == 0:
                u[:length] = potential[at : at + length]
            elif by_row:
                u[:length] = start[low : low + length]
            else:
                u[:length] = start[channel]
            for t in range(steps):
                x = current[t * step + at : t * step + at + length]
                k = counts[t * count_step + at : t * count_step + at + length]
                # loops apart, because x and k may be the same memory, which one loop could not
                # take several numbers at a time of
                for i in range(length):
                    u[i] = (u[i] + x[i]) + added[i]
                for i in range(length):
                    fired = np.floor(u[i] / level[i])
                    fired = np.float32(0) if fired < 0 else fired
                    fired = most if fired > most else fired  # NaN stays NaN, as in torch
                    k[i] = fired
                    u[i] = u[i] - fired * level[i]
                if sums.size > 0:
                    place = t * size + at % size
                    total = sums[place : place + length]
                    for i in range(length):
                        total[i] += k[i] + (event if k[i] > 0 else np.float32(0))
                if codes.size > 0:
                    code = codes[t * code_step + at : t * code_step + at + length]
                    for i in range(length):
                        code[i] = np.uint8(k[i])
                if scaled:
                    for i in range(length):
                        k[i] = k[i] * level[i]
            if potential.size > 0:
                potential[at : at + length] = u[:length]


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
