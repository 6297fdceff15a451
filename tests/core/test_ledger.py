"""Passes that only add spikes up count what passes that follow every tensor count, to the last."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import ledger, playback, recording
from adacal.core.conversion import convert
from adacal.core.counting import SynapseCounter
from adacal.core.energy import EnergyMeter
from adacal.core.layer_count import LayerCount
from adacal.core.layout import RunState
from adacal.core.ledger import Account
from adacal.core.network import SpikingNetwork
from adacal.core.phases import set_dynamics
from adacal.core.wiring import Wiring

pytestmark = pytest.mark.usefixtures("loaded")

ENOUGH = 4
"""Passes of a kind after which the next goes by a ledger."""


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has the samples of each pass that was counted by a ledger."""
    found: list[int] = []
    close = Account.close

    def noting(account: Account, meter: Any) -> None:
        close(account, meter)
        found.append(account._batch)

    monkeypatch.setattr(Account, "close", noting)
    return found


class Branches(nn.Module):
    """Spikes that are pooled, joined with analogue values, padded, enlarged, added, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.short = nn.Conv2d(8, 8, 1, stride=2, bias=False)
        self.third = nn.Conv2d(18, 6, 3, padding=1)
        self.fourth = nn.Linear(6 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.first(x))
        pooled, averaged = F.max_pool2d(first, 2), F.avg_pool2d(first, 2)
        second = F.relu(self.second(first) + self.short(first))
        joined = torch.cat([second + pooled, averaged, F.avg_pool2d(x, 2)], 1)
        third = F.interpolate(F.relu(self.third(joined)), scale_factor=2)
        return self.fourth(F.adaptive_avg_pool2d(F.pad(third, (1, 0, 0, 1)), 4).flatten(1))


class Points(nn.Module):
    """A shared perceptron for each point of a cloud, and the largest over points."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 8, 1), nn.Conv1d(8, 9, 1)
        self.third, self.fourth = nn.Linear(9, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        points = F.relu(self.second(F.relu(self.first(x.flatten(2)))))
        return self.fourth(F.relu(self.third(points.amax(2))))


class Folded(nn.Module):
    """Several rows for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(64, 5), nn.Linear(5, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = F.relu(self.second(F.relu(self.first(x.flatten(2).flatten(0, 1)))))
        return self.third(rows.unflatten(0, (-1, 2)).flatten(1))


class Many(nn.Module):
    """More layers that read the spikes of one site than sums are taken for."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3)
        self.others = nn.ModuleList(nn.Conv2d(3, n, 3, padding=1) for n in range(1, 19))

    def forward(self, x: Tensor) -> Tensor:
        spikes = F.relu(self.first(x))
        return torch.stack([layer(spikes).mean((1, 2, 3)) for layer in self.others], 1)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "branches": Branches,
    "points": Points,
    "folded": Folded,
}


