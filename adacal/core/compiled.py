"""The burst scan compiled by numba: all steps of a neuron in one pass over memory.

`adacal.core.kernels` calls it for float32 tensors on a CPU and goes on in plain torch wherever it
gives None: numba is not there, compiling failed, or its results on a trial differ from plain torch
in a single bit. The loops themselves, the one hot file, are `adacal.core.loops`; on GPUs
`adacal.core.triton_scan` stands in.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.byte_sums import Bytes, Weights
from adacal.core.dense import Dense, along, dense, like, memory_of
from adacal.core.loops import CHUNK, Scan, compile_burst, compile_sums, had
from adacal.core.spike_bytes import MOST
from adacal.core.tally import ONE, Sums, Tally

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

SWITCH = "ADACAL_SCAN"
"""Environment variable; `plain` leaves the compiled scan out."""
FIRST_USE = 1 << 18
"""Elements of a current from which the compiler is loaded, once; from then on it takes all."""
_MADE: list[Scan | None] = []
"""The kernel, once it was asked for: looked at by every scan, which `lru_cache` tells slowly."""
_SHORT = 512
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
    kernel = _kernel() if takes(current, current.numel()) else None
    if kernel is None:
        return None
    return _run(kernel, current, neuron, membrane, out, scaled=scaled, keep=keep, tally=tally)


@dataclass(frozen=True, slots=True)
class _Shot:
    """All that a scan is told of rows of one shape and layout, but where they lie.

    Attributes:
        step: from one step to the next, in numbers.
        details: as `_burst` takes them, from `size` to `scaled`.
        ranges: of lines, one for each thread.
    """

    step: int
    details: tuple[Any, ...]
    ranges: list[tuple[int, int]]

    def fire(self, kernel: Scan, given: int, sent: int) -> None:
        """Reads currents at one address and writes outputs to another, or to the same one."""
        step, details, same = self.step, self.details, given == sent
        _in_threads(
            lambda part: kernel(given, step, sent, step, *details, same, False, *part), self.ranges
        )


def aim(rows: Tensor, current: Tensor, neuron: BurstParameters) -> None:
    """Lays out, for `shoot`, what it is told of rows.

    Args:
        rows: shape [steps*B, C, *].
        current: the same as [steps, B, C, *].
        neuron: parameters that fit it.
    """

    def make() -> _Shot | None:
        plan: _Plan | None = neuron.plan(current, _make_plan)
        steps, size = len(current), current[0].numel()
        if plan is None or plan.start is None or not (steps == 1 or current.stride(0) == size):
            return None
        start = 0, plan.threshold, plan.shift, plan.start, 0
        form = steps, plan.channels, plan.row, plan.by_row, True
        details = size, 0, 0, _NO_WEIGHTS, _NO_TOTALS, *start, float(neuron.max_spikes), *form
        ranges = _shares(plan.outer * plan.channels, current.numel())
        return _Shot(size if steps > 1 else 0, details, ranges)

    if takes(current, FIRST_USE):
        neuron.kept((len(current), rows.shape, rows.stride()), make)


def shoot(rows: Tensor, steps: int, neuron: BurstParameters, *, inplace: bool) -> Tensor | None:
    """The output of neurons that start afresh and of which nothing is kept, with little ado.

    Between two layers each line of Python takes many times as long as anywhere else: what it needs
    has left the cache.

    Args:
        rows: current, shape [steps*B, C, *].
        neuron: parameters.
        inplace: whether the output is to overwrite it.
    Returns:
        Output, laid out as `rows`; None where that has not been aimed at (`aim`) or cannot be, and
        `scan` has to do it.
    """
    shot = neuron.plans.get((steps, rows.shape, rows.stride()))
    kernel = _MADE[0] if _MADE else None
    if shot is None or kernel is None or rows.dtype is not torch.float32 or not rows.is_cpu:
        return None
    if rows.requires_grad:
        return None
    # a view, as what `scan` gives is: calls in place tell what they wrote to its base, not to it
    output = rows if inplace else torch.empty_like(rows).view_as(rows)
    shot.fire(kernel, rows.data_ptr(), output.data_ptr())
    if inplace and not rows.is_inference():
        torch.autograd.graph.increment_version(rows)
    return output


def running_sums(steps: Tensor) -> Tensor:
    """Returns the numbers of `steps.cumsum(0)`, faster and laid out as steps are where it can.

    Args:
        steps: shape [steps, B, *].
    """
    kernel = _sum_kernel() if takes(steps, steps.numel()) else None
    layout = None if kernel is None else dense(steps[0])
    if kernel is None or layout is None:
        return steps.cumsum(0)
    total = like(steps, layout)
    arguments = memory_of(steps, layout), steps.stride(0), memory_of(total, layout), total.stride(0)
    parts = _shares(steps[0].numel(), steps.numel())
    _in_threads(lambda share: kernel(*arguments, len(steps), *share), parts)
    return total


def takes(current: Tensor, elements: int) -> bool:
    """Whether compiled loops take a current, and are loaded or worth it for so many elements."""
    return (
        current.is_cpu
        and current.dtype is torch.float32
        and current.numel() > 0
        and not current.requires_grad
        and type(current) in (Tensor, torch.nn.Parameter)
        and (elements >= FIRST_USE or bool(_MADE))
    )


def _alike(membrane: Tensor, potential: Tensor) -> bool:
    """Whether one can be read as the other is written."""
    same = membrane.shape == potential.shape and membrane.stride() == potential.stride()
    return same and not foreign(membrane)


def foreign(value: Tensor | None) -> bool:
    """Whether loops cannot read a parameter."""
    return value is not None and (value.dtype is not torch.float32 or value.device.type != "cpu")


@dataclass(frozen=True)
class _Plan:
    """How a current of one shape and layout is walked through, and the parameters laid out for it.

    Attributes:
        layout: of one step.
        outer, channels, row, by_row: see `_burst`; a step has `outer * channels` lines.
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
    if foreign(out):
        return None
    if tally is not None and neuron.max_spikes > MOST:
        return None
    counts = like(current, layout) if out is None else out
    taken, weight = None if tally is None else like(current, layout, torch.uint8), None
    if tally is not None and tally.expected is not None and layout.order[0] == 0:
        weight = tally.expected.laid(layout, neuron.max_spikes)
        # lines of several samples, which have thresholds of their own, do not have them in turns
        if weight is None or len(weight) != current[0, 0].numel() or len(weight) % plan.row:
            weight = None
    start, potential, memory, before = plan.start, _NOTHING, 0, 0
    if membrane is not None or start is None or keep:
        potential = like(current[0], layout)
        memory = potential.data_ptr()
    if membrane is not None or start is None:  # goes on from there, or starts place by place
        start, before = _NO_NUMBERS, memory
        if membrane is not None and _alike(membrane, potential):
            before = membrane.data_ptr()
        else:
            potential.copy_(neuron.initial_potential if membrane is None else membrane)
    given, sent = current.data_ptr(), counts.data_ptr()
    inplace = given == sent
    where = (
        given,
        current.stride(0) if steps > 1 else 0,
        sent,
        counts.stride(0) if steps > 1 else 0,
        layout.numel,
        0 if taken is None else taken.data_ptr(),
        0 if taken is None else taken.stride(0),
        _NO_WEIGHTS if weight is None else weight,
    )
    how = (
        memory,
        plan.threshold,
        plan.shift,
        start,
        before,
        float(neuron.max_spikes),
        steps,
        plan.channels,
        plan.row,
        plan.by_row,
        scaled,
        inplace,
        tally is not None and tally.sums,
    )
    ranges = _shares(plan.outer * plan.channels, current.numel())
    totals = [_NO_TOTALS] * len(ranges)
    if tally is not None:
        totals = [np.zeros((steps, 5), np.int64) for _ in ranges]
    _in_threads(
        lambda part: kernel(*where, part[0], *how, *part[1]),
        list(zip(totals, ranges, strict=True)),
    )
    if out is not None and not out.is_inference():
        torch.autograd.graph.increment_version(out)  # torch has not seen what the loops did
    if tally is not None and taken is not None:
        whole: list[list[int]] = sum(totals[1:], totals[0]).tolist()
        if any(step[4] for step in whole):  # which no byte says
            tally.take(torch.div(counts, neuron.threshold).round_() if scaled else counts)
            return counts, potential
        known: dict[Weights, Sums] = {ONE: [step[:2] for step in whole]} if tally.sums else {}
        if tally.expected is not None and weight is not None:
            known[tally.expected] = [step[2:4] for step in whole]
        tally.fill(Bytes(taken, layout), known)
    return counts, potential


