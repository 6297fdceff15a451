"""The neuron dynamics against the closed form, the charge law and hand-worked bursts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adacal.core.kernels import (
    BurstParameters,
    burst_scan,
    capped_scan,
    quantise,
    signed_scan,
)
from toys import dyadic

THETAS = st.sampled_from([0.25, 0.5, 1.0, 2.0])
STEPS = st.integers(1, 9)
SPIKES = st.integers(1, 5)
CURRENTS = st.integers(-64, 128).map(lambda n: n / 16)


def neurons(
    theta: float = 1.0, phi: int = 1, shift: float | None = None, start: float | None = None
) -> BurstParameters:
    return BurstParameters(
        threshold=torch.tensor(theta),
        max_spikes=phi,
        shift=None if shift is None else torch.tensor(shift),
        initial_potential=torch.tensor(theta / 2 if start is None else start),
    )


def stream(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1)


@settings(max_examples=200, deadline=None)
@given(a=CURRENTS, theta=THETAS, T=STEPS, phi=SPIKES)
def test_a_constant_current_gives_the_rounded_and_clipped_number_of_spikes(
    a: float, theta: float, T: int, phi: int
) -> None:
    counts, _ = burst_scan(torch.full((T, 1, 1), a), neurons(theta, phi))
    expected = min(max(int((T * a / theta + 0.5) // 1), 0), phi * T)
    assert counts.sum().item() == expected
    level = quantise(torch.tensor(a), torch.tensor(theta), phi, T)
    assert level.item() * T / theta == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), theta=THETAS, T=STEPS, phi=SPIKES)
def test_charge_is_neither_lost_nor_made(seed: int, theta: float, T: int, phi: int) -> None:
    current = dyadic((T, 2, 3), seed, denominator=16, bound=40)
    parameters = neurons(theta, phi, shift=0.125)
    counts, membrane = burst_scan(current, parameters)
    received = current.sum(0) + 0.125 * T
    assert torch.equal(received, counts.sum(0) * theta + membrane - theta / 2)
    assert bool(((counts >= 0) & (counts <= phi) & (counts == counts.floor())).all())


@pytest.mark.parametrize(
    ("phi", "current", "expected", "left"),
    [
        (1, (2.0, 0.0, 0.0, 0.0), [1, 1, 0, 0], 0.5),  # one a step: the charge waits
        (2, (2.0, 0.0, 0.0, 0.0), [2, 0, 0, 0], 0.5),
        (3, (5.0, -1.0, 0.0), [3, 1, 0], 0.5),
        (4, (-2.0, 3.0, 0.5), [0, 1, 1], 0.0),  # a negative charge is paid back first
        (2, (0.5, 0.5, 0.5), [1, 0, 1], 0.0),  # exactly at the threshold it fires
    ],
)
def test_hand_worked_bursts(
    phi: int, current: tuple[float, ...], expected: list[int], left: float
) -> None:
    counts, membrane = burst_scan(stream(*current), neurons(phi=phi))
    assert counts.flatten().tolist() == expected
    assert membrane.item() == left


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), T=st.integers(2, 8), cut=st.integers(1, 7), phi=SPIKES)
def test_a_scan_cut_in_two_goes_on_where_it_stopped(seed: int, T: int, cut: int, phi: int) -> None:
    cut = min(cut, T - 1)
    current = dyadic((T, 2, 3), seed, bound=20)
    parameters = neurons(0.5, phi, shift=-0.125)
    whole, end = burst_scan(current, parameters)
    first, middle = burst_scan(current[:cut], parameters)
    kept = middle.clone()
    second, last = burst_scan(current[cut:], parameters, middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, end)
    assert torch.equal(middle, kept), "the caller's membrane was overwritten"

    whole, end, fired = capped_scan(current, parameters, 1.0)
    first, middle, sent = capped_scan(current[:cut], parameters, 1.0)
    second, last, total = capped_scan(current[cut:], parameters, 1.0, middle, sent, cut)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, end) and torch.equal(total, fired)

    slope = torch.tensor(0.25)
    whole, end, fired = signed_scan(current, parameters, slope)
    first, middle, sent = signed_scan(current[:cut], parameters, slope)
    second, last, total = signed_scan(current[cut:], parameters, slope, middle, sent)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, end) and torch.equal(total, fired)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), theta=THETAS, T=STEPS, phi=SPIKES)
def test_a_capped_neuron_never_exceeds_its_cap_by_more_than_rounding(
    seed: int, theta: float, T: int, phi: int
) -> None:
    current = dyadic((T, 4, 3), seed, bound=100)
    counts, membrane, fired = capped_scan(current, neurons(theta, phi), 1.5)
    sent = counts.cumsum(0) * theta
    time = torch.arange(1, T + 1).reshape(-1, 1, 1)
    assert bool((sent <= 1.5 * time + theta / 2).all())
    if (1.5 / theta).is_integer():
        assert bool((sent <= 1.5 * time).all())
    assert bool((counts >= 0).all())
    assert torch.equal(fired, counts.sum(0))
    assert torch.equal(current.sum(0), counts.sum(0) * theta + membrane - theta / 2)


@settings(max_examples=100, deadline=None)
@given(a=CURRENTS, theta=THETAS, T=STEPS)
def test_a_capped_neuron_at_constant_current_quantises_the_capped_activation(
    a: float, theta: float, T: int
) -> None:
    counts, _, _ = capped_scan(torch.full((T, 1, 1), a), neurons(theta, 100), 2.0)
    expected = quantise(torch.tensor(min(a, 2.0)), torch.tensor(theta), 100, T)
    assert counts.sum().item() * theta / T == pytest.approx(expected.item())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), theta=THETAS, T=STEPS)
def test_a_signed_neuron_stays_within_half_a_threshold_of_the_leaky_sum(
    seed: int, theta: float, T: int
) -> None:
    current = dyadic((T, 4, 3), seed, bound=30)
    counts, received, sent = signed_scan(current, neurons(theta, 1000), torch.tensor(0.25))
    sums = current.cumsum(0)
    leaky = torch.where(sums > 0, sums, 0.25 * sums)
    assert bool(((counts.cumsum(0) * theta - leaky).abs() <= theta / 2).all())
    assert torch.equal(received, sums[-1]) and torch.equal(sent, counts.sum(0))


def test_a_signed_neuron_fires_at_most_phi_either_way() -> None:
    counts, _, _ = signed_scan(stream(9.0, -90.0, 0.0), neurons(phi=2), torch.tensor(0.5))
    assert counts.flatten().tolist() == [2, -2, -2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scans_keep_the_type_and_leave_their_input_alone(dtype: torch.dtype) -> None:
    current = dyadic((3, 2, 4), 1).to(dtype)
    before = current.clone()
    for counts in (
        burst_scan(current, neurons())[0],
        capped_scan(current, neurons(), 1.0)[0],
    ):
        assert counts.dtype == dtype
    assert torch.equal(current, before)


def test_a_current_that_is_one_frame_expanded_over_time_is_scanned_like_copies() -> None:
    frame = dyadic((1, 2, 4), 3, bound=20)
    expanded = frame.expand(5, -1, -1)
    parameters = neurons(0.5, 2)
    assert torch.equal(
        burst_scan(expanded, parameters)[0], burst_scan(expanded.contiguous(), parameters)[0]
    )
