"""Advanced calibration: weights and potentials, for the spiking stream alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adacal.core import advanced
from adacal.core.advanced import WeightOptions
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import BurstNeuron
from adacal.core.quantised import AnnNetwork
from adacal.core.traces import Producer
from core.energy_toys import Captured, images, small, two_layers

INPUTS = images(48)
FAST = WeightOptions(iterations=150, learning_rate=5e-3)


def calibrated(net: nn.Module, T: int = 2, **options: bool) -> SpikingNetwork:
    network = convert(net, INPUTS, T=T)
    network.calibrate([INPUTS], "advanced", weight_options=FAST, **options)
    return network


def light(net: nn.Module, T: int = 2) -> SpikingNetwork:
    network = convert(net, INPUTS, T=T)
    network.calibrate([INPUTS], "light")
    return network


def test_fitted_weights_never_raise_the_error_of_their_layer_and_lower_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit, losses = advanced._fit, []

    def spy(
        network: SpikingNetwork, producer: Producer, reference: Tensor, current: Tensor,
        options: WeightOptions, neuron: BurstNeuron,
    ) -> Tensor:  # fmt: skip
        change = fit(network, producer, reference, current, options, neuron)
        inputs = producer.args[0].unflatten(0, (network.T + 1, -1))[1:]
        changed = current + torch.stack([advanced._apply(producer, x, change) for x in inputs])
        pair = []
        for rows in (current, changed):
            counts, theta = neuron.scan(rows, network.T)
            gap = (counts * theta).mean(0) - neuron.activation(reference)
            pair.append(float(gap.square().mean()))
        losses.append(pair)
        return change

    monkeypatch.setattr(advanced, "_fit", spy)
    calibrated(small(), potential=False, threshold="mmse")
    assert len(losses) == 3
    assert all(after <= 1.02 * before for before, after in losses)
    assert min(after / before for before, after in losses) < 0.95


def test_weight_changes_act_on_the_spiking_stream_only() -> None:
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    network = calibrated(net)
    assert set(network.weight_changes) == {"conv1", "conv2", "conv3"}
    assert any(bool((change != 0).any()) for change in network.weight_changes.values())
    for name, value in before.items():
        assert torch.equal(net.state_dict()[name], value)
        assert torch.equal(network.module.state_dict()[name], value)
    assert torch.equal(network.ann(INPUTS), net(INPUTS))
    ann = AnnNetwork(network).predict(INPUTS, EnergyMeter()).output
    assert torch.allclose(ann, net(INPUTS), atol=1e-6)
    changed = network(INPUTS)
    network.weight_changes = {}
    assert not torch.equal(network(INPUTS), changed)


def test_weights_shared_by_several_calls_stay() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.twice = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.first(x))
            x = torch.relu(self.twice(torch.relu(self.twice(x))))
            return self.head(x.mean((2, 3)))

    assert set(calibrated(Shared()).weight_changes) == {"first"}


def test_a_layer_that_feeds_two_places_keeps_its_weights() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x = torch.relu(x + self.second(torch.relu(x)))
            return self.head(x.mean((2, 3)))

    assert "first" not in calibrated(Split()).weight_changes


def test_potentials_alone_leave_all_weights() -> None:
    network = calibrated(small(), weights=False)
    assert network.weight_changes == {}
    starts = [neuron.initial_potential for neuron in network.neurons.values()]
    assert all(isinstance(start, Tensor) for start in starts)
    assert tuple(starts[0].shape) == (6, 6, 6)  # type: ignore[union-attr]


def test_calibrated_potentials_remove_the_mean_error_of_single_neurons() -> None:
    net = small()
    errors = []
    for network in (light(net, 4), calibrated(net, 4, weights=False)):
        rows = []
        for module, run in ((network.module, network), (net, net)):
            captured = Captured(module.pool)
            run(INPUTS)
            rows.append(torch.from_numpy(captured.rows()).unflatten(0, (-1, 48)).mean((0, 1)))
        errors.append(float((rows[0] - rows[1]).abs().mean()))
    assert errors[1] < 0.8 * errors[0]


def test_no_iterations_are_the_potential_part_alone() -> None:
    network = convert(small(), INPUTS, T=2)
    network.calibrate([INPUTS], "advanced", weight_options=WeightOptions(iterations=0))
    assert all(bool((change == 0).all()) for change in network.weight_changes.values())


def test_nets_without_images_work() -> None:
    for shape in ((16, 2), (16, 5, 2)):
        inputs = torch.rand(*shape)
        network = convert(two_layers(), inputs, T=2)
        network.calibrate([inputs], "advanced", weight_options=FAST)
        assert bool(torch.isfinite(network(inputs)).all())
        assert set(network.weight_changes) == {"0"}


def test_calibrating_again_starts_from_the_anns_weights() -> None:
    network = calibrated(small())
    once = {name: change.clone() for name, change in network.weight_changes.items()}
    network.calibrate([INPUTS], "advanced", weight_options=FAST)
    assert all(torch.equal(once[name], network.weight_changes[name]) for name in once)
