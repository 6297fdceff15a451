"""Burst neurons on one small current, with several candidates for each channel's threshold.

Calibration tries thresholds and shifts on small samples over and over. The scan of a network would
lay its parameters out anew for every shift, and keep the counts of every step and candidate. One
thread walks: behind an operation of torch the others still wait for its next one, for a while.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from adacal.core import compiled
from adacal.core.dense import dense, memory_of
from adacal.core.loops import CHUNK, Scan
from adacal.core.neuron import BurstNeuron
from adacal.core.small_loops import compile_each_step, compile_mean_of_steps

AT_ONCE = 1 << 19
"""Numbers of a current that plain torch tries at once; more memory would be mapped afresh."""


class SideBySide:
    """What neurons send on one current, shift by shift."""

    def __init__(self, neuron: BurstNeuron, steps: Tensor, T: int) -> None:
        """Lays out what does not depend on shifts.

        Args:
            neuron: channels last, with K*C thresholds, candidate outermost; its own shift is not
                used.
            steps: current, shape [T, n, C], which every candidate receives.
            T: number of steps.
        """
        self._neuron, self._steps, self._T = neuron, steps, T
        self._width = max(torch.as_tensor(neuron.threshold).numel(), steps.shape[2])
        self._sent: Tensor | None = None

    def outputs(self, shift: Tensor) -> Tensor:
        """Returns the output at each step, shape [T, n, K*C], until the next call overwrites it.

        Args:
            shift: shape [K*C].
        """
        kernel = _each_step() if self._laid else None
        if kernel is None:
            counts, theta = self._scan(self._repeated, shift)
            return counts.mul_(theta)
        if self._sent is None:
            self._sent = torch.empty_like(self._repeated, memory_format=torch.contiguous_format)
        return self._walk(kernel, self._repeated, self._sent, shift)

    def mean_outputs(self, shift: Tensor) -> Tensor:
        """Returns the mean of `outputs` over the steps, shape [n, K*C]."""
        steps, kernel = self._steps, _mean_of_steps() if self._laid else None
        output = steps.new_empty(steps.shape[1], self._width)
        if kernel is not None:
            return self._walk(kernel, steps, output, shift)
        size = max(1, AT_ONCE // (len(steps) * self._width))
        for rows, part in zip(output.split(size), steps.split(size, 1), strict=True):
            counts, theta = self._scan(self._several(part), shift)
            torch.mul(counts.mean(0), theta, out=rows)
        return output

    @cached_property
    def _repeated(self) -> Tensor:
        return self._several(self._steps)

    def _several(self, steps: Tensor) -> Tensor:
        """The current of all candidates."""
        times = self._width // steps.shape[2]
        return steps if times == 1 else steps.repeat(1, 1, times)

    def _scan(self, several: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        return replace(self._neuron, shift=shift).scan(several, self._T)

    @cached_property
    def _laid(self) -> tuple[Tensor, Tensor] | None:
        """Thresholds and potentials to start from, if compiled loops can be had and do it all."""
        neuron, steps = self._neuron, self._steps
        layout = dense(steps[0])
        if layout is None or layout.order != (0, 1) or not neuron.plain_burst:
            return None
        if not compiled.takes(steps, steps[:, :, 0].numel() * self._width):
            return None
        values = replace(neuron, shift=0.0).parameters(steps.new_empty(1, self._width), self._T)
        laid = values.threshold, values.initial_potential
        fit = all(value.numel() in (1, self._width) for value in laid)
        return laid if fit and values.shift is None else None

    def _walk(self, kernel: Scan, steps: Tensor, out: Tensor, shift: Tensor) -> Tensor:
        assert self._laid is not None
        (theta, start), (count, rows, channels) = self._laid, steps.shape
        tiles = (_tiles(value, self._width, channels) for value in (theta, shift, start))
        layout, most = dense(steps[0]), float(self._neuron.max_spikes)
        assert layout is not None
        current = memory_of(steps, layout), steps.stride(0), channels
        kernel(*current, *tiles, most, out.view(-1).numpy(), count, rows)
        return out


def _tiles(values: Tensor, width: int, channels: int) -> Any:
    """Numbers of K*C neurons as those of some rows of C channels, [K, rows*C]."""
    each = values.detach().reshape(-1).expand(width).view(-1, 1, channels)
    return each.expand(-1, max(1, CHUNK // channels), -1).flatten(1).contiguous().numpy()


@lru_cache(maxsize=1)
def _each_step() -> Scan | None:
    return compiled.beside(compile_each_step)


@lru_cache(maxsize=1)
def _mean_of_steps() -> Scan | None:
    return compiled.beside(compile_mean_of_steps)
