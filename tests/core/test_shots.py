"""Scans with little ado: the bits of plain torch, and the careful way wherever anything is new."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import compiled, firing, synapses, team
from adacal.core.byte_sums import Weights
from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import InputError, UnsupportedModelError
from adacal.core.kernels import BurstParameters, plain_scan
from adacal.core.layout import RunState
from adacal.core.loops import Job
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import BurstNeuron
from adacal.core.shots import _key, aim, aimed, shoot
from adacal.core.synapses import FanOuts
from adacal.core.tally import ONE, Tally
from tape_cases import assert_equal, fresh

pytestmark = pytest.mark.usefixtures("loaded")

SHAPES = st.sampled_from([(2, 3), (1, 1), (3, 5, 1), (2, 3, 4, 4), (2, 7, 9, 8), (1, 2, 33, 33)])


@pytest.fixture
def shots(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Has an entry for every site that neurons tried to fire at so: whether they did."""
    found: list[bool] = []

    def noting(*args: Any, **options: Any) -> Any:
        result = shoot(*args, **options)
        found.append(result is not None)
        return result

    monkeypatch.setattr(firing, "shoot", noting)
    return found


def numbers(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters(shape: tuple[int, ...], seed: int, phi: int, *, places: bool) -> BurstParameters:
    theta = numbers((shape[1], *[1] * (len(shape) - 2)), seed).abs() + 0.05
    start = numbers((1, *shape[1:]), seed + 1) if places else theta / 2
    return BurstParameters(
        threshold=theta, max_spikes=phi, shift=theta / 7, initial_potential=start
    )


def laid(rows: Tensor, *, last: bool) -> Tensor:
    return rows.movedim(1, -1).contiguous().movedim(-1, 1) if last else rows


@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES, T=st.integers(1, 5), phi=st.integers(1, 5), seed=st.integers(0, 10**6),
    last=st.booleans(), inplace=st.booleans(), keep=st.booleans(), goes_on=st.booleans(),
    counted=st.booleans(), expected=st.booleans(), threads=st.integers(1, 3),
)  # fmt: skip
def test_a_shot_gives_the_bits_of_plain_torch(
    shape: tuple[int, ...], T: int, phi: int, seed: int, last: bool, inplace: bool, keep: bool,
    goes_on: bool, counted: bool, expected: bool, threads: int,
) -> None:  # fmt: skip
    neuron = parameters(shape, seed, phi, places=False)
    weights = Weights(torch.arange(1.0, 1 + numbers(shape, 0)[0].numel()).reshape(1, *shape[1:]))
    for again in range(2):  # what was laid out does for other numbers, too
        rows = laid(numbers((T * shape[0], *shape[1:]), seed + again), last=last)
        current = rows.view(T, *shape)
        membrane = laid(numbers(shape, seed + 9), last=last) if goes_on else None
        wanted, left = plain_scan(current, neuron, membrane, scaled=True)
        careful = compiled.scan(current, neuron, membrane, None, scaled=True)
        counts, _ = plain_scan(current, neuron, membrane)
        before, started = rows.clone(), None if membrane is None else membrane.clone()
        tally = Tally(shape[0], phi, expected=weights if expected else None) if counted else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(team, "GRAIN", 1)
            patch.setattr(torch, "get_num_threads", lambda: threads)
            aim(rows, current, neuron)
            found = shoot(rows, T, neuron, membrane, inplace=inplace, keep=keep, tally=tally)
        if found is None:  # a potential that does not lie as the current does
            assert goes_on and shape[0] == 1
            return
        output, potential = found
        assert torch.equal(output, wanted.flatten(0, 1))
        assert careful is not None  # layers behind round as the layout they are given says
        assert inplace or output.stride() == careful[0].flatten(0, 1).stride()
        assert (output is rows) == inplace and (inplace or torch.equal(rows, before))
        assert not (keep or goes_on) or torch.equal(potential, left)
        assert membrane is None or started is None or torch.equal(membrane, started)
        if tally is not None:
            sums = Tally(shape[0], phi)
            sums.take(counts)
            assert tally.counts is not None and torch.equal(tally.counts.float(), counts)
            for each in (weights, ONE, Weights(torch.full((1,), 7.0))):
                assert tally.weighed(each, T) == sums.weighed(each, T)
            assert torch.equal(tally.spikes, sums.spikes)


