"""Thresholds from activations: hand-worked values, brute force, and what must always hold."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adacal.core import thresholds
from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.kernels import quantise
from adacal.core.thresholds import (
    max_threshold,
    mmse_threshold,
    percentile_threshold,
    sample_columns,
)

Fit = Callable[..., Tensor]

FITS: list[Fit] = [
    lambda values, **options: max_threshold(values, 2, **options),
    lambda values, **options: percentile_threshold(values, 99.9, 2, **options),
    lambda values, **options: mmse_threshold(values, 4, 2, **options),
]


def squared_error(values: Tensor, theta: float, T: int, max_spikes: int, offset: float) -> float:
    gap = quantise(values, torch.tensor(theta), max_spikes, T, offset) - values.clamp_min(0)
    return float(gap.double().square().sum())


def test_max_threshold_is_the_peak_divided_by_max_spikes() -> None:
    values = torch.tensor([[0.0, 3.0, -9.0], [6.0, 1.0, 2.0]])
    assert max_threshold(values).tolist() == [3.0, 6.0]
    assert max_threshold(values, max_spikes=3).tolist() == [1.0, 2.0]
    assert max_threshold(values, max_spikes=3, per_channel=False).tolist() == [2.0, 2.0]


def test_percentile_is_the_nearest_rank_and_counts_zeros() -> None:
    values = torch.tensor([[4.0, 1.0, 3.0, 2.0, 5.0, -1.0, -2.0, 0.0, 7.0, 100.0]])
    assert percentile_threshold(values, 90).item() == 7.0
    assert percentile_threshold(values, 50).item() == 2.0
    assert percentile_threshold(values, 100, max_spikes=4).item() == 25.0


def test_percentile_over_a_layer_takes_all_values_together() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 40.0]])
    assert percentile_threshold(values, 75, per_channel=False).tolist() == [3.0, 3.0]


def test_percentile_of_a_rarely_firing_channel_falls_back_to_its_maximum() -> None:
    values = torch.zeros(1, 1000)
    values[0, 5] = 3.0
    assert percentile_threshold(values, 90).item() == 3.0


def test_mmse_finds_the_threshold_that_represents_the_values_exactly() -> None:
    # levels of theta = 0.5 at T=2, phi=2 are 0, 1/4, 1/2, 3/4, 1
    values = torch.tensor([[0.25, 0.5, 0.75, 1.0, -4.0]])
    assert mmse_threshold(values, T=2, max_spikes=2).item() == pytest.approx(0.5)


def test_mmse_without_the_half_threshold_lowers_the_grid_to_the_values() -> None:
    # floor(x * T / theta): 0.9 reaches level 1 of T=1 only where theta <= 0.9
    values = torch.tensor([[0.9] * 50 + [1.0]])
    assert mmse_threshold(values, T=1, max_spikes=1, offset=0.0).item() == pytest.approx(
        0.9, abs=0.011
    )


def test_mmse_clips_an_outlier_when_many_small_values_gain() -> None:
    values = torch.cat([torch.full((1, 10_000), 0.4), torch.ones(1, 1)], dim=1)
    assert mmse_threshold(values, T=1, max_spikes=1).item() == pytest.approx(0.4, abs=0.011)


def test_mmse_grid_scales_with_max_spikes() -> None:
    values = torch.linspace(0, 1, 200)[None]
    theta = mmse_threshold(values, T=4, max_spikes=32).item()
    assert 0.06 / 32 <= theta <= 1 / 32 + 1e-6


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    T=st.integers(1, 8),
    max_spikes=st.integers(1, 9),
    offset=st.sampled_from([0.25, 0.5]),
    per_channel=st.booleans(),
)
def test_mmse_error_is_that_of_an_exhaustive_search(
    seed: int, T: int, max_spikes: int, offset: float, per_channel: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 40, generator=generator, dtype=torch.float64) * 5
    found = mmse_threshold(values, T, max_spikes, offset=offset, per_channel=per_channel)
    rows = values if per_channel else values.reshape(1, -1)
    for row, theta in zip(rows, found, strict=False):
        peak = float(row.max())
        least = min(
            squared_error(row, peak * (1 - 0.01 * i) / max_spikes, T, max_spikes, offset)
            for i in range(95)
        )
        got = squared_error(row, float(theta), T, max_spikes, offset)
        # a value on the edge of two levels may round either way, with equal error
        assert got == pytest.approx(least, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("chunk", [7, 50, 333])
def test_mmse_does_not_depend_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    values = torch.randn(5, 33, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = mmse_threshold(values, T=4, max_spikes=2)
    monkeypatch.setattr(thresholds, "_CHUNK", chunk)
    assert torch.equal(mmse_threshold(values, T=4, max_spikes=2), whole)


@pytest.mark.parametrize("fit", FITS)
def test_silent_channels_get_the_largest_threshold_of_the_layer(fit: Fit) -> None:
    values = torch.tensor([[-1.0, 0.0], [1.0, 1.0], [4.0, 4.0]])
    theta = fit(values)
    assert theta[0] == theta[2] > theta[1] > 0


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("fit", FITS)
def test_a_dead_layer_gets_thresholds_of_one(fit: Fit, per_channel: bool) -> None:
    assert fit(-torch.ones(3, 4), per_channel=per_channel).tolist() == [1.0, 1.0, 1.0]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), magnitude=st.integers(-25, 25), fit=st.sampled_from(FITS),
    per_channel=st.booleans(),
)  # fmt: skip
def test_thresholds_are_positive_finite_and_scale_with_the_values(
    seed: int, magnitude: int, fit: Fit, per_channel: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 9, generator=generator)
    theta = fit(values, per_channel=per_channel)
    scaled = fit(values * 2.0**magnitude, per_channel=per_channel)
    assert theta.shape == (4,) and bool((theta > 0).all()) and bool(theta.isfinite().all())
    assert torch.allclose(scaled, theta * 2.0**magnitude, rtol=1e-5)


@pytest.mark.parametrize("fit", FITS)
def test_huge_and_half_precision_values_give_finite_thresholds(fit: Fit) -> None:
    assert bool(fit(torch.tensor([[1e30, 3e30]])).isfinite().all())
    assert fit(torch.tensor([[1.0, 2.0]], dtype=torch.float16)).dtype == torch.float32


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (torch.tensor([[1.0, float("nan")]]), "finite; got 1 NaN or infinite of 2"),
        (torch.tensor([[float("inf"), 0.0]]), "finite"),
        (torch.empty(3, 0), "no activations"),
        (torch.empty(0, 3), "no activations"),
        (torch.ones(2, 3, 4), "shape"),
        (torch.ones(2, 3, dtype=torch.int64), "floating point"),
    ],
)
def test_unusable_values_are_a_calibration_error(fit: Fit, values: Tensor, sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        fit(values)


@pytest.mark.parametrize(
    "call",
    [
        lambda values: max_threshold(values, 0),
        lambda values: percentile_threshold(values, 0),
        lambda values: percentile_threshold(values, 101),
        lambda values: mmse_threshold(values, 0, 1),
        lambda values: mmse_threshold(values, 1, 1, candidates=101),
        lambda values: mmse_threshold(values, 1, 1, offset=1.0),
        lambda values: sample_columns(values, 0, torch.Generator()),
    ],
)
def test_settings_out_of_range_are_a_config_error(call: Fit) -> None:
    with pytest.raises(ConfigError, match="got"):
        call(torch.ones(2, 3))


@settings(max_examples=40, deadline=None)
@given(total=st.integers(1, 200), limit=st.integers(1, 60), seed=st.integers(0, 1000))
def test_sampled_columns_are_distinct_whole_columns(total: int, limit: int, seed: int) -> None:
    values = torch.stack([torch.arange(total), -torch.arange(total)]).float()
    drawn = sample_columns(values, limit, torch.Generator().manual_seed(seed))
    assert drawn.shape == (2, min(total, limit))
    assert torch.equal(drawn[0], -drawn[1])
    assert drawn[0].unique().numel() == drawn.shape[1]


@pytest.mark.parametrize("total", [12, 60])  # by permutation, and by drawing until distinct
def test_every_column_is_drawn_equally_often(total: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.arange(total).float()[None]
    drawn = torch.cat([sample_columns(values, 5, generator).flatten() for _ in range(3000)])
    share = torch.bincount(drawn.long(), minlength=total) / 3000
    deviation = (5 / total * (1 - 5 / total) / 3000) ** 0.5
    assert float((share - 5 / total).abs().max()) < 4.5 * deviation


def test_sampling_refuses_a_tensor_that_is_not_flattened() -> None:
    with pytest.raises(CalibrationError, match="flatten"):
        sample_columns(torch.ones(2, 3, 4), 5, torch.Generator())
