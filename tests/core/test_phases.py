"""Networks of the rivals' neurons: a warm-up is run and paid, then everything starts afresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adacal
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule
from adacal.core.kernels import burst_scan
from adacal.core.layout import Layout, RunState
from adacal.core.network import SpikingNetwork
from adacal.core.phases import set_dynamics
from core.energy_toys import two_layers
from toys import dyadic, everything_network, make_dyadic, with_dyadic_neurons


def pooled(T: int = 4) -> tuple[SpikingNetwork, Tensor]:
    """Max pools behind both sites: rules with a history that must start afresh."""
    net = make_dyadic(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2),
        )
    )  # fmt: skip
    x = dyadic((6, 2, 8, 8), 5, bound=12)
    return with_dyadic_neurons(convert(net, x, T=T), theta=1.0), x


def two_runs(warmup: int, T: int) -> tuple[Tensor, list[Tensor]]:
    """What a gated network computes, from two runs of plain networks; and all gates."""
    network, x = pooled(warmup)
    gates: list[Tensor] = []
    for neuron in network.neurons.values():
        output = neuron.output

        def first(current: Tensor, T: int, *_: Any, neuron=neuron, output=output):  # type: ignore[no-untyped-def]
            _, left = burst_scan(current, neuron.parameters(current[0], T))
            gates.append((left > 0.001 * neuron.threshold).to(left))
            return output(current, T)

        neuron.output = first  # type: ignore[method-assign]
    network(x)
    network, x = pooled(T)
    for neuron, gate in zip(network.neurons.values(), gates, strict=True):
        output = neuron.output

        def second(current: Tensor, T: int, *_: Any, gate=gate, output=output):  # type: ignore[no-untyped-def]
            return output(current, T) * gate

        neuron.output = second  # type: ignore[method-assign]
    return network(x), gates


@pytest.mark.parametrize(("warmup", "T"), [(1, 3), (4, 2), (2, 1)])
def test_a_gated_network_is_two_runs_the_second_with_silent_neurons(warmup: int, T: int) -> None:
    expected, gates = two_runs(warmup, T)
    assert 0 < sum(float(gate.sum()) for gate in gates) < sum(gate.numel() for gate in gates)
    network, x = pooled(T)
    before = network(x)
    set_dynamics(network, "gated", warmup=warmup)
    assert torch.equal(network(x), expected) and not torch.equal(before, expected)
    assert warmup + T == network.T and network.steps(x).shape[0] == T
    found = network.predict(x)
    assert found.timesteps.tolist() == [warmup + T] * 6
    state, outputs = RunState(), []
    for step in range(warmup + T):
        outputs.append(network.step(x, state, step))
    assert torch.equal(torch.stack(outputs[warmup:]).mean(0), expected)


def test_the_warm_up_is_paid_for() -> None:
    network, x = pooled(3)
    plain, gated = EnergyMeter(), EnergyMeter()
    network.predict(x, plain)
    set_dynamics(network, "gated", warmup=3)
    network.predict(x, gated)
    first, both = plain.report(), gated.report()
    # the first three steps are those of the plain network; static products are made once
    assert both.macs == first.macs and both.ann_macs == first.ann_macs
    counted = [gated.sops_by_step[step] for step in range(6)]
    assert sum(counted[:3]) == sum(plain.sops_by_step.values()) > 0
    assert sum(counted[3:]) > 0 and both.sops * both.samples == sum(counted)
    assert both.energy_pj["per_spike"] > first.energy_pj["per_spike"]


def test_offsets_are_found_layer_after_layer_and_their_first_steps_agree() -> None:
    network, x = pooled(3)
    set_dynamics(network, "offset", warmup=3)
    seen: list[Tensor] = []
    for neuron in network.neurons.values():
        scan = neuron.scan

        def record(current: Tensor, T: int, state: Any = None, scan=scan):  # type: ignore[no-untyped-def]
            counts, theta = scan(current, T)
            seen.append(counts)
            return counts.clone(), theta

        neuron.scan = record  # type: ignore[method-assign]
    network(x)
    assert len(seen) == 2
    for counts in seen:  # the warm-up is what the layer behind will hear, so it is the same
        assert torch.equal(counts[:3], counts[3:]) and bool((counts != 0).any())


def test_a_spike_of_any_size_costs_one_accumulate_a_synapse() -> None:
    network = convert(two_layers(), torch.ones(1, 2), T=2)
    for neuron in network.neurons.values():
        neuron.threshold, neuron.initial_potential = 0.25, 0.0
    set_dynamics(network, "levels", levels=3)
    meter = EnergyMeter()
    # currents 0.75, 0.25 and -1 at both steps: first 1 and 0.25; then -0.25 + 0.75 = 0.5 and 0.25
    found = network.predict(torch.tensor([[0.75, 0.25]]), meter)
    assert found.output.tolist() == [[(1.25 + 0.75) / 2] * 2]
    report = meter.report()
    assert (report.spikes, report.events, report.sops, report.macs) == (4, 4, 8, 6)
    assert network.strictness() == "signed" and network.mean_max_spikes() == 4
    assert network.report()[0].kind == "signed"


def test_only_changes_of_the_rate_are_sent_and_paid() -> None:
    network = convert(two_layers(), torch.ones(1, 2), T=4)
    for neuron in network.neurons.values():
        neuron.threshold, neuron.initial_potential = 0.25, 0.0
    set_dynamics(network, "changes", levels=3)
    meter = EnergyMeter()
    # currents 0.875 (fires 1, -0.25, then nothing), 0.5 (fires 0.5, then nothing) and below 0
    x = torch.tensor([[0.875, 0.5]])
    assert network.predict(x, meter).output.tolist() == [[1.375, 1.375]]
    report = meter.report()
    assert (report.spikes, report.events, report.sops, report.macs) == (3, 3, 6, 6)
    state, outputs = RunState(), []
    stepwise = EnergyMeter()
    for step in range(4):
        outputs.append(network.step(x, state, step, stepwise))
    assert torch.stack(outputs).mean(0).tolist() == [[1.375, 1.375]]
    assert stepwise.report().sops == 6


def test_behind_a_max_pool_every_change_of_its_window_is_paid() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(1, 1, 1))
    for parameter in net.parameters():
        nn.init.constant_(parameter, float(parameter.dim() > 1))
    x = torch.tensor([[[0.875, 0.5]]])
    network = convert(net, x, T=4)
    network.neurons["1"].threshold, network.neurons["1"].initial_potential = 0.25, 0.0
    set_dynamics(network, "changes", levels=3)
    meter = EnergyMeter()
    assert network.predict(x, meter).output.item() == 0.875
    assert meter.report().sops == 3 and meter.report().macs == 2


def test_a_network_that_pools_before_it_activates_has_one_neuron_a_window() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 1), nn.MaxPool1d(2), nn.ReLU(), nn.Conv1d(1, 1, 1))
    for parameter in net.parameters():
        nn.init.constant_(parameter, float(parameter.dim() > 1))
    x = torch.tensor([[[0.875, 0.5]]])
    network = convert(net, x, T=4)
    network.neurons["2"].threshold, network.neurons["2"].initial_potential = 0.25, 0.0
    set_dynamics(network, "changes", levels=3)
    meter = EnergyMeter()
    # only the larger current reaches a neuron, which fires 1 and takes 0.25 back, then nothing
    assert network.predict(x, meter).output.item() == 0.875
    assert (meter.report().spikes, meter.report().sops) == (2, 2)


def test_negative_spikes_cost_as_much_as_positive_ones() -> None:
    net = two_layers()
    network = convert(net, torch.ones(3, 1, 2), T=3, stream=True)
    for neuron in network.neurons.values():
        neuron.threshold, neuron.initial_potential = 1.0, 0.0
    set_dynamics(network, "memory")
    meter = EnergyMeter()
    frames = torch.tensor([[1.25, 0.0], [-1.5, 0.0], [-1.0, 0.0]]).unsqueeze(1)
    output = network.predict(frames, meter).output
    # first neuron: 1, -1, 0; third (minus the sum): -1.25, +0.25, +1.25 fires once
    assert output.tolist() == [[pytest.approx(1 / 3)] * 2]
    assert meter.report().spikes == 3 and meter.report().sops == 6


def test_what_max_pools_pass_on_of_coded_spikes_costs_its_set_bits() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(1, 1, 1))
    for parameter in net.parameters():
        nn.init.constant_(parameter, float(parameter.dim() > 1))
    x = torch.tensor([[[0.75, 1.0]]])
    network = convert(net, x, T=1)
    network.neurons["1"].threshold, network.neurons["1"].initial_potential = 0.25, 0.0
    set_dynamics(network, "levels", levels=3)
    meter = EnergyMeter()
    assert network.predict(x, meter).output.item() == 1.0
    assert meter.report().sops == 1  # 1.0 is one spike of four thresholds


@pytest.mark.parametrize(
    ("dynamics", "options"),
    [
        ("gated", {"warmup": 2}),
        ("offset", {"warmup": 2}),
        ("levels", {"levels": 3}),
        ("changes", {"levels": 3}),
        ("memory", {}),
    ],
)
def test_dynamics_come_back_from_a_file(
    tmp_path: Path, dynamics: Any, options: dict[str, int]
) -> None:
    network, x = pooled(3)
    set_dynamics(network, dynamics, **options)
    network.save(tmp_path / "net.st")
    again = adacal.load(tmp_path / "net.st", network.module)
    assert torch.equal(again(x), network(x)) and again.T == network.T
    assert again.strictness() == network.strictness()


def test_what_a_warm_up_rules_out_is_refused_in_a_sentence() -> None:
    network, x = pooled(3)
    with pytest.raises(ConfigError, match="memory dynamics have no warm-up"):
        set_dynamics(network, "memory", warmup=2)
    with pytest.raises(ConfigError, match="warmup must be a whole number of at least 1; got 0"):
        set_dynamics(network, "gated")
    network.exit_rule = ExitRule(score="entropy", thresholds=(0.5, 0.5, 0.5))
    with pytest.raises(ConfigError, match="exit rule takes no warm-up"):
        set_dynamics(network, "gated", warmup=2)
    rule, network.exit_rule = network.exit_rule, None
    set_dynamics(network, "gated", warmup=2)
    with pytest.raises(ConfigError, match="these neurons have gated dynamics; calibrate before"):
        network.calibrate([x])
    with pytest.raises(ConfigError, match="early exit is not defined"):
        network.run_until_confident(x, rule)
    with pytest.raises(ConfigError, match="convert the network again"):
        set_dynamics(network, "gated", warmup=2)


def test_streams_and_other_activations_are_refused() -> None:
    network = convert(two_layers(), torch.ones(3, 1, 2), T=3, stream=True)
    with pytest.raises(UnsupportedModelError, match="a stream of 3 frames"):
        set_dynamics(network, "gated", warmup=2)
    with pytest.raises(UnsupportedModelError, match="stand in for ReLU only and 'leaky' is signed"):
        set_dynamics(everything_network(T=2), "memory")


def test_rules_start_afresh_after_the_warm_up_only() -> None:
    assert Layout(steps=5, reference=False, batch=1, T=5).phases(0) == [5]
    split = Layout(steps=5, reference=False, batch=1, T=5, warmup=2)
    assert split.phases(0) == [2, 3]
    one = Layout(steps=1, reference=False, batch=1, T=5, warmup=2)
    assert [one.phases(step) for step in range(5)] == [[1]] * 5