def test_no_number_is_counted_as_plain_torch_does() -> None:
    neuron = parameters((2, 4, 5), 1, 3, places=False)
    rows = numbers((6, 4, 5), 1)
    rows[3, 2, 3] = torch.nan
    current, tally, sums = rows.view(3, 2, 4, 5), Tally(2, 3, as_bytes=True), Tally(2, 3)
    sums.take(plain_scan(current, neuron)[0])
    aim(rows, current, neuron)
    assert shoot(rows, 3, neuron, inplace=False, tally=tally) is not None and tally.counts is None
    assert torch.equal(tally.spikes.isnan(), sums.spikes.isnan()) and sums.spikes.isnan().any()


def refused(rows: Tensor, neuron: BurstParameters, **options: Any) -> bool:
    aim(rows, rows[None], neuron)
    before = rows.detach().clone()
    found = shoot(rows, 1, neuron, inplace=True, **options)
    return found is None and torch.equal(rows.detach(), before)


def test_what_was_not_aimed_at_is_left_to_the_careful_way(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 3, 4, 4)
    neuron, rows = parameters(shape, 1, 2, places=False), numbers(shape, 2)
    assert shoot(rows, 1, neuron, inplace=True) is None
    assert not refused(rows.clone(), neuron)
    assert shoot(rows, 2, neuron, inplace=True) is None  # other steps, other samples, another order
    assert shoot(rows[:1], 1, neuron, inplace=True) is None
    assert shoot(laid(rows, last=True), 1, neuron, inplace=True) is None
    assert refused(rows.double(), neuron) and refused(rows.clone().requires_grad_(), neuron)
    assert refused(numbers((2, 3, 4, 8), 2)[..., ::2], neuron)  # with gaps
    assert refused(rows.clone(), neuron, membrane=numbers((1, *shape[1:]), 3))
    assert refused(rows.clone(), neuron, membrane=numbers(shape, 3).double())
    assert refused(rows.clone(), parameters(shape, 1, 2, places=True))
    assert refused(rows.clone(), replace(neuron, max_spikes=256), tally=Tally(2, 256))
    monkeypatch.setattr(compiled, "_MADE", [None])
    assert refused(rows.clone(), neuron)


def test_a_shot_in_place_is_a_change_that_torch_knows_of() -> None:
    neuron, rows = parameters((2, 3), 1, 2, places=False), numbers((2, 3), 2)
    aim(rows, rows[None], neuron)
    before = rows._version
    assert shoot(rows, 1, neuron, inplace=True) is not None and rows._version > before