def built(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return make().eval()


def images(batch: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2


def frames(T: int, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.poisson(torch.full((T, batch, 2, 8, 8), 0.4), generator=generator)


def network_of(module: nn.Module, x: Tensor, T: int, **options: Any) -> SpikingNetwork:
    example = x[:, :1] if options.get("stream") else x[:1]
    network = convert(module, example, T=T, **{"max_spikes": 3, **options})
    network.calibrate([x[:, :2] if options.get("stream") else x[:2]], "light")
    return network


def counted(network: SpikingNetwork, x: Tensor) -> EnergyMeter:
    meter = EnergyMeter()
    network.predict(x, meter)
    return meter


def settle(network: SpikingNetwork, x: Tensor) -> None:
    """Makes so many passes that the next goes by a ledger, if there is one."""
    for _ in range(ENOUGH):
        counted(network, x)


def followed(network: SpikingNetwork, x: Tensor) -> EnergyMeter:
    """What a pass costs in which each call is decided."""
    kept, network.tapes = network.tapes, type(network.tapes)()
    try:
        return counted(network, x)
    finally:
        network.tapes = kept


def step_by_step(network: SpikingNetwork, x: Tensor, drop: bool = False) -> EnergyMeter:
    state, meter, inputs = RunState(), EnergyMeter(), x
    for t in range(network.T):
        frame = inputs[t] if network.stream else inputs
        network.step(frame, state, t, meter)
        if drop and t == 0:
            alive = torch.arange(len(frame)) != 1
            state.keep(alive)
            inputs = inputs[:, alive] if network.stream else inputs[alive]
    return meter


def assert_same(ours: SynapseCounter, theirs: SynapseCounter) -> None:
    assert list(ours.layers) == list(theirs.layers)
    for name, count in theirs.layers.items():
        assert vars(ours.layers[name]) == vars(count), name
    assert list(ours.sops_by_step.items()) == list(theirs.sops_by_step.items())
    assert ours.samples == theirs.samples


@pytest.mark.parametrize(
    "options",
    [{}, {"event_input": True}, {"stream": True}, {"stream": True, "event_input": True}],
)
@pytest.mark.parametrize("max_pool", ["running_max", "step_max"])
@pytest.mark.parametrize("phi", [1, 3])
@pytest.mark.parametrize("name", MODULES)
def test_a_ledger_counts_what_following_every_tensor_counts(
    name: str, phi: int, max_pool: Any, options: dict[str, Any], settled: list[int]
) -> None:
    T = 3
    x = frames(T, 3) if options.get("stream") else images(3).round()
    network = network_of(built(MODULES[name]), x, T, max_spikes=phi, max_pool=max_pool, **options)
    wanted = followed(network, x)
    settle(network, x)
    settled.clear()
    assert_same(counted(network, x), wanted)
    assert len(settled) == 1
    assert sum(count.sops for count in wanted.layers.values()) > 0, "nothing fired"


@pytest.mark.parametrize("options", [{}, {"stream": True, "event_input": True}])
@pytest.mark.parametrize("name", MODULES)
def test_so_does_one_step_after_the_other_while_samples_leave(
    name: str, options: dict[str, Any], settled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    T = 3
    x = frames(T, 3) if options else images(3)
    network = network_of(built(MODULES[name]), x, T, **options)
    for _ in range(ENOUGH):
        step_by_step(network, x, drop=True)
    settled.clear()
    ours = step_by_step(network, x, drop=True)
    assert settled == [3, 2, 2]
    monkeypatch.setattr(playback, "counts_as_written", lambda _: False)
    assert_same(ours, step_by_step(network, x, drop=True))


class Kinds(nn.Module):
    """Capped, signed and plain neurons; what is pooled is never negative but for `leaky`."""

    def __init__(self, *, leaky: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
        self.third, self.fourth = nn.Conv2d(5, 4, 3, padding=1), nn.Linear(4 * 16, 3)
        self.slope = 0.2 if leaky else 0.0

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu6(self.first(x))
        second = F.leaky_relu(self.second(first), 0.2) if self.slope else F.relu(self.second(first))
        return self.fourth(F.relu(self.third(F.max_pool2d(second, 2))).flatten(1))


@pytest.mark.parametrize(("leaky", "passes"), [(False, 1), (True, 0)])
@pytest.mark.parametrize("T", [1, 3])
def test_neurons_of_other_kinds_are_added_up_too(
    T: int, leaky: bool, passes: int, settled: list[int]
) -> None:
    x = images(3) - 0.5
    network = network_of(built(lambda: Kinds(leaky=leaky)), x, T)
    wanted = followed(network, x)
    settle(network, x)
    settled.clear()
    assert_same(counted(network, x), wanted)
    assert len(settled) == passes  # a pool of what may be negative is followed
    kinds = {site.kind for site in network.report()}
    assert kinds == {"capped", "burst", *(["signed"] if leaky else [])}


@pytest.mark.parametrize("dynamics", ["gated", "offset", "memory", "levels", "changes"])
@pytest.mark.parametrize("pools", [False, True])
def test_so_are_those_of_rivals(dynamics: Any, pools: bool, settled: list[int]) -> None:
    x, pool = images(3), [nn.MaxPool2d(2)] if pools else []
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), *pool, nn.Conv2d(6, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(3),
    ).eval()  # fmt: skip
    module(x)
    network = network_of(module, x, 3)
    warm = {"gated": 2, "offset": 2}.get(dynamics, 0)
    set_dynamics(network, dynamics, levels=3, warmup=warm)
    wanted = followed(network, x)
    settle(network, x)
    settled.clear()
    assert_same(counted(network, x), wanted)
    signed = dynamics in {"memory", "levels", "changes"}
    assert len(settled) == int(not (pools and signed))
    assert sum(count.sops for count in wanted.layers.values()) > 0, "nothing fired"


def test_spikes_are_added_up_in_any_number_of_threads(settled: list[int]) -> None:
    x = torch.rand(6, 2, 40, 40)
    module = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 4, 3, padding=1)
    )
    network = network_of(module.eval(), x, 2)
    wanted, threads = followed(network, x), torch.get_num_threads()
    try:
        for number in (1, 2, 3, 1):
            torch.set_num_threads(number)
            settle(network, x)
            settled.clear()
            assert_same(counted(network, x), wanted)
            assert settled == [6]
    finally:
        torch.set_num_threads(threads)


def test_ledgers_of_two_numbers_of_samples_do_for_all(
    settled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(built(Branches), images(3), 2)
    for batch in (3, 5):
        settle(network, images(batch))
    recorded: list[int] = []
    monkeypatch.setattr(recording.Recorder, "__init__", lambda *_: recorded.append(1))
    for batch in (2, 7):
        wanted = followed(network, images(batch))
        counted(network, images(batch))  # whose calls are looked at, since its form is new
        settled.clear()
        assert_same(counted(network, images(batch)), wanted)
        assert settled == [batch] and not recorded


@pytest.mark.parametrize("field", ["macs", "neurons"])
def test_costs_that_do_not_grow_with_the_samples_have_a_ledger_for_each_number(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, constant = network_of(built(Branches), images(3), 2), recording._constant

    def fixed(count: LayerCount) -> LayerCount:
        made = constant(count)
        setattr(made, field, 60.0)
        return made

    monkeypatch.setattr(recording, "_constant", fixed)
    for batch in (3, 5, 6):
        for _ in range(ENOUGH + 1):
            meter = counted(network, images(batch))
        assert {getattr(count, field) for count in meter.layers.values()} == {60.0}


def test_other_neurons_have_another_ledger(settled: list[int]) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    settle(network, x)
    neuron = next(iter(network.neurons.values()))
    # along a dimension that is pooled: the largest is then no number of spikes, but analogue
    neuron.threshold = torch.rand(1, 8, 8, 8) * 0.1 + 0.3
    neuron.initial_potential = neuron.threshold / 2
    settled.clear()
    changed = counted(network, x)
    assert not settled
    assert_same(changed, followed(network, x))
    settle(network, x)
    settled.clear()
    assert_same(counted(network, x), changed)
    assert settled == [3]


def test_nothing_is_recorded_while_neurons_change(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    settle(network, x)
    recorded: list[int] = []
    make = recording.Recorder.__init__

    def noting(*args: Any) -> None:
        recorded.append(1)
        make(*args)

    monkeypatch.setattr(recording.Recorder, "__init__", noting)
    neuron = next(iter(network.neurons.values()))
    for factor in range(1, 5):
        neuron.threshold = torch.full((1, 8, 1, 1), 0.2 * factor)
        assert_same(counted(network, x), followed(network, x))
    assert not recorded


def test_more_layers_than_sums_are_followed(settled: list[int]) -> None:
    x = images(2)
    network = network_of(built(Many), x, 2)
    settle(network, x)
    settled.clear()
    assert_same(counted(network, x), followed(network, x))
    assert not settled


class Watching(EnergyMeter):
    """A meter of somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def synapse(self, where: str, call: Any) -> None:
        self.seen.append(where)
        super().synapse(where, call)


def test_a_meter_with_methods_of_its_own_is_asked_in_every_pass(settled: list[int]) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    wanted = followed(network, x)
    for _ in range(ENOUGH + 1):
        meter = Watching()
        network.predict(x, meter)
        assert meter.seen == ["first", "second", "short", "third", "fourth"]
        assert vars(meter.layers["third"]) == vars(wanted.layers["third"])
    assert not settled
    by_hand, seen = EnergyMeter(), []
    by_hand.synapse = lambda where, call: seen.append(where)  # type: ignore[method-assign]
    network.predict(x, by_hand)
    assert seen and not settled


def test_spikes_that_are_no_number_are_followed(settled: list[int]) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    settle(network, x)
    settled.clear()
    network.module.first.weight.data[0, 0, 0, 0] = float("nan")
    ours, theirs = counted(network, x), followed(network, x)
    assert not settled
    for name, count in theirs.layers.items():
        assert str(vars(ours.layers[name])) == str(vars(count))
    assert math.isnan(theirs.layers["second"].sops)


def test_a_pass_that_cannot_be_added_up_does_not_bring_the_module_back(
    settled: list[int],
) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    settle(network, x)
    weight, kept = network.module.first.weight.data, network.module.first.weight.data.clone()
    weight[0, 0, 0, 0] = float("nan")
    counted(network, x)
    weight.copy_(kept)
    wanted = followed(network, x)
    settled.clear()
    assert_same(counted(network, x), wanted)
    assert settled == [3]


def test_parts_of_events_are_followed(settled: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(3) / 3
    network = network_of(built(Branches), x, 2, event_input=True)
    wanted, tries = followed(network, x), []
    close = Account._take

    def noting(*args: Any) -> None:
        tries.append(1)
        close(*args)

    monkeypatch.setattr(Account, "_take", noting)
    for _ in range(3 * ENOUGH):
        assert_same(counted(network, x), wanted)
    assert not settled and len(tries) == 3
    assert not wanted.layers["first"].sops.is_integer()


def test_inputs_that_become_events_have_another_ledger(settled: list[int]) -> None:
    x = images(3).round()
    network = network_of(built(Branches), x, 2)
    for events in (False, True, False):
        network.event_input = events
        wanted = followed(network, x)
        for _ in range(ENOUGH):
            assert_same(counted(network, x), wanted)
        settled.clear()
        assert_same(counted(network, x), wanted)
        assert settled == [3] and (wanted.layers["first"].sops > 0) == events


class Large(nn.Module):
    """Each spike goes to more synapses than 32 bits of floating point hold exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 7), nn.Conv2d(2, 63, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.interpolate(F.relu(self.first(x)), scale_factor=256)
        return self.second(wide).mean((2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("make", [Large, Branches])
def test_costs_are_exact_whatever_their_size_and_the_default_type(
    make: Callable[[], nn.Module], dtype: torch.dtype, settled: list[int]
) -> None:
    x, module = images(1), built(make)
    network = network_of(module, x, 1)
    torch.set_default_dtype(dtype)
    try:
        wanted = followed(network, x)
        settle(network, x)
        settled.clear()
        assert_same(counted(network, x), wanted)
        assert settled == [1]
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_step_taken_twice_computes_what_never_changes_once(settled: list[int]) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 3)

    def twice(steps: tuple[int, int], *, afresh: bool) -> EnergyMeter:
        meter, state = EnergyMeter(), RunState()
        network.step(x, state, steps[0], meter)
        network.step(x, RunState() if afresh else state, steps[1], meter)
        return meter

    for steps, afresh in (((0, 0), False), ((0, 1), True)):
        for _ in range(ENOUGH):
            twice(steps, afresh=afresh)
        settled.clear()
        ours = twice(steps, afresh=afresh)
        assert len(settled) == 2
        kept, network.tapes = network.tapes, type(network.tapes)()
        assert_same(ours, twice(steps, afresh=afresh))
        network.tapes = kept


def test_a_pool_may_leave_one_value_a_sample(settled: list[int]) -> None:
    class Largest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(128, 6), nn.Linear(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(F.relu(self.first(x.flatten(1))).amax(1).unsqueeze(1))

    x = images(4)
    network = convert(built(Largest), x[:1], T=2, max_spikes=3)
    network.calibrate([x], "none", per_channel=False)
    wanted = followed(network, x)
    settle(network, x)
    settled.clear()
    assert_same(counted(network, x), wanted)
    assert settled == [4]


@pytest.mark.parametrize("name", ["Many", "Kinds"])
def test_what_has_no_ledger_is_not_recorded_again_and_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Callable[[], nn.Module] = Many if name == "Many" else (lambda: Kinds(leaky=True))
    network, recorded = network_of(built(make), images(3), 1), []
    made = recording.Recorder.__init__

    def noting(*args: Any) -> None:
        recorded.append(1)
        made(*args)

    monkeypatch.setattr(recording.Recorder, "__init__", noting)
    for batch in (2, 3, 4, 5):
        settle(network, images(batch))
    assert len(recorded) == 2


def test_what_is_put_in_place_of_every_meters_methods_is_asked(
    settled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, seen = images(3), []
    network = network_of(built(Branches), x, 2)
    settle(network, x)
    synapse = SynapseCounter.synapse

    def noting(meter: SynapseCounter, where: str, call: Any) -> None:
        seen.append(where)
        synapse(meter, where, call)

    monkeypatch.setattr(SynapseCounter, "synapse", noting)
    settled.clear()
    counted(network, x)
    assert len(seen) == 5 and not settled


def test_a_pass_that_fails_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    settle(network, x)
    meter = counted(network, x)
    before = copy.deepcopy(meter)

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Wiring, "run", full)
    with pytest.raises(torch.OutOfMemoryError):
        network.predict(x, meter)
    assert_same(meter, before)
    assert meter._recorder is None and meter.samples == 3


@pytest.mark.parametrize(
    "fault", ["one spike more", "a weight of one layer", "a constant", "one source less"]
)
def test_each_fault_is_seen(
    fault: str, settled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images(3)
    network = network_of(built(Branches), x, 2)
    wanted = followed(network, x)
    close, share = Account.close, recording.Recorder._share
    constant = recording._constant
    if fault == "one spike more":

        def more(account: Account, meter: Any) -> None:
            account._sums[0, 1] += 1
            close(account, meter)

        monkeypatch.setattr(Account, "close", more)
    elif fault == "a weight of one layer":

        def other(recorder: Any, number: int, weights: Any) -> Any:
            if weights.same is None and not recorder._readers[number]:
                values = weights.values.clone()
                values.view(-1)[7] += 1
                weights = type(weights)(values)
            return share(recorder, number, weights)

        monkeypatch.setattr(recording.Recorder, "_share", other)
    elif fault == "a constant":

        def less(count: LayerCount) -> LayerCount:
            made = constant(count)
            made.macs = 0.0
            return made

        monkeypatch.setattr(recording, "_constant", less)
    else:
        owed = ledger.Owed

        def without(where: str, steps: int, groups: int, shares: Any) -> Any:
            return owed(where, steps, groups, shares[:1])

        monkeypatch.setattr(recording, "Owed", without)
    settle(network, x)
    settled.clear()
    ours = counted(network, x)
    assert settled == [3]
    with pytest.raises(AssertionError):
        assert_same(ours, wanted)
