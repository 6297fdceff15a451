"""The compiled scan against plain torch: every count and potential, bit for bit."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, addressof, c_int64, memset
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import adacal
from adacal.core import byte_sums, compiled, kernels, team
from adacal.core.byte_sums import Bytes, Weights, weigh
from adacal.core.dense import dense
from adacal.core.energy import EnergyMeter
from adacal.core.kernels import BurstParameters, burst_scan, plain_scan
from adacal.core.loops import Job, _burst, _sums, share
from adacal.core.tally import ONE, Tally
from adacal.core.team import Loops, Team, torch_team
from toys import dyadic

SHAPES = st.sampled_from(
    [(2, 3), (1, 1), (3, 5, 1), (2, 3, 4, 4), (2, 7, 9, 8), (1, 2, 33, 33), (4, 130)]
)


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    """Loads the kernel, so that scans of any size take it."""
    compiled._MADE.clear()
    assert compiled._kernel() is not None, "numba is a dependency, so it compiles here"
    yield


def bits(tensor: Tensor) -> Tensor:
    """The bits of numbers; zeros are all one, and so is everything that is no number."""
    return torch.where(tensor.isnan(), torch.nan, tensor + 0.0).contiguous().view(torch.int32)


def assert_same(current: Tensor, neuron: BurstParameters, membrane: Tensor | None = None) -> None:
    before, started = current.clone(), None if membrane is None else membrane.clone()
    for scaled in (False, True):
        wanted = plain_scan(current, neuron, membrane, scaled=scaled)
        found = compiled.scan(current, neuron, membrane, None, scaled=scaled)
        assert found is not None
        for ours, theirs in zip(found, wanted, strict=True):
            assert torch.equal(bits(ours), bits(theirs))
        assert torch.equal(bits(current), bits(before))
        if membrane is not None and started is not None:  # a run may go back to it
            assert torch.equal(bits(membrane), bits(started))
        bare = compiled.scan(current, neuron, membrane, None, scaled=scaled, keep=False)
        assert bare is not None and torch.equal(bits(bare[0]), bits(wanted[0]))


def numbers(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def neurons(shape: tuple[int, ...], seed: int, *, per_channel: bool, last: bool, shift: bool,
            places: bool, phi: int) -> BurstParameters:  # fmt: skip
    sizes = [1] * len(shape)
    if per_channel:
        sizes[-1 if last else 1] = shape[-1 if last else 1]
    theta = numbers(tuple(sizes), seed).abs() + 0.05
    start = numbers((1, *shape[1:]), seed + 1) if places else theta / 2
    return BurstParameters(
        threshold=theta if per_channel else theta.reshape(()),
        max_spikes=phi,
        shift=numbers(tuple(sizes), seed + 2, 0.1) if shift else None,
        initial_potential=start,
    )


@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES, T=st.integers(1, 6), phi=st.integers(1, 5), seed=st.integers(0, 10**6),
    per_channel=st.booleans(), last=st.booleans(), shift=st.booleans(), places=st.booleans(),
    goes_on=st.booleans(), form=st.sampled_from(["dense", "last", "expanded", "cut"]),
)  # fmt: skip
def test_it_gives_the_bits_of_plain_torch(
    shape: tuple[int, ...], T: int, phi: int, seed: int, per_channel: bool, last: bool,
    shift: bool, places: bool, goes_on: bool, form: str,
) -> None:  # fmt: skip
    current = numbers((T, *shape), seed)
    if form == "expanded":
        current = current[:1].expand_as(current)
    elif form == "last":
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    elif form == "cut":
        current = numbers((2 * T, *shape), seed)[::2]
    neuron = neurons(shape, seed, per_channel=per_channel, last=last, shift=shift, places=places,
                     phi=phi)  # fmt: skip
    assert_same(current, neuron, numbers(shape, seed + 3) if goes_on else None)


def test_potentials_of_other_samples_are_refused_and_of_another_type_converted() -> None:
    neuron = neurons((4, 3), 1, per_channel=True, last=False, shift=True, places=False, phi=2)
    current = numbers((2, 4, 3), 1)
    for wrong in (numbers((8, 3), 2), numbers((8, 3), 2)[:2], numbers((2, 3), 2)):
        with pytest.raises(RuntimeError):
            compiled.scan(current, neuron, wrong, None, scaled=False)
    start = numbers((4, 3), 3)
    wanted = plain_scan(current, neuron, start)
    found = compiled.scan(current, neuron, start.double(), None, scaled=False)
    assert found is not None and all(map(torch.equal, found, wanted))


def test_starts_by_place_are_not_taken_for_those_of_as_many_channels() -> None:
    theta = numbers((16, 1, 1), 1).abs() + 0.05
    neuron = BurstParameters(
        threshold=theta, max_spikes=2, shift=None, initial_potential=numbers((4, 4), 2)
    )
    assert_same(numbers((3, 2, 16, 4, 4), 3), neuron)


def test_parameters_are_laid_out_for_each_shape_apart() -> None:
    neuron = neurons((2, 6, 3, 3), 4, per_channel=True, last=False, shift=True, places=False, phi=2)
    for seed, size in enumerate([3, 9, 3, *range(1, 12)]):  # short rows, long ones, many shapes
        assert_same(numbers((2, 2, 6, size, size), seed), neuron)
    assert 1 <= len(neuron.plans) <= kernels.PLANS


def test_short_rows_are_walked_through_together_but_not_across_samples() -> None:
    neuron = neurons((2, 6, 9, 9), 4, per_channel=True, last=False, shift=True, places=False, phi=2)
    current = numbers((6, 6, 9, 9), 1).contiguous(memory_format=torch.channels_last)
    current = current.unflatten(0, (3, 2))
    assert_same(current, neuron)
    (plan,) = neuron.plans.values()
    assert plan.by_row and plan.row == 81 * 6 and plan.outer == 2  # 81 places of 6 channels fit


@contextmanager
def walked_by(who: str, threads: int) -> Iterator[None]:
    """Gives each thread a single element, if there are as many."""
    teams = {"torch": torch_team, "python": lambda: None, "fewer": alone}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team, "GRAIN", 1)
        patch.setattr(team, "_PER_THREAD", 1)
        patch.setattr(team, "torch_team", teams[who])
        patch.setattr(torch, "get_num_threads", lambda: threads)
        yield


def alone() -> Team:
    """A team that a limit of the system leaves a single thread, however many are wanted."""
    real = torch_team()
    if real is None:
        pytest.skip("the threads of torch cannot be called here")

    def start(address: int, job: int, threads: int, flags: int) -> None:
        assert threads > 1
        CFUNCTYPE(None, c_int64)(address)(job)

    return Team(start, real.part, real.parts, real.process)


WHO = ["torch", "python", "fewer"]


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("threads", [1, 3])
def test_several_threads_give_the_same(threads: int, who: str) -> None:
    shape = (5, 4, 9, 9)
    for per_channel in (False, True):
        neuron = neurons(shape, 1, per_channel=per_channel, last=False, shift=True, places=False,
                         phi=3)  # fmt: skip
        with walked_by(who, threads):
            assert_same(numbers((3, *shape), 2), neuron)


def test_threads_of_python_walk_through_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [(0, 0)] * 3

    def part(at: int) -> None:
        number, begin, end = share(at)
        seen[number] = begin, end

    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    loops, job = Loops(part), Job()  # without an address, so that torch's cannot call it
    loops.divide(job, 7, 10**9)
    loops.run(job)
    assert seen == [(0, 2), (2, 4), (4, 7)] and job.threads == job.ask_part == 0


def test_few_elements_are_not_worth_a_second_thread() -> None:
    kernel, found = compiled._kernel(), []
    assert kernel is not None
    if torch_team() is None:
        pytest.skip("the threads of torch cannot be called here")

    def parts(elements: int) -> int:
        job = Job()
        kernel.divide(job, 1000, elements)
        return job.parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 4)
        found = [parts(n * team.GRAIN) for n in (1, 2, 3, 9)]
        patch.setattr(team, "torch_team", lambda: None)
        found += [parts(n * team._PER_THREAD) for n in (1, 2)]
    assert found == [1, 2, 3, 4, 1, 2]


def test_without_openmp_python_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_team.cache_clear()
    monkeypatch.setattr(torch.backends.openmp, "is_available", lambda: False)
    try:
        assert torch_team() is None
    finally:
        torch_team.cache_clear()


@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES, T=st.integers(1, 4), phi=st.integers(1, 5), seed=st.integers(0, 10**6),
    per_channel=st.booleans(), last=st.booleans(), form=st.sampled_from(["dense", "last", "rows"]),
    rows=st.integers(1, 3), threads=st.integers(1, 4), kept=st.booleans(), inplace=st.booleans(),
    who=st.sampled_from(WHO),
)  # fmt: skip
def test_a_tally_holds_the_sums_of_plain_torch(
    shape: tuple[int, ...], T: int, phi: int, seed: int, per_channel: bool, last: bool, form: str,
    rows: int, threads: int, kept: bool, inplace: bool, who: str,
) -> None:  # fmt: skip
    batch, sizes = shape[0], (shape[0] * rows, *shape[1:])  # a sample has several rows
    current = numbers((T, *sizes), seed)
    if form == "last":
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    elif form == "rows":  # samples narrower in memory than something else
        current = current.movedim(1, -1).contiguous().movedim(-1, 1)
    neuron = neurons(sizes, seed, per_channel=per_channel, last=last, shift=True, places=False,
                     phi=phi)  # fmt: skip
    counts, potential = plain_scan(current, neuron)
    weights = Weights(torch.arange(1.0, 1 + counts[0, 0].numel()).reshape(1, *shape[1:]))
    wanted, tally = Tally(batch, phi), Tally(batch, phi, expected=weights if inplace else None)
    wanted.take(counts)
    out = current.clone(memory_format=torch.preserve_format) if inplace else None
    with walked_by(who, threads):
        given = current if out is None else out
        found = compiled.scan(given, neuron, None, out, scaled=True, keep=kept, tally=tally)
        assert found is not None
        output, membrane = found
    assert torch.equal(bits(output), bits(counts * neuron.threshold))
    assert not kept or torch.equal(bits(membrane), bits(potential))
    assert tally.counts is not None and torch.equal(tally.counts.float(), counts)
    for each in (weights, Weights(torch.full((1,), 7.0)), ONE):
        assert tally.weighed(each, T) == wanted.weighed(each, T)
    step = counts.sum((1, *range(2, counts.dim()))).tolist()
    assert [spikes for spikes, _ in tally.totals(T)] == step
    for ours, theirs in ((tally.spikes, wanted.spikes), (tally.events, wanted.events)):
        assert ours.shape == (T * rows, *shape[1:]) and torch.equal(ours, theirs)
        assert ours.dtype is torch.float32
    assert (tally.events is tally.spikes) == (phi == 1)


def test_more_spikes_than_a_byte_holds_are_left_to_plain_torch() -> None:
    current = numbers((2, 3, 4), 1, scale=900.0)
    for phi in (255, 256):
        neuron = neurons((3, 4), 1, per_channel=True, last=False, shift=False, places=False,
                         phi=phi)  # fmt: skip
        tally, wanted = Tally(3, phi), Tally(3, phi)
        found = compiled.scan(current, neuron, None, None, scaled=False, tally=tally)
        assert (found is None) == (phi == 256)
        counts, _ = burst_scan(current, neuron, tally=tally)
        wanted.take(plain_scan(current, neuron)[0])
        assert torch.equal(tally.spikes, wanted.spikes) and float(counts.max()) == phi


@pytest.mark.parametrize("scaled", [False, True])
def test_no_number_is_counted_as_plain_torch_does(scaled: bool) -> None:
    current = numbers((3, 2, 4, 5), 1)
    current[1, 1, 2, 3] = float("nan")
    neuron = neurons((2, 4, 5), 1, per_channel=True, last=False, shift=True, places=False, phi=3)
    tally, wanted = Tally(2, 3, as_bytes=True), Tally(2, 3)
    found = compiled.scan(current, neuron, None, None, scaled=scaled, tally=tally)
    wanted.take(plain_scan(current, neuron)[0])
    assert found is not None and tally.counts is None and wanted.spikes.isnan().any()
    assert torch.equal(bits(tally.spikes), bits(wanted.spikes))


def test_a_scan_in_place_is_a_change_that_torch_knows_of() -> None:
    current = numbers((2, 3, 4), 1)
    neuron = neurons((3, 4), 1, per_channel=True, last=False, shift=False, places=False, phi=2)
    before = current._version
    assert compiled.scan(current, neuron, None, current, scaled=True) is not None
    assert current._version > before


@pytest.mark.parametrize("values", [[[0.5, 1.0]], [[2.0**30, 1.0]]])
def test_weights_that_32_bits_cannot_add_up_are_left_to_torch(values: list[list[float]]) -> None:
    counts, weights = (
        torch.tensor([[[3, 2], [1, 0]]], dtype=torch.uint8),
        Weights(torch.tensor(values)),
    )
    layout = dense(counts[0])
    assert layout is not None
    spikes = Bytes(counts, layout)
    assert weigh(spikes, weights, 3) is None
    tally = Tally(2, 3)
    tally.fill(spikes, {})
    (first, second), *_ = values
    assert tally.weighed(weights, 1) == [[4 * first + 2 * second, 2 * first + second]]


@pytest.mark.parametrize("name", ["_weigh_kernel", "_add_up_kernel"])
def test_sums_are_the_same_without_the_loops(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    current = numbers((2, 6, 4, 5), 1)
    neuron = neurons((6, 4, 5), 1, per_channel=True, last=False, shift=False, places=False, phi=3)
    weights, found = Weights(numbers((1, 4, 5), 3, scale=9.0).round()), []
    for loops in (True, False):
        if not loops:
            monkeypatch.setattr(byte_sums, name, lambda: None)
        tally = Tally(3, 3)
        compiled.scan(current, neuron, None, None, scaled=True, tally=tally)
        found.append((tally.weighed(weights, 2), tally.spikes.tolist(), tally.events.tolist()))
    assert found[0] == found[1]


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES, T=st.integers(1, 5), last=st.booleans(), threads=st.integers(1, 3),
    who=st.sampled_from(WHO),
)  # fmt: skip
def test_running_sums_are_those_of_torch(
    shape: tuple[int, ...], T: int, last: bool, threads: int, who: str
) -> None:
    steps = numbers((T, *shape), 4)
    if last:
        steps = steps.movedim(2, -1).contiguous().movedim(-1, 2)
    with walked_by(who, threads):
        found = compiled.running_sums(steps)
    assert torch.equal(bits(found), bits(steps.cumsum(0)))
    assert found.stride()[1:] == steps.stride()[1:]


def test_sums_are_float32_whatever_the_default_is(monkeypatch: pytest.MonkeyPatch) -> None:
    current = numbers((2, 3, 4), 1)
    neuron = neurons((3, 4), 1, per_channel=True, last=False, shift=False, places=False, phi=2)
    tally = Tally(3, 2)
    torch.set_default_dtype(torch.float64)
    try:
        burst_scan(current, neuron, tally=tally)
    finally:
        torch.set_default_dtype(torch.float32)
    assert tally.spikes.dtype is torch.float32 and tally.events.dtype is torch.float32


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (2, 3)])
def test_thresholds_may_differ_between_samples(shape: tuple[int, ...]) -> None:
    theta = numbers((shape[0], *[1] * (len(shape) - 1)), 1).abs() + 0.1
    neuron = BurstParameters(threshold=theta, max_spikes=3, shift=None, initial_potential=theta / 2)
    current = numbers((3, *shape), 2)
    assert_same(current, neuron)
    weights = Weights(torch.arange(1.0, 1 + current[0, 0].numel()).reshape(1, *shape[1:]))
    tally, wanted = Tally(shape[0], 3, expected=weights), Tally(shape[0], 3)
    wanted.take(burst_scan(current, neuron, tally=tally)[0])
    assert tally.weighed(weights, 3) == wanted.weighed(weights, 3)
    assert torch.equal(tally.spikes, wanted.spikes)


@pytest.mark.parametrize("stride", [1, 3, 7, 75, 1000])
def test_one_sample_in_channels_last_is_weighed_in_the_scan(stride: int) -> None:
    """Whatever its layer says of the distance to a second one."""
    shape = (1, 3, 5, 5)
    theta = numbers((3, 1, 1), 1).abs() + 0.1
    neuron = BurstParameters(threshold=theta, max_spikes=3, shift=None, initial_potential=theta / 2)
    current = torch.as_strided(numbers((75,), 2), shape, (stride, 1, 15, 3)).unsqueeze(0)
    weights = Weights(torch.arange(1.0, 76.0).reshape(shape))
    tally, wanted = Tally(1, 3, expected=weights), Tally(1, 3)
    counts, membrane = burst_scan(current, neuron, tally=tally)
    assert torch.equal(bits(counts), bits(plain_scan(current, neuron)[0]))
    assert torch.equal(bits(membrane), bits(plain_scan(current, neuron)[1]))
    wanted.take(counts)
    assert tally._known[weights] == wanted.weighed(weights, 1)


@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_the_loops_do_the_same_in_plain_python(last: bool, T: int) -> None:
    """On numbers that no operation rounds."""
    current = dyadic((T, 2, 3, 2, 2), 1, bound=20)
    if last:
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    theta = torch.tensor([0.5, 1.0, 2.0]).reshape(3, 1, 1)
    values = {"threshold": theta, "shift": theta / 4, "initial_potential": theta / 2}
    neuron, membrane = BurstParameters(max_spikes=3, **values), dyadic((2, 3, 2, 2), 2, bound=20)
    for start in (None, membrane):
        tally, wanted = Tally(2, 3), Tally(2, 3)
        counts, potential = plain_scan(current, neuron, start)
        wanted.take(counts)
        found = compiled._run(
            Loops(_burst), current, neuron, start, None, scaled=False, tally=tally
        )
        assert found is not None and torch.equal(found[0], counts)
        assert torch.equal(found[1], potential) and tally.totals(T) == wanted.totals(T)


def test_sums_and_shares_are_the_same_in_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = dyadic((3, 5, 700), 1, bound=20)
    monkeypatch.setattr(compiled, "_sum_kernel", lambda: Loops(_sums))
    assert torch.equal(compiled.running_sums(steps), steps.cumsum(0))
    real = torch_team()
    if real is not None:
        job = Job(lines=7, parts=3, ask_part=real.part, ask_parts=real.parts)
        assert share(addressof(job)) == (0, 0, 7)  # of one thread, that which asks
    assert share(addressof(Job(lines=7, parts=3, part=2))) == (2, 4, 7)
    assert share(addressof(Job(lines=7, parts=3, part=3))) == (3, 0, 0)


def test_an_output_of_another_type_is_left_to_plain_torch() -> None:
    neuron = neurons((2, 3), 1, per_channel=True, last=False, shift=False, places=False, phi=3)
    current, out = numbers((3, 2, 3), 2), torch.zeros(3, 2, 3, dtype=torch.float64)
    assert compiled.scan(current, neuron, None, out, scaled=False) is None


def test_no_number_and_infinity_stay_what_they_are() -> None:
    current = numbers((4, 2, 3, 8, 8), 5)
    current[1, 0, 0, 0], current[2, 1, 1, 3], current[0, 0, 2, 1] = torch.nan, torch.inf, -torch.inf
    neuron = neurons((2, 3, 8, 8), 1, per_channel=True, last=False, shift=True, places=False, phi=3)
    assert_same(current, neuron)


def test_the_output_may_take_the_place_of_the_input() -> None:
    for form in (torch.contiguous_format, torch.channels_last):
        rows = numbers((6, 3, 5, 5), 2).contiguous(memory_format=form)
        current = rows.unflatten(0, (3, 2))
        neuron = neurons((2, 3, 5, 5), 1, per_channel=True, last=False, shift=True, places=False,
                         phi=3)  # fmt: skip
        wanted, potential = plain_scan(current, neuron, scaled=True)
        found, membrane = burst_scan(current, neuron, out=current, scaled=True)
        assert found.data_ptr() == rows.data_ptr()
        assert torch.equal(rows, wanted.flatten(0, 1)) and torch.equal(membrane, potential)


@pytest.mark.parametrize(
    "current",
    [
        torch.ones(0, 2, 3),
        torch.ones(2, 0, 3),
        torch.ones(2, 2, 3, dtype=torch.float64),
        torch.ones(2, 2, 6)[..., ::2],
        torch.ones(2, 2, 3, requires_grad=True),
    ],
    ids=["no steps", "no samples", "double", "gaps", "gradients"],
)
def test_what_it_cannot_take_is_left_to_plain_torch(current: Tensor) -> None:
    parameters = (torch.tensor(1.0, dtype=current.dtype), torch.tensor(0.5, dtype=current.dtype))
    neuron = BurstParameters(
        threshold=parameters[0], max_spikes=2, shift=None, initial_potential=parameters[1]
    )
    assert compiled.scan(current, neuron, None, None, scaled=False) is None
    if current.shape[0] and not current.requires_grad:
        assert torch.equal(burst_scan(current, neuron)[0], plain_scan(current, neuron)[0])


@pytest.mark.parametrize("fault", ["missing", "wrong"])
def test_without_it_one_sentence_is_logged_and_plain_torch_runs(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> Any:
        raise ImportError("No module named 'numba'")

    def wrong() -> Any:
        def zeros(at: int) -> None:
            job = Job.from_address(at)
            memset(job.counts, 0, 4 * job.size)

        return Loops(zeros)

    compiled._MADE.clear()
    monkeypatch.setattr(compiled, "compile_burst", missing if fault == "missing" else wrong)
    neuron = neurons((2, 3), 1, per_channel=True, last=False, shift=False, places=False, phi=3)
    current = numbers((3, 2, 3), 2)
    monkeypatch.setattr(compiled, "FIRST_USE", 1)
    try:
        with caplog.at_level(logging.WARNING, "adacal"):
            for _ in range(2):
                assert torch.equal(burst_scan(current, neuron)[0], plain_scan(current, neuron)[0])
    finally:
        compiled._MADE.clear()
        monkeypatch.undo()
        assert compiled._kernel() is not None
    assert len(caplog.records) == 1
    text = caplog.text
    assert "plain torch runs instead" in text
    assert ("No module named 'numba'" if fault == "missing" else "differ from plain torch") in text


def test_the_switch_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled._MADE.clear()
    monkeypatch.setenv(compiled.SWITCH, "plain")
    try:
        assert compiled._kernel() is None
    finally:
        monkeypatch.undo()
        compiled._MADE.clear()
        assert compiled._kernel() is not None


@pytest.mark.parametrize("inplace", [False, True])
def test_networks_give_the_same_with_either(inplace: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace), nn.Conv2d(6, 6, 3), nn.ReLU(inplace), nn.Flatten(),
        nn.Linear(6 * 16, 8), nn.ReLU(inplace), nn.Linear(8, 4),
    )  # fmt: skip
    inputs = numbers((5, 3, 8, 8), 1)
    network = adacal.convert(net, inputs, T=4, max_spikes=3)
    network.calibrate([inputs], "light")
    found = network(inputs)
    for one in (inputs[:1], inputs[:1].contiguous(memory_format=torch.channels_last)):
        assert torch.allclose(network(one), found[:1], atol=1e-5)
    network.T = 1
    network(inputs[:1].contiguous(memory_format=torch.channels_last))
    network.T = 4
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "scan", lambda *_, **__: None)
        assert torch.equal(network(inputs), found)
    assert torch.equal(network.predict(inputs, EnergyMeter()).output, found)


def test_a_copy_of_parameters_lays_them_out_for_itself() -> None:
    """What is laid out holds addresses of numbers that belong to the original."""
    current = numbers((2, 3, 4, 9, 9), 1)
    neuron = neurons((3, 4, 9, 9), 1, per_channel=True, last=False, shift=True, places=False, phi=3)
    wanted, _ = burst_scan(current, neuron)
    assert neuron.plans
    for copied in (copy.copy(neuron), copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert not copied.plans
        assert torch.equal(burst_scan(current, copied)[0], wanted)
        assert copied.plans and copied.plans is not neuron.plans


def test_numbers_that_are_not_those_in_memory_are_left_to_plain_torch() -> None:
    current = torch._neg_view(numbers((3, 2, 3, 8, 8), 1))
    neuron = neurons((2, 3, 8, 8), 1, per_channel=True, last=False, shift=True, places=False, phi=3)
    assert compiled.scan(current, neuron, None, None, scaled=False) is None
    assert torch.equal(burst_scan(current, neuron)[0], plain_scan(current.clone(), neuron)[0])
    assert torch.equal(compiled.running_sums(current), current.cumsum(0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_threads_of_python() -> None:
    """Those of torch are not in it, and waiting for them would never end."""
    code = """
import os, signal, torch
from adacal.core import compiled, team
from adacal.core.kernels import BurstParameters, burst_scan
torch.set_num_threads(3)
compiled._kernel()
theta = torch.rand(8, 1, 1) + 0.1
neuron = BurstParameters(threshold=theta, max_spikes=3, shift=None, initial_potential=theta / 2)
current = torch.randn(2, 2, 8, 96, 96)
wanted = burst_scan(current, neuron)[0]
parent = os.fork()
if not parent:
    signal.alarm(60)
    team._PER_THREAD = 1 << 10
    os._exit(0 if (burst_scan(current, neuron)[0].numpy() == wanted.numpy()).all() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, check=False)
    assert done.returncode == 0
