"""Firing thresholds from calibration activations: maximum, percentile, least squared error."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from adacal.core import compiled
from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.kernels import quantise
from adacal.core.loops import Scan
from adacal.core.small_loops import compile_gaps

_SILENT = 1e-30  # a channel whose peak is below this never fires
_CHUNK = 1 << 21  # most elements of one temporary tensor


def max_threshold(values: Tensor, max_spikes: int = 1, *, per_channel: bool = True) -> Tensor:
    """Threshold at which the largest activation is reached with all `max_spikes`: max / max_spikes.

    Args:
        values: activations or pre-activations, shape [C, n], activation units; negative ones
            count as 0.
        max_spikes: most spikes a neuron may fire in one step.
        per_channel: one threshold per channel; otherwise one for all.
    Returns:
        Positive thresholds, shape [C], float32 or float64, activation units. A channel that never
        fires gets the largest threshold of the layer, or 1.0 where no channel fires.
    Raises:
        CalibrationError: the values are empty, not of shape [C, n], NaN or infinite.
        ConfigError: `max_spikes` is below 1.

    >>> max_threshold(torch.tensor([[0.0, 4.0], [1.0, 2.0], [-1.0, 0.0]]), max_spikes=2)
    tensor([2., 1., 2.])
    """
    _at_least_one("max_spikes", max_spikes)
    rows = _rectified_rows(values, per_channel)
    return _fill_silent(rows.amax(1) / max_spikes, rows.amax(1), values.shape[0])


def percentile_threshold(
    values: Tensor, level: float, max_spikes: int = 1, *, per_channel: bool = True
) -> Tensor:
    """Threshold at a percentile of the activations, divided by `max_spikes` (robust norm).

    The percentile is the smallest activation that at least `level` per cent of all values do not
    exceed (nearest rank; zeros count). A channel that fires so seldom that its percentile is 0
    takes its maximum instead.

    Args:
        values: activations or pre-activations, shape [C, n], activation units; negative ones
            count as 0.
        level: percentile, above 0 and at most 100 (per cent); 100 is the maximum.
        max_spikes: most spikes a neuron may fire in one step.
        per_channel: one threshold per channel; otherwise one for all, from all values together.
    Returns:
        Positive thresholds, shape [C]; silent channels as in `max_threshold`.
    Raises:
        CalibrationError: the values are empty, not of shape [C, n], NaN or infinite.
        ConfigError: `level` or `max_spikes` is out of range.

    >>> percentile_threshold(torch.arange(1.0, 11.0).reshape(1, 10), level=90)
    tensor([9.])
    """
    _at_least_one("max_spikes", max_spikes)
    if not 0 < level <= 100:
        raise ConfigError(f"percentile must be above 0 and at most 100; got {level}; try 99.9")
    rows = _rectified_rows(values, per_channel)
    count = rows.shape[1]
    rank = min(count, max(1, math.ceil(level * count / 100 - 1e-9)))
    peak = rows.amax(1)
    cut = rows.kthvalue(rank, dim=1).values
    cut = torch.where(cut > _SILENT, cut, peak)
    return _fill_silent(cut / max_spikes, peak, values.shape[0])


def mmse_threshold(
    values: Tensor,
    T: int,
    max_spikes: int,
    candidates: int = 95,
    offset: float = 0.5,
    *,
    per_channel: bool = True,
) -> Tensor:
    """Threshold whose quantiser is nearest to ReLU in squared error (METHOD section 2).

    Searches `max * (1 - 0.01 i) / max_spikes`, i = 0 … candidates - 1, for the least
    `sum (quantise(x) - relu(x))^2`. Of equally good candidates the largest is taken.

    Args:
        values: pre-activations, shape [C, n], activation units.
        T: number of steps.
        max_spikes: most spikes a neuron may fire in one step.
        candidates: how many thresholds are tried, 1 to 100.
        offset: initial potential in units of the threshold; 0 leaves the half threshold out.
        per_channel: one threshold per channel; otherwise one for all, from all values together.
    Returns:
        Positive thresholds, shape [C]; silent channels as in `max_threshold`.
    Raises:
        CalibrationError: the values are empty, not of shape [C, n], NaN or infinite.
        ConfigError: `T`, `max_spikes`, `candidates` or `offset` is out of range.

    >>> mmse_threshold(torch.tensor([[0.5, 1.0, 1.0, -3.0]]), T=2, max_spikes=1)
    tensor([1.])
    """
    _at_least_one("T", T)
    _at_least_one("max_spikes", max_spikes)
    if not 1 <= candidates <= 100:
        raise ConfigError(f"candidates must be 1 to 100; got {candidates}; try 95")
    if not 0 <= offset < 1:
        raise ConfigError(f"offset must be at least 0 and below 1; got {offset}; try 0.5")
    rows = _rectified_rows(values, per_channel)
    peak = rows.amax(1)
    scale = torch.where(peak > _SILENT, peak, torch.ones_like(peak))
    grid = torch.arange(candidates, dtype=torch.float64, device=rows.device)
    grid = ((1 - 0.01 * grid) / max_spikes).to(rows.dtype)
    errors = _squared_errors(rows / scale[:, None], grid, max_spikes, T, offset)
    best = grid[errors.argmin(1)] * scale
    return _fill_silent(best, peak, values.shape[0])


def largest_of_runs(values: Tensor, window: int, limit: int) -> Tensor:
    """Returns what a max pool lets pass: the largest of each run of columns.

    Squared errors over all activations clip the few large ones, and a max pool passes nothing else
    on: one of 1,024 points of a cloud.

    Args:
        values: activations, shape [C, N]; columns that are pooled together stand together.
        window: how many columns a pool chooses one from; of an image, neighbours in a row stand
            for those of a square.
        limit: most runs to return, evenly spread.
    Returns:
        Shape [C, min(max(N // window, 1), limit)].

    >>> largest_of_runs(torch.tensor([[1.0, 5.0, 2.0, 3.0, 9.0]]), window=2, limit=8)
    tensor([[5., 3.]])
    """
    runs = max(1, values.shape[1] // window)
    size = min(window, values.shape[1])
    found = values[:, : runs * size].unflatten(1, (runs, size)).amax(2)
    spread = torch.linspace(0, runs - 1, min(runs, limit), device=values.device).round().long()
    return found[:, spread]


def sample_columns(values: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """Draws distinct columns at random; every set of columns is equally likely.

    Args:
        values: any values, shape [C, N].
        limit: most columns to keep.
        generator: source of randomness; it may live on another device than `values`.
    Returns:
        Shape [C, min(N, limit)]; `values` itself where nothing has to be dropped.
    Raises:
        CalibrationError: `values` is not of shape [C, N].
        ConfigError: `limit` is below 1.
    """
    _at_least_one("limit", limit)
    if values.dim() != 2:
        raise CalibrationError(
            f"columns are drawn from a tensor of shape [C, N]; got shape {list(values.shape)}; "
            "flatten all but the channels first"
        )
    total = values.shape[1]
    if total <= limit:
        return values
    device = generator.device
    if total <= 4 * limit:
        chosen = torch.randperm(total, generator=generator, device=device)[:limit]
    else:  # a permutation of all columns would be large: draw until enough are distinct
        chosen = torch.empty(0, dtype=torch.int64, device=device)
        while len(chosen) < limit:
            drawn = torch.randint(total, (limit,), generator=generator, device=device)
            chosen = torch.cat([chosen, drawn]).unique()
        order = torch.randperm(len(chosen), generator=generator, device=device)
        chosen = chosen[order[:limit]]
    return values.index_select(1, chosen.to(values.device))


def _squared_errors(rows: Tensor, grid: Tensor, max_spikes: int, T: int, offset: float) -> Tensor:
    """Returns the squared error of each row (peak 1) under each threshold of `grid`, [R, K]."""
    total, count = rows.shape
    width = min(count, _CHUNK)
    height = max(1, _CHUNK // width)
    depth = max(1, _CHUNK // (width * min(height, total)))
    errors = torch.zeros(total, len(grid), dtype=torch.float64, device=rows.device)
    for row in range(0, total, height):
        for column in range(0, count, width):
            block = rows[row : row + height, column : column + width]
            for first in range(0, len(grid), depth):
                theta = grid[first : first + depth]
                gap = _squared_gaps(block, theta, max_spikes, T, offset)
                errors[row : row + height, first : first + depth] += gap.sum(2).double()
    return errors


def _squared_gaps(rows: Tensor, grid: Tensor, max_spikes: int, T: int, offset: float) -> Tensor:
    """Returns the squared distance of each value [R, n] from its quantised one, [R, K, n]."""
    kernel = None  # gaps of other rows lie as these do, and torch adds them up in another order
    if rows.is_contiguous() and compiled.takes(rows, rows.numel() * len(grid)):
        kernel = _gap_loops()
    if kernel is None or compiled.foreign(grid):
        wide = rows[:, None]
        return quantise(wide, grid[:, None], max_spikes, T, offset).sub_(wide).square_()
    gaps = rows.new_empty(len(rows), len(grid), rows.shape[1])
    values, theta, height = (
        value.detach().contiguous().numpy() for value in (rows, grid, grid / T)
    )
    kernel(values, theta, height, float(T), offset, float(max_spikes * T), gaps.numpy())
    return gaps


@lru_cache(maxsize=1)
def _gap_loops() -> Scan | None:
    return compiled.beside(compile_gaps)


def _rectified_rows(values: Tensor, per_channel: bool) -> Tensor:
    """Checks values [C, n]; returns their positive part, [C, n] or, for one threshold, [1, C*n]."""
    if values.dim() != 2 or not values.is_floating_point():
        raise CalibrationError(
            "thresholds need floating point activations of shape [C, n]; got "
            f"{values.dtype} of shape {list(values.shape)}; flatten all but the channels first"
        )
    if values.numel() == 0:
        raise CalibrationError(
            f"no activations to set thresholds from; got shape {list(values.shape)}; "
            "give at least one calibration sample"
        )
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    broken = int((~torch.isfinite(values)).sum())
    if broken:
        raise CalibrationError(
            f"activations must be finite; got {broken} NaN or infinite of {values.numel()}; "
            "check the network's weights and the calibration inputs"
        )
    positive = values.detach().clamp_min(0)
    return positive if per_channel else positive.reshape(1, -1)


def _fill_silent(threshold: Tensor, peak: Tensor, channels: int) -> Tensor:
    fires = peak > _SILENT
    largest = threshold[fires].max() if bool(fires.any()) else torch.ones_like(threshold[0])
    return torch.where(fires, threshold, largest).expand(channels).clone()


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"{name} must be at least 1; got {value}; try 1 or more")
