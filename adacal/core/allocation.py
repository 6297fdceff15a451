"""Choice of one candidate per layer under a budget: the Pareto frontier, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adacal.core.errors import CalibrationError, ConfigError

_Array = NDArray[np.float64]
_ROUNDING = 1e-9  # a sum may exceed its limit by this fraction of it


@dataclass(frozen=True)
class Allocation:
    """One candidate per layer.

    Attributes:
        choice: index of the candidate of each layer, length L.
        sensitivity: sum of the chosen sensitivities, in their unit.
        cost: sum of the chosen costs, in their unit (pJ or spikes).
    """

    choice: list[int]
    sensitivity: float
    cost: float


def allocate(sensitivity: Tensor, cost: Tensor, budget: float, buckets: int = 20_000) -> Allocation:
    """Finds the candidates of least total sensitivity whose total cost keeps within a budget.

    The frontier of (cost, sensitivity) is extended by one layer at a time; what is dominated, or
    cannot be completed within the budget, is dropped. As long as it has at most `buckets` points
    the result is exact. A larger frontier is cut into equal ranges of cost, and each
    range keeps its point of least sensitivity (and the cheapest point of all stays). All sums are
    those of real choices, so the result always keeps the budget, and it is at least as good as
    the exact optimum for the budget less L * w, where w, the width of a range, is at most the
    span of the frontier's costs / (`buckets` - 2).

    Args:
        sensitivity: what each candidate of each layer costs in accuracy, shape [L, K].
        cost: what it costs in energy, shape [L, K].
        budget: most total cost, in the unit of `cost` (met up to rounding, 1e-9 of it).
        buckets: most points of the frontier that are carried from layer to layer.
    Raises:
        CalibrationError: a table is empty, not finite, or the shapes differ.
        ConfigError: even the cheapest choice exceeds the budget, or `buckets` is below 3.

    >>> import torch
    >>> table = torch.tensor([[3.0, 1.0], [2.0, 0.0]])
    >>> allocate(table, torch.tensor([[1.0, 4.0], [1.0, 2.0]]), budget=4.0)
    Allocation(choice=[0, 1], sensitivity=3.0, cost=3.0)
    """
    harm, price = _tables(sensitivity, cost)
    least = math.fsum(price.min(1))
    if not least <= _limit(budget):
        raise ConfigError(
            f"the budget of {budget:g} is below the cheapest choice, which costs {least:g}; "
            "raise the budget or add cheaper candidates"
        )
    return _allocation(_solve(harm, price, budget, buckets), harm, price)


def minimise_cost(
    sensitivity: Tensor, cost: Tensor, tolerance: float, buckets: int = 20_000
) -> Allocation:
    """Finds the candidates of least total cost whose total sensitivity keeps within a tolerance.

    As `allocate` with the roles of the tables swapped (METHOD section 6, threshold ratios).

    Args:
        sensitivity: what each candidate of each layer costs in accuracy, shape [L, K].
        cost: what it costs in energy, shape [L, K].
        tolerance: most total sensitivity, in the unit of `sensitivity` (up to rounding).
        buckets: most points of the frontier that are carried from layer to layer.
    Raises:
        CalibrationError: a table is empty, not finite, or the shapes differ.
        ConfigError: even the least sensitive choice exceeds the tolerance, or `buckets` is
            below 3.
    """
    harm, price = _tables(sensitivity, cost)
    least = math.fsum(harm.min(1))
    if not least <= _limit(tolerance):
        raise ConfigError(
            f"the tolerance of {tolerance:g} is below the least sensitive choice, which has "
            f"{least:g}; raise the tolerance or add less sensitive candidates"
        )
    return _allocation(_solve(price, harm, tolerance, buckets), harm, price)


def _solve(objective: _Array, spent: _Array, limit: float, buckets: int) -> list[int]:
    """Minimises the sum of `objective` [L, K] subject to the sum of `spent` [L, K] <= limit."""
    if buckets < 3:
        raise ConfigError(f"buckets must be at least 3; got {buckets}; try 20000")
    layers, candidates = spent.shape
    cheapest = spent.min(1)
    still_needed = np.append(np.cumsum(cheapest[::-1])[::-1][1:], 0.0)
    used, value = np.zeros(1), np.zeros(1)
    origins: list[NDArray[np.int64]] = []  # per layer: parent * candidates + candidate
    for layer in range(layers):
        points = len(used)
        new_used = (spent[layer][:, None] + used).ravel()
        new_value = (objective[layer][:, None] + value).ravel()
        # the candidates' rows are sorted runs, which a stable sort merges in linear time
        order = np.argsort(new_used, kind="stable")
        allowed = _limit(limit) - still_needed[layer]
        reachable = int(np.searchsorted(new_used[order], allowed, side="right"))
        order = order[: max(reachable, 1)]  # rounding must not lose the cheapest
        order = order[_undominated(new_used[order], new_value[order])]
        order = order[_thinned(new_used[order], buckets)]
        used, value = new_used[order], new_value[order]
        origins.append(order % points * candidates + order // points)
    choice: list[int] = []
    point = len(used) - 1  # the costliest point of the frontier has the least objective
    for origin in reversed(origins):
        point, candidate = divmod(int(origin[point]), candidates)
        choice.append(candidate)
    return choice[::-1]


def _undominated(used: _Array, value: _Array) -> NDArray[np.int64]:
    """Returns the indices of the Pareto frontier of points sorted by `used`."""
    best_before = np.minimum.accumulate(np.append(np.inf, value[:-1]))
    kept = np.flatnonzero(value < best_before)
    last_of_ties = np.append(used[kept][1:] > used[kept][:-1], True)
    frontier: NDArray[np.int64] = kept[last_of_ties]
    return frontier


def _thinned(used: _Array, buckets: int) -> NDArray[np.int64]:
    """Keeps the last (best) frontier point of each range of `used`, and the first point."""
    if len(used) <= buckets:
        return np.arange(len(used))
    place = (used - used[0]) * ((buckets - 2) / (used[-1] - used[0]))
    kept = np.append(np.diff(np.floor(place)) > 0, True)
    kept[0] = True
    return np.flatnonzero(kept)


def _limit(limit: float) -> float:
    return limit + _ROUNDING * abs(limit)


def _tables(sensitivity: Tensor, cost: Tensor) -> tuple[_Array, _Array]:
    if sensitivity.dim() != 2 or sensitivity.shape != cost.shape or sensitivity.numel() == 0:
        raise CalibrationError(
            "sensitivity and cost must be tables of one shape [layers, candidates]; got "
            f"{list(sensitivity.shape)} and {list(cost.shape)}; measure both for all candidates"
        )
    tables = []
    for name, table in (("sensitivity", sensitivity), ("cost", cost)):
        array = np.asarray(table.detach().cpu().double().numpy(), dtype=np.float64)
        broken = int(np.count_nonzero(~np.isfinite(array)))
        if broken:
            raise CalibrationError(
                f"the {name} table must be finite; got {broken} NaN or infinite of {array.size} "
                "entries; check the calibration inputs"
            )
        tables.append(array)
    return tables[0], tables[1]


def _allocation(choice: list[int], harm: _Array, price: _Array) -> Allocation:
    rows = np.arange(len(choice))
    return Allocation(choice, math.fsum(harm[rows, choice]), math.fsum(price[rows, choice]))
