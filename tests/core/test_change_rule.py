"""Early exit on the change of the output: a brute-force search, and outputs of any form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import adacal
from adacal.core.change_rule import NEVER, ChangeRule, fit_change_rule
from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import EnergyMeter
from adacal.core.errors import CalibrationError, ConfigError, DataError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule
from adacal.core.network import SpikingNetwork
from adacal.core.timesteps import fit_exit_rule
from core.energy_toys import images, trained_small
from toys import Levels, dyadic, levels_network, mean_square

T = 6


def at(outputs: Any, step: int) -> dict[str, Any]:
    """The recorded output of `Levels` after a step; it is nested."""
    maps = [tuple(part[step] for part in level) for level in outputs["maps"]]
    return {**outputs, "maps": maps}


def exit_of(changes: list[float], thresholds: tuple[float, ...]) -> int:
    """Steps of a sample, by the words of the rule."""
    for step in range(2, len(thresholds)):
        if 0 <= changes[step - 2] <= thresholds[step - 1]:
            return step
    return len(thresholds)


def used_and_gap(
    changes: Tensor, gaps: Tensor, thresholds: tuple[float, ...]
) -> tuple[list[int], float]:
    steps = [exit_of(changes[:, i].tolist(), thresholds) for i in range(gaps.shape[1])]
    return steps, sum(float(gaps[step - 1, i]) for i, step in enumerate(steps)) / len(steps)


def random_run(seed: int, steps: int, samples: int) -> tuple[Tensor, Tensor]:
    """Changes and gaps of running means of random outputs, with ties; gaps end at 0."""
    outputs = dyadic((steps, samples, 2), seed)
    means = outputs.cumsum(0) / torch.arange(1, steps + 1)[:, None, None]
    return (means[1:] - means[:-1]).square().sum(2), (means[-1] - means).square().sum(2)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(2, 6),
    samples=st.integers(1, 8),
    allowed=st.sampled_from([0.001, 0.01, 0.05, 0.3, 10.0]),
)
def test_no_threshold_that_keeps_to_the_tolerance_with_all_below_it_saves_more_steps(
    seed: int, steps: int, samples: int, allowed: float
) -> None:
    changes, gaps = random_run(seed, steps, samples)
    rule = fit_change_rule(changes, gaps, allowed)
    used, gap = used_and_gap(changes, gaps, rule.thresholds)
    assert len(rule.thresholds) == steps and gap <= allowed + 1e-9
    for first in range(2, steps):
        for bar in sorted(changes[first - 2 : -1].flatten().tolist()):
            other = (NEVER,) * (first - 1) + (bar,) * (steps - first + 1)
            found, gap = used_and_gap(changes, gaps, other)
            if gap > allowed + 1e-9:
                break
            assert sum(used) <= sum(found)


def test_the_rule_of_a_hand_worked_case() -> None:
    changes = torch.tensor([[0.5, 0.3], [0.2, 0.1], [0.1, 0.05]])
    gaps = torch.tensor([[1.0, 1.0], [0.4, 0.2], [0.1, 0.06], [0.0, 0.0]])
    # second at 3: 0.06 / 2; both: 0.08; first at 3, second at 2: (0.1 + 0.2) / 2; both at 2: 0.3
    for allowed, bar in ((0.05, 0.15), (0.09, 0.2), (0.16, 0.4), (1.0, 0.5)):
        rule = fit_change_rule(changes, gaps, allowed)
        assert rule.thresholds[-1] == pytest.approx(bar)
        assert rule.allowed == allowed and rule.divergence is symmetric_kl
    assert fit_change_rule(changes, gaps, 0.02).thresholds == (NEVER,) * 4


def test_an_output_that_stands_still_before_spikes_arrive_lets_nothing_stop() -> None:
    still = torch.tensor([[0.0, 0.0], [0.9, 0.8], [0.1, 0.1], [0.05, 0.05]])
    gaps = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.1, 0.1], [0.02, 0.02], [0.0, 0.0]])
    rule = fit_change_rule(still, gaps, allowed=0.05)
    used, gap = used_and_gap(still, gaps, rule.thresholds)
    assert used == [4, 4] and gap == pytest.approx(0.02)
    assert rule.thresholds[1] == NEVER


@pytest.mark.parametrize("stream", [False, True])
def test_a_nest_at_exit_is_the_running_mean_of_a_full_run_bit_for_bit(stream: bool) -> None:
    network = levels_network(T=T, stream=stream)
    x = dyadic((T, 12, 2, 8, 8) if stream else (12, 2, 8, 8), 4, bound=12)
    outputs = network.steps(x)
    means = [at(outputs, step) for step in range(T)]
    changes = torch.stack([mean_square(means[t], means[t - 1]) for t in range(1, T)])
    rule = ChangeRule((NEVER,) + (float(changes[1].median()),) * (T - 1), mean_square)
    steps = [exit_of(changes[:, i].tolist(), rule.thresholds) for i in range(12)]
    assert len(set(steps)) > 1, "samples leave together: the test shows nothing"
    found = network.run_until_confident(x, rule)
    assert found.timesteps.tolist() == steps and found.by_step is None
    for level, expected in zip(found.output["maps"], outputs["maps"], strict=True):
        assert isinstance(level, tuple)
        for one, recorded in zip(level, expected, strict=True):
            wanted = torch.stack([recorded[step - 1, i] for i, step in enumerate(steps)])
            assert torch.equal(one, wanted)
    assert torch.equal(found.output["grid"], torch.arange(4.0)) and found.output["stride"] == 2


def small_levels() -> tuple[SpikingNetwork, Tensor]:
    torch.manual_seed(0)
    inputs = torch.rand(60, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    network = convert(Levels(), inputs[:2], T=8, max_spikes=2)
    network.calibrate([inputs[:30]], divergence=mean_square)
    return network, inputs


def test_the_tolerance_is_a_share_of_what_the_conversion_costs() -> None:
    network, inputs = small_levels()
    some = inputs[:30]
    whole = network(some)
    error = float(mean_square(network.ann(some), whole).mean())
    used = []
    for tolerance in (0.02, 0.2, 2.0):
        rule = network.fit_exit_rule(
            [some[:20], some[20:]], rule="change", tolerance=tolerance, divergence=mean_square
        )
        assert isinstance(rule, ChangeRule) and rule.allowed == pytest.approx(tolerance * error)
        early = network.run_until_confident(some, rule)
        gap = float(mean_square(whole, early.output).mean())
        assert gap <= tolerance * error * (1 + 1e-4)
        used.append(float(early.timesteps.float().mean()))
    assert used == sorted(used, reverse=True) and used[0] > used[-1] >= 2


def test_samples_that_leave_cost_nothing_more_and_energy_and_steps_say_so() -> None:
    network, inputs = small_levels()
    full, early = EnergyMeter(), EnergyMeter()
    network.predict(inputs, full)
    network.exit_rule = network.fit_exit_rule(
        [inputs[:30]], rule="change", tolerance=0.5, divergence=mean_square
    )
    found = network.predict(inputs, early)
    mean = float(found.timesteps.float().mean())
    assert found.timesteps.shape == (60,) and 2 <= mean < 8
    share = early.report().sops / full.report().sops
    assert share == pytest.approx(mean / 8, abs=0.1)
    parts = [network.predict(part) for part in inputs.split(7)]
    assert torch.equal(torch.cat([part.timesteps for part in parts]), found.timesteps)


def test_labels_change_nothing_and_logits_work_too() -> None:
    net, inputs, labels = trained_small()
    network = convert(net, inputs, T=T, max_spikes=2)
    network.calibrate([inputs[:60]])
    with_labels = network.fit_exit_rule([(inputs[:60], labels[:60])], rule="change")
    without = network.fit_exit_rule([inputs[:30], inputs[30:60]], rule="change")
    assert with_labels == without and isinstance(without, ChangeRule)
    assert network.fit_exit_rule([inputs[:60]], "confidence", rule="change") == without
    network.exit_rule = without
    found = network.predict(inputs[:60])
    assert found.output.shape == (60, 3) and 2 <= float(found.timesteps.float().mean()) < T


@pytest.mark.parametrize("steps", [1, 2])
def test_runs_of_one_or_two_steps_are_never_cut_short(steps: int) -> None:
    network = levels_network(T=steps)
    x = dyadic((3, 2, 8, 8), 1)
    rule = network.fit_exit_rule([x], rule="change", tolerance=5.0, divergence=mean_square)
    assert rule.thresholds == (NEVER,) * steps
    assert network.run_until_confident(x, rule).timesteps.tolist() == [steps] * 3


def test_a_score_of_maps_is_refused_with_the_way_out() -> None:
    network = levels_network()
    x = dyadic((2, 2, 8, 8), 1)
    with pytest.raises(UnsupportedModelError, match="take rule='change'"):
        network.fit_exit_rule([(x, torch.zeros(2, dtype=torch.int64))])
    with pytest.raises(UnsupportedModelError, match="take rule='change'"):
        network.run_until_confident(x, ExitRule("entropy", (0.5,) * T))


class Mixed(nn.Module):
    """An output that has lost its samples."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().flatten(0, 1)


