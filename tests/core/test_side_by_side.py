"""Candidates side by side in compiled loops: every output is plain torch's, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import adacal
from adacal.core import compiled, side_by_side, thresholds
from adacal.core.kernels import plain_scan, quantise
from adacal.core.matching import matched_threshold, restore_mean
from adacal.core.neuron import BurstNeuron
from adacal.core.side_by_side import SideBySide
from core.energy_toys import seeded


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    """Loads the kernel, so that samples of any size take it."""
    assert compiled._kernel() is not None, "numba is a dependency, so it compiles here"
    yield


def bits(tensor: Tensor) -> Tensor:
    return torch.where(tensor.isnan(), torch.nan, tensor + 0.0).contiguous().view(torch.int32)


def wanted(neuron: BurstNeuron, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and their mean in plain torch, every candidate with a current of its own."""
    times = torch.as_tensor(neuron.threshold).numel() // steps.shape[2]
    several = steps.repeat(1, 1, times)
    counts, _ = plain_scan(several, neuron.parameters(several[0], len(steps)))
    return counts * neuron.threshold, counts.mean(0) * neuron.threshold


@settings(max_examples=100, deadline=None)
@given(
    T=st.integers(1, 9), rows=st.integers(1, 300), channels=st.sampled_from([1, 3, 16, 65, 1500]),
    candidates=st.sampled_from([1, 2, 10]), phi=st.integers(1, 9), seed=st.integers(0, 10**6),
    cut=st.booleans(), broken=st.booleans(),
)  # fmt: skip
def test_both_give_the_bits_of_plain_torch(
    T: int, rows: int, channels: int, candidates: int, phi: int, seed: int, cut: bool, broken: bool
) -> None:
    random = seeded(seed)
    steps = torch.randn(T, (2 if cut else 1) * rows, channels, generator=random)[:, :rows]
    if broken:
        steps[0, 0, 0] = torch.nan
    theta = torch.rand(candidates * channels, generator=random) + 0.05
    shift = 0.1 * torch.randn(len(theta), generator=random)
    neuron = BurstNeuron(threshold=theta, max_spikes=phi, shift=shift, channel_dim=-1)
    several = SideBySide(neuron, steps, T)
    assert several._laid is not None
    outputs, mean = wanted(neuron, steps)
    assert torch.equal(bits(several.outputs(shift)), bits(outputs))
    assert torch.equal(bits(several.mean_outputs(shift)), bits(mean))
    another = shift + 0.3
    neuron.shift = another
    assert torch.equal(bits(several.outputs(another)), bits(wanted(neuron, steps)[0]))


@pytest.mark.parametrize(
    "options",
    [
        {"spread_half_threshold": True},
        {"initial_potential": 0.1},
        {"initial_potential": torch.linspace(0, 0.3, 6)},
        {"kind": "capped", "cap": 1.0},
        {"kind": "signed", "slope": 0.1},
        {"dynamics": "memory", "max_spikes": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_neurons_of_every_kind_give_what_their_scan_gives(options: dict[str, Any]) -> None:
    steps = torch.randn(4, 50, 3, generator=seeded())
    theta = torch.rand(6, generator=seeded(1)) + 0.3
    neuron = BurstNeuron(**{"threshold": theta, "max_spikes": 2, "channel_dim": -1, **options})
    neuron.shift = torch.linspace(-0.1, 0.1, 6)
    counts, level = neuron.scan(steps.repeat(1, 1, 2), 4)
    several = SideBySide(neuron, steps, 4)
    assert torch.equal(bits(several.outputs(neuron.shift)), bits(counts * level))
    assert torch.equal(bits(several.mean_outputs(neuron.shift)), bits(counts.mean(0) * level))


def test_a_current_that_loops_cannot_read_is_walked_by_the_neuron() -> None:
    steps = torch.randn(4, 50, 6, generator=seeded())
    neuron = BurstNeuron(threshold=torch.full((3,), 0.5), channel_dim=-1)
    shift = torch.zeros(3)
    for odd in (steps[:, :, ::2], steps[:, :, :3].double(), steps[:, :, :3]):
        several = SideBySide(neuron, odd, 4)
        assert several._laid is None
        like = replace_type(neuron, odd)
        assert torch.equal(several.outputs(shift.to(odd)), wanted(like, odd)[0])


def replace_type(neuron: BurstNeuron, steps: Tensor) -> BurstNeuron:
    theta = torch.as_tensor(neuron.threshold, dtype=steps.dtype)
    return BurstNeuron(threshold=theta, channel_dim=-1)


@pytest.mark.parametrize("phi", [1, 3])
def test_thresholds_and_shifts_are_those_without_the_loops(
    phi: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = torch.randn(4, 700, 5, generator=seeded())
    activation = steps.mean(0).clamp_min(0).T.contiguous()

    def found() -> tuple[Tensor, Tensor]:
        neuron = BurstNeuron(threshold=torch.full((5,), 0.7), max_spikes=phi, channel_dim=-1)
        neuron.threshold = matched_threshold(neuron, activation, steps, 4)
        neuron.shift = torch.zeros(5)
        restore_mean(neuron, activation.mean(1), steps, 4, 6, 0.7)
        return torch.as_tensor(neuron.threshold), torch.as_tensor(neuron.shift)

    ours = found()
    monkeypatch.setattr(side_by_side, "_each_step", lambda: None)
    monkeypatch.setattr(side_by_side, "_mean_of_steps", lambda: None)
    assert all(map(torch.equal, ours, found()))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 20), count=st.integers(1, 1100), phi=st.integers(1, 8),
    T=st.integers(1, 32), offset=st.sampled_from([0.0, 0.5, 0.3]), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_squared_gaps_are_those_of_the_quantiser(
    rows: int, count: int, phi: int, T: int, offset: float, seed: int
) -> None:
    values = torch.randn(rows, count, generator=seeded(seed)).clamp_min(0)
    grid = (1 - 0.01 * torch.arange(95, dtype=torch.float64)).float() / phi
    wide = values[:, None]
    plain = (quantise(wide, grid[:, None], phi, T, offset) - wide).square()
    found = thresholds._squared_gaps(values, grid, phi, T, offset)
    assert thresholds._gap_loops() is not None
    assert torch.equal(bits(found), bits(plain))


def test_thresholds_of_rows_that_lie_otherwise_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = torch.randn(300, 7, generator=seeded()).T
    found = thresholds.mmse_threshold(values, 4, 2)
    monkeypatch.setattr(compiled, "takes", lambda *_: False)
    assert torch.equal(found, thresholds.mmse_threshold(values, 4, 2))


def test_a_network_is_calibrated_as_without_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    ann = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 4, 3), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(144, 5),
    ).eval()  # fmt: skip
    inputs = torch.randn(40, 2, 10, 10, generator=seeded())
    ours, plain = (adacal.convert(ann, inputs[:2], T=4) for _ in range(2))
    ours.calibrate([inputs])
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "takes", lambda *_: False)
        plain.calibrate([inputs])
    for name, neuron in ours.neurons.items():
        for what in ("threshold", "shift"):
            assert torch.equal(getattr(neuron, what), getattr(plain.neurons[name], what))
