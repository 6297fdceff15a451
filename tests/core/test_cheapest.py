"""The cheapest network over several T: the limit holds, nothing tried within it costs less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adacal
from adacal.core.cheapest import StepsTried, best_of
from adacal.core.errors import CalibrationError, ConfigError, InputError
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from core.energy_toys import trained_small

NET, INPUTS, LABELS = trained_small()
NET.head.weight.data.mul_(0.2)  # a network and inputs between two classes, so that errors show
GIVEN = 0.53 * INPUTS[:96] + 0.47 * INPUTS[96:192]
QUICK: dict[str, Any] = {"grid": tuple(range(-16, 5, 4))}


@pytest.fixture(scope="module")
def found() -> tuple[SpikingNetwork, list[StepsTried]]:
    batches = [(GIVEN[:48], LABELS[:48]), (GIVEN[48:], LABELS[48:96])]
    return adacal.cheapest(NET, batches, T=(4, 1, 2, 2), max_drop=5, **QUICK)


def changed(network: SpikingNetwork) -> float:
    with torch.no_grad():
        return 100 * float((NET(GIVEN).argmax(1) != network(GIVEN).argmax(1)).double().mean())


def test_no_network_tried_within_the_limit_costs_less(
    found: tuple[SpikingNetwork, list[StepsTried]],
) -> None:
    network, tried = found
    assert [each.T for each in tried] == [1, 2, 4]
    own = next(each for each in tried if each.T == network.T)
    assert own.within_limit and own.drop <= 5
    assert own.energy_pj == min(each.energy_pj for each in tried if each.within_limit)
    assert len({each.energy_pj for each in tried}) == 3


def test_the_table_says_what_the_network_measures(
    found: tuple[SpikingNetwork, list[StepsTried]],
) -> None:
    network, tried = found
    own = next(each for each in tried if each.T == network.T)
    report = measure_energy(network, GIVEN)
    assert own.energy_pj == pytest.approx(4.6 * report.macs + 0.9 * report.sops)
    assert own.spikes == pytest.approx(report.spikes) and own.drop == pytest.approx(
        changed(network)
    )


def test_where_no_steps_are_enough_the_network_that_drops_least_is_taken() -> None:
    coarse = {"grid": (12,), "max_spikes": 1}  # one threshold, and no spike reaches it
    network, tried = adacal.cheapest(NET, [GIVEN], T=[1, 2], max_drop=0, **coarse)
    least = min(each.drop for each in tried)
    assert least > 0 and not any(each.within_limit for each in tried)
    assert changed(network) == pytest.approx(least)


def row(T: int, energy_pj: float, spikes: float, drop: float = 0.0) -> StepsTried:
    return StepsTried(T=T, energy_pj=energy_pj, spikes=spikes, drop=drop, within_limit=drop <= 1)


def test_the_unit_says_what_is_compared_and_of_equals_the_fewer_steps_win() -> None:
    tried = [row(1, 9, 9), row(2, 1, 1, drop=2), row(4, 5, 8), row(8, 6, 7), row(16, 5, 7)]
    assert best_of(tried, "pj") == 2
    assert best_of(tried, "spikes") == 3
    assert best_of([row(1, 9, 9, drop=3), row(2, 1, 1, drop=4)], "pj") == 0


def test_a_network_with_a_forward_of_its_own_is_called_by_it() -> None:
    def doubled(module: nn.Module, x: Tensor) -> Tensor:
        return module(2 * x)

    network, _ = adacal.cheapest(
        NET, [GIVEN[:16]], T=(2,), max_drop=100, forward=doubled, grid=(0,)
    )
    assert network.forward is doubled


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"T": 4}, "T must list"),
        ({"T": ()}, "T must list"),
        ({"T": (0,)}, "T must be"),
        ({"T": "12"}, "T must be"),
        ({"max_drop": -1}, "max_drop must be"),
        ({"budget": 1.0}, "leave out 'budget'"),
        ({"T": (1,), "nois": 1}, "did you mean 'noise'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        adacal.cheapest(NET, [GIVEN[:8]], **options)


@pytest.mark.parametrize("batches", [[], GIVEN])
def test_batches_are_a_list_that_holds_some(batches: Any) -> None:
    with pytest.raises((InputError, CalibrationError), match="batch"):
        adacal.cheapest(NET, batches)
