"""Loops of calibration, search and counting over what is small, one thread each."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacal.core.loops import Scan, kept_on_disk

PIECE = 1024
"""Numbers of which sums are kept apart; in this file, since numba keeps loops until it changes."""


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


def _compile(signature: Any, loops: Scan, *, contract: bool = True) -> Scan:
    import numba

    fastmath = {"contract"} if contract else False  # see `adacal.core.loops`
    made: Scan = kept_on_disk(numba.njit, signature, loops, nogil=True, fastmath=fastmath)
    return made


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


def _weigh(
    counts: Any, step: int, steps: int, rows: int, weight: Any, size: int, sums: Any
) -> None:
    """Adds up whole counts times weights, and the weights where a count is not 0, step by step.

    A step is `rows` rows of `size` neurons, which all have the weights `weight`, or one for all.
    `sums` [steps, 2] takes them; what 1,024 neurons add must fit 32 bits.
    """
    whole = np.int32
    same = np.empty(PIECE, np.int32)
    same[:] = weight[0]
    for low in range(0, size, PIECE):
        length = min(PIECE, size - low)
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
        for low in range(0, size, PIECE):
            length = min(PIECE, size - low)
            total = spikes[t * size + low : t * size + low + length]
            ones = events[t * size + low : t * size + low + length]
            for sample in range(batch):
                at = t * step + sample * size + low
                k = counts[at : at + length]
                for i in range(length):
                    total[i] += np.float32(k[i])
                    ones[i] += np.float32(1) if k[i] > 0 else np.float32(0)
