"""A sample may have several rows, as the points of a cloud: nothing else may depend on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adacal.core import parts
from adacal.core.channel_tables import measure_channels
from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.exit_rules import ExitRule
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from adacal.core.search import threshold_candidates
from adacal.core.sensitivity import Tables, fan_out, measure_tables
from core.energy_toys import Functional, filled, images

pytestmark = pytest.mark.usefixtures("every_way")

POINTS = 7


class Points(nn.Module):
    """Layers on points, a pooling over them and a layer on the whole cloud."""

    def __init__(self, *, folded: bool, pool: str) -> None:
        super().__init__()
        self.folded, self.pool = folded, pool
        self.first, self.second, self.last = nn.Linear(3, 5), nn.Linear(5, 6), nn.Linear(6, 4)
        self.one, self.two = nn.ReLU(), nn.ReLU()

    def forward(self, clouds: Tensor) -> Tensor:
        rows = clouds.flatten(0, 1) if self.folded else clouds
        rows = self.two(self.second(self.one(self.first(rows))))
        if self.folded:
            rows = rows.unflatten(0, (-1, clouds.shape[1]))
        return self.last(rows.amax(1) if self.pool == "max" else rows.mean(1))


def clouds(count: int = 6) -> Tensor:
    return torch.randn(count, POINTS, 3, generator=torch.Generator().manual_seed(1))


def pair(pool: str, T: int, batch: int = 6) -> list[SpikingNetwork]:
    """The same network on rows of points and on whole clouds, with a threshold a channel."""
    networks = []
    for folded in (True, False):
        net = filled(Points(folded=folded, pool=pool))
        networks.append(convert(net, clouds(batch), T=T, max_spikes=2))
        networks[-1].calibrate([clouds(12)])
    return networks


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize(("T", "batch"), [(1, 1), (1, 3), (4, 1), (4, 3)])
def test_rows_of_points_change_neither_outputs_nor_counts(pool: str, T: int, batch: int) -> None:
    folded, whole = pair(pool, T, batch)
    inputs = clouds(batch)
    assert torch.allclose(folded(inputs), whole(inputs), atol=1e-6)
    found, wanted = (measure_energy(network, inputs) for network in (folded, whole))
    assert wanted.macs == found.macs == POINTS * 3 * 5
    assert found.sops == pytest.approx(wanted.sops)
    assert found.spikes == pytest.approx(wanted.spikes)
    assert wanted.sops > 0


def tables(network: SpikingNetwork, inputs: Tensor, **options: str) -> Tables:
    found = threshold_candidates(network, inputs, [1, 2, 4])
    setting = {"sensitivity": "probe", "cost": "pj", **options}
    return measure_tables(network, inputs, found, divergence=symmetric_kl, **setting)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_errors_of_the_rows_of_a_sample_add_up_in_the_table(pool: str) -> None:
    inputs = clouds(8)
    folded, whole = (tables(network, inputs) for network in pair(pool, T=4))
    assert float(whole.sensitivity.min()) > 0
    assert torch.allclose(folded.sensitivity, whole.sensitivity, rtol=1e-4)
    assert torch.allclose(folded.cost, whole.cost, rtol=1e-5)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_errors_of_the_rows_of_a_sample_add_up_in_the_table_by_channel(pool: str) -> None:
    inputs, grid = clouds(8), (-8, -4, 0)
    folded, whole = (
        measure_channels(network, inputs, max_spikes=4, divergence=symmetric_kl, grid=grid)
        for network in pair(pool, T=4)
    )
    assert whole.sensitivity.shape == (5 + 6, 3) and float(whole.sensitivity.max()) > 0
    assert torch.allclose(folded.sensitivity, whole.sensitivity, rtol=1e-4)
    assert torch.allclose(folded.cost, whole.cost, rtol=1e-5)


def test_probe_and_exact_tables_agree_where_a_sample_has_several_rows() -> None:
    inputs = clouds(24)
    network = convert(filled(Points(folded=True, pool="mean")), inputs, T=64, max_spikes=8)
    found = threshold_candidates(network, inputs, [6, 8])
    probe, exact = (
        measure_tables(
            network,
            inputs,
            found,
            sensitivity=sensitivity,
            cost="spikes",
            divergence=symmetric_kl,
        ).sensitivity
        for sensitivity in ("probe", "exact")
    )
    assert torch.allclose(probe, exact, rtol=0.05, atol=float(exact.max()) * 0.02)


def test_the_fan_out_has_a_row_for_each_row_of_a_sample() -> None:
    folded, whole = (fan_out(network, clouds(4)) for network in pair("mean", T=2))
    assert folded["one"].shape == (POINTS, 5)
    assert torch.equal(folded["one"], whole["one"][0])


def test_samples_leave_a_stepwise_run_with_all_their_rows() -> None:
    inputs = clouds(16)
    folded, whole = pair("max", T=4)
    steps = folded.steps(inputs)
    confidence = steps.softmax(2).amax(2)[:3].flatten()
    rule = ExitRule("confidence", (float(confidence.median()),) * 4)
    found, wanted = (network.run_until_confident(inputs, rule) for network in (folded, whole))
    assert 1 < float(found.timesteps.float().mean()) < 4
    assert torch.equal(found.timesteps, wanted.timesteps)
    picked = steps[found.timesteps - 1, torch.arange(16)]
    assert torch.allclose(found.output, picked, atol=1e-6)


def test_rows_with_different_thresholds_are_not_pooled_as_spikes() -> None:
    inputs = images(2)

    def maximum_over_channels(x: Tensor) -> Tensor:
        rows = x.flatten(0, 1).unflatten(0, (-1, 4))
        return rows.amax(1, keepdim=True)

    net = filled(Functional(maximum_over_channels, nn.Conv2d(1, 3, 1)))
    network = convert(net, inputs, T=3, max_spikes=2)
    network.calibrate([inputs], "none")
    assert measure_energy(network, inputs).sops == 0
    network.neurons["act"].threshold = 0.25
    assert measure_energy(network, inputs).sops > 0


def test_batches_of_many_rows_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = clouds(8)
    for network in pair("max", T=4):
        whole = network(inputs)
        per_sample = POINTS * 6 * inputs.element_size() * network.T
        monkeypatch.setattr(parts, "REUSED_BYTES", 3 * per_sample)
        assert parts.plan(network, inputs) == parts.Parts(samples=3, steps=4)
        assert torch.allclose(network(inputs), whole, atol=1e-6)
