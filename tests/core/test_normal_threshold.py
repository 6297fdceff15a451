"""Threshold iteration: by hand, against plain integrals, and what it is an iteration towards."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from adacal.core.conversion import convert
from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.normal_threshold import START, normal_threshold, pre_activation_moments


def fitted(mean: float, variance: float, levels: int, iterations: int = 100) -> float:
    given = torch.tensor([mean, variance], dtype=torch.float64)
    return float(normal_threshold(given[:1], given[1:], levels, iterations))


def share(x: float, theta: float, levels: int) -> float:
    """What a neuron sends of x, in units of theta: rounded, from 0 to 1."""
    return min(max(math.floor(x / theta * levels + 0.5), 0), levels) / levels


def points(mean: float, variance: float, count: int = 6001) -> list[tuple[float, float]]:
    """Places between 9 standard deviations and their weights under the normal distribution."""
    deviation = math.sqrt(variance)
    places = [mean + deviation * (18 * k / (count - 1) - 9) for k in range(count)]
    return [(x, math.exp(-((x - mean) ** 2) / (2 * variance))) for x in places]


def test_one_level_from_one_is_the_mean_of_what_lies_above_a_half() -> None:
    # E[x; x > 1/2] = density(1/2), E[r²] = P(x > 1/2): the mean of a normal cut off at 1/2
    density = math.exp(-0.125) / math.sqrt(2 * math.pi)
    above = 0.5 * math.erfc(0.5 / math.sqrt(2))
    assert fitted(0.0, 1.0, levels=1, iterations=1) == pytest.approx(density / above, rel=1e-12)


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (-0.7, 0.25), (1.5, 2.0)])
@pytest.mark.parametrize("levels", [1, 4, 32])
def test_rounds_are_those_of_plain_integrals(mean: float, variance: float, levels: int) -> None:
    theta = START
    for _ in range(4):
        product = square = 0.0
        for x, weight in points(mean, variance):
            sent = share(x, theta, levels)
            product += weight * x * sent
            square += weight * sent**2
        theta = product / square
    assert fitted(mean, variance, levels, iterations=4) == pytest.approx(theta, rel=2e-3)


def test_it_is_an_iteration_towards_the_least_squared_error() -> None:
    x = torch.linspace(-9, 9, 100_001, dtype=torch.float64) + 0.25
    weight = torch.exp(-(x - 0.25).square() / 2)

    def squared_error(theta: float) -> float:
        sent = (x / theta * 8 + 0.5).floor().clamp(0, 8) / 8 * theta
        return float((weight * (sent - x.clamp_min(0)).square()).sum())

    found = fitted(0.25, 1.0, levels=8, iterations=300)
    best = min((2.4 + 0.01 * k for k in range(60)), key=squared_error)
    assert found == pytest.approx(best, abs=0.01)
    assert squared_error(found) < min(squared_error(0.95 * found), squared_error(1.05 * found))


def test_many_levels_are_not_there_after_the_published_rounds() -> None:
    early, late = fitted(0.0, 1.0, 512), fitted(0.0, 1.0, 512, iterations=3000)
    assert early < 3.3 < 4.2 < late


def test_channels_are_apart_and_one_that_never_fires_stays_where_rounds_begin() -> None:
    mean, variance = torch.tensor([0.5, -90.0, 3.0, -2.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = normal_threshold(mean, variance, 8)
    assert found.dtype == torch.float32 and found[0].item() == pytest.approx(fitted(0.5, 1, 8))
    assert found[1].item() == found[3].item() == START
    # a constant of 3 is the largest level itself, once the threshold has come to it
    assert found[2].item() == pytest.approx(3.0)


def test_what_cannot_be_fitted_is_refused_in_a_sentence() -> None:
    one = torch.ones(2)
    with pytest.raises(CalibrationError, match="finite mean and variance"):
        normal_threshold(one, torch.tensor([1.0, float("nan")]), 8)
    with pytest.raises(ConfigError, match="levels must be a whole number of at least 1; got 0"):
        normal_threshold(one, one, 0)


def pooled_line() -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(
        nn.Conv1d(1, 2, 1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(2, 1, 1), nn.ReLU(),
        nn.Conv1d(1, 1, 1),
    )  # fmt: skip
    for parameter in net.parameters():
        nn.init.constant_(parameter, float(parameter.dim() > 1))
    net[0].weight.data = torch.tensor([[[1.0]], [[-1.0]]])
    return net, torch.tensor([[[1.0, 3.0, -2.0, 4.0]], [[0.0, 2.0, -1.0, -3.0]]])


def test_moments_are_of_what_a_pool_lets_pass_negative_values_and_all() -> None:
    net, x = pooled_line()
    network = convert(net, x, T=2)
    moments = pre_activation_moments(network, x)
    # of x the pools pass 3, 4, 2, -1; of -x they pass -1, 2, 0, 3
    assert moments["1"][0].tolist() == [2.0, 1.0]
    assert moments["1"][1].tolist() == [(1 + 4 + 0 + 9) / 4, (4 + 1 + 1 + 4) / 4]
    # behind the ReLU: 3 + 0, 4 + 2, 2 + 0, 0 + 3
    assert moments["4"][0].tolist() == [3.5] and moments["4"][1].tolist() == [2.25]
    layer = pre_activation_moments(network, x, per_channel=False)
    assert layer["1"][0].tolist() == [1.5, 1.5] and layer["4"][0].tolist() == [3.5]
    assert layer["1"][1].tolist() == [3.25, 3.25]
