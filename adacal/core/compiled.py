"""The burst scan compiled by numba: all steps of a neuron in one pass over memory.

`adacal.core.kernels` calls it for float32 tensors on a CPU and goes on in plain torch wherever it
gives None: numba is not there, compiling failed, or its results on a trial differ from plain torch
in a single bit. The loops themselves, the one hot file, are `adacal.core.loops`; on GPUs
`adacal.core.triton_scan` stands in.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adacal.core.dense import dense, like
from adacal.core.loops import Job, Made, compile_burst, compile_spike_sums, compile_sums, had
from adacal.core.spike_bytes import MOST
from adacal.core.tally import Tally
from adacal.core.team import Loops
from adacal.core.walks import NOTHING, Plan, alike, foreign, make_plan

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

SWITCH = "ADACAL_SCAN"
"""Environment variable; `plain` leaves the compiled scan out."""
FIRST_USE = 1 << 18
"""Elements of a current from which the compiler is loaded, once; from then on it takes all."""
_MADE: list[Loops | None] = []
"""The kernel, once it was asked for: looked at by every scan, which `lru_cache` tells slowly."""


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
    job = Job(current=steps.data_ptr(), step=steps.stride(0), steps=len(steps))
    job.counts, job.count_step, job.size = total.data_ptr(), total.stride(0), steps[0].numel()
    kernel.divide(job, job.size, steps.numel())
    kernel.run(job)
    return total


def takes(current: Tensor, elements: int) -> bool:
    """Whether compiled loops take a current, and are loaded or worth it for so many elements."""
    return (
        current.is_cpu
        and current.dtype is torch.float32
        and current.numel() > 0
        and not current.requires_grad
        and not current.is_neg()  # numbers are not those in its memory
        and type(current) in (Tensor, torch.nn.Parameter)
        and (elements >= FIRST_USE or bool(_MADE))
    )


def _run(
    kernel: Loops,
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
    keep: bool = True,
    tally: Tally | None = None,
) -> tuple[Tensor, Tensor] | None:
    plan: Plan | None = neuron.plan(current, make_plan)
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
    taken = None if tally is None else like(current, layout, torch.uint8)
    potential, before, by_place = NOTHING, 0, plan.start is None
    if membrane is not None or by_place or keep:
        potential = like(current[0], layout)
    if membrane is not None or by_place:  # goes on from there, or starts place by place
        before = potential.data_ptr()
        if membrane is not None and alike(membrane, potential):
            before = membrane.data_ptr()
        else:
            potential.copy_(neuron.initial_potential if membrane is None else membrane)
    step, count_step = (current.stride(0), counts.stride(0)) if steps > 1 else (0, 0)
    job = plan.job(kernel, steps, step, count_step, scaled=scaled)
    job.current, job.counts = current.data_ptr(), counts.data_ptr()
    job.inplace = job.current == job.counts
    if before:
        job.start, job.before = 0, before
    if potential is not NOTHING:
        job.potential = potential.data_ptr()
    if taken is None or tally is None:
        kernel.run(job)
    elif not plan.tell(tally, taken, plan.walk(kernel, job, taken, tally)):
        tally.take(torch.div(counts, neuron.threshold).round_() if scaled else counts)
    if out is not None and not out.is_inference():
        torch.autograd.graph.increment_version(out)  # torch has not seen what the loops did
    return counts, potential


@lru_cache(maxsize=1)
def spike_sums() -> Loops | None:
    """Returns loops that add counts up; None if they cannot be had."""
    return beside(compile_spike_sums)


@lru_cache(maxsize=1)
def _sum_kernel() -> Loops | None:
    return beside(compile_sums)


def beside(compile_loops: Callable[[], Made]) -> Made | None:
    """Returns other compiled loops; None where those of the scan cannot be had either."""
    return None if _kernel() is None else had(compile_loops)


def loaded() -> Loops | None:
    """Returns the kernel if it was asked for before and can be had."""
    return _MADE[0] if _MADE else None


def _kernel() -> Loops | None:
    """Returns the kernel, made when it is first asked for; None if it cannot be had."""
    if not _MADE:
        _MADE.append(None if os.environ.get(SWITCH) == "plain" else _compiled())
    return _MADE[0]


def _compiled() -> Loops | None:
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


def _agrees(kernel: Loops) -> bool:
    """Whether the kernel gives what plain torch gives on numbers that round in every operation."""
    from adacal.core.kernels import BurstParameters, plain_scan

    generator = torch.Generator().manual_seed(0)
    single = torch.float32  # whatever the default is
    current = torch.randn(5, 3, 7, 26, 26, generator=generator, dtype=single)
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
