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

from adacal.core.dense import Dense, along, dense, like

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


def scan(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
    keep: bool = True,
) -> tuple[Tensor, Tensor] | None:
    """As `adacal.core.kernels.burst_scan`; None where plain torch has to do it."""
    if not _fits(current) or (_kernel.cache_info().currsize == 0 and current.numel() < FIRST_USE):
        return None
    kernel = _kernel()
    if kernel is None:
        return None
    return _run(kernel, current, neuron, membrane, out, scaled=scaled, keep=keep)


def _fits(current: Tensor) -> bool:
    return (
        current.device.type == "cpu"
        and current.dtype is torch.float32
        and current.numel() > 0
        and not current.requires_grad
        and type(current) in (Tensor, torch.nn.Parameter)
    )


@dataclass(frozen=True)
class _Plan:
    """How a current of one shape and layout is walked through, and the parameters laid out for it.

    Attributes:
        layout: of one step.
        outer, channels, row, by_row: see `_burst`; `outer` is what threads share.
        threshold, shift: numbers as the loops read them.
        start: initial potentials likewise; None if they vary along more than thresholds do.
    """

    layout: Dense
    outer: int
    channels: int
    row: int
    by_row: int
    threshold: Any
    shift: Any
    start: Any


def _make_plan(first: Tensor, neuron: BurstParameters) -> _Plan | None:
    """Returns the plan of currents with such steps; None if plain torch has to do it."""
    layout, initial = dense(first), neuron.initial_potential
    varying = along(neuron.threshold, first) | along(neuron.shift, first)
    values = (neuron.threshold, neuron.shift, initial)
    if layout is None or len(varying) > 1 or any(_foreign(value) for value in values):
        return None
    outer, channels, inner = layout.rows(next(iter(varying), None), first.shape[0])
    by_row = inner < _SHORT and channels > 1

    def laid(value: Tensor) -> Any:
        flat = value.detach().reshape(-1).expand(channels)
        return (flat.repeat_interleave(inner) if by_row else flat.contiguous()).numpy()

    return _Plan(
        layout=layout,
        outer=outer,
        channels=1 if by_row else channels,
        row=channels * inner if by_row else inner,
        by_row=int(by_row),
        threshold=laid(neuron.threshold),
        shift=laid(torch.zeros(1) if neuron.shift is None else neuron.shift),
        start=laid(initial) if along(initial, first) <= varying else None,
    )


def _run(
    kernel: Scan,
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
    keep: bool = True,
) -> tuple[Tensor, Tensor] | None:
    plan: _Plan | None = neuron.plan(current, _make_plan)
    if plan is None:
        return None
    layout, steps = plan.layout, current.shape[0]
    if out is not None and (out.stride() != current.stride() or out.shape != current.shape):
        return None
    counts = like(current, layout) if out is None else out
    start, potential, memory = plan.start, _NOTHING, _NO_NUMBERS
    if membrane is not None or start is None or keep:
        potential = like(current[0], layout)
        memory = _memory(potential, layout)
    if membrane is not None or start is None:  # goes on from there, or starts place by place
        potential.copy_(neuron.initial_potential if membrane is None else membrane)
        start = _NO_NUMBERS
    arguments = (
        _memory(current, layout),
        current.stride(0) if steps > 1 else 0,
        _memory(counts, layout),
        counts.stride(0) if steps > 1 else 0,
        memory,
        plan.threshold,
        plan.shift,
        start,
        float(neuron.max_spikes),
        steps,
        plan.channels,
        plan.row,
        plan.by_row,
        scaled,
    )
    _spread(kernel, arguments, plan.outer, current.numel())
    return counts, potential


_NOTHING = torch.empty(0)
_NO_NUMBERS = _NOTHING.numpy()


def _spread(kernel: Scan, arguments: tuple[Any, ...], outer: int, elements: int) -> None:
    """Shares the rows among as many threads as torch uses; the caller's is one of them."""
    parts = max(1, min(torch.get_num_threads(), outer, elements // _PER_THREAD))
    if parts == 1:
        kernel(*arguments, 0, outer)
        return
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


def _foreign(value: Tensor | None) -> bool:
    return value is not None and (value.dtype is not torch.float32 or value.device.type != "cpu")


def _memory(tensor: Tensor, layout: Dense) -> Any:
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
    options: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
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
            if potential.size > 0:
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