class Blocks(nn.Module):
    """A small residual network, in place or not."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.third, self.last = nn.Conv2d(6, 6, 1, stride=2), nn.Linear(6, 3)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.one(x))
        out = self.two(x)
        out += x
        out = self.relu(self.third(self.relu(out)))
        return self.last(self.relu(out.mean((2, 3))))


def network_of(*, inplace: bool, T: int = 3) -> SpikingNetwork:
    torch.manual_seed(0)
    inputs = numbers((4, 2, 8, 8), 1)
    network = convert(Blocks(inplace=inplace).eval(), inputs, T=T, max_spikes=2)
    network.calibrate([inputs])
    return network


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_a_network_answers_and_counts_as_the_careful_way_does(
    last: bool, T: int, inplace: bool, shots: list[bool]
) -> None:
    network, wanted = network_of(inplace=inplace, T=T), EnergyMeter()
    inputs = laid(numbers((4, 2, 8, 8), 2), last=last)
    network.skip_module = False
    network.predict(inputs, wanted)
    network.skip_module = True
    for number in range(5):
        meter = EnergyMeter()
        assert_equal(network(inputs), fresh(network, inputs))
        assert_equal(network.predict(inputs, meter).output, fresh(network, inputs))
        assert meter.report() == wanted.report(), number
    # the first of a run of steps has no spikes before it, so that its site may be read once
    assert shots.count(True) > 0.6 * len(shots) and len(shots) >= 20


@pytest.mark.parametrize("inplace", [False, True])
def test_steps_one_by_one_are_those_of_a_whole_run(inplace: bool, shots: list[bool]) -> None:
    network, inputs = network_of(inplace=inplace), numbers((4, 2, 8, 8), 3)
    for _ in range(4):
        state, meter = RunState(), EnergyMeter()
        steps = [network.run_steps(inputs, meter, state, t, 1) for t in range(3)]
        assert torch.equal(torch.stack(steps).mean(0), fresh(network, inputs))
    whole = EnergyMeter()
    network.predict(inputs, whole)
    assert meter.report() == whole.report() and shots.count(True) >= 12


def second(network: SpikingNetwork) -> BurstNeuron:
    """Neurons of the second site; the first is given the same at every step, and never shot at."""
    return network.neurons[name_of(network)]


def name_of(network: SpikingNetwork) -> str:
    return list(network.neurons)[1]


def another_kind(network: SpikingNetwork) -> None:
    neuron = second(network)
    neuron.kind, neuron.cap = "capped", 0.1


def another_output(network: SpikingNetwork) -> None:
    neuron = second(network)
    before = neuron.output
    neuron.output = lambda *args, **options: 2 * before(*args, **options)  # type: ignore[method-assign]


class Doubled(BurstNeuron):
    def output(self, *args: Any, **options: Any) -> Tensor:
        return 2 * super().output(*args, **options)


def another_class(network: SpikingNetwork) -> None:
    name = name_of(network)
    values = {key: value for key, value in vars(second(network)).items() if key != "_prepared"}
    network.neurons[name] = Doubled(**values)


CHANGES: dict[str, Callable[[SpikingNetwork], Any]] = {
    "a threshold": lambda n: setattr(second(n), "threshold", second(n).threshold * 2),
    "a threshold in place": lambda n: second(n).threshold.mul_(2),  # type: ignore[union-attr]
    "a threshold's numbers": lambda n: second(n).threshold.data.mul_(2),  # type: ignore[union-attr]
    "a threshold through numpy": lambda n: second(n).threshold.numpy().fill(0.5),  # type: ignore[union-attr]
    "a shift": lambda n: setattr(second(n), "shift", 0.3),
    "spikes": lambda n: setattr(second(n), "max_spikes", 1),
    "a potential": lambda n: setattr(second(n), "initial_potential", 0.2),
    "a potential by place": lambda n: setattr(
        second(n), "initial_potential", numbers((1, 6, 8, 8), 5)
    ),
    "spread halves": lambda n: setattr(second(n), "spread_half_threshold", True),
    "neurons": lambda n: n.neurons.update({name_of(n): replace(second(n), threshold=1.5)}),
    "a kind": another_kind,
    "an output": another_output,
    "a class": another_class,
}


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_neurons_are_seen_at_the_next_pass(
    change: str, inplace: bool, shots: list[bool]
) -> None:
    network, inputs = network_of(inplace=inplace), numbers((4, 2, 8, 8), 3)
    for _ in range(4):
        before = network(inputs)
    assert any(shots)
    CHANGES[change](network)
    found = [network(inputs) for _ in range(4)]  # before anything else looks at them
    wanted = fresh(network, inputs)
    assert all(torch.equal(output, wanted) for output in found)
    assert not torch.equal(wanted, before)


def test_what_cannot_be_aimed_at_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = network_of(inplace=True), numbers((4, 2, 8, 8), 3)
    second(network).initial_potential = numbers((1, 6, 8, 8), 5)  # place by place
    tried: list[torch.Size] = []

    def noting(rows: Tensor, current: Tensor, neuron: BurstParameters) -> None:
        tried.append(rows.shape)
        aim(rows, current, neuron)

    monkeypatch.setattr(firing, "aim", noting)
    for _ in range(8):
        assert_equal(network(inputs), fresh(network, inputs))
    assert len(tried) == len(set(tried)) == 3


def test_without_the_kernel_nobody_tries_to_shoot(
    shots: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = network_of(inplace=True), numbers((4, 2, 8, 8), 3)
    monkeypatch.setattr(compiled, "_MADE", [None])
    for _ in range(4):
        assert_equal(network(inputs), fresh(network, inputs))
    assert not shots


def drop_first(network: SpikingNetwork) -> None:
    network.sites = network.sites[1:]


def turn_round(network: SpikingNetwork) -> None:
    network.sites = network.sites[::-1]


def leave_out(network: SpikingNetwork) -> None:
    del network.neurons[next(iter(network.neurons))]


@pytest.mark.parametrize("change", [drop_first, turn_round, leave_out])
def test_other_sites_than_the_calls_have_are_said_to_be(
    change: Callable[[SpikingNetwork], None],
) -> None:
    network, inputs = network_of(inplace=True), numbers((4, 2, 8, 8), 3)
    for _ in range(4):
        network(inputs)
    change(network)
    with pytest.raises(UnsupportedModelError, match="called .* where .* came at conversion"):
        network(inputs)


class Noted(BurstNeuron):
    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.note = "an attribute of its own"


@pytest.mark.parametrize("way", ["an attribute", "a subclass"])
def test_neurons_with_more_attributes_keep_what_was_prepared_and_no_more(
    way: str, shots: list[bool]
) -> None:
    network, inputs = network_of(inplace=False), numbers((4, 2, 8, 8), 3)
    network(inputs)
    if way == "an attribute":
        second(network).note = "mine"  # type: ignore[attr-defined]
    else:
        values = {key: value for key, value in vars(second(network)).items() if key != "_prepared"}
        network.neurons[name_of(network)] = Noted(**values)
    network(inputs)
    prepared = second(network)._prepared
    for _ in range(4):
        assert_equal(network(inputs), fresh(network, inputs))
    assert prepared is not None and second(network)._prepared is prepared
    assert any(shots)  # the other sites


def test_sizes_in_turns_are_fired_at_without_anything_made_anew(shots: list[bool]) -> None:
    torch.manual_seed(0)
    network = convert(Blocks(inplace=True).eval(), numbers((2, 2, 8, 8), 1), T=2, max_spikes=2)
    network.sample_shape = None
    network.calibrate([numbers((2, 2, 8, 8), 1)])
    for number in range(12):
        inputs = numbers((2, 2, 8 + number % 2, 8), number)
        assert_equal(network(inputs), fresh(network, inputs))
    assert all(shots[-8:])
    second(network).initial_potential = numbers((1, 6, 8, 8), 5)
    network(numbers((2, 2, 8, 8), 1))
    with pytest.raises(InputError, match="one a place"):
        network(numbers((2, 2, 9, 8), 1))


class Own(Tensor):
    """A kind of tensor of one's own."""


