"""Sums of spikes in compiled loops are those of whole numbers, however they lie and weigh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adacal.core import compiled
from adacal.core.byte_sums import Weights
from adacal.core.kernels import BurstParameters, plain_scan
from adacal.core.loops import SUMS, Job, _spike_sums
from adacal.core.shots import aim, shoot
from adacal.core.spike_sums import sum_up
from adacal.core.team import Loops
from adacal.core.weighed import APART, Readers, Room

pytestmark = pytest.mark.usefixtures("loaded")

SHAPES = st.sampled_from([(2, 3), (1, 5), (2, 7, 31), (3, 5, 4, 4), (1, 3, 40, 40), (2, 1, 33, 33)])
MAXIMA = st.sampled_from([3, 1000, 8191, 30000, 70000])


def made(shape: tuple[int, ...], steps: int, most: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, most + 1, (steps, *shape), generator=generator)
    return torch.where(counts % 3 == 1, 0, counts).float()


def readers(shape: tuple[int, ...], number: int, largest: int, seed: int) -> list[Weights]:
    generator = torch.Generator().manual_seed(seed + 1)
    rows = torch.randint(0, largest + 1, (number, *shape[1:]), generator=generator).float()
    if seed % 3 == 0:  # as of most convolutions
        rows = rows[:, :1].expand_as(rows).contiguous()
    return [Weights(row[None]) for row in rows]


def wanted(counts: Tensor, weights: list[Weights]) -> list[list[int]]:
    """Sums of each step in whole numbers of 64 bits."""
    found = []
    for step in counts.long().numpy():
        sums = [0, int(step.sum()), int((step > 0).sum())]
        for weight in weights:
            values = weight.values.long().numpy()
            sums += [int((step * values).sum()), int(((step > 0) * values).sum())]
        found.append(sums)
    return found


def rows_laid(counts: Tensor, *, last: bool) -> Tensor:
    rows = counts.flatten(0, 1)
    return rows.movedim(1, -1).contiguous().movedim(-1, 1) if last else rows


class Sums:
    """Room for sums, and what was put there."""

    def __init__(self, steps: int, weights: list[Weights]) -> None:
        self._width = SUMS + 2 * len(weights)
        self._steps = steps
        self._numbers = np.zeros((4, steps * self._width + APART), np.int64)
        address, apart = self._numbers.ctypes.data, self._numbers.shape[1]
        self.room = Room(Readers(weights), address, apart, len(self._numbers))

    def found(self) -> list[list[int]]:
        whole = self._numbers.sum(0)
        assert not whole[-APART:].any(), "numbers between the parts are nobody's"
        found: list[list[int]] = whole[:-APART].reshape(self._steps, self._width).tolist()
        return found


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES, steps=st.integers(1, 3), most=st.sampled_from([1, 4, 255]), largest=MAXIMA,
    number=st.integers(0, 3), seed=st.integers(0, 10**6), last=st.booleans(),
    threads=st.integers(1, 3),
)  # fmt: skip
def test_counts_are_added_up_exactly_or_not_at_all(
    shape: tuple[int, ...], steps: int, most: int, largest: int, number: int, seed: int,
    last: bool, threads: int,
) -> None:  # fmt: skip
    counts = made(shape, steps, most, seed)
    weights = readers(shape, number, largest, seed)
    laid, sums = rows_laid(counts, last=last).unflatten(0, (steps, -1)), Sums(steps, weights)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        done = sum_up(laid, most, sums.room)
    finally:
        torch.set_num_threads(before)
    assert done == (max([1.0, *(w.largest for w in weights)]) * most < 2**18)
    assert sums.found() == (
        wanted(counts, weights) if done else [[0] * (SUMS + 2 * number)] * steps
    )


@settings(max_examples=50, deadline=None)
@given(
    shape=SHAPES, steps=st.integers(1, 3), phi=st.sampled_from([1, 4, 255]), largest=MAXIMA,
    number=st.integers(0, 3), seed=st.integers(0, 10**6), last=st.booleans(),
    inplace=st.booleans(),
)  # fmt: skip
def test_a_scan_adds_up_what_it_sends(
    shape: tuple[int, ...], steps: int, phi: int, largest: int, number: int, seed: int,
    last: bool, inplace: bool,
) -> None:  # fmt: skip
    theta = torch.rand(shape[1], *[1] * (len(shape) - 2)) + 0.1
    neuron = BurstParameters(
        threshold=theta, max_spikes=phi, shift=None, initial_potential=theta / 2
    )
    current = 2 * torch.randn(steps, *shape, generator=torch.Generator().manual_seed(seed))
    counts, _ = plain_scan(current, neuron)
    weights = readers(shape, number, largest, seed)
    rows, sums = rows_laid(current, last=last), Sums(steps, weights)
    aim(rows, rows.unflatten(0, (steps, -1)), neuron)
    shot = shoot(rows, steps, neuron, inplace=inplace, room=sums.room)
    if shot is None:
        assert max(w.largest for w in weights) * phi >= 2**18
    else:
        assert sums.found() == wanted(counts, weights)
        assert torch.equal(shot[0].unflatten(0, (steps, -1)), counts * theta)


@pytest.mark.parametrize("at", [0, 1500, 2999])
def test_what_is_no_number_is_said(at: int) -> None:
    counts = made((1, 3, 1000), 2, 4, 0)
    counts[1].view(-1)[at] = float("nan")
    sums = Sums(2, [])
    assert sum_up(counts, 4, sums.room)
    first, second = sums.found()
    assert first == wanted(counts[:1], [])[0] and second[0] == 1


def test_more_parts_than_there_is_room_for_are_refused() -> None:
    counts, before = made((8, 3, 100, 100), 1, 4, 0), torch.get_num_threads()
    sums = Sums(1, [])
    room = Room(Readers(), sums.room.address, sums.room.apart, 1)
    torch.set_num_threads(2)
    try:
        assert not sum_up(counts, 4, room)
        assert sums.found() == [[0, 0, 0]]
        assert sum_up(counts, 4, sums.room)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("fault", ["", "the last piece", "the last step", "another weight"])
def test_each_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = made((2, 7, 31), 3, 4, 5)
    weights = readers((2, 7, 31), 1, 1000, 5)
    others = np.arange(7 * 31, dtype=np.float32)

    def wrong(at: int) -> None:
        job = Job.from_address(at)
        if fault == "the last piece":
            job.lines -= 1
        elif fault == "the last step":
            job.steps -= 1
        elif fault:
            job.weight = others.ctypes.data
        _spike_sums(at)  # as Python

    monkeypatch.setattr(compiled, "spike_sums", lambda: Loops(wrong))
    sums = Sums(3, weights)
    assert sum_up(counts, 4, sums.room)
    assert (sums.found() == wanted(counts, weights)) == (not fault)
