"""Passes read from a tape: the same bits, and a way back wherever a network goes another way."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import passes, tapes, timesteps
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule
from adacal.core.layout import RunState
from adacal.core.network import SpikingNetwork
from tape_cases import NETWORKS, Overwriting, assert_equal, fresh
from toys import Call, Functional, dyadic, everything_network, linear_net
from toys import with_dyadic_neurons as neurons


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each pass so far that had a tape went as it says."""
    found: list[bool] = []
    play = tapes.Tapes.play

    def noting(self: Any, *args: Any) -> tuple[bool, Any]:
        result = play(self, *args)
        found.append(result[0])
        return result

    monkeypatch.setattr(tapes.Tapes, "play", noting)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pass_from_a_tape_gives_the_same_bits_for_any_number_of_samples(
    name: str, read: list[bool]
) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = neurons(convert(make().eval(), dyadic((2, *shape), 0), T=3, max_spikes=2))
    for batch, seed in ((4, 1), (4, 2), (2, 3), (7, 4), (4, 5)):
        inputs = dyadic((batch, *shape), seed)
        assert_equal(network(inputs), fresh(network, inputs))
    assert read == [True] * 4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_counted_pass_comes_from_a_tape_too(name: str, read: list[bool]) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    inputs = dyadic((5, *shape), 1)
    network = neurons(convert(make().eval(), inputs, T=4, max_spikes=2))
    decided, meter = EnergyMeter(), EnergyMeter()
    wanted = network.predict(inputs, decided).output
    assert not read
    assert_equal(network.predict(inputs, meter).output, wanted)
    assert read == [True] and meter.report() == decided.report() and meter.samples == 5
    assert decided.report().spikes > 0


def test_a_counted_pass_that_goes_another_way_counts_once(read: list[bool]) -> None:
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 4)
            self.turned = False

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.first(x))
            return self.second(x + 0 if self.turned else x)

    inputs = dyadic((3, 5), 1)
    network = neurons(convert(Turning().eval(), inputs, T=3, max_spikes=2))
    meters = [EnergyMeter(), EnergyMeter()]
    network.predict(inputs, meters[0])
    network.module.turned = True
    network.predict(inputs, meters[1])
    assert read == [False] and meters[1].samples == 3
    assert meters[1].report().sops == meters[0].report().sops > 0


