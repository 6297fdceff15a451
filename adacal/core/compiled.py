"""The burst scan compiled by numba: all steps of a neuron in one pass over memory.

`adacal.core.kernels` calls it for float32 tensors on a CPU and goes on in plain torch wherever it
gives None: numba is not there, compiling failed, or its results on a trial differ from plain torch
in a single bit. The loops themselves, the one hot file, are `adacal.core.loops`; on GPUs
`adacal.core.triton_scan` stands in.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.dense import Dense, along, dense, like
from adacal.core.loops import CHUNK, Scan, compile_burst, compile_sums
from adacal.core.tally import Tally

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

SWITCH = "ADACAL_SCAN"
"""Environment variable; `plain` leaves the compiled scan out."""
FIRST_USE = 1 << 18
"""Elements of a current from which the compiler is loaded, once; from then on it takes all."""
_SHORT = 64
"""Neurons of one threshold in a row, below which thresholds are laid out neuron by neuron."""
_PER_THREAD = 1 << 20
"""Elements that are worth a thread of their own, which takes some 0.15 ms to start."""


def scan(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
    keep: bool = True,
    tally: Tally | None = None,
) -> tuple[Tensor, Tensor] | None:
    """As `adacal.core.kernels.burst_scan`; None where plain torch has to do it."""
    if not _fits(current) or (_kernel.cache_info().currsize == 0 and current.numel() < FIRST_USE):
        return None
    kernel = _kernel()
    if kernel is None:
        return None
    return _run(kernel, current, neuron, membrane, out, scaled=scaled, keep=keep, tally=tally)


def running_sums(steps: Tensor) -> Tensor:
    """Returns the numbers of `steps.cumsum(0)`, faster and laid out as steps are where it can.

    Args:
        steps: shape [steps, B, *].
    """
    loaded = _sum_kernel.cache_info().currsize > 0
    if not _fits(steps) or (not loaded and steps.numel() < FIRST_USE):
        return steps.cumsum(0)
    kernel, layout = _sum_kernel(), dense(steps[0])
    if kernel is None or layout is None:
        return steps.cumsum(0)
    total = like(steps, layout)
    arguments = _memory(steps, layout), steps.stride(0), _memory(total, layout), total.stride(0)
    size = steps[0].numel()
    parts = max(1, min(torch.get_num_threads(), steps.numel() // _PER_THREAD))
    _in_threads(lambda share: kernel(*arguments, len(steps), *share), _equal(size, parts))
    return total


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
    times = _together(channels * inner, outer, layout, first.shape[0]) if by_row else 1

    def laid(value: Tensor) -> Any:
        flat = value.detach().reshape(-1).expand(channels)
        return (
            flat.repeat_interleave(inner).repeat(times) if by_row else flat.contiguous()
        ).numpy()

    return _Plan(
        layout=layout,
        outer=outer // times,
        channels=1 if by_row else channels,
        row=channels * inner * times if by_row else inner,
        by_row=int(by_row),
        threshold=laid(neuron.threshold),
        shift=laid(first.new_zeros(1) if neuron.shift is None else neuron.shift),
        start=laid(initial) if along(initial, first) <= varying else None,
    )


def _together(row: int, outer: int, layout: Dense, rows: int) -> int:
    """How many short rows of neurons, one after the other in memory, are walked through as one."""
    if layout.order[0] != 0 or outer % rows:  # or thresholds differ between the rows
        return 1
    apart = outer // rows  # of one sample, or of a row of it
    return max(n for n in range(1, max(2, CHUNK // row + 1)) if apart % n == 0)


def _run(
    kernel: Scan,
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
    keep: bool = True,
    tally: Tally | None = None,
) -> tuple[Tensor, Tensor] | None:
    plan: _Plan | None = neuron.plan(current, _make_plan)
    if plan is None:
        return None
    layout, steps = plan.layout, current.shape[0]
    if out is not None and (out.stride() != current.stride() or out.shape != current.shape):
        return None
    sums = None
    if tally is not None and tally.sums:
        sums = _Sums(tally, plan, current, neuron.max_spikes)
    if sums is not None and not sums.possible:
        return None
    counts = like(current, layout) if out is None else out
    codes, code_step = _NO_BYTES, 0
    if tally is not None and tally.as_bytes:
        tally.counts = like(current, layout, torch.uint8)
        codes, code_step = _memory(tally.counts, layout), tally.counts.stride(0)
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
        codes,
        code_step,
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
    _spread(kernel, arguments, plan.outer, current.numel(), sums)
    return counts, potential


_NOTHING = torch.empty(0)
_NO_NUMBERS = _NOTHING.numpy()
_NO_BYTES = _NOTHING.to(torch.uint8).numpy()
_NO_SUMS = (_NO_NUMBERS, 0.0, 1)


_Share = tuple[tuple[Any, float, int], list[tuple[int, int]]]
"""What a thread does: where it adds spikes up, and which lines it walks through."""


class _Sums:
    """Where a scan adds spikes up, shared among threads so that none writes where another does.

    Spikes and bursts are added up in one number, of which a burst is worth more than all spikes.

    Args:
        tally: takes the sums.
        plan: how the current is walked through.
        current: what is scanned, shape [steps, B*m, C, *].
        max_spikes: φ.
    """

    def __init__(self, tally: Tally, plan: _Plan, current: Tensor, max_spikes: int) -> None:
        batch = tally.batch
        self._tally = tally
        self._layout = plan.layout
        self._outer = plan.outer
        self._steps = current.shape[0]
        self._rows = current.shape[1] // batch
        self._size = current[0].numel() // batch
        self._event = 2 ** (batch * max_spikes).bit_length() if max_spikes > 1 else 0
        self._memory = current.new_empty(0)
        exact = batch * (self._event + max_spikes) <= 1 << 24  # as whole numbers in float32
        self.possible = exact and self._layout.order[0] == 0 and self._outer % batch == 0

    def shares(self, threads: int) -> list[_Share]:
        """Returns what each thread does; their sums take no more memory than the counts."""
        batch = self._tally.batch
        apart = self._outer // batch
        if min(threads, apart) > batch:  # each takes some neurons of every sample
            own = 1
            shares = _equal(apart, min(threads, apart))
            ranges = [[(s * apart + a, s * apart + b) for s in range(batch)] for a, b in shares]
        else:
            own = min(threads, batch)
            ranges = [[share] for share in _equal(self._outer, own)]
        self._memory = self._memory.new_zeros(own, self._steps * self._size)
        rows = [row.numpy() for row in self._memory]
        sums = [(rows[part % own], float(self._event), self._size) for part in range(len(ranges))]
        return list(zip(sums, ranges, strict=True))

    def end(self) -> None:
        """Gives the sums of all threads to the tally."""
        both = self._memory[0] if len(self._memory) == 1 else self._memory.sum(0)
        sizes = self._rows, *self._layout.sizes[1:]
        places = [1 + self._layout.order.index(dim) for dim in range(len(sizes))]
        laid = both.unflatten(0, (self._steps, *sizes)).permute(0, *places)
        spikes = events = laid.flatten(0, 1).contiguous()
        if self._event:
            events = (spikes * (1 / self._event)).floor_()
            spikes -= events * self._event
        self._tally.spikes, self._tally.events = spikes, events


def _spread(
    kernel: Scan, arguments: tuple[Any, ...], outer: int, elements: int, sums: _Sums | None
) -> None:
    """Shares the rows among as many threads as torch uses; the caller's is one of them."""
    parts = max(1, min(torch.get_num_threads(), outer, elements // _PER_THREAD))
    if sums is None:
        shares: list[_Share] = [(_NO_SUMS, [share]) for share in _equal(outer, parts)]
    else:
        shares = sums.shares(parts)

    def walk(share: _Share) -> None:
        own, ranges = share
        for begin, end in ranges:
            kernel(*arguments, *own, begin, end)

    _in_threads(walk, shares)
    if sums is not None:
        sums.end()


def _in_threads(walk: Callable[[Any], None], shares: list[Any]) -> None:
    """Walks through each share in a thread of its own, the first in the caller's."""
    threads = [threading.Thread(target=walk, args=(share,)) for share in shares[1:]]
    for thread in threads:
        thread.start()
    walk(shares[0])
    for thread in threads:
        thread.join()


def _equal(total: int, parts: int) -> list[tuple[int, int]]:
    """Cuts a range into parts that are as long as each other, but for one."""
    bounds = [total * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


def _foreign(value: Tensor | None) -> bool:
    return value is not None and (value.dtype is not torch.float32 or value.device.type != "cpu")


def _memory(tensor: Tensor, layout: Dense) -> Any:
    """All memory of a tensor as a flat numpy array."""
    step = math.prod(layout.sizes)
    steps = tensor.shape[0] if tensor.dim() > len(layout.order) else 1
    span = step + (steps - 1) * (tensor.stride(0) if steps > 1 else 0)
    return tensor.detach().as_strided((span,), (1,)).numpy()


@lru_cache(maxsize=1)
def _sum_kernel() -> Scan | None:
    """As `_kernel`, for running sums; where that cannot be had, neither can this."""
    if _kernel() is None:
        return None
    try:
        return compile_sums()
    except Exception:  # as there
        return None


@lru_cache(maxsize=1)
def _kernel() -> Scan | None:
    """Compiles and tries the kernel; says once why it cannot be had."""
    if os.environ.get(SWITCH) == "plain":
        return None
    try:
        kernel = compile_burst()
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


def _agrees(kernel: Scan) -> bool:
    """Whether the kernel gives what plain torch gives on numbers that round in every operation."""
    from adacal.core.kernels import BurstParameters, plain_scan

    generator = torch.Generator().manual_seed(0)
    current = torch.randn(5, 3, 7, 11, 13, generator=generator)
    threshold = torch.rand(7, 1, 1, generator=generator) + 0.1
    neuron = BurstParameters(
        threshold=threshold, max_spikes=3, shift=threshold / 7, initial_potential=threshold / 2
    )
    found_sums, wanted_sums = Tally(3), Tally(3)
    found = _run(kernel, current, neuron, None, None, scaled=False, tally=found_sums)
    wanted = plain_scan(current, neuron)
    if found is None or not all(map(torch.equal, found, wanted)):
        return False
    wanted_sums.take(wanted[0])
    return all(map(torch.equal, found_sums.both, wanted_sums.both))
