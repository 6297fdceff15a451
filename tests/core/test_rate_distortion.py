"""Thresholds chosen within a budget or a drop: the limit is kept, the better network stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adacal.core.conversion import convert
from adacal.core.errors import ConfigError
from adacal.core.exit_rules import ExitRule
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from adacal.core.trials import Trial, spending
from core.energy_toys import seeded, trained_small
from core.test_channel_tables import Distance, nested

NET, INPUTS, _ = trained_small()
NET.head.weight.data.mul_(0.2)  # a network and inputs between two classes, so that errors show
GIVEN = 0.53 * INPUTS[:96] + 0.47 * INPUTS[96:192]
GRID = tuple(range(-16, 5, 2))


def uniform(phi: int, T: int = 2, mode: str = "light", **options: Any) -> SpikingNetwork:
    network = convert(NET, GIVEN[:4], T=T, max_spikes=phi)
    network.calibrate([GIVEN], mode, **options)
    return network


def state(network: SpikingNetwork) -> dict[str, tuple[list[float], int]]:
    return {
        name: (torch.as_tensor(n.threshold).flatten().tolist(), n.max_spikes)
        for name, n in network.neurons.items()
    }


@pytest.mark.parametrize("unit", ["pj", "spikes"])
def test_the_budget_holds_in_what_is_measured_and_the_output_is_nearer(unit: str) -> None:
    network = uniform(2)
    budget = spending(network, GIVEN[:72], unit)
    notes = network.rate_distortion([GIVEN], budget=budget, unit=unit, grid=GRID)
    report = measure_energy(network, GIVEN[:72])
    spent = 0.9 * report.sops if unit == "pj" else report.spikes
    assert notes["within_limit"] and not notes["kept_as_it_was"]
    assert spent == pytest.approx(notes["cost"]) and spent <= 1.01 * budget
    assert notes["divergence"] < 0.7 * notes["divergence_before"]
    assert notes["check_samples"] == 24 and notes["cost_unit"] == unit
    assert all(n.max_spikes == 16 for n in network.neurons.values())


def test_a_larger_budget_gives_a_network_that_costs_more_and_is_nearer() -> None:
    found = []
    for phi in (1, 3):
        network = uniform(1)
        budget = spending(uniform(phi), GIVEN[:72], "pj")
        found.append(network.rate_distortion([GIVEN], budget=budget, grid=GRID))
    assert found[0]["cost"] < found[1]["cost"]
    assert found[0]["divergence"] > found[1]["divergence"]


def test_all_samples_that_the_tables_do_not_see_are_compared() -> None:
    notes = uniform(1).rate_distortion([GIVEN], budget=1e5, samples=40, grid=(-4, 0))
    assert notes["check_samples"] == len(GIVEN) - 40


def test_the_curve_falls_from_its_cheapest_point_to_its_dearest() -> None:
    curve = uniform(1).rate_distortion([GIVEN], budget=1e4, grid=GRID)["curve"]
    costs, harms = ([point[key] for point in curve] for key in ("cost", "divergence"))
    assert len(curve) == 16 and costs == sorted(costs, reverse=True) and harms == sorted(harms)
    assert harms[-1] > 2 * harms[0] > 0


def test_thresholds_of_a_layer_are_one_scale_times_powers_of_two_where_chips_want_that() -> None:
    few = GIVEN[::2]
    budget = spending(uniform(2), few, "pj")
    apart = {}
    for scales in ("channel", "power_of_two", "layer"):
        network = uniform(2)
        notes = network.rate_distortion(
            [few], budget=budget, scales=scales, check=0.0, grid=tuple(range(-14, 3))
        )
        assert notes["within_limit"] and not notes["kept_as_it_was"]
        octaves = [torch.as_tensor(n.threshold).log2() for n in network.neurons.values()]
        apart[scales] = torch.cat([each - each[0] for each in octaves])
    shared, layer = apart["power_of_two"], apart["layer"]
    assert float((apart["channel"] - apart["channel"].round()).abs().max()) > 0.1
    assert torch.allclose(shared, shared.round(), atol=1e-4) and float(shared.abs().max()) >= 1
    assert torch.allclose(layer, torch.zeros(()), atol=1e-5)


def test_a_network_that_was_better_at_no_more_cost_is_put_back() -> None:
    network = uniform(8)
    before, output = state(network), network(GIVEN)
    notes = network.rate_distortion([GIVEN], budget=1e9, grid=(8,))
    assert notes["kept_as_it_was"] and notes["divergence"] > notes["divergence_before"]
    assert notes["nearer_by"] < -2
    assert state(network) == before and torch.equal(network(GIVEN), output)


def test_a_network_that_was_nearer_by_chance_is_not_put_back() -> None:
    def trial(*divergences: float) -> Trial:
        values = torch.tensor(divergences, dtype=torch.float64)
        return Trial(cost=1, divergences=values, seen=values, drop=0, neurons={}, weight_changes={})

    clear, level, doubtful = trial(0.1, 0.2, 0.1), trial(0.3, 0.4, 0.4), trial(0.0, 0.0, 0.5)
    assert clear.nearer_by(level) == pytest.approx(-level.nearer_by(clear))
    assert clear.nearer_by(level) == pytest.approx((7 / 30) / (0.1 / 3**0.5 / 3**0.5))
    assert abs(clear.nearer_by(doubtful)) < 1 and clear.nearer_by(clear) == 0


def test_weights_of_advanced_calibration_are_put_back_as_well() -> None:
    from adacal.core.advanced import WeightOptions

    few = {"weight_options": WeightOptions(iterations=3)}
    network = uniform(8, mode="advanced", generator=seeded(1), **few)
    output = network(GIVEN)
    assert network.weight_changes
    notes = network.rate_distortion([GIVEN], budget=1e9, grid=(8,), mode="advanced", **few)
    assert notes["kept_as_it_was"] and torch.equal(network(GIVEN), output)


def test_a_network_that_costs_more_than_the_budget_is_not_put_back() -> None:
    network = uniform(8)
    budget = 0.3 * spending(network, GIVEN[:72], "pj")
    notes = network.rate_distortion([GIVEN], budget=budget, grid=GRID)
    assert not notes["kept_as_it_was"] and notes["cost"] <= 1.01 * budget < notes["cost_before"]


def test_a_budget_below_the_cheapest_network_is_said_to_be_missed() -> None:
    notes = uniform(1).rate_distortion([GIVEN], budget=1e-3, grid=(0, 2))
    assert not notes["within_limit"] and notes["cost"] > 1e-3


def wrong(network: SpikingNetwork, inputs: Tensor) -> float:
    """Percent of the samples whose class is not the ANN's."""
    with torch.no_grad():
        return 100 * float((NET(inputs).argmax(1) != network(inputs).argmax(1)).double().mean())