@pytest.mark.parametrize("max_pool", ["running_max", "step_max"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_kind_of_layer_comes_from_a_tape(
    stream: bool, max_pool: str, read: list[bool]
) -> None:
    network = everything_network(stream=stream, max_pool=max_pool)
    for seed in range(3):
        inputs = dyadic((4, 3, 2, 8, 8) if stream else (3, 2, 8, 8), seed)
        assert_equal(network(inputs), fresh(network, inputs))
    assert read == [True] * 2


def test_steps_one_by_one_come_from_a_tape_when_samples_leave_too(
    read: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timesteps.OVERHEAD, "cpu", 0)  # a step a pass
    inputs = dyadic((9, 5), 3)
    network = convert(linear_net(), inputs, T=4, max_spikes=2)
    network.calibrate([inputs])
    scores = network.steps(inputs)[0].softmax(1).amax(1)
    rule = ExitRule("confidence", (float(scores.median()),) * 4)
    del read[:]
    for _ in range(2):
        found = network.run_until_confident(inputs, rule)
        counted = network.run_until_confident(inputs, rule, EnergyMeter())  # meters read no tapes
        assert torch.equal(found.timesteps, counted.timesteps)
        torch.testing.assert_close(found.output, counted.output)
    assert len(set(found.timesteps.tolist())) > 1
    assert len(read) >= 3 and all(read)


def test_neurons_are_not_on_the_tape(read: list[bool]) -> None:
    network, inputs = everything_network(), dyadic((3, 2, 8, 8), 0)
    before = network(inputs)
    for neuron in network.neurons.values():
        neuron.threshold = 0.25
    after = network(inputs)
    assert_equal(after, fresh(network, inputs))
    assert not torch.equal(before, after) and read == [True]


class Fork(nn.Module):
    """Goes another way when it is told to: with another call, argument, tensor, or length."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.way = ""

    def forward(self, x: Tensor) -> Tensor:
        x = x.mul_(2)  # what a pass was given is gone when it fails later
        y = F.relu(self.first(x))
        if self.way == "call":
            y = y * 2
        y = y * (0.5 if self.way == "argument" else 0.25) + (y if self.way == "tensor" else x)
        y = self.second(F.relu(y))
        return y + 1 if self.way == "length" else y


@pytest.mark.parametrize("way", ["call", "argument", "tensor", "length"])
@pytest.mark.parametrize("stepwise", [False, True])
def test_a_network_that_goes_another_way_is_followed(
    way: str, stepwise: bool, read: list[bool]
) -> None:
    torch.manual_seed(0)
    net = Fork().eval()
    network = neurons(convert(net, dyadic((2, 5), 0), T=4, max_spikes=2))
    inputs = dyadic((3, 5), 1)

    def outputs(network: SpikingNetwork) -> Tensor:
        if not stepwise:
            result: Tensor = network(inputs)
            return result
        state = RunState()
        return torch.stack([network.step(inputs, state, t) for t in range(4)])

    network(inputs)
    outputs(network)
    network.module.way = net.way = way
    for _ in range(4):
        expected = neurons(convert(net, dyadic((2, 5), 0), T=4, max_spikes=2))
        expected.tapes.find = lambda key, batch: None  # type: ignore[method-assign]
        assert torch.equal(outputs(network), outputs(expected))
    assert read.count(False) == 1 and read[-1]


def test_a_network_that_changes_at_every_pass_gets_no_tape_in_the_end(read: list[bool]) -> None:
    net = Fork().eval()
    network = neurons(convert(net, dyadic((2, 5), 0), T=4))
    inputs = dyadic((3, 5), 1)
    for turn in range(9):
        network.module.way = "call" if turn % 2 else ""
        assert_equal(network(inputs), fresh(network, inputs))
    assert read == [False] * 3


def test_what_is_refused_without_a_tape_is_refused_with_one() -> None:
    network = convert(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU()).eval(),
                      dyadic((2, 5), 0), T=2)  # fmt: skip
    network(dyadic((3, 5), 1))
    network.module.train()
    with pytest.raises(UnsupportedModelError, match="runs in training mode"):
        network(dyadic((3, 5), 1))


def test_a_tape_holds_no_activations_and_only_so_many_are_kept() -> None:
    network = everything_network()
    network(dyadic((3, 2, 8, 8), 0))
    (tape,) = network.tapes._kept.values()
    traces = [mark for entry in tape.entries for mark in entry.marks if mark is not None]
    assert traces and all(trace.producer is None for trace in traces)
    assert not tape._known
    for T in range(1, 40):
        network.T = T
        network(dyadic((3, 2, 8, 8), 0))
    assert len(network.tapes._kept) <= tapes._TAPES


def test_a_pass_from_a_tape_calls_no_mode_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = everything_network(), dyadic((3, 2, 8, 8), 0)
    expected = network(inputs)
    monkeypatch.setattr(passes, "SpikingMode", None)
    assert torch.equal(network(inputs), expected)


def test_one_row_is_told_from_many() -> None:
    net = Functional(lambda x: F.relu(x).squeeze(), nn.Identity())
    network = neurons(convert(net.eval(), dyadic((2, 5), 0), T=1))
    network(dyadic((3, 5), 1))
    one = dyadic((1, 5), 1)
    assert_equal(network(one), fresh(network, one))


class Forgiving(nn.Module):
    """Catches whatever is raised while it scales."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(5, 5), 0.5

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.layer(x))
        with contextlib.suppress(Exception):
            y = y * self.factor
        return y


def test_a_network_that_catches_errors_is_followed_all_the_same(read: list[bool]) -> None:
    network = neurons(convert(Forgiving().eval(), dyadic((2, 5), 0), T=2))
    network(dyadic((3, 5), 1))
    network.module.factor = 0.25
    inputs = dyadic((3, 5), 1)
    assert_equal(network(inputs), fresh(network, inputs))
    assert read == [False]


def test_inference_mode_changes_nothing() -> None:
    network = neurons(convert(Overwriting().eval(), dyadic((2, 5), 0), T=4))
    inputs = dyadic((3, 5), 1)
    with torch.inference_mode():
        first = network(inputs)
    assert_equal(first, network(inputs))
    assert_equal(first, fresh(network, inputs))


def test_calibration_in_inference_mode_finds_the_same() -> None:
    torch.manual_seed(0)
    net, inputs = Overwriting().eval(), torch.rand(16, 5)
    plain = convert(net, inputs[:2], T=4)
    plain.calibrate([inputs])
    with torch.inference_mode():
        other = convert(net, inputs[:2], T=4)
        other.calibrate([inputs])
    for name, neuron in plain.neurons.items():
        assert torch.equal(torch.as_tensor(neuron.threshold), other.neurons[name].threshold)
        assert torch.equal(torch.as_tensor(neuron.shift), other.neurons[name].shift)


def test_a_pass_keeps_no_graph_that_nobody_asked_for() -> None:
    network, inputs = neurons(convert(linear_net(), dyadic((2, 5), 0), T=2)), dyadic((3, 5), 1)
    seen: list[bool] = []
    network.module[0].register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    for _ in range(2):
        network(inputs)
        network.step(inputs, RunState(), 0)
        with torch.inference_mode():
            network(inputs)
            network.step(inputs, RunState(), 0)
    assert seen == [False] * 8


class Turned(nn.Module):
    """Gives its samples in dimension 1 when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.turned = nn.Linear(5, 5), False

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.layer(x))
        other = y.t()
        return other if self.turned else y


def test_outputs_with_samples_elsewhere_are_refused_from_a_tape_too() -> None:
    network = neurons(convert(Turned().eval(), dyadic((2, 5), 0), T=2))
    network(dyadic((3, 5), 1))
    network.module.turned = True
    with pytest.raises(UnsupportedModelError, match="its samples in dimension 1"):
        network(dyadic((3, 5), 1))


def test_a_network_that_says_how_many_rows_there_are_has_a_tape_for_each_number(
    read: list[bool],
) -> None:
    net = Call(lambda x: F.relu(x).view(x.size(0), -1))
    network = neurons(convert(net.eval(), dyadic((2, 5), 0), T=2))
    for batch in (3, 4, 4, 3, 3, 4, 3):
        inputs = dyadic((batch, 5), batch)
        assert_equal(network(inputs), fresh(network, inputs))
    assert read == [False, *[True] * 4]


def test_copies_of_a_network_write_tapes_of_their_own() -> None:
    network, inputs = everything_network(), dyadic((3, 2, 8, 8), 0)
    expected = network(inputs)
    assert_equal(copy.deepcopy(network)(inputs), expected)
    assert_equal(pickle.loads(pickle.dumps(network))(inputs), expected)


@dataclass
class Plainly:
    """A way to call a network that cannot be hashed."""

    calls: int = 0

    def __call__(self, module: nn.Module, inputs: Any) -> Any:
        return module(inputs)


def test_any_way_to_call_a_network_will_do(read: list[bool]) -> None:
    network = neurons(convert(linear_net(), dyadic((2, 5), 0), T=2, forward=Plainly()))
    inputs = dyadic((3, 5), 1)
    assert_equal(network(inputs), network(inputs))
    assert read == [True]


class Pair(NamedTuple):
    one: Tensor
    other: Tensor


def test_arguments_that_no_tape_takes_are_not_kept_alive(read: list[bool]) -> None:
    seen: list[weakref.ref[Tensor]] = []

    def joined(x: Tensor) -> Tensor:
        y = F.relu(x)
        seen.append(weakref.ref(y))
        return torch.cat(Pair(y, y * 2), 1)

    network = neurons(convert(Functional(joined).eval(), dyadic((2, 5), 0), T=2))
    inputs = dyadic((3, 5), 1)
    assert_equal(network(inputs), fresh(network, inputs))
    network(inputs)
    gc.collect()
    assert read == [] and all(reference() is None for reference in seen)


def test_an_error_in_a_pass_from_a_tape_is_raised_and_does_not_count(read: list[bool]) -> None:
    network = neurons(convert(linear_net(), dyadic((2, 5), 0), T=2))
    inputs, neuron = dyadic((3, 5), 1), next(iter(network.neurons.values()))
    expected = network(inputs)
    for _ in range(4):
        neuron.threshold = -1.0
        with pytest.raises(ConfigError, match="threshold must be positive"):
            network(inputs)
        neuron.threshold = 0.5
        assert_equal(network(inputs), expected)
    assert read == [False, True] * 4


def test_threads_take_turns_with_one_network() -> None:
    network = everything_network(T=2)
    inputs = [dyadic((1 + n, 2, 8, 8), n) for n in range(4)]
    wanted = [fresh(everything_network(T=2), each) for each in inputs]
    for _ in range(3):  # cold ones, whose passes are decided
        network = everything_network(T=2)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(6):
                for found, right in zip(pool.map(network, inputs), wanted, strict=True):
                    assert torch.equal(found, right)
