"""Parts of a run: how many samples and steps are computed at once, and their joined outputs.

More rows at once are not faster once a layer is busy, and cost memory: a time-batched forward
holds T times what the ANN does. Samples do not see each other, so they run one after the other;
where even one sample is too much, so do groups of its steps, with their state kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.checks import check_number
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError
from adacal.core.footprint import Footprint
from adacal.core.layout import RunState
from adacal.core.nests import collect, join_tensors, map_tensors
from adacal.core.traces import is_rows, set_trace, trace_of

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

REUSED_BYTES = 16 << 20
"""Size of an activation that glibc's malloc surely hands out again (it maps 32 MB afresh)."""
BEFORE_CUT_IN_TIME = 3
"""How many times as large before steps are cut; to go on from them costs more than the pages."""
OWN_BUFFERS = 1.5
"""How much more than its tensors a forward takes: layers lay their inputs out anew, for one."""
MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is computed at once: so many samples, so many of their steps."""

    samples: int
    steps: int


def plan(network: SpikingNetwork, inputs: Tensor) -> Parts:
    """Chooses the parts of a run.

    On a CPU, as many samples, and of a single large one as many steps, as keep the largest
    activation below what malloc hands out again: larger ones are mapped afresh at every call, and
    zeroing their pages costs more than the convolution itself (batches of 800 rows of 50 KB took 3
    times as long a row as 400). Fewer where `network.memory_mb` would be exceeded.

    Args:
        network: its `memory_mb` is the limit, if any.
        inputs: shape [B, ...] or, for a stream, [T, B, ...].
    Raises:
        ConfigError: the limit is no number above 0, or too little for one step of one sample.
    """
    T, batch = network.T, inputs.shape[int(network.stream)]
    most = T * max(1, batch)
    if inputs.device.type == "cpu" and network.sites:
        largest = max(site.rows * math.prod(site.shape) for site in network.sites)
        most = max(1, REUSED_BYTES // (largest * inputs.element_size()))
    least = T if network.warmup else 1
    if network.memory_mb is None:
        return Parts(samples=max(1, most // T), steps=min(T, max(least, BEFORE_CUT_IN_TIME * most)))
    check_number("memory_mb", network.memory_mb, 0, above=True, example=4096)
    row = _bytes_of_a_row(network, inputs)
    rows = int(network.memory_mb * MEGABYTE / row)
    if rows < least:
        raise ConfigError(
            f"memory_mb={network.memory_mb:g} is too little: one sample takes "
            f"{math.ceil(row * least / MEGABYTE)} MB at the least; allow that much, or give "
            "smaller inputs"
        )
    rows = max(least, min(rows, most))
    return Parts(samples=max(1, rows // T), steps=min(T, rows))


@dataclass(frozen=True)
class Reduction:
    """What a run gives: made of all raw outputs [T*b, ...], or of their mean over T alone.

    Attributes:
        whole: makes it of the raw outputs.
        enough: whether the mean is all that it takes, from raw outputs of some steps.
        of_mean: makes it of the mean, then.
    """

    whole: Callable[[Any], Any]
    enough: Callable[[Any], bool] = lambda _: False
    of_mean: Callable[[Any], Any] = lambda mean: mean


def outputs(
    network: SpikingNetwork,
    inputs: Tensor,
    meter: EnergyMeter | None,
    reduce: Reduction,
) -> list[Any]:
    """Runs a batch and returns what the reduction makes of each part of it."""
    if meter is not None and meter.keep_graph:
        return [reduce.whole(network.run_steps(inputs, meter))]
    parts = plan(network, inputs)
    pieces = inputs.split(parts.samples, int(network.stream))
    if parts.steps == network.T:
        return [reduce.whole(network.run_steps(piece, meter)) for piece in pieces]
    sizes = [min(parts.steps, network.T - first) for first in range(0, network.T, parts.steps)]
    return [_reduced(_in_time(network, piece, sizes, meter), sizes, reduce) for piece in pieces]


def joined(parts: list[Any], dim: int) -> Any:
    """Joins what parts gave along the dimension of the samples; rows lose their traces."""

    def join(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors, dim) if len(tensors) > 1 else tensors[0].view_as(tensors[0])

    return join_tensors(parts, is_rows, join)


def over_time(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Changes the rows in a nest of outputs; they keep their traces."""

    def changed(rows: Tensor) -> Tensor:
        result = change(rows)
        set_trace(result, trace_of(rows))
        return result

    return map_tensors(outputs, is_rows, changed)


def _in_time(
    network: SpikingNetwork, inputs: Tensor, sizes: Sequence[int], meter: EnergyMeter | None
) -> Iterator[Any]:
    """Runs a few steps at a time, with what neurons and rules remember kept between."""
    state, first = RunState(complete=True), 0
    for steps in sizes:
        frames = inputs[first : first + steps] if network.stream else inputs
        yield network.run_steps(frames, meter, state, first, steps)
        first += steps


def _reduced(pieces: Iterator[Any], sizes: Sequence[int], reduce: Reduction) -> Any:
    """Reduces steps that come in pieces; where their mean is enough, none is kept."""
    first = next(pieces)
    if not reduce.enough(first):
        return reduce.whole(_joined([first, *pieces]))

    def added(rows: Tensor, steps: int) -> Tensor:
        wide = torch.float32 if rows.element_size() < 4 else rows.dtype  # as a mean is taken
        return rows.unflatten(0, (steps, -1)).sum(0, dtype=wide)

    totals = [added(rows, sizes[0]) for rows in collect(first, is_rows)]
    for piece, steps in zip(pieces, sizes[1:], strict=True):
        for total, rows in zip(totals, collect(piece, is_rows), strict=True):
            total.add_(added(rows, steps))
    left = iter(totals)
    return reduce.of_mean(over_time(first, lambda row: next(left).div_(sum(sizes)).to(row.dtype)))


def _joined(pieces: list[Any]) -> Any:
    """Puts steps one after the other: they are outermost in the rows."""

    def join(rows: list[Tensor]) -> Tensor:
        whole = torch.cat(rows)
        set_trace(whole, trace_of(rows[0]))
        return whole

    return join_tensors(pieces, is_rows, join)


def _bytes_of_a_row(network: SpikingNetwork, inputs: Tensor) -> float:
    """Peak of one step of one sample, measured once for inputs of a size by running it."""
    key = tuple(inputs.shape[1 + int(network.stream) :])
    if key not in network.footprints:
        one = inputs.narrow(int(network.stream), 0, 1)
        with Footprint() as held:
            if network.warmup:  # some neurons must hear all of it at once
                network.run_steps(one, None)
            else:
                state = RunState()
                for step in range(min(2, network.T)):  # the second has a memory to go back to
                    network.step(one[step] if network.stream else one, state, step)
        steps = network.T if network.warmup else 1
        network.footprints[key] = OWN_BUFFERS * held.peak / steps
    return network.footprints[key]
