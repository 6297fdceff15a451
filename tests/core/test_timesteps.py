"""Early exit that really drops samples gives what full runs give, and spends fewer steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from adacal.core import timesteps
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import CalibrationError, ConfigError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule, apply_rule
from adacal.core.network import SpikingNetwork
from core.energy_toys import images, small, spiking, trained_small, two_layers


def trained(T: int = 6) -> tuple[SpikingNetwork, torch.Tensor, torch.Tensor]:
    net, inputs, labels = trained_small()
    network = convert(net, inputs, T=T, max_spikes=2)
    network.calibrate([inputs[:120]], "light")
    return network, inputs, labels


@pytest.mark.parametrize("max_pool", [True, False])
@pytest.mark.parametrize("bar", [0.02, 0.1, 0.3])
def test_dropping_samples_gives_what_the_recorded_steps_give(bar: float, max_pool: bool) -> None:
    net, inputs, _ = trained_small(max_pool=max_pool)
    network = spiking(net, inputs[:60], T=5)
    rule = ExitRule("entropy", (bar,) * 5)
    found = network.run_until_confident(inputs[:60], rule)
    output, steps = apply_rule(network.steps(inputs[:60]), rule)
    assert torch.equal(found.timesteps, steps)
    assert torch.allclose(found.output, output, atol=1e-5)


@pytest.mark.parametrize("stream", [False, True])
def test_several_steps_in_a_pass_give_what_single_steps_give(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = torch.rand(4, 10, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    inputs = inputs if stream else inputs[0]
    network = convert(small(), inputs, T=4, max_spikes=2, stream=stream)
    network.calibrate([inputs])
    scores = network.steps(inputs)[0].softmax(1).amax(1)
    rule = ExitRule("confidence", (float(scores.median()),) * 4)
    found = []
    activations = 10 * sum(site.rows * math.prod(site.shape) for site in network.sites)
    for steps in (1, 3, 4):
        overhead = activations * (steps - 0.5) / len(network.sites)
        monkeypatch.setitem(timesteps.OVERHEAD, "cpu", overhead)
        assert timesteps.steps_at_once(network, torch.empty(10)) == steps
        found.append(network.run_until_confident(inputs, rule))
    counted = network.run_until_confident(inputs, rule, EnergyMeter())
    assert len(set(counted.timesteps.tolist())) > 1
    for one in found:
        assert torch.equal(one.timesteps, counted.timesteps)
        torch.testing.assert_close(one.output, counted.output)  # rows a pass may change the sums


def test_streams_drop_the_right_frames() -> None:
    net, frames = small(), torch.rand(4, 10, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    network = convert(net, frames, T=4, max_spikes=2, stream=True)
    network.calibrate([frames])
    scores = network.steps(frames)[0].softmax(1).amax(1)
    rule = ExitRule("confidence", (float(scores.median()),) * 4)
    found = network.run_until_confident(frames, rule)
    output, steps = apply_rule(network.steps(frames), rule)
    assert torch.equal(found.timesteps, steps) and len(set(steps.tolist())) > 1
    assert torch.allclose(found.output, output, atol=1e-5)


def test_the_report_gives_the_rates_of_a_run_with_early_exit() -> None:
    """θ = 1, φ = 3, currents 2, 0.5 and -2.5: the spikes are (2, 1, 0), then (2, 0, 0)."""
    network = convert(two_layers(), torch.ones(1, 2), T=2, max_spikes=3)
    network.neurons["1"].threshold = torch.tensor(1.0)
    inputs = torch.tensor([[2.0, 0.5]])
    for bar, rate in ((2.0, 5 / 6), (-1.0, 3 / 3)):
        rule = ExitRule("entropy", (bar, bar))
        network.exit_rule = rule
        network.predict(inputs, EnergyMeter())
        assert [site.rate for site in network.report()] == [rate]
        network.exit_rule = None
        network.predict(inputs, EnergyMeter())
        assert [site.rate for site in network.report()] == [5 / 6]
        network.run_until_confident(inputs, rule, EnergyMeter())
        assert [site.rate for site in network.report()] == [rate]


@pytest.mark.parametrize("rule", ["paper", "accuracy"])
@pytest.mark.parametrize("score", ["entropy", "confidence"])
def test_a_fitted_rule_saves_steps_and_little_accuracy(rule: str, score: str) -> None:
    network, inputs, labels = trained()
    pairs = [(inputs[:60], labels[:60]), (inputs[60:120], labels[60:120])]
    fitted = network.fit_exit_rule(pairs, score, rule=rule, tolerance=0.0)
    assert len(fitted.thresholds) == 6 and fitted.score == score
    full = network.predict(inputs[:120])
    network.exit_rule = fitted
    early = network.predict(inputs[:120])
    assert full.timesteps.tolist() == [6] * 120
    right = [float((p.output.argmax(1) == labels[:120]).float().mean()) for p in (full, early)]
    assert right[0] > 0.8
    if rule == "accuracy":
        assert right[1] >= right[0]
        assert early.timesteps.float().mean() < 6
    assert early.timesteps.min() >= 1 and early.timesteps.max() <= 6


def test_a_looser_rule_leaves_earlier_and_costs_less() -> None:
    network, inputs, _ = trained()
    steps, energy = [], []
    for bar in (0.9, 0.3, 0.01):
        network.exit_rule = ExitRule("entropy", (bar,) * 6)
        meter = EnergyMeter()
        steps.append(float(network.predict(inputs[:60], meter).timesteps.float().mean()))
        energy.append(meter.report().sops)
    assert steps == sorted(steps, reverse=True) and steps[0] > steps[-1]
    assert energy == sorted(energy, reverse=True) and energy[0] > energy[-1]


def test_a_batch_of_any_size_gives_the_same() -> None:
    network, inputs, _ = trained()
    rule = ExitRule("entropy", (0.2,) * 6)
    whole = network.run_until_confident(inputs[:20], rule)
    parts = [network.run_until_confident(inputs[i : i + 1], rule) for i in range(20)]
    assert torch.equal(whole.timesteps, torch.cat([part.timesteps for part in parts]))
    assert torch.allclose(whole.output, torch.cat([part.output for part in parts]), atol=1e-5)


def test_rules_need_labels_samples_and_logits() -> None:
    network, inputs, labels = trained()
    with pytest.raises(CalibrationError, match="labels"):
        network.fit_exit_rule([inputs[:8]])
    with pytest.raises(CalibrationError, match="no calibration samples"):
        network.fit_exit_rule([])
    dense = convert(
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)), images(2), T=2
    )
    with pytest.raises(UnsupportedModelError, match=r"logits of shape \[B, K\]"):
        dense.fit_exit_rule([(images(2), labels[:2])])


@pytest.mark.parametrize(
    "options", [{"rule": "vote"}, {"base": 2.0}, {"tolerance": -1.0}, {"score": "margin"}]
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    network, inputs, labels = trained()
    with pytest.raises(ConfigError, match=str(next(iter(options.values())))):
        network.fit_exit_rule([(inputs[:8], labels[:8])], **options)


def test_a_rule_for_fewer_steps_is_refused() -> None:
    network, inputs, _ = trained()
    with pytest.raises(ConfigError, match="knows 2 steps and the network runs 6"):
        network.run_until_confident(inputs[:4], ExitRule("entropy", (0.5, 0.5)))
