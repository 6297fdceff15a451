"""Compression saves what it predicts and never hurts more than it was allowed to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from core.energy_toys import images, small, trained_small


def calibrated() -> tuple[SpikingNetwork, torch.Tensor]:
    net, inputs, _ = trained_small()
    network = convert(net, inputs, T=4, max_spikes=4)
    network.calibrate([inputs[:96]], "light")
    return network, inputs[:96]


def test_compression_lowers_the_predicted_and_the_measured_cost() -> None:
    network, inputs = calibrated()
    before = measure_energy(network, inputs).sops
    notes = network.compress([inputs], tolerance=3.0, max_growth=None)
    assert notes["predicted_cost"] < notes["predicted_cost_before"]
    assert measure_energy(network, inputs).sops < before


def test_a_ratio_multiplies_the_threshold_of_its_own_site() -> None:
    network, inputs = calibrated()
    before = {name: torch.as_tensor(n.threshold).clone() for name, n in network.neurons.items()}
    notes = network.compress([inputs], tolerance=3.0, max_growth=None)
    assert list(notes["ratios"]) == list(network.neurons)
    assert max(notes["ratios"].values()) > 1
    for name, ratio in notes["ratios"].items():
        neuron = network.neurons[name]
        assert neuron.ratio == ratio
        assert torch.allclose(torch.as_tensor(neuron.threshold), before[name] * ratio)
    assert [site.ratio for site in network.report()] == list(notes["ratios"].values())


def test_compressing_twice_multiplies_the_ratios() -> None:
    network, inputs = calibrated()
    before = {name: torch.as_tensor(n.threshold).clone() for name, n in network.neurons.items()}
    for _ in range(2):
        network.compress([inputs], tolerance=3.0, ratios=(1.0, 2.0, 0.5), max_growth=None)
    for name, neuron in network.neurons.items():
        found = torch.as_tensor(neuron.threshold) / before[name]
        assert torch.allclose(found, torch.full_like(found, neuron.ratio), rtol=1e-4)
    assert max(neuron.ratio for neuron in network.neurons.values()) > 2


def test_more_tolerance_saves_more() -> None:
    costs = []
    for tolerance in (1.0, 2.0, 8.0):
        network, inputs = calibrated()
        notes = network.compress([inputs], tolerance=tolerance, max_growth=None)
        costs.append(notes["predicted_cost"])
    assert costs == sorted(costs, reverse=True) and costs[-1] < costs[0]


def test_a_single_ratio_of_one_changes_no_threshold() -> None:
    network, inputs = calibrated()
    before = network(inputs)
    notes = network.compress([inputs], ratios=(1.0, 1.0, 0.5))
    assert set(notes["ratios"].values()) == {1.0}
    assert notes["predicted_cost"] == pytest.approx(notes["predicted_cost_before"])
    assert torch.allclose(network(inputs), before, atol=1e-5)


def test_a_choice_that_hurts_too_much_is_taken_back_in_part() -> None:
    notes = {}
    for growth in (1.0, 1.5, None):
        network, inputs = calibrated()
        random = torch.Generator().manual_seed(3)
        notes[growth] = network.compress(
            [inputs], tolerance=1e6, max_growth=growth, generator=random, sample_limit=40
        )
        with torch.no_grad():
            now = float(symmetric_kl(network.ann(inputs), network(inputs)).mean())
        assert now == pytest.approx(notes[growth]["calibration_divergence"], rel=1e-3, abs=1e-9)
        limit = (growth or math.inf) * notes[growth]["calibration_divergence_before"]
        assert now <= limit * 1.001
        ratios = notes[growth]["ratios"]
        for name, neuron in network.neurons.items():
            assert neuron.ratio == ratios[name]
        if notes[growth]["share_of_saving"] == 0:
            assert notes[growth]["calibration_divergence"] == pytest.approx(
                notes[growth]["calibration_divergence_before"], rel=1e-6
            )
    shares = [notes[growth]["share_of_saving"] for growth in (1.0, 1.5, None)]
    assert shares == sorted(shares) and shares[0] < 1 and shares[-1] == 1
    assert notes[None]["predicted_cost"] <= notes[1.5]["predicted_cost"]


@pytest.mark.parametrize(
    "options",
    [{"max_growth": 0.9}, {"ratios": (0.5, 2.0, 0.5)},
     {"ratios": (2.0, 1.0, 0.5)}, {"ratios": (1.0, 2.0, 0.0)},
     {"ratios": (1.0, 2.0)}, {"tolerance": 0.5}, {"tolerance": float("nan")}],
)  # fmt: skip
def test_compressions_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    network = convert(small(), images(8), T=2)
    with pytest.raises(ConfigError):
        network.compress([images(8)], **options)
