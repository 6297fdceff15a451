"""Rivals as whole methods on toy networks, worked by plain loops that share no code with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork
from adacal.core.normal_threshold import normal_threshold, pre_activation_moments
from adacal.core.phases import set_dynamics
from adacal.methods.base import METHODS, Calibration, load_methods
from core.energy_toys import Captured
from toys import dyadic, make_dyadic

load_methods()
Vector = list[float]


def built(name: str, net: nn.Module, inputs: Tensor, T: int, **options: Any) -> SpikingNetwork:
    calibration = Calibration(
        T=T,
        batches=[(inputs, None)],
        forward=lambda module, given: module(given),
        divergence=symmetric_kl,
        generator=torch.Generator().manual_seed(0),
    )
    network = METHODS.get(name)(**options).build(net, inputs[:1], calibration)
    assert isinstance(network, SpikingNetwork)
    return network


def perceptron(seed: int = 3) -> nn.Module:
    """4 -> 6 -> 5 -> 3 with biases, all numbers dyadic."""
    net = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    )  # fmt: skip
    return make_dyadic(net, seed)


def layers(net: nn.Module) -> list[tuple[list[Vector], Vector]]:
    return [(part.weight.tolist(), part.bias.tolist()) for part in net if hasattr(part, "weight")]


def product(weight: list[Vector], x: Vector) -> Vector:
    return [sum(w * value for w, value in zip(row, x, strict=True)) for row in weight]


def plus(*vectors: Vector) -> Vector:
    return [sum(values) for values in zip(*vectors, strict=True)]


# signed neurons with memory ----------------------------------------------------------------------


def run_snm(
    net: nn.Module, x: Vector, thresholds: list[Vector], T: int
) -> tuple[Vector, list[list[float]]]:
    """Wang et al. 2022, layer by layer inside a step: its mean output and all spikes sent."""
    first, second, last = layers(net)
    potential = [[0.0] * len(theta) for theta in thresholds]
    transmitted = [[0.0] * len(theta) for theta in thresholds]
    total, spikes = [0.0] * 3, []
    for _ in range(T):
        sent = x
        for layer, (weight, bias) in enumerate((first, second)):
            current, now = plus(product(weight, sent), bias), []
            for j, theta in enumerate(thresholds[layer]):
                potential[layer][j] += current[j]
                spike = 0.0
                if potential[layer][j] >= theta:
                    spike = theta
                elif potential[layer][j] <= -theta and transmitted[layer][j] > 0:
                    spike = -theta
                potential[layer][j] -= spike
                transmitted[layer][j] += spike
                now.append(spike)
            sent = now
            spikes.append(
                [value / theta for value, theta in zip(now, thresholds[layer], strict=True)]
            )
        total = plus(total, product(last[0], sent), last[1])
    return [value / T for value in total], spikes


@pytest.mark.parametrize("T", [1, 8])
def test_a_network_of_signed_neurons_is_the_plain_loop(T: int) -> None:
    net, inputs = perceptron(), dyadic((40, 4), 11, bound=16)
    network = built("snm", net, inputs, T)
    with torch.no_grad():
        first = net[:2](inputs)
        peaks = [first.amax(0).tolist(), net[2:4](first).amax(0).tolist()]
    peaks = [[peak if peak > 0 else max(layer) for peak in layer] for layer in peaks]
    thresholds = [network.neurons[name].threshold.tolist() for name in ("1", "3")]
    assert thresholds == peaks  # the largest activation of each neuron, as published
    meter, fired = EnergyMeter(), []
    found = network.predict(inputs, meter).output
    for row, output in zip(inputs.tolist(), found.tolist(), strict=True):
        expected, spikes = run_snm(net, row, thresholds, T)
        assert output == pytest.approx(expected, abs=1e-5)
        fired += [value for step in spikes for value in step]
    assert set(fired) == ({-1.0, 0.0, 1.0} if T > 1 else {0.0, 1.0})
    assert meter.report().spikes * 40 == sum(abs(value) for value in fired)


# differential coding -----------------------------------------------------------------------------


def fire_level(potential: float, sent: float, largest: float, levels: int) -> float:
    sizes = [largest / 2**i for i in range(levels)]
    for size in sizes:
        if potential >= 0.75 * size:
            return size
    for size in sizes:
        if potential <= -0.75 * size and sent >= size:
            return -size
    return 0.0


def run_changes(net: nn.Module, x: Vector, largest: list[Vector], levels: int, T: int) -> Vector:
    """Huang et al. 2025 as their code states it: layers hear weights times changes, plus biases.

    A step without input first tells every layer its bias; the input itself comes in the first step
    only, since it does not change. The output is what the last layer's estimate has come to.
    """
    all_layers = layers(net)
    expected_in = [list(bias) for _, bias in all_layers]
    expected_out = [[0.0] * len(theta) for theta in largest]
    potential = [[0.0] * len(theta) for theta in largest]
    sent_in_all = [[0.0] * len(theta) for theta in largest]
    for t in range(1, T + 1):
        changes = x if t == 1 else [0.0] * len(x)
        for layer, (weight, _) in enumerate(all_layers):
            arrived, now = product(weight, changes), []
            for j in range(len(arrived)):
                if layer < len(largest):
                    out = expected_out[layer][j]
                    potential[layer][j] += arrived[j] + expected_in[layer][j] - out
                    sent_in_all[layer][j] += out
                    theta, sent = largest[layer][j], sent_in_all[layer][j]
                    spike = fire_level(potential[layer][j], sent, theta, levels)
                    potential[layer][j] -= spike
                    sent_in_all[layer][j] += spike
                    expected_out[layer][j] += spike / t
                    now.append(spike)
                expected_in[layer][j] += arrived[j] / t
            changes = now
    return expected_in[-1]


@pytest.mark.parametrize("T", [1, 2, 4])
def test_a_network_of_changes_is_the_one_whose_layers_hear_changes_only(T: int) -> None:
    net, inputs, levels = perceptron(), dyadic((40, 4), 11, bound=16), 3
    network = convert(net, inputs, T=T)
    for neuron in network.neurons.values():
        neuron.threshold, neuron.initial_potential = 0.375, 0.0
    set_dynamics(network, "changes", levels=levels)
    found = network(inputs)
    largest = [[4 * 0.375] * 6, [4 * 0.375] * 5]
    for row, output in zip(inputs.tolist(), found.tolist(), strict=True):
        assert output == pytest.approx(run_changes(net, row, largest, levels, T), abs=1e-5)


@pytest.mark.parametrize("name", ["dcgs", "multi_threshold"])
def test_iterated_thresholds_are_of_as_many_levels_as_steps_times_sizes(name: str) -> None:
    net, inputs = perceptron(), dyadic((40, 4), 11, bound=16)
    network = built(name, net, inputs, T=2, levels=3, threshold="iterated")
    moments = pre_activation_moments(network, inputs)
    currents = net[0](inputs).detach()
    assert torch.allclose(moments["1"][0], currents.mean(0))
    assert torch.allclose(moments["1"][1], currents.var(0, correction=0))
    for site, neuron in network.neurons.items():
        largest = normal_threshold(*moments[site], levels=2 * 8)
        assert torch.equal(torch.as_tensor(neuron.threshold), largest / 4)
        assert neuron.levels == 3 and neuron.initial_potential == 0.0
    shared = built(name, net, inputs, T=2, threshold="iterated", per_channel=False)
    assert len(set(shared.neurons["3"].threshold.tolist())) == 1


# burst spikes and lateral inhibition pooling -----------------------------------------------------


def line(count: int = 1) -> nn.Module:
    """Passes its inputs through one ReLU each, unchanged."""
    net = nn.Sequential(nn.Linear(count, count), nn.ReLU(), nn.Linear(count, count)).eval()
    for part in (net[0], net[2]):
        part.weight.data, part.bias.data = torch.eye(count), torch.zeros(count)
    return net


def burst_threshold(values: Vector, **options: Any) -> float:
    inputs = torch.tensor(values).reshape(-1, 1)
    network = built("burst_lipooling", line(), inputs, T=2, **options)
    assert network.neurons["1"].initial_potential == 0.0
    return round(float(torch.as_tensor(network.neurons["1"].threshold).max()), 6)


def test_the_threshold_is_the_quantile_of_the_layer() -> None:
    thousandths = [k / 1000 for k in range(1, 1001)]
    assert burst_threshold(thousandths) == 0.999
    assert burst_threshold(thousandths, level=0.25) == 0.25
    inputs = torch.tensor([[0.1, 0.9], [0.2, 0.8], [-5.0, 0.7]])  # of the layer: 0 and five others
    network = built("burst_lipooling", line(2), inputs, T=2, level=5 / 6)
    assert network.neurons["1"].threshold.tolist() == pytest.approx([0.8, 0.8])
    apart = built("burst_lipooling", line(2), inputs, T=2, level=2 / 3, per_channel=True)
    assert apart.neurons["1"].threshold.tolist() == pytest.approx([0.1, 0.8])


def test_activations_above_one_are_divided_by_the_largest_burst_first() -> None:
    values = [0.5, 0.8, 1.5, 10.0]  # shrunk by 5: 0.5, 0.8, 0.3, 2
    assert burst_threshold(values, level=0.75) == 0.8
    assert burst_threshold(values, level=0.25) == 0.3
    assert burst_threshold(values, level=1.0) == 2.0
    assert burst_threshold(values, level=1.0, max_spikes=2) == 5.0
    assert burst_threshold(values, level=0.75, shrink_above_one=False) == 1.5
    assert burst_threshold([1.0, 0.5], level=1.0) == 1.0  # 1 itself is not above 1


def test_bursts_send_what_is_left_over_up_to_the_largest_burst() -> None:
    net, inputs = line(), torch.tensor([[1.0], [0.25]])
    network = built("burst_lipooling", net, inputs, T=4, level=1.0, max_spikes=2)
    assert network.neurons["1"].threshold.tolist() == [1.0]
    # 0.75: nothing, then one and 0.5 left, one and 0.25 left, one and nothing left
    found = network.steps(torch.tensor([[0.75], [1.5], [3.0], [-1.0]]))[:, :, 0].T
    running = torch.arange(1, 5)
    assert (found * running).tolist() == [
        [0, 1, 2, 3],
        [1, 3, 4, 6],
        [2, 4, 6, 8],  # never more than 2 a step
        [0, 0, 0, 0],
    ]


@pytest.mark.parametrize("size", [2, 3])
def test_its_pools_pass_on_what_lateral_inhibition_does(size: int) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(size), nn.Conv2d(3, 2, 2)
    )
    net, inputs = make_dyadic(net, 4), dyadic((5, 1, 6, 6), 9, bound=16)
    network = built("burst_lipooling", net, inputs, T=6, level=1.0)
    theta = 0.5
    network.neurons["1"].threshold = theta
    captured = Captured(network.module[3])
    network.predict(inputs)
    passed = torch.from_numpy(captured.rows()).unflatten(0, (6, 5))
    with torch.no_grad():
        currents = net[0](inputs).tolist()
    beaten = 0
    for sample in range(5):
        for channel in range(3):
            plane = currents[sample][channel]
            potential = [[0.0] * 6 for _ in range(6)]
            kept = [[0.0] * 6 for _ in range(6)]
            for step in range(6):
                for i in range(6):
                    for j in range(6):
                        potential[i][j] += plane[i][j]
                        burst = min(max(int(potential[i][j] // theta), 0), 5) * theta
                        potential[i][j] -= burst
                        kept[i][j] += burst
                for i in range(6 // size):
                    for j in range(6 // size):
                        window = [
                            (size * i + a, size * j + b) for a in range(size) for b in range(size)
                        ]
                        largest = max(kept[a][b] for a, b in window)
                        for a, b in window:  # all are inhibited by what is passed on
                            kept[a][b] -= largest
                        assert passed[step, sample, channel, i, j].item() == largest
                        beaten += sum(kept[a][b] < 0 for a, b in window)
    assert beaten > 0 and len(passed.unique()) > 3
