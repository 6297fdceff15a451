"""Budgeted allocation against brute force, and its limits."""

import itertools
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adacal.core.allocation import allocate, minimise_cost
from adacal.core.errors import CalibrationError, ConfigError


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, float]:
    """Small tables of whole numbers (many ties) and a budget between the extremes."""
    layers, candidates = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    numbers = st.lists(
        st.integers(0, 9), min_size=layers * candidates, max_size=layers * candidates
    )
    tables = [
        torch.tensor(draw(numbers), dtype=torch.float64).reshape(layers, candidates)
        for _ in range(2)
    ]
    cheapest = int(tables[1].min(1).values.sum())
    dearest = int(tables[1].max(1).values.sum())
    return tables[0], tables[1], float(draw(st.integers(cheapest, dearest)))


def brute_force(objective: Tensor, spent: Tensor, limit: float) -> float:
    layers, candidates = spent.shape
    return min(
        sum(float(objective[layer, k]) for layer, k in enumerate(choice))
        for choice in itertools.product(range(candidates), repeat=layers)
        if sum(float(spent[layer, k]) for layer, k in enumerate(choice)) <= limit
    )


def random_tables(layers: int, candidates: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    harm = torch.rand(layers, candidates, generator=generator).sort(1, descending=True).values
    price = torch.rand(layers, candidates, generator=generator).sort(1).values
    return harm, price


def test_a_hand_worked_budget_is_spent_where_it_helps_most() -> None:
    harm = torch.tensor([[10.0, 4.0, 0.0], [3.0, 2.0, 1.0]])
    price = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    found = allocate(harm, price, budget=4.0)
    assert (found.choice, found.sensitivity, found.cost) == ([2, 0], 3.0, 4.0)


@settings(max_examples=80, deadline=None)
@given(problems())
def test_allocation_is_as_good_as_brute_force(problem: tuple[Tensor, Tensor, float]) -> None:
    harm, price, budget = problem
    found = allocate(harm, price, budget)
    rows = range(len(found.choice))
    assert found.sensitivity == brute_force(harm, price, budget)
    assert found.cost <= budget
    assert found.sensitivity == sum(float(harm[row, found.choice[row]]) for row in rows)
    assert found.cost == sum(float(price[row, found.choice[row]]) for row in rows)


@settings(max_examples=50, deadline=None)
@given(problems())
def test_minimising_cost_swaps_the_roles(problem: tuple[Tensor, Tensor, float]) -> None:
    price, harm, tolerance = problem
    found = minimise_cost(harm, price, tolerance)
    assert found.cost == brute_force(price, harm, tolerance)
    assert found.sensitivity <= tolerance


@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(3, 6))
def test_few_buckets_stay_feasible_and_within_the_stated_bound(
    problem: tuple[Tensor, Tensor, float], buckets: int
) -> None:
    harm, price, budget = problem
    found = allocate(harm, price, budget, buckets=buckets)
    assert found.cost <= budget
    span = budget - float(price.min(1).values.sum())
    reduced = budget - len(harm) * span / (buckets - 2)
    if reduced >= float(price.min(1).values.sum()):
        assert found.sensitivity <= brute_force(harm, price, reduced)


def test_buckets_of_a_deep_net_lose_little() -> None:
    harm, price = random_tables(24, 8)
    budget = 0.5 * float(price.max(1).values.sum())
    fine = allocate(harm, price, budget, buckets=50_000)
    coarse = allocate(harm, price, budget, buckets=1000)
    assert coarse.cost <= budget * (1 + 1e-9)
    assert fine.sensitivity - 1e-12 <= coarse.sensitivity <= fine.sensitivity * 1.02


def test_more_budget_never_hurts() -> None:
    harm, price = random_tables(6, 5, seed=3)
    low, high = float(price.min(1).values.sum()), float(price.max(1).values.sum())
    found = [allocate(harm, price, low + share * (high - low) / 10) for share in range(11)]
    harms = [each.sensitivity for each in found]
    assert harms == sorted(harms, reverse=True)


def test_a_budget_equal_to_a_sum_of_costs_is_met_despite_rounding() -> None:
    price = torch.full((10, 2), 0.1, dtype=torch.float64)
    found = allocate(torch.ones(10, 2), price, budget=1.0 * float(price[:, 0].sum()))
    assert len(found.choice) == 10


def test_fifty_seven_layers_of_eight_candidates_take_moments() -> None:
    harm, price = random_tables(57, 8)
    budget = 0.6 * float(price.max(1).values.sum())
    start = time.perf_counter()
    found = allocate(harm, price, budget)
    assert time.perf_counter() - start < 5  # below 0.5 s on an idle core
    assert len(found.choice) == 57 and found.cost <= budget * (1 + 1e-9)


def test_a_budget_below_the_cheapest_choice_names_both_numbers() -> None:
    table = torch.tensor([[2.0, 3.0], [4.0, 5.0]])
    with pytest.raises(ConfigError, match=r"budget of 5 .* costs 6"):
        allocate(table, table, budget=5.0)
    with pytest.raises(ConfigError, match=r"tolerance of 5 .* has 6"):
        minimise_cost(table, table, tolerance=5.0)
    with pytest.raises(ConfigError, match="budget of nan"):
        allocate(table, table, budget=float("nan"))
    with pytest.raises(ConfigError, match="buckets"):
        allocate(table, table, budget=9.0, buckets=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tables_that_are_not_finite_are_a_calibration_error(value: float) -> None:
    good, bad = torch.ones(2, 2), torch.tensor([[1.0, value], [1.0, 1.0]])
    with pytest.raises(CalibrationError, match="sensitivity table must be finite; got 1"):
        allocate(bad, good, budget=9.0)
    with pytest.raises(CalibrationError, match="cost table must be finite"):
        minimise_cost(good, bad, tolerance=9.0)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3, 2)), ((0, 3), (0, 3)), ((3,), (3,))], ids=["other", "empty", "1-D"]
)
def test_tables_of_unusable_shape_are_a_calibration_error(
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    with pytest.raises(CalibrationError, match="one shape"):
        allocate(torch.ones(shapes[0]), torch.ones(shapes[1]), budget=9.0)
