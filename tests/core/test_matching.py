"""Thresholds matched on the arriving current: against a brute-force judge, and on trained nets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from adacal.core.matching import FACTORS, SLOPE_WEIGHT, matched_threshold, restore_mean
from adacal.core.neuron import BurstNeuron
from core.energy_toys import seeded


def lumpy(channels: int = 3, positions: int = 60, T: int = 4) -> tuple[Tensor, Tensor]:
    """Activations [C, n] and a current [T, n, C] that brings their pre-activation in lumps."""
    wanted = torch.randn(positions, channels, generator=seeded())
    share = torch.rand(T, positions, channels, generator=seeded(1))
    steps = wanted * share / share.mean(0)
    return wanted.clamp_min(0).T, steps


def spikes_by_loops(steps: np.ndarray, theta: float, shift: float, phi: int) -> np.ndarray:
    """Mean output of burst neurons, one channel, step by step; steps [T, n]."""
    potential = np.full(steps.shape[1], theta / 2)
    total = np.zeros(steps.shape[1])
    for current in steps:
        potential += current + shift
        fired = np.clip(np.floor(potential / theta), 0, phi)
        potential -= fired * theta
        total += fired * theta
    return total / len(steps)


@pytest.mark.parametrize("phi", [1, 2])
def test_the_choice_is_that_of_a_loop_over_channels_and_candidates(phi: int) -> None:
    activation, steps = lumpy()
    start = torch.tensor([0.8, 1.1, 0.6])
    neuron = BurstNeuron(threshold=start, max_spikes=phi, channel_dim=-1)
    found = matched_threshold(neuron, activation.double(), steps.double(), T=4)
    for channel in range(3):
        a = activation[channel].double().numpy()
        current = steps[:, :, channel].double().numpy()
        losses = []
        for factor in FACTORS:
            theta, shift = factor * float(start[channel]), 0.0
            few = len(a) // 4
            for number in range(3):
                fired = spikes_by_loops(current[:, :few], theta, shift, phi)
                missing = a[:few].mean() - fired.mean()
                shift += missing if number == 0 else 0.7 * missing
            s = spikes_by_loops(current, theta, shift, phi)
            slope = np.cov(a, s, bias=True)[0, 1] / a.var()
            noise = s.var() - slope**2 * a.var()
            losses.append(noise / slope**2 + SLOPE_WEIGHT * (1 - slope) ** 2 * a.var())
        best = FACTORS[int(np.argmin(losses))] * float(start[channel])
        assert float(found[channel]) == pytest.approx(best, rel=1e-6)


def test_one_factor_for_all_channels_minimises_the_sum() -> None:
    activation, steps = lumpy()
    neuron = BurstNeuron(threshold=torch.tensor([0.8, 1.1, 0.6]), channel_dim=-1)
    found = matched_threshold(neuron, activation, steps, T=4, per_channel=False)
    ratios = found / torch.as_tensor(neuron.threshold)
    assert torch.allclose(ratios, ratios[0].expand(3))
    assert any(float(ratios[0]) == pytest.approx(factor, rel=1e-5) for factor in FACTORS)


def test_restoring_the_mean_leaves_little_of_the_error() -> None:
    activation, steps = lumpy()
    neuron = BurstNeuron(threshold=torch.tensor([0.8, 1.1, 0.6]), channel_dim=-1)
    wanted = activation.mean(1)

    def error() -> Tensor:
        counts, theta = neuron.scan(steps, 4)
        return (wanted - (counts * theta).mean((0, 1))).abs()

    before = error()
    neuron.shift = torch.zeros(3)
    restore_mean(neuron, wanted, steps, 4, repeats=12, damping=0.7)
    assert error().mean() < 0.2 * before.mean()


def test_a_silent_channel_keeps_a_positive_threshold() -> None:
    activation, steps = lumpy()
    activation[1], steps[:, :, 1] = 0.0, -1.0
    neuron = BurstNeuron(threshold=torch.tensor([0.8, 1.1, 0.6]), channel_dim=-1)
    found = matched_threshold(neuron, activation, steps, T=4)
    assert bool(torch.isfinite(found).all()) and bool((found > 0).all())
