"""The bootstrap over samples and seeds against theory, plain resampling and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adacal.suite.intervals import bootstrap_interval


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def test_equal_seeds_give_the_interval_over_samples_alone() -> None:
    one = np.random.default_rng(0).choice([0.0, 1.0], p=[0.9, 0.1], size=800)
    assert bootstrap_interval(np.stack([one, one, one])) == bootstrap_interval(one)


def test_the_spread_of_seeds_has_the_variance_of_a_mean_of_few() -> None:
    """Seeds alone differ: the draws' variance must be s²/S, not (S-1)/S of it."""
    levels = np.array([0.0, 0.03, 0.06, 0.02, 0.05, 0.01, 0.04, 0.03])
    table = np.repeat(levels[:, None], 50, axis=1)
    sigma = levels.std(ddof=1) / math.sqrt(len(levels))
    low, high = bootstrap_interval(table, draws=20000)
    assert (low + high) / 2 == pytest.approx(levels.mean(), abs=0.001)
    assert width((low, high)) == pytest.approx(2 * 1.96 * sigma, rel=0.05)


def test_both_together_equal_plain_resampling_of_rows_and_columns() -> None:
    generator = np.random.default_rng(2)
    table = (generator.random((3, 300)) < np.array([[0.1], [0.2], [0.15]])).astype(float)
    drawn = [
        table[generator.integers(3, size=2)][:, generator.integers(300, size=300)].mean()
        for _ in range(6000)
    ]
    expected = np.percentile(drawn, [2.5, 97.5])
    assert bootstrap_interval(table, draws=6000) == pytest.approx(tuple(expected), abs=0.006)


def test_it_covers_the_truth_where_samples_alone_do_not() -> None:
    """Seeds scale how many samples are lost; 300 experiments with three seeds."""
    generator = np.random.default_rng(3)
    both = alone = 0
    for _ in range(300):
        scale = np.exp(0.5 * generator.standard_normal(3) - 0.125)
        lost = (generator.random((3, 1000)) < 0.05 * scale[:, None]).astype(float)
        low, high = bootstrap_interval(lost, draws=400)
        both += low <= 0.05 <= high
        low, high = bootstrap_interval(lost.mean(axis=0), draws=400)
        alone += low <= 0.05 <= high
    assert both / 300 > 0.8
    assert alone / 300 < 0.65
