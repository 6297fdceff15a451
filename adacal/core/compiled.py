"""The burst scan compiled by numba: all steps of a neuron in one pass over memory.

The one hot file. `adacal.core.kernels` calls it for float32 tensors on a CPU and goes on in plain
torch wherever it gives None: numba is not there, compiling failed, or its results on a trial differ
from plain torch in a single bit. On other devices plain torch runs.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

SWITCH = "ADACAL_SCAN"
"""Environment variable; `plain` leaves the compiled scan out."""
FIRST_USE = 1 << 18
"""Elements of a current from which the compiler is loaded, once; from then on it takes all."""
_CHUNK = 1024
"""Neurons whose potentials stay in the nearest cache while all steps pass over them."""
_SHORT = 64
"""Neurons of one threshold in a row, below which thresholds are laid out neuron by neuron."""
_PER_THREAD = 1 << 19
"""Elements that are worth a thread of their own."""

Scan = Callable[..., None]


@dataclass(frozen=True)
class _Dense:
    """A current whose steps lie dense in memory.

    Attributes:
        order: dimensions of a step from the widest stride to the narrowest.
        sizes: sizes of a step in that order.
    """

    order: tuple[int, ...]
    sizes: tuple[int, ...]

    def rows(self, channel: int | None, rows: int) -> tuple[int, int, int]:
        """Returns (outer, channels, inner) of a step, channels None if there is one threshold."""
        if channel is None:
            total = math.prod(self.sizes)
            return rows, 1, total // rows
        at = self.order.index(channel)
        return math.prod(self.sizes[:at]), self.sizes[at], math.prod(self.sizes[at + 1 :])


def scan(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
) -> tuple[Tensor, Tensor] | None:
    """As `adacal.core.kernels.burst_scan`; None where plain torch has to do it."""
    if not _fits(current) or (_kernel.cache_info().currsize == 0 and current.numel() < FIRST_USE):
        return None
    kernel = _kernel()
    return None if kernel is None else _run(kernel, current, neuron, membrane, out, scaled=scaled)


def _fits(current: Tensor) -> bool:
    return (
        current.device.type == "cpu"
        and current.dtype is torch.float32
        and current.numel() > 0
        and not current.requires_grad
        and type(current) in (Tensor, torch.nn.Parameter)
    )


def _run(
    kernel: Scan,
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
) -> tuple[Tensor, Tensor] | None:
    first, steps = current[0], current.shape[0]
    values = (neuron.threshold, neuron.shift, neuron.initial_potential)
    channel = _channel(values, first.dim())
    layout = _dense(first)
    if layout is None or channel is False or any(_foreign(value) for value in values):
        return None
    if out is not None and (out.stride() != current.stride() or _dense(out[0]) != layout):
        return None
    outer, channels, inner = layout.rows(None if channel is None else channel, first.shape[0])
    counts = _like(current, layout) if out is None else out
    potential = _like(first, layout)
    start: Tensor | None = neuron.initial_potential
    if membrane is not None or (start.dim() > 0 and start.numel() not in (1, channels)):
        potential.copy_(start if membrane is None else membrane)
        start = None
    by_row = int(inner < _SHORT and channels > 1)

    def laid(value: Tensor | None) -> Any:
        if value is None:
            return _NOTHING.numpy()
        flat = value.detach().reshape(-1).expand(channels)
        return (flat.repeat_interleave(inner) if by_row else flat.contiguous()).numpy()

    shift = torch.zeros(1) if neuron.shift is None else neuron.shift
    arguments = (
        _memory(current, layout),
        current.stride(0) if steps > 1 else 0,
        _memory(counts, layout),
        counts.stride(0) if steps > 1 else 0,
        _memory(potential, layout),
        laid(neuron.threshold),
        laid(shift),
        laid(start),
        float(neuron.max_spikes),
        steps,
        1 if by_row else channels,
        channels * inner if by_row else inner,
        by_row,
        scaled,
    )
    _spread(kernel, arguments, outer, current.numel())
    return counts, potential


_NOTHING = torch.empty(0)


def _spread(kernel: Scan, arguments: tuple[Any, ...], outer: int, elements: int) -> None:
    """Shares the rows among as many threads as torch uses; the caller's is one of them."""
    parts = max(1, min(torch.get_num_threads(), outer, elements // _PER_THREAD))
    bounds = [outer * part // parts for part in range(parts + 1)]
    threads = [
        threading.Thread(target=kernel, args=(*arguments, *bounds[part : part + 2]))
        for part in range(1, parts)
    ]
    for thread in threads:
        thread.start()
    kernel(*arguments, bounds[0], bounds[1])
    for thread in threads:
        thread.join()


def _channel(values: tuple[Tensor | None, ...], dims: int) -> int | bool | None:
    """The one dimension that parameters vary along; None if along none, False if along others.

    Initial potentials given place by place are no obstacle.
    """
    found: set[int] = set()
    for number, value in enumerate(values):
        if value is None:
            continue
        wide = {value.dim() - 1 - k for k, size in enumerate(reversed(value.shape)) if size > 1}
        moved = {dims - value.dim() + k for k in wide}
        if number == 2 and (len(moved) > 1 or moved - found):
            continue
        found |= moved
    if len(found) > 1:
        return False
    return found.pop() if found else None


def _foreign(value: Tensor | None) -> bool:
    return value is not None and (value.dtype is not torch.float32 or value.device.type != "cpu")


def _dense(step: Tensor) -> _Dense | None:
    """How one step lies in memory; None if there are gaps or overlaps."""
    order = sorted(range(step.dim()), key=lambda dim: (-step.stride(dim), dim))
    expected = 1
    for dim in reversed(order):
        if step.shape[dim] != 1 and step.stride(dim) != expected:
            return None
        expected *= step.shape[dim]
    return _Dense(tuple(order), tuple(step.shape[dim] for dim in order))


def _like(tensor: Tensor, layout: _Dense) -> Tensor:
    """An empty tensor whose steps lie in memory as a layout says, one after the other."""
    steps = tensor.dim() - len(layout.order)
    empty = tensor.new_empty(*tensor.shape[:steps], *layout.sizes)
    places = [steps + layout.order.index(dim) for dim in range(len(layout.order))]
    return empty.permute(*range(steps), *places)


def _memory(tensor: Tensor, layout: _Dense) -> Any:
    """All memory of a tensor as a flat numpy array."""
    step = math.prod(layout.sizes)
    steps = tensor.shape[0] if tensor.dim() > len(layout.order) else 1
    span = step + (steps - 1) * (tensor.stride(0) if steps > 1 else 0)
    return tensor.detach().as_strided((span,), (1,)).numpy()


@lru_cache(maxsize=1)
def _kernel() -> Scan | None:
    """Compiles and tries the kernel; says once why it cannot be had."""
    if os.environ.get(SWITCH) == "plain":
        return None
    try:
        kernel = _compile()
        reason = "" if _agrees(kernel) else "its results differ from plain torch on this processor"
    except Exception as error:  # whatever a compiler may meet, plain torch computes the same
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if not reason:
        return kernel
    logging.getLogger("adacal").warning(
        "the compiled scan is not used and plain torch runs instead, which takes longer (%s); "
        "%s=plain leaves this message out",
        reason,
        SWITCH,
    )
    return None


def _compile() -> Scan:
    import numba

    f, n = numba.float32[::1], numba.int64
    signature = numba.void(
        f, n, f, n, f, f, f, f, numba.float32, n, n, n, n, numba.boolean, n, n
    )  # fmt: skip
    # `contract` lets u - k * theta round once, as torch does where the processor can
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(signature, cache=True, **options)(_burst)
    except RuntimeError:  # there is no folder to keep what was compiled
        return numba.njit(signature, **options)(_burst)


def _burst(
    current: Any, step: int, counts: Any, count_step: int, potential: Any, theta: Any, shift: Any,
    start: Any, most: Any, steps: int, channels: int, row: int, by_row: int, scaled: bool,
    begin: int, end: int,
) -> None:  # fmt: skip
    """The loops, which numba compiles: for each piece of memory all steps, its potentials in cache.

    A step is `outer * channels` lines of `row` neurons; those of a line have one threshold, or with
    `by_row` (then there is one channel) each its own.
    """
    level, added = np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.float32)
    u = np.empty(_CHUNK, np.float32)
    for line in range(begin * channels, end * channels):
        channel = line % channels
        for low in range(0, row, _CHUNK):
            length = min(_CHUNK, row - low)
            at = line * row + low
            if by_row:
                for i in range(length):
                    level[i], added[i] = theta[low + i], shift[low + i]
            else:
                one, other = theta[channel], shift[channel]
                for i in range(length):
                    level[i], added[i] = one, other
            if start.size == 0:
                for i in range(length):
                    u[i] = potential[at + i]
            elif by_row:
                for i in range(length):
                    u[i] = start[low + i]
            else:
                first = start[channel]
                for i in range(length):
                    u[i] = first
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
                if scaled:
                    for i in range(length):
                        k[i] = k[i] * level[i]
            for i in range(length):
                potential[at + i] = u[i]


def _agrees(kernel: Scan) -> bool:
    """Whether the kernel gives what plain torch gives on numbers that round in every operation."""
    from adacal.core.kernels import BurstParameters, plain_scan

    generator = torch.Generator().manual_seed(0)
    current = torch.randn(5, 3, 7, 11, 13, generator=generator)
    threshold = torch.rand(7, 1, 1, generator=generator) + 0.1
    neuron = BurstParameters(
        threshold=threshold, max_spikes=3, shift=threshold / 7, initial_potential=threshold / 2
    )
    found = _run(kernel, current, neuron, None, None, scaled=False)
    wanted = plain_scan(current, neuron)
    return found is not None and all(map(torch.equal, found, wanted))
