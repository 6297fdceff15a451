"""The four energy readings, worked by hand on a net of two layers."""

from __future__ import annotations

import pytest
import torch

from adacal.core.conversion import convert
from adacal.core.energy import MODELS, EnergyMeter, EnergyReport
from adacal.core.errors import InputError
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from core.energy_toys import filled, images, small, spiking, two_layers

pytestmark = pytest.mark.usefixtures("every_way")


def by_hand() -> tuple[SpikingNetwork, EnergyReport]:
    """Two steps, θ = 1, φ = 3; currents 2, 0.5 and -2.5 from the input (2, 0.5).

    Neuron 1: u = 2.5, fires 2, u = 0.5 + 2, fires 2. Neuron 2: u = 1.0, fires 1; u = 0.5, none.
    So 5 spikes in 3 events, fan-out 2.
    """
    network = convert(two_layers(), torch.ones(1, 2), T=2, max_spikes=3)
    network.neurons["1"].threshold = torch.tensor(1.0)
    return network, measure_energy(network, torch.tensor([[2.0, 0.5]]))


def test_counts_of_the_net_worked_by_hand() -> None:
    _, report = by_hand()
    assert (report.samples, report.spikes, report.events) == (1, 5.0, 3.0)
    assert (report.sops, report.macs, report.ann_macs) == (10.0, 6.0, 12.0)
    layers = {layer.name: (layer.spikes, layer.sops, layer.macs) for layer in report.layers}
    assert layers == {"0": (0.0, 0.0, 6.0), "1": (5.0, 0.0, 0.0), "2": (0.0, 10.0, 0.0)}


def test_the_four_readings_of_the_net_worked_by_hand() -> None:
    _, report = by_hand()
    assert set(report.energy_pj) == set(report.ann_energy_pj) == set(MODELS)
    assert report.energy_pj["per_spike"] == pytest.approx(6 * 4.6 + 10 * 0.9)
    assert report.energy_pj["per_event"] == pytest.approx(6 * 4.6 + 6 * 0.9)
    # two reads a MAC; a weight, a read and a write a SOP; a read and a write a neuron and step
    memory = 6 * (4.6 + 10) + 10 * (0.9 + 15) + 3 * 2 * 10
    assert report.energy_pj["memory"] == pytest.approx(memory)
    # the reference code leaves the classifier out
    assert report.energy_pj["reference"] == pytest.approx(6 * 4.6)
    for model in ("per_spike", "per_event", "reference"):
        assert report.ann_energy_pj[model] == pytest.approx(12 * 4.6)
    assert report.ann_energy_pj["memory"] == pytest.approx(12 * (4.6 + 10) + 3 * 5)


def test_the_reference_reading_takes_each_burst_for_one_and_skips_downsampling_layers() -> None:
    from torch import nn

    net = nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, stride=2), nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.ReLU(), nn.Linear(4, 3),
    )  # fmt: skip
    network = spiking(filled(net), images(4), max_spikes=3)
    meter = EnergyMeter()
    network.predict(images(4), meter)
    third = meter.layers["4"]
    assert third.reference_sops == 2 * third.event_sops > 0
    assert meter.layers["2"].reference_sops == meter.layers["7"].reference_sops == 0
    report = meter.report()
    expected = 4.6 * report.macs + 0.9 * third.reference_sops / 4
    assert report.energy_pj["reference"] == pytest.approx(expected)


def test_binary_spikes_cost_the_same_per_spike_and_per_event() -> None:
    report = measure_energy(spiking(small(), images(4), max_spikes=1), images(4))
    assert report.spikes == report.events
    assert report.energy_pj["per_spike"] == pytest.approx(report.energy_pj["per_event"])


def test_layers_sum_to_the_totals() -> None:
    report = measure_energy(spiking(small(), images(4)), images(4))
    assert sum(layer.sops for layer in report.layers) == pytest.approx(report.sops)
    assert sum(layer.macs for layer in report.layers) == pytest.approx(report.macs)
    assert sum(layer.spikes for layer in report.layers) == pytest.approx(report.spikes)


def test_rates_are_spikes_per_neuron_and_step() -> None:
    network, _ = by_hand()
    assert network.report()[0].rate == pytest.approx(5 / 6)


def test_an_unused_meter_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"nothing was measured; give this meter to predict"):
        EnergyMeter().report()