_NOTHING = torch.empty(0, dtype=torch.float32)
_NO_NUMBERS, _NO_WEIGHTS = _NOTHING.numpy(), _NOTHING.to(torch.int32).numpy()
_NO_TOTALS = np.zeros((0, 5), np.int64)


def _shares(lines: int, elements: int) -> list[tuple[int, int]]:
    """Cuts lines into as many equal ranges as threads are worth it for so many elements."""
    if elements < 2 * _PER_THREAD:
        return [(0, lines)]
    parts = max(1, min(torch.get_num_threads(), lines, elements // _PER_THREAD))
    return list(pairwise([lines * part // parts for part in range(parts + 1)]))


def _in_threads(walk: Callable[[Any], None], parts: list[Any]) -> None:
    """Walks through each part in a thread of its own, the first in the caller's."""
    threads = [threading.Thread(target=walk, args=(part,)) for part in parts[1:]]
    for thread in threads:
        thread.start()
    walk(parts[0])
    for thread in threads:
        thread.join()


@lru_cache(maxsize=1)
def _sum_kernel() -> Scan | None:
    return beside(compile_sums)


def beside(compile_loops: Callable[[], Scan]) -> Scan | None:
    """Returns other compiled loops; None where those of the scan cannot be had either."""
    return None if _kernel() is None else had(compile_loops)


def _kernel() -> Scan | None:
    """Returns the kernel, made when it is first asked for; None if it cannot be had."""
    if not _MADE:
        _MADE.append(None if os.environ.get(SWITCH) == "plain" else _compiled())
    return _MADE[0]


def _compiled() -> Scan | None:
    """Compiles and tries the kernel; says once why it cannot be had."""
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
    single = torch.float32  # whatever the default is
    current = torch.randn(5, 3, 7, 11, 13, generator=generator, dtype=single)
    threshold = torch.rand(7, 1, 1, generator=generator, dtype=single) + 0.1
    neuron = BurstParameters(
        threshold=threshold, max_spikes=3, shift=threshold / 7, initial_potential=threshold / 2
    )
    tally = Tally(3)
    found = _run(kernel, current, neuron, None, None, scaled=False, tally=tally)
    wanted = plain_scan(current, neuron)
    if found is None or tally.counts is None or not all(map(torch.equal, found, wanted)):
        return False
    return torch.equal(tally.counts.float(), wanted[0])
