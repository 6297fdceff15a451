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

from adacal.core.byte_sums import Bytes, Weights
from adacal.core.compiled import SWITCH
from adacal.core.dense import Dense, along, dense, like
from adacal.core.loops import CHUNK
from adacal.core.spike_bytes import MOST
from adacal.core.tally import ONE, Sums, Tally

if TYPE_CHECKING:
    from adacal.core.kernels import BurstParameters

_BLOCK = CHUNK
"""Neurons of one program of the kernel; sums of theirs fit 32 bits, see `Weights.laid`."""

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
        current, counts, potential, threshold, shift, start, codes, weights, sums,
        most, step, count_step, code_step, size, channels, inner, sample, steps: tl.constexpr,
        goes_on: tl.constexpr, shifted: tl.constexpr, scaled: tl.constexpr, keep: tl.constexpr,
        tallied: tl.constexpr, weighed: tl.constexpr,
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
        weight = place * 0
        if weighed:
            weight = tl.load(weights + place % sample, mask=inside, other=0)
        sums += first * 4
        for _ in range(steps):
            u += tl.load(current + at, mask=inside, other=0.0)
            if shifted:
                u += added
            k = tl.floor(tl.div_rn(u, theta))
            k = tl.where(k < 0, 0.0, k)
            k = tl.where(k > most, most, k)  # no number stays no number, as in torch
            u = tl.fma(-k, theta, u) if fused else u - k * theta
            if tallied:  # whole numbers of 32 bits in a block, which add up exactly as float64
                code = tl.where(k != k, 0.0, k).to(tl.int32)
                some = (code > 0).to(tl.int32)
                odd = tl.sum((k != k).to(tl.int32), 0)  # which no byte says
                nothing = tl.where(odd > 0, float("nan"), 0.0).to(tl.float64)
                tl.store(codes + at, code.to(tl.uint8), mask=inside)
                tl.store(sums, tl.sum(code, 0).to(tl.float64) + nothing)
                tl.store(sums + 1, tl.sum(some, 0).to(tl.float64) + nothing)
                if weighed:
                    tl.store(sums + 2, tl.sum(code * weight, 0).to(tl.float64) + nothing)
                    tl.store(sums + 3, tl.sum(some * weight, 0).to(tl.float64) + nothing)
                codes += code_step
                sums += tl.num_programs(0) * 4
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
    tally: Tally | None = None,
) -> tuple[Tensor, Tensor] | None:
    """As `adacal.core.kernels.burst_scan`; None where plain torch has to do it."""
    if current.dtype is not torch.float32 or current.numel() == 0 or current.requires_grad:
        return None
    fused = fusing(current.device)
    if fused is None:
        return None
    options: dict[str, Any] = {"scaled": scaled, "keep": keep, "tally": tally}
    return run(current, neuron, membrane, out, fused=fused, **options)


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
    tally: Tally | None = None,
    fused: bool,
) -> tuple[Tensor, Tensor] | None:
    """Runs the kernel; None for a layout of memory or parameters that it does not know."""
    plan: _Plan | None = neuron.plan(current, _make_plan)
    if plan is None:
        return None
    if out is not None and (out.stride() != current.stride() or out.shape != current.shape):
        return None
    if tally is not None and neuron.max_spikes > MOST:
        return None
    first, layout = current[0], plan.layout
    counts = like(current, layout) if out is None else out
    potential = like(first, layout)
    start = plan.start if membrane is None else None
    if start is None:  # from there, or starts place by place
        potential.copy_(neuron.initial_potential if membrane is None else membrane)
    programs = -(-first.numel() // _BLOCK)
    launch: Callable[..., Any] = _burst[(programs,)]
    codes = weights = sums = None
    if tally is not None:
        codes = like(current, layout, torch.uint8)
        sums = current.new_empty(len(current), programs, 4, dtype=torch.float64)
        if tally.expected is not None and layout.order[0] == 0:
            weights = tally.expected.on(layout, neuron.max_spikes, current.device)
            if weights is not None and len(weights) != first[0].numel():
                weights = None
    with torch.cuda.device_of(current):
        launch(
            current, counts, potential, plan.threshold,
            plan.threshold if plan.shift is None else plan.shift,  # not read
            plan.threshold if start is None else start,
            counts if codes is None else codes, counts if weights is None else weights,
            counts if sums is None else sums, float(neuron.max_spikes),
            current.stride(0), counts.stride(0), 0 if codes is None else codes.stride(0),
            first.numel(), plan.channels, plan.inner, first[0].numel(),
            steps=current.shape[0], goes_on=start is None, shifted=plan.shift is not None,
            scaled=scaled, keep=keep, tallied=tally is not None, weighed=weights is not None,
            fused=fused, wide=first.numel() + _BLOCK >= 1 << 31,
            block=_BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    if tally is not None and codes is not None and sums is not None:
        total = sums.sum(1)
        known: dict[Weights, Sums] = {ONE: total[:, :2]}
        if tally.expected is not None and weights is not None:
            known[tally.expected] = total[:, 2:]
        tally.fill(Bytes(codes, layout), known)
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
    single = torch.float32  # whatever the default is
    current = torch.randn(5, 3, 7, 11, 13, generator=generator, dtype=single).to(device)
    threshold = (torch.rand(7, 1, 1, generator=generator, dtype=single) + 0.1).to(device)
    neuron = BurstParameters(
        threshold=threshold, max_spikes=3, shift=threshold / 7, initial_potential=threshold / 2
    )
    tally = Tally(3)
    found = run(current, neuron, None, None, scaled=False, tally=tally, fused=fused)
    wanted = plain_scan(current, neuron)
    if found is None or tally.counts is None or not all(map(torch.equal, found, wanted)):
        return False
    both = (wanted[0], wanted[0].clamp_max(1))
    sums = torch.stack([counts.flatten(1).double().sum(1) for counts in both], 1)
    return torch.equal(tally.counts.float(), wanted[0]) and torch.equal(
        torch.as_tensor(tally.totals(len(current)), device=device), sums
    )
