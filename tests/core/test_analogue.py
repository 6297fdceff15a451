"""A part kept analogue: what it computes, what it costs, and that nobody can overlook it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import adacal
from adacal.core.analogue import keep_analogue
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.network import SpikingNetwork
from adacal.core.quantised import AnnNetwork
from toys import dyadic, make_dyadic

pytestmark = pytest.mark.usefixtures("every_way")


class TwoParts(nn.Module):
    """A body whose neurons spike and a tail of two layers with an activation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU())
        self.tail = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.body(x))


def kept(module: Any, x: Tensor) -> Tensor:
    return keep_analogue(module.tail, module.body(x))


def body_only(module: Any, x: Tensor) -> Tensor:
    return module.body(x)


def networks(T: int = 4) -> tuple[SpikingNetwork, SpikingNetwork, Tensor]:
    """The whole with its tail kept, and the body alone, with the same neurons."""
    ann, x = make_dyadic(TwoParts()), dyadic((3, 1, 8, 8), 1)
    whole = convert(ann, x, T=T, max_spikes=2, forward=kept)
    body = convert(ann, x, T=T, max_spikes=2, forward=body_only)
    for network in (whole, body):
        for neuron in network.neurons.values():
            neuron.threshold = 0.5
    return whole, body, x


def test_the_output_is_the_part_of_the_mean_of_its_input():
    whole, body, x = networks()
    torch.testing.assert_close(whole(x), whole.module.tail(body(x)))
    assert not torch.allclose(whole(x), whole.ann(x))


def test_every_running_mean_is_the_part_of_the_running_mean_of_its_input():
    whole, body, x = networks()
    expected = torch.stack([whole.module.tail(mean) for mean in body.steps(x)])
    torch.testing.assert_close(whole.steps(x), expected)


def test_stepwise_and_time_batched_runs_agree():
    whole, _, x = networks()
    state = RunState()
    steps = torch.stack([whole.step(x, state, t) for t in range(4)])
    torch.testing.assert_close(steps.mean(0), whole(x))


def test_only_the_sites_before_it_are_neurons_and_the_report_names_it():
    whole, _, _ = networks()
    kinds = {site.name: site.kind for site in whole.report()}
    assert kinds == {"body.1": "burst", "body.3": "burst", "keep_analogue": "analogue"}
    assert whole.strictness() == "analogue parts"


def test_strict_conversion_refuses_it():
    with pytest.raises(UnsupportedModelError, match="'keep_analogue' cannot|'keep_analogue' at"):
        convert(TwoParts().eval(), torch.ones(1, 1, 8, 8), T=2, strict=True, forward=kept)


def test_without_a_conversion_it_is_the_part_itself():
    ann, x = make_dyadic(TwoParts()), dyadic((3, 1, 8, 8), 1)
    assert torch.equal(kept(ann, x), ann(x))


def test_calibration_sees_its_output():
    ann, x = TwoParts().eval(), torch.randn(16, 1, 8, 8)
    whole = convert(ann, x, T=8, max_spikes=4, forward=kept)
    found = whole.calibrate([x])
    assert 0 < found < 0.01
    with torch.no_grad():
        assert float((whole(x) - ann(x)).norm() / ann(x).norm()) < 0.05


def brute_tail_macs() -> tuple[float, float]:
    """Of a 4 x 4 map: 3 x 3 convolution with borders 2 -> 4 channels, 1 x 1 convolution 4 -> 2."""
    inside = F.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), padding=1).sum()
    return float(inside) * 2 * 4, 16.0 * 4 * 2


def test_its_macs_count_once_a_run_with_borders_exact():
    whole, body, x = networks()
    macs = sum(brute_tail_macs())
    mine, alone = (adacal.measure_energy(network, x) for network in (whole, body))
    layers = {layer.name: layer for layer in mine.layers}
    assert layers["keep_analogue"].macs == macs and layers["keep_analogue"].sops == 0
    assert mine.macs - alone.macs == macs
    assert mine.ann_macs - alone.ann_macs == macs
    assert mine.sops == alone.sops > 0 and mine.spikes == alone.spikes


def test_the_ann_costs_the_same_with_and_without_it():
    ann, x = make_dyadic(TwoParts()), dyadic((3, 1, 8, 8), 1)
    reports = [
        adacal.measure_energy(AnnNetwork(convert(ann, x, T=2, **options)), x)
        for options in ({}, {"forward": kept})
    ]
    assert reports[0].ann_energy_pj == reports[1].ann_energy_pj
    assert reports[0].energy_pj == reports[1].energy_pj


def test_run_step_by_step_it_counts_at_every_step():
    whole, _, x = networks()
    meter, state = EnergyMeter(), RunState()
    for t in range(4):
        whole.step(x, state, t, meter)
    layers = {layer.name: layer for layer in meter.report().layers}
    assert layers["keep_analogue"].macs == 4 * sum(brute_tail_macs())


def test_several_inputs_and_outputs_keep_their_nest():
    def forward(module: Any, x: Tensor) -> Any:
        first = module.body[:2](x)
        second = module.body[2:](first)
        return keep_analogue(lambda pair: {"a": pair[0].square(), "b": [pair[1]]}, (first, second))

    ann, x = make_dyadic(TwoParts()), dyadic((3, 1, 8, 8), 1)
    network = convert(ann, x, T=4, forward=forward)
    output = network(x)
    assert output["a"].shape == (3, 3, 6, 6) and output["b"][0].shape == (3, 2, 4, 4)
    first = convert(ann, x, T=4, forward=lambda module, rows: module.body[:2](rows))
    torch.testing.assert_close(output["a"], first(x).square())
