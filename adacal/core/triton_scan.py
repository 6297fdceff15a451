"""The burst scan as a Triton kernel for CUDA: all steps of a neuron in one pass over memory.

`adacal.core.kernels` calls it for float32 tensors on a GPU and goes on in plain torch wherever it
gives None. Tests run it in Triton's interpreter, and on a GPU where there is one. It proves itself
on each GPU first: unless a trial there gives the bits of plain torch, that runs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.compiled import SWITCH
from adacal.core.dense import Dense, along, dense, like

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

_BLOCK = 1024
"""Neurons of one program of the kernel."""

try:
    import triton
    import triton.language as tl
except ImportError as error:  # no wheel for this platform
    triton = None
    _MISSING = str(error)
else:
    # Triton reads annotations as code of its own, so parameters carry no others than constexpr; it
    # compiles once for each number of steps.
    @triton.jit  # type: ignore[untyped-decorator]
    def _burst(  # type: ignore[no-untyped-def]
        current, counts, potential, threshold, shift, start,
        most, step, count_step, size, channels, inner, steps: tl.constexpr,
        goes_on: tl.constexpr, shifted: tl.constexpr, scaled: tl.constexpr, keep: tl.constexpr,
        fused: tl.constexpr, wide: tl.constexpr, block: tl.constexpr,
    ):  # fmt: skip
        first = tl.program_id(0)
        if wide:
            first = first.to(tl.int64)
        place = first * block + tl.arange(0, block)
        inside = place < size
        channel = (place // inner) % channels  # divisions of 64 bits would take most of the time
        at = place.to(tl.int64)
        theta = tl.load(threshold + channel, mask=inside, other=1.0)
        added = theta
        if shifted:
            added = tl.load(shift + channel, mask=inside, other=0.0)
        if goes_on:
            u = tl.load(potential + at, mask=inside, other=0.0)
        else:
            u = tl.load(start + channel, mask=inside, other=0.0)
        for _ in range(steps):
            u += tl.load(current + at, mask=inside, other=0.0)
            if shifted:
                u += added
            k = tl.floor(tl.div_rn(u, theta))
            k = tl.where(k < 0, 0.0, k)
            k = tl.where(k > most, most, k)  # no number stays no number, as in torch
            u = tl.fma(-k, theta, u) if fused else u - k * theta
            if scaled:
                k = k * theta
            tl.store(counts + at, k, mask=inside)
            current += step
            counts += count_step
        if keep:
            tl.store(potential + at, u, mask=inside)


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
    if current.dtype is not torch.float32 or current.numel() == 0 or current.requires_grad:
        return None
    fused = fusing(current.device)
    if fused is None:
        return None
    return run(current, neuron, membrane, out, scaled=scaled, keep=keep, fused=fused)


@lru_cache(maxsize=16)
def fusing(device: torch.device) -> bool | None:
    """Whether u - k * theta is rounded once by plain torch on a GPU; None: do not use the kernel.

    The first call on a GPU compiles and tries the kernel, and logs a sentence if it fails.
    """
    if os.environ.get(SWITCH) == "plain":
        return None
    reason = ""
    try:
        if triton is None:
            raise ImportError(_MISSING)
        for fused in (True, False):
            if _agrees(device, fused):
                return fused
        reason = f"its results differ from plain torch on {device}"
    except Exception as error:  # whatever a compiler may meet, plain torch computes the same
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    logging.getLogger("adacal").warning(
        "the Triton scan is not used and plain torch runs instead, which takes longer (%s); "
        "%s=plain leaves this message out",
        reason,
        SWITCH,
    )
    return None


def run(
    current: Tensor,
    neuron: BurstParameters,
    membrane: Tensor | None,
    out: Tensor | None,
    *,
    scaled: bool,
    keep: bool = True,
    fused: bool,
) -> tuple[Tensor, Tensor] | None:
    """Runs the kernel; None for a layout of memory or parameters that it does not know."""
    plan: _Plan | None = neuron.plan(current, _make_plan)
    if plan is None:
        return None
    if out is not None and (out.stride() != current.stride() or out.shape != current.shape):
        return None
    first = current[0]
    counts = like(current, plan.layout) if out is None else out
    potential = like(first, plan.layout)
    start = plan.start if membrane is None else None
    if start is None:  # from there, or starts place by place
        potential.copy_(neuron.initial_potential if membrane is None else membrane)
    grid = (-(-first.numel() // _BLOCK),)
    launch: Callable[..., Any] = _burst[grid]
    with torch.cuda.device_of(current):
        launch(
            current, counts, potential, plan.threshold,
            plan.threshold if plan.shift is None else plan.shift,  # not read
            plan.threshold if start is None else start, float(neuron.max_spikes),
            current.stride(0), counts.stride(0), first.numel(), plan.channels, plan.inner,
            steps=current.shape[0], goes_on=start is None, shifted=plan.shift is not None,
            scaled=scaled, keep=keep, fused=fused, wide=first.numel() + _BLOCK >= 1 << 31,
            block=_BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    return counts, potential


@dataclass(frozen=True)
class _Plan:
    """How a current of one shape and layout is walked through, and the parameters laid out for it.

    Attributes:
        layout: of one step.
        channels, inner: thresholds, and neurons in a row that share one.
        threshold, shift, start: shape [channels]; no start if it varies along more than they do.
    """

    layout: Dense
    channels: int
    inner: int
    threshold: Tensor
    shift: Tensor | None
    start: Tensor | None


def _make_plan(first: Tensor, neuron: BurstParameters) -> _Plan | None:
    """Returns the plan of currents with such steps; None if plain torch has to do it."""
    layout, initial = dense(first), neuron.initial_potential
    varying = along(neuron.threshold, first) | along(neuron.shift, first)
    if layout is None or len(varying) > 1:
        return None
    _, channels, inner = layout.rows(next(iter(varying), None), first.shape[0])

    def laid(value: Tensor) -> Tensor:
        return value.detach().to(first).reshape(-1).expand(channels).contiguous()

    return _Plan(
        layout=layout,
        channels=channels,
        inner=inner,
        threshold=laid(neuron.threshold),
        shift=None if neuron.shift is None else laid(neuron.shift),
        start=laid(initial) if along(initial, first) <= varying else None,
    )


def _agrees(device: torch.device, fused: bool) -> bool:
    """Whether the kernel gives what plain torch gives on numbers that round in every operation."""
    from adacal.core.kernels import BurstParameters, plain_scan

    generator = torch.Generator().manual_seed(0)
    current = torch.randn(5, 3, 7, 11, 13, generator=generator).to(device)
    threshold = (torch.rand(7, 1, 1, generator=generator) + 0.1).to(device)
    neuron = BurstParameters(
        threshold=threshold, max_spikes=3, shift=threshold / 7, initial_potential=threshold / 2
    )
    found = run(current, neuron, None, None, scaled=False, fused=fused)
    wanted = plain_scan(current, neuron)
    return found is not None and all(map(torch.equal, found, wanted))
