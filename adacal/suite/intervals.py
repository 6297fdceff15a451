"""The statistics of leaderboards: bootstrap intervals, ties, Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BOOTSTRAP_DRAWS = 2000
BOOTSTRAP_SEED = 0


def bootstrap_interval(
    differences: np.ndarray, draws: int = BOOTSTRAP_DRAWS, seed: int = BOOTSTRAP_SEED
) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of paired differences, drawing samples and seeds anew.

    Seeds and samples are crossed (every seed saw the same samples), so each draw takes samples and,
    independently, seeds (the pigeonhole bootstrap of Owen 2007, on the safe side where a seed and a
    sample interact). S-1 of S seeds are drawn: that makes the variance of a mean over few seeds
    unbiased (McCarthy and Snowden 1985). No resampling knows more about seeds than those measured
    show: with three of them the interval covers less than 95 % where they differ most.

    Few columns occur (one a pattern of seeds that differ), so drawing how often each occurs is the
    same as drawing samples, and takes no time at any size of test set.

    Args:
        differences: one number a test sample, shape [N], or a seed and test sample, shape [S, N].
        draws: bootstrap draws.
        seed: of the draws.

    >>> bootstrap_interval(np.zeros(10))
    (0.0, 0.0)
    """
    table = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    seeds, total = table.shape
    patterns, counts = np.unique(table, axis=1, return_counts=True)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(total, counts / total, size=draws)
    by_seed = drawn @ patterns.T / total
    weights = np.ones((draws, 1))
    if seeds > 1:
        chances = np.full(seeds, 1.0 / seeds)
        weights = generator.multinomial(seeds - 1, chances, size=draws) / (seeds - 1)
    low, high = np.percentile((by_seed * weights).sum(axis=1), [2.5, 97.5])
    return round(float(low), 9), round(float(high), 9)


def redrawn_interval(
    differences: np.ndarray, draws: int = BOOTSTRAP_DRAWS, seed: int = BOOTSTRAP_SEED
) -> tuple[float, float]:
    """Returns the 95 % interval of a paired difference known on redrawn test sets.

    Of several seeds, S-1 of S are drawn anew as in `bootstrap_interval`, each redraw of the samples
    meeting several redraws of the seeds. Redraws without a value (no sample of any class) are left
    out.

    Args:
        differences: one a redraw, shape [R], or a seed and redraw, shape [S, R]; redraw r takes the
            same samples in every row.
        draws: bootstrap draws at least, where there are several seeds.
        seed: of the drawing of seeds.

    >>> redrawn_interval(np.zeros(10))
    (0.0, 0.0)
    """
    table = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    seeds, redraws = table.shape
    if seeds > 1:
        times = -(-draws // redraws)
        chances = np.full(seeds, 1.0 / seeds)
        generator = np.random.default_rng(seed)
        weights = generator.multinomial(seeds - 1, chances, size=times * redraws) / (seeds - 1)
        table = (np.tile(table, times) * weights.T).sum(axis=0, keepdims=True)
    low, high = np.nanpercentile(table[0], [2.5, 97.5])
    return round(float(low), 9), round(float(high), 9)


def pareto_front(cost: np.ndarray, loss: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Marks the eligible rows that no other eligible row equals or beats in both and beats in one.

    >>> pareto_front(np.array([1., 2., 3.]), np.array([5., 1., 2.]), np.ones(3, bool)).tolist()
    [True, True, False]
    """
    finite = np.isfinite(cost + loss)
    return np.asarray(eligible & finite & ~beaten(cost, loss, eligible))


def beaten(cost: np.ndarray, loss: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Marks the rows that one of the rows `by` equals or beats in both and beats in one.

    >>> beaten(np.array([1., 2.]), np.array([1., 1.]), np.array([True, False])).tolist()
    [False, True]
    """
    marks = np.zeros(len(cost), dtype=bool)
    for i in range(len(cost)):
        as_good = (cost <= cost[i]) & (loss <= loss[i]) & by
        marks[i] = bool((as_good & ((cost < cost[i]) | (loss < loss[i]))).any())
    return marks


def tied_ranks(low: Sequence[float], high: Sequence[float]) -> list[int]:
    """Ranks rows that are in order, best first.

    A row shares the rank of the first row of a rank while their intervals overlap; the next rank
    counts all rows before it (1, 1, 3).

    >>> tied_ranks([0.0, 0.5, 2.0], [1.0, 1.5, 3.0])
    [1, 1, 3]
    """
    ranks: list[int] = []
    leader = 0
    for i in range(len(low)):
        if i and not (low[i] <= high[leader] and low[leader] <= high[i]):
            leader = i
        ranks.append(leader + 1)
    return ranks
