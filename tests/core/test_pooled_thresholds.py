"""Thresholds of neurons that only max pools read are fitted to what the pools let pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import adacal
from adacal.core.conversion import convert
from adacal.core.search import threshold_candidates
from adacal.core.thresholds import largest_of_runs, mmse_threshold
from core.energy_toys import Functional, filled, images

READERS: dict[str, tuple[Callable[[Tensor], Tensor], int | None]] = {
    "a pool": (lambda x: F.max_pool2d(x, 2), 4),
    "a pool by keywords": (lambda x: F.max_pool2d(x, kernel_size=(3, 2), stride=1), 6),
    "an adaptive pool": (lambda x: F.adaptive_max_pool2d(x, 2), 9),
    "an adaptive pool of one axis": (lambda x: F.adaptive_max_pool2d(x, (1, None)), 6),
    "the largest of a dimension": (lambda x: x.max(2, keepdim=True).values, 6),
    "the largest of two dimensions": (lambda x: x.amax((2, 3), keepdim=True), 36),
    "a view of it": (lambda x: x.flatten(2).unflatten(2, (6, 6)).amax(3, keepdim=True), 6),
    "two pools": (lambda x: F.max_pool2d(x, 2) + F.max_pool2d(x, 3, 2, 1), 9),
    "nothing but layers": (lambda x: x, None),
    "an average": (lambda x: F.avg_pool2d(x, 2), None),
    "a pool and a shortcut": (lambda x: x + F.max_pool2d(x, 3, 1, 1), None),
    "a pool after a sum": (lambda x: F.max_pool2d(x + 1.0, 2), None),
    "a pool after a sum with itself": (lambda x: F.max_pool2d(x + x, 2), None),
    "a pool of two joined": (lambda x: F.max_pool2d(torch.cat([x, x], 1), 2)[:, :4], None),
}


@pytest.mark.parametrize("form", READERS)
def test_windows_are_known_of_sites_that_only_max_pools_read(form: str) -> None:
    read, window = READERS[form]
    net = filled(Functional(read, nn.Conv2d(4, 3, 1)))
    network = convert(net, images(2), T=2)
    assert network.windows == ({} if window is None else {"act": window})


def test_an_output_reads_its_site() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(3, 4), nn.ReLU()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.act(self.layer(x))
            return x, x.amax(1)

    assert convert(filled(Two()), torch.rand(2, 5, 3), T=2).windows == {}


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 9), st.integers(1, 7))
def test_runs_are_the_windows_of_a_pool_over_neighbours(
    channels: int, columns: int, window: int, limit: int
) -> None:
    values = torch.rand(channels, columns, generator=torch.Generator().manual_seed(columns))
    found = largest_of_runs(values, window, limit)
    if columns < window:
        assert torch.equal(found, values.amax(1, keepdim=True))
        return
    pooled = F.max_pool1d(values[None], window)[0]
    assert found.shape == (channels, min(pooled.shape[1], limit))
    if limit >= pooled.shape[1]:
        assert torch.equal(found, pooled)
    assert torch.isin(found, pooled).all()


class Cloud(nn.Module):
    """A layer on points, its maximum over them and a layer on that."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.act, self.last = nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 5)

    def forward(self, clouds: Tensor) -> Tensor:
        return self.last(self.act(self.points(clouds)).amax(1))


def clouds(seed: int, count: int = 32) -> Tensor:
    return torch.randn(count, 200, 3, generator=torch.Generator().manual_seed(seed))


def cloud_network(T: int = 4, phi: int = 4) -> tuple[nn.Module, adacal.SpikingNetwork]:
    net = filled(Cloud())
    return net, convert(net, clouds(0)[:2], T=T, max_spikes=phi)


def test_thresholds_before_a_max_pool_are_mmse_thresholds_of_its_winners() -> None:
    net, network = cloud_network()
    inputs = clouds(0)
    network.calibrate([inputs])
    winners = net.act(net.points(inputs)).amax(1).T
    wanted = mmse_threshold(winners, 4, 4)
    assert torch.allclose(torch.as_tensor(network.neurons["act"].threshold), wanted)
    candidates = threshold_candidates(network, inputs, [4])["act"][0]
    assert torch.allclose(candidates.threshold, wanted)


@pytest.mark.parametrize(("T", "phi"), [(1, 4), (2, 4), (8, 4), (4, 1)])
def test_fitting_to_the_winners_brings_the_output_nearer(T: int, phi: int) -> None:
    net, network = cloud_network(T, phi)
    wanted, gaps = net(clouds(1)).detach(), []
    for windows in (network.windows, {}):
        network.windows = windows
        network.calibrate([clouds(0)])
        gaps.append(float((network(clouds(1)) - wanted).square().mean()))
    assert gaps[0] < 0.8 * gaps[1]


def test_a_network_read_back_is_calibrated_as_before(tmp_path) -> None:
    net, network = cloud_network()
    network.calibrate([clouds(0)])
    network.save(tmp_path / "net.safetensors")
    again = adacal.load(tmp_path / "net.safetensors", net)
    again.calibrate([clouds(0)])
    assert torch.equal(again(clouds(1)), network(clouds(1)))