def test_the_cheapest_network_that_loses_little_costs_less_where_more_may_be_lost() -> None:
    costs = []
    for limit in (3.0, 10.0):
        network = uniform(8)
        notes = network.rate_distortion([GIVEN], max_drop=limit, grid=GRID)
        assert notes["within_limit"] and wrong(network, GIVEN) <= limit
        assert wrong(network, GIVEN) == pytest.approx(notes["drop"])
        costs.append(notes["cost"])
    assert costs[1] < costs[0] < notes["cost_before"]


def test_a_drop_that_no_network_keeps_to_is_said_to_be_missed() -> None:
    network = uniform(1, T=1)
    for neuron in network.neurons.values():
        neuron.threshold = 1e9
    notes = network.rate_distortion([GIVEN], max_drop=0.0, grid=(12,))
    assert not notes["within_limit"] and not notes["kept_as_it_was"] and notes["drop"] > 0


def test_of_maps_the_drop_is_that_of_the_bounded_divergence() -> None:
    network = convert(NET, GIVEN[:4], T=2, max_spikes=1, forward=nested)
    notes = network.rate_distortion(
        [GIVEN], budget=1e9, check=0.0, divergence=Distance(), grid=GRID
    )
    assert notes["drop"] == pytest.approx(100 * notes["divergence"]) and notes["drop"] > 0
    assert notes["check_samples"] == len(GIVEN)


def test_a_head_of_a_thousand_classes_takes_sixteen_backward_passes_a_sample() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1000)).eval()
    net[2].weight.data.mul_(4)
    inputs, rows = torch.randn(64, 8), []

    def forward(module: nn.Module, x: Tensor) -> Tensor:
        logits = module(x)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: rows.append(len(gradient)))
        return logits

    network = convert(net, inputs[:2], T=2, max_spikes=1, forward=forward)
    network.calibrate([inputs])
    budget = spending(network, inputs[:48], "pj")
    assert network.rate_distortion([inputs], budget=budget)["within_limit"]
    assert 48 < sum(rows) <= 16 * 48


def test_an_exit_rule_stays_and_does_not_cheapen_what_is_measured() -> None:
    network = uniform(2)
    whole = spending(network, GIVEN[:72], "pj")
    network.exit_rule = ExitRule("confidence", (0.0,))
    notes = network.rate_distortion([GIVEN], budget=whole, grid=GRID)
    assert network.exit_rule == ExitRule("confidence", (0.0,))
    assert notes["cost_before"] == pytest.approx(whole)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "a budget or a max_drop"),
        ({"budget": 1.0, "max_drop": 1.0}, "one of them"),
        ({"budget": 0.0}, "budget must be"),
        ({"budget": "much"}, "budget must be"),
        ({"max_drop": 101}, "max_drop must be"),
        ({"budget": 1.0, "unit": "pJ"}, "did you mean 'pj'"),
        ({"budget": 1.0, "max_spikes": 0}, "max_spikes must be"),
        ({"budget": 1.0, "samples": 0}, "samples must be"),
        ({"budget": 1.0, "check": 1.0}, "check must be"),
        ({"budget": 1.0, "noise": -1.0}, "noise must be"),
        ({"budget": 1.0, "scales": "power_of_2"}, "did you mean 'power_of_two'"),
        ({"budget": 1.0, "threshold": "max"}, "leave out 'threshold'"),
        ({"budget": 1.0, "nois": 1.0}, "did you mean 'noise'"),
        ({"budget": 1.0, "mode": "heavy"}, "heavy"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    network = uniform(1)
    before = state(network)
    with pytest.raises(ConfigError, match=says):
        network.rate_distortion([GIVEN], **options)
    assert state(network) == before