def test_a_kind_of_tensor_of_ones_own_is_computed_with_carefully() -> None:
    neuron, rows = parameters((2, 3), 1, 2, places=False), numbers((2, 3), 2)
    aim(rows, rows[None], neuron)
    assert shoot(rows.as_subclass(Own), 1, neuron, inplace=False) is None
    network, inputs = network_of(inplace=False), numbers((4, 2, 8, 8), 3)
    for _ in range(4):
        network(inputs)
    assert type(network(inputs.as_subclass(Own))) is Own


class ByDimensions(nn.Module):
    """Reads a site of another number of dimensions, input by input."""

    def __init__(self) -> None:
        super().__init__()
        self.plane, self.line = nn.Conv2d(4, 3, 3), nn.Conv1d(4, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.plane(x).mean((2, 3)) if x.dim() == 4 else self.line(x).mean(2)


def test_sites_of_another_number_of_dimensions_are_counted() -> None:
    network = convert(ByDimensions().eval(), numbers((2, 4, 6, 6), 1), T=2, max_spikes=2)
    network.sample_shape = None
    network.calibrate([numbers((2, 4, 6, 6), 1)])
    for number in range(10):
        inputs = numbers((2, 4, 6, 6) if number % 2 else (2, 4, 6), number)
        meter, wanted = EnergyMeter(), EnergyMeter()
        output = network.predict(inputs, meter).output
        network.fan_outs, kept = FanOuts(), network.fan_outs
        network.skip_module = False
        assert_equal(output, network.predict(inputs, wanted).output)
        network.fan_outs, network.skip_module = kept, True
        assert meter.report() == wanted.report() and wanted.report().sops > 0


# fan-outs -----------------------------------------------------------------------------------


def test_fan_outs_are_found_once_a_network_whatever_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    count = synapses._gradient_fan_out

    def noting(call: Call, *args: Any) -> Tensor:
        found.append(call.name)
        return count(call, *args)

    monkeypatch.setattr(synapses, "_gradient_fan_out", noting)
    network, inputs = network_of(inplace=False), numbers((4, 2, 8, 8), 3)
    reports = []
    for _ in range(5):
        meter = EnergyMeter()
        network.predict(inputs, meter)
        reports.append(meter.report())
    assert len(found) == 3 and all(report == reports[0] for report in reports)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(network.fan_outs)))
    assert not copied.readers and not copied._known


