"""AdaFire keeps the budget it was given, in energy that is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adacal.core.conversion import convert
from adacal.core.errors import ConfigError
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from core.energy_toys import images, small, trained_small


def searched(**options: Any) -> tuple[SpikingNetwork, dict[str, Any], torch.Tensor]:
    net, inputs, _ = trained_small()
    network = convert(net, inputs, T=4)
    setting = {"max_spikes": (1, 6), "budget": 2, "samples": 64, **options}
    return network, network.adafire([inputs[:128]], **setting), inputs[:128]


def uniform(phi: int) -> float:
    """Energy of accumulates with the same φ everywhere, pJ a sample."""
    net, inputs, _ = trained_small()
    network = convert(net, inputs, T=4, max_spikes=phi)
    network.calibrate([inputs[:128]], "light")
    return 0.9 * measure_energy(network, inputs[:128]).sops


@pytest.mark.parametrize("sensitivity", ["probe", "exact"])
@pytest.mark.parametrize("budget", [2, 4])
def test_the_budget_holds_in_measured_energy(sensitivity: str, budget: int) -> None:
    network, notes, inputs = searched(sensitivity=sensitivity, budget=budget)
    assert notes["predicted_cost"] <= notes["budget"] * (1 + 1e-9)
    assert notes["predicted_sensitivity"] <= notes["uniform_sensitivity"] * (1 + 1e-9)
    assert 0.9 * measure_energy(network, inputs).sops <= 1.1 * uniform(budget)


def test_what_was_chosen_is_set_and_noted() -> None:
    network, notes, _ = searched()
    assert list(notes["max_spikes"]) == list(network.neurons)
    for name, phi in notes["max_spikes"].items():
        assert network.neurons[name].max_spikes == phi in range(1, 7)
        assert torch.as_tensor(network.neurons[name].shift).abs().sum() > 0
    assert notes["cost_unit"] == "pj" and notes["sensitivity_table"] == "probe"


def test_a_smaller_ratio_spends_less() -> None:
    notes = [searched(ratio=ratio, budget=4)[1] for ratio in (0.95, 1.0, 1.1)]
    assert [n["budget"] for n in notes] == sorted(n["budget"] for n in notes)
    assert all(n["predicted_cost"] <= n["budget"] * (1 + 1e-9) for n in notes)
    harm = [n["predicted_sensitivity"] for n in notes]
    assert harm == sorted(harm, reverse=True)


def test_spikes_can_be_the_currency() -> None:
    network, notes, inputs = searched(cost="spikes")
    assert notes["cost_unit"] == "spikes"
    assert measure_energy(network, inputs).spikes <= 1.15 * notes["budget"]


def test_a_seed_decides_the_search() -> None:
    found = [searched(generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert found[0][1] == found[1][1]
    assert torch.equal(found[0][0](images(4)), found[1][0](images(4)))


@pytest.mark.parametrize(
    "options",
    [
        {"max_spikes": (0, 4)},
        {"max_spikes": (4, 2)},
        {"budget": 9},
        {"ratio": 0.0},
        {"ratio": 1e-9},
        {"sensitivity": "guess"},
    ],
)
def test_searches_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    network = convert(small(), images(8), T=2)
    with pytest.raises(ConfigError):
        network.adafire([images(8)], **{"max_spikes": (1, 4), "budget": 2, **options})
