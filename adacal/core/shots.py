"""Scans with little ado, for neurons of a pass that makes the same calls as the one before.

Between two layers each line of Python takes many times as long as anywhere else: what it needs has
left the cache. So what a scan is told of rows of one shape and layout is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adacal.core import compiled
from adacal.core.dense import like
from adacal.core.kernels import BurstParameters
from adacal.core.loops import Job
from adacal.core.spike_bytes import MOST
from adacal.core.tally import Tally
from adacal.core.walks import NOTHING, Plan, alike, make_plan
from adacal.core.weighed import Room

_Form = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and strides."""


@dataclass(frozen=True, slots=True)
class _Shot:
    """What a scan is told of rows of one shape and layout.

    Attributes:
        plan: of a step.
        job: of all steps, but for addresses.
        counts, potential: forms of counts and of membrane potentials.
    """

    plan: Plan
    job: bytes
    counts: _Form
    potential: _Form


def aim(rows: Tensor, current: Tensor, neuron: BurstParameters) -> None:
    """Lays out, for `shoot`, what it is told of rows.

    Args:
        rows: shape [steps*B, C, *].
        current: the same as [steps, B, C, *].
        neuron: parameters that fit it.
    """
    kernel = compiled.loaded()

    def make() -> _Shot | None:
        plan: Plan | None = neuron.plan(current, make_plan)
        steps, size = len(current), current[0].numel()
        if plan is None or plan.start is None or not (steps == 1 or current.stride(0) == size):
            return None
        assert kernel is not None
        step = size if steps > 1 else 0
        counts, potential = like(current, plan.layout), like(current[0], plan.layout)
        return _Shot(
            plan=plan,
            job=bytes(plan.job(kernel, steps, step, step, scaled=True)),
            counts=(counts.shape, counts.stride()),
            potential=(potential.shape, potential.stride()),
        )

    if kernel is not None and compiled.takes(current, current.numel()):
        neuron.kept(_key(rows, len(current)), make)


def aimed(rows: Tensor, steps: int, neuron: BurstParameters) -> bool:
    """Whether that was done for such rows, or was found to be of no use."""
    return _key(rows, steps) in neuron.plans


def _key(rows: Tensor, steps: int) -> tuple[Any, ...]:
    """What a shot depends on."""
    return steps, rows.shape, rows.stride(), torch.get_num_threads()


def shoot(
    rows: Tensor,
    steps: int,
    neuron: BurstParameters,
    membrane: Tensor | None = None,
    *,
    inplace: bool,
    keep: bool = False,
    tally: Tally | None = None,
    room: Room | None = None,
) -> tuple[Tensor, Tensor] | None:
    """The output of neurons, as `adacal.core.kernels.burst_scan` gives it.

    Args:
        rows: current, shape [steps*B, C, *].
        steps: how many.
        neuron: parameters.
        membrane: potential to go on from, shape [B, C, *]; the initial potential if None.
        inplace: whether the output is to overwrite the current.
        keep: whether the potential after the last step is wanted.
        tally: takes the counts, if given.
        room: takes sums of them, if given; there is no tally then.
    Returns:
        Output, laid out as `rows`, and the potential after the last step; None where that has not
        been aimed at (`aim`) or cannot be, and `burst_scan` has to do it.
    """
    shot: _Shot | None = neuron.plans.get(_key(rows, steps))
    kernel = compiled.loaded()
    if shot is None or kernel is None or rows.dtype is not torch.float32 or not rows.is_cpu:
        return None
    if type(rows) not in (Tensor, torch.nn.Parameter) or rows.requires_grad or rows.is_neg():
        return None
    if (tally is not None or room is not None) and neuron.max_spikes > MOST:
        return None
    job, output, potential = Job.from_buffer_copy(shot.job), rows, NOTHING
    if keep or membrane is not None:
        potential = torch.empty_strided(*shot.potential, dtype=torch.float32, device="cpu")
        job.potential = potential.data_ptr()
    if membrane is not None:
        if not alike(membrane, potential):
            return None
        job.start, job.before = 0, membrane.data_ptr()
    if room is not None and not (room.tell(job) and shot.plan.ask(job, room.readers)):
        return None
    if not inplace:  # a view, as what a scan gives is: calls in place tell its base what they wrote
        output = torch.empty_strided(*shot.counts, dtype=torch.float32, device="cpu").flatten(0, 1)
    job.current, job.counts, job.inplace = rows.data_ptr(), output.data_ptr(), inplace
    if tally is None:
        kernel.run(job)
    else:
        plan, taken = shot.plan, torch.empty_strided(*shot.counts, dtype=torch.uint8, device="cpu")
        if not plan.tell(tally, taken, plan.walk(kernel, job, taken, tally)):
            counts = output.view(steps, -1, *output.shape[1:])
            tally.take(torch.div(counts, neuron.threshold).round_())
    if inplace and not rows.is_inference():
        torch.autograd.graph.increment_version(rows)  # torch has not seen what the loops did
    return output, potential
