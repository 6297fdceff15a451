"""Time-batched and stepwise runs agree bit for bit in the spike counts, also after dropping."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adacal.core import exit_rules
from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.execution import Execution
from adacal.core.exit_rules import ExitRule
from adacal.core.layout import Layout, RunState
from adacal.core.network import SpikingNetwork
from toys import (
    Everything,
    Functional,
    dyadic,
    everything_network,
    make_dyadic,
    spikes_of,
    with_dyadic_neurons,
)

pytestmark = pytest.mark.usefixtures("every_way")


def assert_same_spikes(network: SpikingNetwork, x: torch.Tensor) -> None:
    """Runs both ways and compares every count of every site."""
    with spikes_of(network) as batched:
        outputs = network.steps(x)
    frames = x if network.stream else x.expand(network.T, *x.shape)
    state, total = RunState(), 0
    with spikes_of(network) as stepwise:
        for t in range(network.T):
            total = total + network.step(frames[t], state, t)
            assert torch.equal(total / (t + 1), outputs[t])
    assert batched.keys() == stepwise.keys() and len(batched) > 0
    for name in batched:
        whole, parts = torch.cat(batched[name]), torch.cat(stepwise[name])
        assert torch.equal(whole, parts), name
        assert bool((whole != 0).any()), f"{name} never fired: the test shows nothing"


@pytest.mark.parametrize("T", [1, 2, 5])
@pytest.mark.parametrize("phi", [1, 3])
def test_every_kind_of_layer_gives_the_same_spikes_every_way(T: int, phi: int) -> None:
    network = everything_network(T=T, max_spikes=phi)
    assert {neuron.kind for neuron in network.neurons.values()} == {"burst", "capped", "signed"}
    assert_same_spikes(network, dyadic((3, 2, 8, 8), 1))


@pytest.mark.parametrize("max_pool", ["running_max", "step_max", "average"])
def test_a_stream_of_frames_gives_the_same_spikes_every_way(max_pool: str) -> None:
    network = everything_network(T=4, stream=True, max_pool=max_pool)
    assert_same_spikes(network, dyadic((4, 3, 2, 8, 8), 1, bound=12))


@pytest.mark.parametrize("max_pool", ["running_max", "step_max", "average"])
def test_max_pools_before_and_after_neurons_agree_every_way(max_pool: str) -> None:
    ann = make_dyadic(
        nn.Sequential(
            nn.MaxPool2d(2),
            nn.Conv2d(2, 4, 3, padding=1),
            Functional(lambda x: torch.max(x, 3, keepdim=True)[0] + x),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 1),
            nn.ReLU(),
        )
    )
    x = dyadic((3, 2, 8, 8), 2)
    network = convert(ann, x, T=4, max_spikes=2, max_pool=max_pool)  # type: ignore[arg-type]
    assert_same_spikes(with_dyadic_neurons(network), x)


class Leaf(nn.Module):
    """One module without children that calls everything itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(dyadic((4, 2, 3, 3), 0, 4, 2))
        self.second = nn.Parameter(dyadic((4, 4, 1, 1), 1, 4, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(F.conv2d(x, self.first), 2)
        x = F.max_pool2d(F.relu(x), 2)
        return F.relu(F.conv2d(x, self.second))


def test_a_module_without_children_that_calls_functions_agrees_every_way() -> None:
    ann = nn.Sequential(Leaf()).eval()
    x = dyadic((3, 2, 10, 10), 2)
    network = convert(ann, x, T=4, max_spikes=2)
    assert_same_spikes(with_dyadic_neurons(network), x)
    network.calibrate([x])
    assert network.reference_pass(x, lambda site, rows, _: (F.relu(rows), None)).shape[0] == 3


def test_the_static_prefix_gives_the_same_spikes_as_a_stream_of_repeated_frames() -> None:
    x = dyadic((3, 2, 8, 8), 1)
    static, stream = everything_network(T=4), everything_network(T=4, stream=True)
    with spikes_of(static) as one:
        first = static(x)
    with spikes_of(stream) as other:
        second = stream(x.expand(4, *x.shape))
    assert torch.equal(first, second)
    for name in one:
        assert torch.equal(one[name][0], other[name][0])


def test_the_static_prefix_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = everything_network(T=4)
    rows: list[int] = []
    original = Execution.once

    def watching(self: Execution, call: Call) -> tuple[torch.Tensor, bool]:
        def watched(x: torch.Tensor, *rest: object, **options: object) -> torch.Tensor:
            rows.append(len(x))
            return call.function(x, *rest, **options)

        return original(self, dataclasses.replace(call, function=watched))

    monkeypatch.setattr(Execution, "once", watching)
    network(dyadic((3, 2, 8, 8), 1))
    assert rows == [3, 3]  # the first convolution and its batch norm, three samples each


@pytest.mark.parametrize("alive", [(0, 2, 3), (1,), (4, 0)])
def test_samples_that_stay_fire_the_same_after_others_were_dropped(alive: tuple[int, ...]) -> None:
    network = everything_network(T=5)
    x = dyadic((5, 2, 8, 8), 3)
    with spikes_of(network) as whole:
        outputs = network.steps(x)
    kept = torch.zeros(5, dtype=torch.bool)
    kept[list(alive)] = True
    state = RunState()
    total = network.step(x, state, 0) + network.step(x, state, 1)
    state.keep(kept)
    total, rest = total[kept], x[kept]
    with spikes_of(network) as after:
        for t in range(2, 5):
            total = total + network.step(rest, state, t)
            assert torch.equal(total / (t + 1), outputs[t][kept])
    for name in whole:
        assert torch.equal(whole[name][0][2:, kept], torch.cat(after[name]))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("score", ["entropy", "confidence"])
def test_leaving_early_gives_what_the_rule_says_of_the_recorded_steps(
    stream: bool, score: exit_rules.Score
) -> None:
    network = everything_network(T=6, stream=stream)
    x = dyadic((6, 12, 2, 8, 8) if stream else (12, 2, 8, 8), 4, bound=12)
    outputs = network.steps(x)
    scores = exit_rules.score(outputs, score)
    rule = ExitRule(score, (float(scores[:3].median()),) * 6)
    expected, steps = exit_rules.apply_rule(outputs, rule)
    assert len(set(steps.tolist())) > 1, "all samples leave together: the test shows nothing"
    found = network.run_until_confident(x, rule)
    assert torch.equal(found.timesteps, steps)
    assert torch.equal(found.output, expected)


def test_a_rule_that_never_fires_runs_all_steps_and_one_that_always_does_runs_one() -> None:
    network = everything_network(T=3)
    x = dyadic((4, 2, 8, 8), 5)
    never = network.run_until_confident(x, ExitRule("entropy", (2.0,) * 3))
    assert never.timesteps.tolist() == [3] * 4
    assert torch.equal(never.output, network(x))
    always = network.run_until_confident(x, ExitRule("entropy", (-1.0,) * 3))
    assert always.timesteps.tolist() == [1] * 4
    assert torch.equal(always.output, network.steps(x)[0])
    network.exit_rule = ExitRule("entropy", (-1.0,) * 3)
    assert network.predict(x).timesteps.tolist() == [1] * 4


def test_analogue_parts_agree_every_way_to_rounding_and_after_dropping() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.GroupNorm(2, 8), nn.SiLU(), nn.Flatten(2))
    ann.append(Functional(lambda x: x.transpose(1, 2)))
    ann.append(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).append(nn.Linear(8, 3))
    ann.append(Functional(lambda x: x.mean(1)))
    ann.eval()
    x = torch.randn(4, 2, 6, 6)
    network = convert(ann, x, T=4, max_spikes=4)
    outputs = network.steps(x)
    state, total, kept = RunState(), 0, torch.tensor([True, False, True, True])
    for t in range(4):
        total = total + network.step(x if t < 2 else x[kept], state, t)
        if t == 1:
            torch.testing.assert_close(total / 2, outputs[1], rtol=1e-3, atol=1e-3)
            state.keep(kept)
            total = total[kept]
    torch.testing.assert_close(total / 4, outputs[3][kept], rtol=1e-3, atol=1e-3)


def test_state_cuts_samples_that_were_folded_into_rows() -> None:
    state = RunState(static={"folded": torch.arange(12).reshape(6, 2)})
    state.keep(torch.tensor([True, False, True]))
    assert state.static["folded"][:, 0].tolist() == [0, 2, 8, 10]


def test_a_layout_splits_and_joins_streams_in_any_dimension() -> None:
    layout = Layout(steps=3, reference=True, batch=2, T=3)
    rows = dyadic((5, 8), 0)
    reference, steps = layout.split(rows, "here", dim=1)
    assert reference is not None and steps.shape == (3, 2, 5)
    assert torch.equal(layout.join(reference, steps, dim=1), rows)


def test_state_does_not_leak_between_batches() -> None:
    network = everything_network()
    x = dyadic((2, 2, 8, 8), 6)
    first = network(x)
    network(dyadic((2, 2, 8, 8), 7))
    assert torch.equal(network(x), first)
    assert torch.equal(network(x[1:]), first[1:])


def test_the_toy_is_what_the_tests_take_it_for() -> None:
    assert all((p * 4 == (p * 4).round()).all() for p in make_dyadic(Everything()).parameters())