def test_outputs_without_their_samples_in_front_are_refused() -> None:
    network = convert(Mixed(), images(2), T=4)
    with pytest.raises(UnsupportedModelError, match="2 samples in dimension 0; got shape"):
        network.run_until_confident(images(2), ChangeRule((0.1,) * 4))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tolerance": 0.0}, "tolerance must be a number above 0; got 0.0; try 0.1"),
        ({"tolerance": -1}, "tolerance must be a number above 0"),
        ({"score": "margin"}, "no exit score named 'margin'"),
        ({"rule": "chang"}, "did you mean 'change'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    network = levels_network()
    with pytest.raises(ConfigError, match=sentence):
        fit_exit_rule(network, [dyadic((2, 2, 8, 8), 1)], **{"rule": "change", **options})


@pytest.mark.parametrize(
    ("changes", "gaps", "sentence"),
    [
        (torch.ones(2, 3), torch.ones(2, 3), "changes of shape"),
        (torch.ones(1, 3), torch.ones(2, 4), "changes of shape"),
        (torch.ones(0, 0), torch.ones(1, 0), "changes of shape"),
        (torch.full((1, 3), float("nan")), torch.ones(2, 3), "finite"),
        (torch.ones(1, 3), -torch.ones(2, 3), "not negative"),
    ],
)
def test_unusable_divergences_are_a_calibration_error(
    changes: Tensor, gaps: Tensor, sentence: str
) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        fit_change_rule(changes, gaps, 0.1)


def test_a_rule_needs_finite_thresholds_a_function_and_enough_steps() -> None:
    for thresholds in ((), (0.1, float("nan"))):
        with pytest.raises(ConfigError, match="finite, one per step"):
            ChangeRule(thresholds)
    with pytest.raises(ConfigError, match="function of two outputs"):
        ChangeRule((0.1,), "kl")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="knows 2 steps and the network runs 6"):
        levels_network().run_until_confident(dyadic((2, 2, 8, 8), 1), ChangeRule((0.1, 0.1)))


def test_a_saved_rule_asks_for_the_divergence_it_was_fitted_with(tmp_path: Path) -> None:
    network = levels_network()
    path = tmp_path / "net.st"
    network.exit_rule = ChangeRule((NEVER, *(0.25,) * 5), mean_square, 0.5)
    network.save(path)
    with pytest.raises(DataError, match="measured by 'mean_square'.*divergence="):
        adacal.load(path, network.module)
    loaded = adacal.load(path, network.module, divergence=mean_square)
    assert loaded.exit_rule == network.exit_rule
    network.exit_rule = ChangeRule((NEVER, *(0.25,) * 5))
    network.save(path)
    assert adacal.load(path, network.module).exit_rule == network.exit_rule
