"""Activations quantised in training: worked by hand, their gradients, what neurons make of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import adacal
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.network import SpikingNetwork
from adacal.core.phases import set_dynamics
from adacal.core.quantised import QuantisedNetwork
from adacal.core.quantised_relu import quantised_relu
from toys import QuantisedReLU, dyadic, make_dyadic


def trained_thresholds(network: SpikingNetwork) -> SpikingNetwork:
    for neuron in network.neurons.values():
        assert neuron.cap is not None
        neuron.threshold = neuron.cap
    return network


def line(*weights: list[list[float]], levels: int = 4) -> nn.Sequential:
    """Linear layers without bias, quantised activations with ceiling 1 between them."""
    parts: list[nn.Module] = []
    for weight in weights:
        layer = nn.Linear(len(weight[0]), len(weight), bias=False)
        layer.weight.data = torch.tensor(weight)
        parts += [layer, QuantisedReLU(1.0, levels)]
    return nn.Sequential(*parts[:-1]).eval()


def test_levels_halves_and_both_ends_are_as_published() -> None:
    x = torch.tensor([-0.3, 0.24, 0.25, 0.74, 0.76, 1.6, 1.75, 2.0, 7.0])
    assert quantised_relu(x, 2.0, 4).tolist() == [0, 0, 0.5, 0.5, 1, 1.5, 2, 2, 2]


def test_gradients_pass_the_floor_and_reach_the_ceiling() -> None:
    x = torch.tensor([-1.0, 0.6, 1.1, 3.0], requires_grad=True)
    ceiling = torch.tensor(2.0, requires_grad=True)
    quantised_relu(x, ceiling, 4).backward(torch.tensor([1.0, 1.0, 10.0, 100.0]))
    assert x.grad is not None and ceiling.grad is not None
    assert x.grad.tolist() == [0, 1, 10, 0]
    # what rounding adds, over λ: 0.5 - 0.6 and 1 - 1.1; the clipped one follows λ itself
    expected = (0.5 - 0.6) / 2 + 10 * (1.0 - 1.1) / 2 + 100
    assert ceiling.grad.item() == pytest.approx(expected, rel=1e-6)


def test_gradients_are_those_of_clipping_first_and_rounding_straight_through() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(400, generator=random) * 4 - 1
    weight = torch.rand(400, generator=random)
    found = []
    for published in (False, True):
        at, ceiling = x.clone().requires_grad_(), torch.tensor(1.5, requires_grad=True)
        if published:
            part = (at / ceiling).clamp(0, 1) * 4 + 0.5
            output = (part + (part.floor() - part).detach()) / 4 * ceiling
        else:
            output = quantised_relu(at, ceiling, 4)
        (weight * output).sum().backward()
        assert at.grad is not None and ceiling.grad is not None
        found.append((output.detach(), at.grad, ceiling.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    # rounding first would let gradients pass a little below 0 and above the ceiling
    near = ((x < 0) & (x > -1.5 / 8)) | ((x > 1.5) & (x < 1.5 + 1.5 / 8))
    assert bool(near.any()) and not bool(found[0][1][near].any())


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_at_constant_current_as_many_steps_as_levels_give_the_network_exactly(levels: int) -> None:
    net = make_dyadic(nn.Sequential(nn.Linear(6, 8), QuantisedReLU(1.0, levels), nn.Linear(8, 3)))
    net[1].ceiling.data = torch.tensor(0.5)
    x = dyadic((40, 6), 3)
    network = trained_thresholds(convert(net, x, T=levels))
    assert torch.equal(network(x), net(x)) and torch.equal(network.ann(x), net(x))
    assert network.neurons["1"].ann_levels == levels and network.strictness() == "binary"


def test_other_numbers_of_steps_differ_by_the_other_quantiser() -> None:
    net = line([[1.0]], [[1.0]])
    x = torch.tensor([[0.6]])
    found = {T: trained_thresholds(convert(net, x, T=T))(x).item() for T in (1, 2, 4, 8)}
    assert net(x).item() == 0.5 and found == {1: 1.0, 2: 0.5, 4: 0.5, 8: 0.625}


def test_two_layers_are_exact_where_spikes_arrive_evenly() -> None:
    net = line([[1.0], [1.0]], [[0.5, 0.25]], [[1.0]])
    x = torch.tensor([[1.0], [-1.0], [0.5], [3.0]])
    assert torch.equal(trained_thresholds(convert(net, x, T=4))(x), net(x))


def uneven() -> tuple[nn.Module, Tensor]:
    """Two neurons at 1/2 and 1/4 of one input, the second inhibiting twice as much."""
    return line([[1.0], [0.5]], [[1.0, -2.0]], [[1.0]]), torch.tensor([[0.5]])


def test_spikes_that_arrive_unevenly_are_the_error_that_is_left() -> None:
    # spikes 1 0 1 0 and 0 1 0 0: the current is 1 -2 1 0, its mean 0, but the first 1 has fired
    net, x = uneven()
    network = trained_thresholds(convert(net, x, T=4))
    assert net(x).item() == 0.0 and network(x).item() == 0.25
    assert network.steps(x).flatten().tolist() == [1, 0.5, pytest.approx(1 / 3), 0.25]


@pytest.mark.parametrize("dynamics", ["gated", "offset"])
def test_residual_potential_and_offsets_remove_it(dynamics: str) -> None:
    net, x = uneven()
    network = trained_thresholds(convert(net, x, T=4))
    set_dynamics(network, dynamics, warmup=4)  # type: ignore[arg-type]
    assert network(x).item() == net(x).item() == 0.0
    assert network.T == 8


def test_dynamics_that_know_no_ceiling_are_refused_where_it_would_bind() -> None:
    net, x = uneven()
    for dynamics, theta in (("gated", 1.5), ("memory", 1.0)):
        network = trained_thresholds(convert(net, x, T=4))
        network.neurons["1"].threshold = theta
        with pytest.raises(UnsupportedModelError, match="'1' is capped"):
            set_dynamics(network, dynamics, warmup=int(dynamics == "gated"))  # type: ignore[arg-type]


def test_the_network_itself_costs_the_set_bits_of_its_codes() -> None:
    net = line([[1.0], [1.0]], [[1.0, 1.0]])
    network = trained_thresholds(convert(net, torch.ones(1, 1), T=4))
    itself, meter = QuantisedNetwork(network, (), correct_mean=False), EnergyMeter()
    x = torch.tensor([[0.75]])  # code 3 of 4, two set bits, in two neurons
    assert torch.equal(itself.predict(x, meter).output, net(x))
    assert (meter.report().spikes, meter.report().sops, meter.report().macs) == (4.0, 4.0, 2.0)


def test_bursts_and_rate_distortion_take_the_levels_for_the_activation() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 16), QuantisedReLU(1.0, 4), nn.Linear(16, 16), QuantisedReLU(1.0, 4),
        nn.Linear(16, 3),
    ).eval()  # fmt: skip
    x = torch.randn(64, 6)
    network = convert(net, x, T=4, max_spikes=4)
    network.calibrate([x])
    uniform = (network(x) - net(x)).square().mean()
    network.rate_distortion([x], budget=2)
    assert uniform < 0.1 * net(x).var() and bool(torch.isfinite(network(x)).all())
    # half of the activations are clipped at 1, and no burst may exceed it
    counts, theta = network.neurons["1"].scan(torch.full((4, 1, 16), 9.0), 4)
    assert bool(((counts * theta).mean(0) <= 1.0 + theta / 4).all())


def test_step_by_step_and_saved_it_is_the_same_network(tmp_path: Path) -> None:
    net, x = uneven()
    network = trained_thresholds(convert(net, x, T=4))
    state = RunState()
    outputs = [network.step(x, state, index) for index in range(4)]
    assert torch.stack(outputs).mean(0).item() == 0.25
    network.save(tmp_path / "net.safetensors")
    loaded = adacal.load(tmp_path / "net.safetensors", net)
    assert loaded(x).item() == 0.25 and loaded.neurons["1"].ann_levels == 4
    assert loaded.neurons["1"].activation(torch.tensor([0.6])).item() == 0.5