def test_kinds_of_layers_and_sizes_are_told_apart_and_few_are_kept() -> None:
    fan_outs, weight = FanOuts(), torch.ones(5, 2, 3, 3)

    def of(size: int, *rest: Any, **named: Any) -> Tensor:
        values = fan_outs.of(
            Call(F.conv2d, "conv2d", (torch.ones(2, 2, size, size), weight, *rest), named)
        ).values
        assert values.shape == (1, 2, size, size)
        return values

    assert float(of(6).sum()) == 2 * 5 * 9 * 16
    assert float(of(6, None, 1, 1).sum()) > float(of(6).sum())
    assert float(of(6, None, [2, 2]).sum()) == 2 * 5 * 9 * 4 == float(of(6, stride=2).sum())
    assert of(6, None, 1, 1) is of(6, None, 1, 1)
    for size in range(6, 6 + 2 * synapses._SIZES):
        of(size)
    assert all(len(known) <= synapses._SIZES for known in fan_outs._known.values())
    for padding in range(synapses._KINDS + 9):
        of(6, None, 1, padding)
    assert len(fan_outs._known) <= synapses._KINDS


def test_other_numbers_of_threads_are_aimed_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "GRAIN", 1)
    theta = torch.ones(4, 1, 1)
    neuron = BurstParameters(threshold=theta, max_spikes=2, shift=None, initial_potential=theta / 2)
    rows, parts = numbers((8, 4, 3, 3), 1), []
    for threads in (1, 3, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        known = aimed(rows, 1, neuron)
        aim(rows, rows.unsqueeze(0), neuron)
        shot = neuron.plans[_key(rows, 1)]
        parts.append((known, Job.from_buffer_copy(shot.job).parts))
        found = shoot(rows, 1, neuron, inplace=False)
        assert found is not None
        assert torch.equal(found[0], plain_scan(rows.unsqueeze(0), neuron, scaled=True)[0][0])
    assert parts == [(False, 1), (False, 3), (True, 1)]
