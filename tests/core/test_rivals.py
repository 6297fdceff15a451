"""Dynamics of the rivals: worked by hand, charge kept, the same spikes step by step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.kernels import BurstParameters, burst_scan
from adacal.core.neuron import BurstNeuron, NeuronState
from adacal.core.rivals import (
    change_scan,
    decoded,
    gated_scan,
    level_scan,
    memory_scan,
    offset_scan,
    offset_start,
)
from toys import dyadic


def neurons(theta: float = 1.0, start: float = 0.0, shift: float | None = None) -> BurstParameters:
    return BurstParameters(
        threshold=torch.tensor(theta),
        max_spikes=1,
        shift=None if shift is None else torch.tensor(shift),
        initial_potential=torch.tensor(start),
    )


def stream(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        # 0.5 +1.5 = 2 fires, 1 -1.8 = -0.8 is left: silent, although 0.5 + 1 would fire again
        ((1.5, -1.8, 1.0, 1.0), [1, 0, 0, 0]),
        # 0.5 +0.75 fires, 0.25 +0.5 = 0.75 is left: starts again at 0.5, fires at 1.5 and at 1
        ((0.75, 0.5, 1.0, 0.5), [1, 0, 1, 1]),
        # nothing at all is left: silent too
        ((0.75, 0.75, 1.0, 1.0), [1, 1, 0, 0]),
    ],
)
def test_a_neuron_left_without_potential_is_silent_after_the_warm_up(
    current: tuple[float, ...], expected: list[int]
) -> None:
    counts, _, gate = gated_scan(stream(*current), neurons(start=0.5), warmup=2)
    assert counts.flatten().tolist() == expected
    assert gate.item() == float(any(expected[2:]))


@pytest.mark.parametrize(
    ("warmup", "start", "expected"),
    [
        # 0.5 + 2 = 2.5 fires, -0.25 is left: one too many; lowered by 2.5 - 0.999 it misses it
        ((2.0, -1.75), -1.001, [0, 0]),
        # -0.5 does not fire, 2.5 does, 1.5 is left: one too few; raised by 1.001 + 0.5
        ((-1.0, 3.0), 2.001, [1, 1]),
        # 1.25 fires, 0.5 is left: right as it was
        ((0.75, 0.25), 0.5, [1, 0]),
        # -1.5 is left, but nothing was fired that could be taken back
        ((-1.0, -1.0), 0.5, [0, 0]),
        # fires at every step and has 2.5 left: goes on firing
        ((2.0, 2.0), 2.5, [1, 1]),
    ],
)
def test_one_spike_too_many_or_too_few_moves_the_start(
    warmup: tuple[float, ...], start: float, expected: list[int]
) -> None:
    parameters = neurons(start=0.5)
    assert offset_start(stream(*warmup), parameters).item() == pytest.approx(start)
    counts = offset_scan(stream(*warmup, *warmup), parameters, warmup=2)
    assert counts.flatten().tolist() == expected * 2


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), steps=st.integers(2, 6), theta=st.sampled_from([0.5, 1.0]))
def test_an_offset_never_leads_away_from_the_rounded_sum(
    seed: int, steps: int, theta: float
) -> None:
    current = dyadic((steps, 8, 4), seed, denominator=16, bound=40)
    parameters = neurons(theta, theta / 2)
    ideal = torch.floor(current.sum(0) / theta + 0.5).clamp(0, steps)
    before = burst_scan(current, parameters)[0].sum(0)
    after = burst_scan(current, parameters, offset_start(current, parameters))[0].sum(0)
    assert bool(((after - ideal).abs() <= (before - ideal).abs()).all())
    assert bool(((after - before).abs() <= 1).all())


def test_a_spike_sent_too_early_is_taken_back_and_only_such_a_one() -> None:
    # 1.25 fires, 0.25 is left; -1.25 takes it back, -0.25 is left; -1.25 has none to take back
    counts, membrane, total = memory_scan(stream(1.25, -1.5, -1.0), neurons())
    assert counts.flatten().tolist() == [1, -1, 0]
    assert membrane.item() == -1.25 and total.item() == 0


def test_the_size_of_a_spike_is_the_nearest_below_by_the_three_quarters_rule() -> None:
    # sizes 1, 0.5, 0.25. 0.75 fires 1 and leaves -0.25, which 0.25 gives back;
    # 0.6 fires 0.5 and leaves 0.1; -1.1 would give back 1, all that was sent
    counts, membrane, _ = level_scan(stream(0.75, 0.0, 0.625, -1.5), neurons(0.25), levels=3)
    assert counts.flatten().tolist() == [4, -1, 2, -4]
    assert membrane.item() == pytest.approx(-0.375)


def test_changes_of_a_constant_current_die_out_while_the_rate_comes_nearer() -> None:
    # sizes 1, 0.5, 0.25 at a current of 0.875, in units of 0.25:
    # t=1: 0.875 fires 1, rate 1, left -0.125. t=2: +0.875 - 1 = -0.25 fires -0.25, rate 0.875
    # t=3, 4: +0.875 - 0.875 leaves 0: silent, and the receiver goes on with 0.875
    current = torch.full((4, 1, 1), 0.875)
    counts, membrane, total, rate = change_scan(current, neurons(0.25), levels=3)
    assert counts.flatten().tolist() == [4, -1, 0, 0]
    assert membrane.item() == 0 and rate.item() * 0.25 == 0.875
    assert decoded(counts).flatten().tolist() == [4, 3, 3.5, 3.5]
    assert total.item() == 14 and decoded(counts).mean().item() == rate.item()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 4))
def test_what_receivers_decode_of_changes_keeps_the_charge(seed: int, levels: int) -> None:
    current = dyadic((7, 2, 3), seed, denominator=16, bound=40).double()
    counts, membrane, total, rate = change_scan(current, neurons(0.5, 0.25), levels)
    received = decoded(counts)
    assert torch.allclose(current.sum(0) + 0.25, received.sum(0) * 0.5 + membrane)
    assert torch.allclose(received.sum(0), total) and torch.allclose(received.mean(0), rate)
    assert bool((received.cumsum(0) >= -1e-9).all())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 4))
def test_signed_neurons_keep_the_charge_and_never_send_less_than_nothing(
    seed: int, levels: int
) -> None:
    current = dyadic((7, 2, 3), seed, denominator=16, bound=40)
    parameters = neurons(0.5, 0.25, shift=0.125)
    received = current.sum(0) + 7 * 0.125 + 0.25
    for counts, membrane, total in (
        memory_scan(current, parameters),
        level_scan(current, parameters, levels),
    ):
        assert torch.equal(received, counts.sum(0) * 0.5 + membrane)
        assert torch.equal(counts.sum(0), total)
        assert bool((counts.cumsum(0) >= 0).all())
    assert set(counts.abs().unique().tolist()) <= {0.0, *(2.0**i for i in range(levels))}


@pytest.mark.parametrize(
    "neuron",
    [
        BurstNeuron(threshold=0.5, dynamics="gated", warmup=2),
        BurstNeuron(threshold=0.5, dynamics="memory", shift=0.125),
        BurstNeuron(threshold=0.25, dynamics="levels", levels=3),
        BurstNeuron(threshold=0.25, dynamics="changes", levels=3),
    ],
    ids=lambda neuron: neuron.dynamics,
)
def test_step_by_step_gives_the_same_spikes(neuron: BurstNeuron) -> None:
    current = dyadic((6, 4, 5), 3, bound=12)
    whole, _ = neuron.scan(current, 6)
    state = NeuronState()
    parts, received = [], []
    for t in range(6):
        parts.append(neuron.scan(current[t : t + 1], 6, state)[0])
        received.append(neuron.received(parts[-1], state))
    assert torch.equal(torch.cat(parts), whole) and bool((whole[2:] != 0).any())
    assert torch.allclose(torch.cat(received), neuron.received(whole), atol=1e-6)
    assert state.step == 6


def test_offsets_cannot_run_step_by_step_and_say_so() -> None:
    neuron = BurstNeuron(dynamics="offset", warmup=2)
    with pytest.raises(UnsupportedModelError, match="whole warm-up before they fire.*predict"):
        neuron.scan(torch.zeros(1, 1, 1), 4, NeuronState())


@pytest.mark.parametrize("options", [{"kind": "capped", "cap": 1.0}, {"kind": "signed"}])
def test_other_activations_than_relu_are_refused(options: dict[str, object]) -> None:
    neuron = BurstNeuron(dynamics="memory", **options)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedModelError, match="stand in for ReLU only"):
        neuron.scan(torch.zeros(1, 1, 1), 1)


def test_unknown_dynamics_are_refused() -> None:
    with pytest.raises(ConfigError, match="no dynamics of neurons named 'memry'; did you mean"):
        BurstNeuron(dynamics="memry").scan(torch.zeros(1, 1, 1), 1)  # type: ignore[arg-type]


def test_a_neuron_says_what_it_may_send() -> None:
    assert [BurstNeuron(max_spikes=3).is_signed, BurstNeuron(dynamics="memory").is_signed] == [0, 1]
    assert BurstNeuron(max_spikes=3).largest_output == 3
    assert BurstNeuron(dynamics="levels", levels=4).largest_output == 8
