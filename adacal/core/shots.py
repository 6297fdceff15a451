"""Scans with little ado, for neurons of a pass that makes the same calls as the one before.

Between two layers each line of Python takes many times as long as anywhere else: what it needs has
left the cache. So what a scan is told of rows of one shape and layout is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adacal.core import compiled
from adacal.core.dense import like
from adacal.core.kernels import BurstParameters
from adacal.core.spike_bytes import MOST
from adacal.core.tally import Tally
from adacal.core.walks import NOTHING, Plan, alike, make_plan

_Form = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape and strides."""


@dataclass(frozen=True, slots=True)
class _Shot:
    """What a scan is told of rows of one shape and layout.

    Attributes:
        plan: of a step.
        step: from one to the next, in numbers.
        numbers: in all steps.
        counts, potential: forms of counts and of membrane potentials.
    """

    plan: Plan
    step: int
    numbers: int
    counts: _Form
    potential: _Form


def aim(rows: Tensor, current: Tensor, neuron: BurstParameters) -> None:
    """Lays out, for `shoot`, what it is told of rows.

    Args:
        rows: shape [steps*B, C, *].
        current: the same as [steps, B, C, *].
        neuron: parameters that fit it.
    """

    def make() -> _Shot | None:
        plan: Plan | None = neuron.plan(current, make_plan)
        steps, size = len(current), current[0].numel()
        if plan is None or plan.start is None or not (steps == 1 or current.stride(0) == size):
            return None
        counts, potential = like(current, plan.layout), like(current[0], plan.layout)
        return _Shot(
            plan=plan,
            step=size if steps > 1 else 0,
            numbers=current.numel(),
            counts=(counts.shape, counts.stride()),
            potential=(potential.shape, potential.stride()),
        )

    if compiled.takes(current, compiled.FIRST_USE):
        neuron.kept((len(current), rows.shape, rows.stride()), make)


def aimed(rows: Tensor, steps: int, neuron: BurstParameters) -> bool:
    """Whether that was done for such rows, or was found to be of no use."""
    return (steps, rows.shape, rows.stride()) in neuron.plans


def shoot(
    rows: Tensor,
    steps: int,
    neuron: BurstParameters,
    membrane: Tensor | None = None,
    *,
    inplace: bool,
    keep: bool = False,
    tally: Tally | None = None,
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
    Returns:
        Output, laid out as `rows`, and the potential after the last step; None where that has not
        been aimed at (`aim`) or cannot be, and `burst_scan` has to do it.
    """
    shot: _Shot | None = neuron.plans.get((steps, rows.shape, rows.stride()))
    kernel = compiled.loaded()
    if shot is None or kernel is None or rows.dtype is not torch.float32 or not rows.is_cpu:
        return None
    if type(rows) not in (Tensor, torch.nn.Parameter) or rows.requires_grad:
        return None
    if tally is not None and neuron.max_spikes > MOST:
        return None
    plan, potential, before = shot.plan, NOTHING, 0
    if keep or membrane is not None:
        potential = torch.empty_strided(*shot.potential, dtype=torch.float32)
    if membrane is not None:
        if not alike(membrane, potential):
            return None
        before = membrane.data_ptr()
    taken = None if tally is None else torch.empty_strided(*shot.counts, dtype=torch.uint8)
    output = rows
    if not inplace:  # a view, as what a scan gives is: calls in place tell its base what they wrote
        output = torch.empty_strided(*shot.counts, dtype=torch.float32).flatten(0, 1)
    whole = plan.walk(
        kernel,
        (rows.data_ptr(), shot.step),
        (output.data_ptr(), shot.step),
        steps,
        shot.numbers,
        before=before,
        memory=0 if potential is NOTHING else potential.data_ptr(),
        scaled=True,
        taken=taken,
        tally=tally,
    )
    if inplace and not rows.is_inference():
        torch.autograd.graph.increment_version(rows)  # torch has not seen what the loops did
    if tally is not None and taken is not None and not plan.tell(tally, taken, whole):
        counts = output.view(steps, -1, *output.shape[1:])
        tally.take(torch.div(counts, neuron.threshold).round_())
    return output, potential
