"""Pools of every shape, window by window."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.measure import measure_energy
from adacal.core.pooling import average_version, window_sum
from adacal.core.sensitivity import fan_out
from core.energy_toys import Captured, Functional, filled, images, seeded, spiking

SETTINGS = [
    (kernel, stride, padding, dilation, ceil_mode)
    for kernel in (2, 3)
    for stride in (1, 2, 3)
    for padding in (0, 1)
    for dilation in (1, 2, 3)
    for ceil_mode in (False, True)
]


def taps(size: int, kernel: int, stride: int, padding: int, dilation: int, out: int) -> list:  # type: ignore[type-arg]
    """For each of `out` windows along an axis, the positions it looks at (padding included)."""
    return [[i * stride - padding + dilation * k for k in range(kernel)] for i in range(out)]


def pooled_by_loops(x: Tensor, setting: tuple[int, int, int, int, bool], *, mean: bool) -> Tensor:
    kernel, stride, padding, dilation, ceil_mode = setting
    like = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    height, width = x.shape[2:]
    rows = taps(height, kernel, stride, padding, dilation, like.shape[2])
    columns = taps(width, kernel, stride, padding, dilation, like.shape[3])
    result = torch.zeros_like(like)
    for (i, down), (j, across) in itertools.product(enumerate(rows), enumerate(columns)):
        inside = [(a, b) for a in down for b in across if 0 <= a < height and 0 <= b < width]
        total = sum(x[:, :, a, b] for a, b in inside)
        counted = sum(a < height + padding for a in down) * sum(b < width + padding for b in across)
        result[:, :, i, j] = total / counted if mean else total
    return result


@pytest.mark.parametrize("setting", SETTINGS)
def test_windows_are_summed_and_averaged_tap_by_tap(
    setting: tuple[int, int, int, int, bool],
) -> None:
    x = torch.randint(0, 9, (2, 3, 8, 7), generator=seeded()).float()
    call = Call(torch.max_pool2d, "max_pool2d", (x, *setting))
    assert torch.equal(window_sum(call)(x), pooled_by_loops(x, setting, mean=False))
    torch.testing.assert_close(average_version(call, x), pooled_by_loops(x, setting, mean=True))


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: torch.max_pool2d(x, 2, 2, 0, 1, True),
        lambda x: F.max_pool2d(x, 2, stride=2, ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, 2, 1, 2),
        lambda x: F.max_pool2d(x, (3, 2), (1, 2), (1, 0), (2, 3), True),
        lambda x: F.max_pool1d(x.flatten(2), 3, dilation=4),
        lambda x: F.max_pool3d(x.unsqueeze(2), (1, 2, 2), dilation=2),
        lambda x: F.max_pool2d(x, 2, dilation=2, return_indices=True)[0],
    ],
)
@pytest.mark.parametrize("max_pool", ["running_max", "average", "step_max"])
def test_pools_with_dilation_or_positional_ceil_mode_are_converted_and_metered(
    pool: Callable[[Tensor], Tensor], max_pool: str
) -> None:
    inputs = torch.rand(2, 2, 7, 7, generator=seeded())
    net = filled(Functional(lambda x: pool(x).flatten(2).mean(2), nn.Linear(4, 3)))
    network = convert(net, inputs, T=3, max_pool=max_pool)  # type: ignore[arg-type]
    network.calibrate([inputs])
    report = measure_energy(network, inputs)
    assert report.sops > 0
    assert report.macs == report.ann_macs - 4 * 3
    fan = fan_out(network, inputs)["act"]
    meter = EnergyMeter(keep_graph=True)
    network.predict(inputs, meter)
    spikes = meter.leaves["act"].detach().unflatten(0, (3, -1)).sum(0)
    if max_pool == "average":  # the same for every spike, whenever it comes
        assert report.sops * 2 == pytest.approx(float((spikes * fan).sum()), rel=1e-5)
    assert bool((fan >= 0).all()) and float(fan.sum()) > 0


def test_a_dilated_running_max_passes_whole_spikes_on() -> None:
    inputs = images(3)
    net = filled(Functional(lambda x: F.max_pool2d(x, 2, 1, 0, 3), nn.Conv2d(4, 5, 1)))
    network = spiking(net, inputs)
    network.neurons["act"].threshold = 0.25
    captured = Captured(network.module.last)
    report = measure_energy(network, inputs)
    counts = captured.rows() / 0.25
    assert report.sops * 3 == pytest.approx(5 * counts.sum())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.amax(dim=()), "'amax' at 'amax' reduces all dimensions, samples included"),
        (lambda x: torch.amax(x, ()), "reduces all dimensions, samples included"),
        (lambda x: x.amax(), "reduces all dimensions, samples included"),
        (lambda x: x.amax((0, 2)), "reduces dimension 0, which holds the samples"),
        (lambda x: x.max(0)[0], "reduces dimension 0, which holds the samples"),
        (lambda x: x.transpose(0, 1).amax(-3), "reduces dimension 1, which holds the samples"),
    ],
)
def test_a_maximum_over_samples_is_refused_by_what_it_does(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    net = Functional(lambda x: x * function(x), nn.Conv2d(4, 3, 1))
    with pytest.raises(UnsupportedModelError, match=message):
        convert(net, images(2), T=2)


def test_sums_of_whole_numbers_are_whole_and_keep_their_gradients() -> None:
    x = torch.randint(0, 9, (2, 3, 7, 7), generator=seeded()).float().requires_grad_()
    call = Call(torch.nn.functional.adaptive_avg_pool2d, "adaptive_avg_pool2d", (x, 3))
    found = window_sum(call)(x)
    assert torch.equal(found, found.round()) and torch.equal(
        found[..., 0, 0], x[..., :3, :3].sum((2, 3))
    )
    found.sum().backward()
    assert x.grad is not None and bool((x.grad > 0.9).all())
    halves = window_sum(call)(x.detach() + 0.5)
    torch.testing.assert_close(halves[..., 0, 0], (x.detach() + 0.5)[..., :3, :3].sum((2, 3)))
