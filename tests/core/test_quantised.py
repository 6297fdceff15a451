"""ANNs behind the interface of converted networks: exact, and quantised to the levels of spikes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.measure import measure_energy
from adacal.core.quantised import AnnNetwork, QuantisedNetwork
from adacal.core.tags import set_bits
from core.energy_toys import images, small, spiking, two_layers


def test_the_ann_gives_its_own_output_metered_or_not() -> None:
    net, inputs = small(), images(5)
    wrapped = AnnNetwork(convert(net, inputs, T=4))
    expected = net(inputs)
    assert torch.equal(wrapped.predict(inputs).output, expected)
    assert torch.allclose(wrapped.predict(inputs, EnergyMeter()).output, expected, atol=1e-6)
    assert wrapped.predict(inputs).timesteps.tolist() == [0] * 5
    assert wrapped.strictness() == "none" and wrapped.report() == []


def test_the_ann_costs_what_every_other_row_says_the_ann_costs() -> None:
    inputs = images(5)
    network = convert(small(), inputs, T=4)
    ann, other = measure_energy(AnnNetwork(network), inputs), measure_energy(network, inputs)
    assert ann.sops == ann.spikes == 0 and ann.macs == pytest.approx(ann.ann_macs)
    assert ann.energy_pj == pytest.approx(ann.ann_energy_pj)
    assert ann.ann_energy_pj == pytest.approx(other.ann_energy_pj)


def test_set_bits_count_ones() -> None:
    codes = torch.arange(64.0)
    assert set_bits(codes).tolist() == [bin(i).count("1") for i in range(64)]


def test_activations_take_the_levels_of_the_neuron_and_cost_a_set_bit_each() -> None:
    network = convert(two_layers(), torch.ones(1, 2), T=4, max_spikes=2)
    network.neurons["1"].threshold = torch.tensor(1.0)
    quantised = QuantisedNetwork(network, [], correct_mean=False)
    inputs = torch.tensor([[0.8, 5.0]])  # codes 3 of step 1/4, and 8, the ceiling
    meter = EnergyMeter()
    output = quantised.predict(inputs, meter).output
    assert output.tolist() == [[2.75, 2.75]]
    report = meter.report()
    assert (report.spikes, report.sops, report.macs) == (3.0, 6.0, 6.0)


def test_the_output_is_that_of_spikes_where_currents_are_constant() -> None:
    inputs = torch.rand(20, 2)
    network = convert(two_layers(), inputs, T=4, max_spikes=2)
    network.calibrate([inputs], "none")
    quantised = QuantisedNetwork(network, [inputs], correct_mean=False)
    assert torch.allclose(quantised.predict(inputs).output, network(inputs), atol=1e-5)
    assert quantised.strictness() == "quantised"


def test_correcting_the_mean_brings_it_nearer_to_the_ann() -> None:
    net, inputs = small(), images(64)
    network = convert(net, inputs, T=1, max_spikes=2)
    network.calibrate([inputs], "none", threshold="max")
    plain, corrected = (
        QuantisedNetwork(network, [inputs], correct_mean=choice) for choice in (False, True)
    )
    gaps = [
        (q.predict(inputs).output - net(inputs)).mean(0).abs().sum() for q in (plain, corrected)
    ]
    assert gaps[1] < gaps[0]


def test_behind_a_max_pool_set_bits_are_counted_not_codes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 3, 1))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.zero_()
    network = convert(net, torch.ones(1, 1, 2, 2), T=4, max_spikes=2)
    network.neurons["1"].threshold = torch.tensor(1.0)
    quantised = QuantisedNetwork(network, [], correct_mean=False)
    image = torch.tensor(
        [[[[0.75, 1.75], [0.25, 1.0]]]]
    )  # codes 3, 7, 1, 4: the largest has 3 ones
    assert measure_energy(quantised, image).sops == 3 * 3


def test_counts_do_not_depend_on_batches() -> None:
    inputs = images(12)
    for pool in (False, True):
        network = spiking(small(max_pool=pool), inputs)
        quantised = QuantisedNetwork(network, [inputs])
        whole, meter = measure_energy(quantised, inputs), EnergyMeter()
        for part in inputs.split([1, 6, 5]):
            quantised.predict(part, meter)
        assert meter.report().energy_pj == pytest.approx(whole.energy_pj)
        assert whole.sops > whole.spikes > 0
