"""Tables by channel against brute force, probes by layer, drawn residuals and the exact counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adacal.core.candidates import Candidate
from adacal.core.channel_tables import ChannelTables, measure_channels
from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from adacal.core.sensitivity import measure_tables
from core.energy_toys import between, filled, images, seeded, trained_small

whole = st.integers(0, 40)
Rows = list[list[tuple[int, int]]]
rows_of_channels = st.lists(
    st.lists(st.tuples(whole, whole), min_size=3, max_size=3), min_size=1, max_size=4
)


def tables_of(rows: Rows) -> ChannelTables:
    """Tables of one site; each channel's rows are its (sensitivity, cost)."""
    both = torch.tensor(rows, dtype=torch.float64)
    return ChannelTables(
        sites=["a"],
        channels=[len(rows)],
        threshold=torch.arange(both[..., 0].numel()).view(both.shape[:2]).float(),
        sensitivity=both[..., 0],
        cost=both[..., 1],
    )


def hull_of(rows: Rows) -> list[tuple[float, float]]:
    """Vertices (cost, sensitivity) of the lower hull of all choices, from cheapest to best."""
    points = {(sum(e for _, e in pick), sum(s for s, _ in pick)) for pick in product(*rows)}
    vertices = [min(points)]
    while True:
        cost, harm = vertices[-1]
        better = [(e, s) for e, s in points if s < harm and e > cost]
        if not better:
            return vertices
        steepest = max((harm - s) / (e - cost) for e, s in better)
        vertices.append(
            max((e, s) for e, s in better if abs((harm - s) / (e - cost) - steepest) < 1e-12)
        )


@given(rows=rows_of_channels, budget=st.integers(0, 160))
@settings(max_examples=80, deadline=None)
def test_the_choice_is_the_vertex_of_the_hull_that_the_budget_affords(
    rows: Rows, budget: int
) -> None:
    tables, hull = tables_of(rows), hull_of(rows)
    harm, cost = tables.totals(tables.within(budget))
    affordable = [vertex for vertex in hull if vertex[0] <= budget]
    assert (cost, harm) == (affordable[-1] if affordable else hull[0])


@given(rows=rows_of_channels, first=st.integers(0, 160), second=st.integers(0, 160))
@settings(max_examples=40, deadline=None)
def test_a_larger_budget_never_hurts_more(rows: Rows, first: int, second: int) -> None:
    tables = tables_of(rows)
    small, large = (tables.totals(tables.within(b)) for b in sorted((first, second)))
    assert large[0] <= small[0] and large[1] >= small[1]


@given(rows=rows_of_channels, others=rows_of_channels, budget=st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_channels_of_a_site_that_share_a_family_get_the_best_such_choice(
    rows: Rows, others: Rows, budget: int
) -> None:
    both, family = torch.tensor([*rows, *others], dtype=torch.float64), torch.tensor([0, 1, 0])
    tables = ChannelTables(
        sites=["a", "b"],
        channels=[len(rows), len(others)],
        threshold=torch.zeros(both.shape[:2]),
        sensitivity=both[..., 0],
        cost=both[..., 1],
        family=family,
    )
    sites = []  # each site as one channel, whose candidates are all that it may choose together
    for site in (rows, others):
        picks = [*product([0, 2], repeat=len(site)), (1,) * len(site)]
        chosen = [[row[k] for row, k in zip(site, pick, strict=True)] for pick in picks]
        sites.append([(sum(s for s, _ in c), sum(e for _, e in c)) for c in chosen])
    hull = hull_of(sites)
    choice = tables.within(budget)
    harm, cost = tables.totals(choice)
    affordable = [vertex for vertex in hull if vertex[0] <= budget]
    assert (cost, harm) == (affordable[-1] if affordable else hull[0])
    for site in choice.split(tables.channels):
        assert len(set(family[site].tolist())) == 1
    assert tables.range() == (hull[0][0], hull[-1][0])


@given(rows=rows_of_channels, budget=st.integers(0, 160), shared=st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_the_hull_leaves_of_a_budget_is_spent_until_nothing_affordable_helps(
    rows: Rows, budget: int, shared: bool
) -> None:
    family = torch.tensor([0, 1, 0]) if shared else None
    tables = replace(tables_of(rows), family=family)
    (before, least), choice = tables.totals(tables.within(budget)), tables.filled(budget)
    harm, cost = tables.totals(choice)
    assert harm <= before and cost <= max(budget, least)
    for channel, row in enumerate(rows):
        s, e = row[int(choice[channel])]
        for k, (harm_there, cost_there) in enumerate(row):
            if family is None or family[k] == family[choice[channel]]:
                assert harm_there >= s or cost + cost_there - e > budget
    if shared:
        assert len(set(family[choice].tolist())) == 1


def test_thresholds_go_back_to_their_sites_and_channels() -> None:
    tables = ChannelTables(
        sites=["a", "b"],
        channels=[2, 1],
        threshold=torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        sensitivity=torch.zeros(3, 2),
        cost=torch.zeros(3, 2),
    )
    found = tables.thresholds(torch.tensor([1, 0, 1]))
    assert {name: values.tolist() for name, values in found.items()} == {"a": [2, 3], "b": [6]}


def measured(network: SpikingNetwork, inputs: Tensor, **options: Any) -> ChannelTables:
    setting = {"max_spikes": 4, "divergence": symmetric_kl, "grid": (-12, -8, -4, 0), **options}
    return measure_channels(network, inputs, **setting)


def options_of(tables: ChannelTables, max_spikes: int = 4) -> Sequence[Candidate]:
    return [
        Candidate(threshold=column, max_spikes=max_spikes) for column in tables.threshold.unbind(1)
    ]


def one_channel() -> nn.Module:
    return filled(nn.Sequential(nn.Conv2d(2, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)))


@pytest.mark.parametrize("remove_mean", [True, False])
def test_of_one_channel_the_known_error_is_that_of_the_layer(remove_mean: bool) -> None:
    inputs = images(24)
    network = convert(one_channel(), inputs, T=2)
    found = measured(network, inputs, remove_mean=remove_mean, noise=0.0)
    layers = measure_tables(
        network,
        inputs,
        {"1": options_of(found)},
        sensitivity="probe",
        cost="pj",
        divergence=symmetric_kl,
        remove_mean=remove_mean,
    )
    assert float(layers.sensitivity.min()) > 0
    assert torch.allclose(found.sensitivity, layers.sensitivity, rtol=1e-4)
    assert torch.allclose(found.cost, layers.cost, rtol=1e-5)


def test_the_error_of_lumps_is_that_of_residuals_drawn_within_one_threshold() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    inputs = torch.randn(16, 6)
    network, grid = convert(net, inputs, T=2), (-10.0, -6.0)
    with_lumps, without = (
        measured(network, inputs, grid=grid, noise=noise).sensitivity.sum(0) for noise in (1.0, 0.0)
    )
    found = (with_lumps - without).tolist()
    thresholds = measured(network, inputs, grid=grid).threshold
    with torch.no_grad():
        hidden, plain = net[:2](inputs), net(inputs)
        for theta, term in zip(thresholds.unbind(1), found, strict=True):
            rest = (torch.rand(2000, *hidden.shape, generator=seeded(1)) - 0.5) * theta / 2
            outputs = net[2](hidden + rest * (hidden > 0))
            drawn = symmetric_kl(plain.repeat(2000, 1), outputs.flatten(0, 1)).mean()
            assert term == pytest.approx(float(drawn), rel=0.1)


def test_the_error_of_lumps_has_the_weight_it_is_given() -> None:
    inputs = images(8)
    network = convert(one_channel(), inputs, T=2)
    none, one, three = (
        measured(network, inputs, noise=noise).sensitivity for noise in (0.0, 1.0, 3.0)
    )
    assert torch.allclose(three - none, 3 * (one - none)) and bool((one > none).all())


@pytest.mark.parametrize("unit", ["pj", "spikes"])
def test_costs_are_those_of_the_exact_counter_where_currents_are_constant(unit: str) -> None:
    inputs = images(12)
    network = convert(filled(between(nn.Conv2d(4, 3, 3))), inputs, T=4, max_spikes=4)
    found = measured(network, inputs, cost=unit)
    choice = torch.tensor([0, 1, 2, 3])
    network.neurons["1"].threshold = found.thresholds(choice)["1"]
    network.calibrate([inputs], "none", threshold="keep")
    report = measure_energy(network, inputs)
    wanted = 0.9 * report.sops if unit == "pj" else report.spikes
    assert found.totals(choice)[1] == pytest.approx(wanted, rel=1e-3)


def test_a_stream_of_equal_frames_has_the_table_of_the_frame() -> None:
    net, inputs, _ = trained_small()
    frames = inputs[:24].expand(3, -1, -1, -1, -1)
    still = measured(convert(net, inputs[:4], T=3), inputs[:24])
    stream = measured(convert(net, frames[:, :4], T=3, stream=True), frames)
    assert torch.allclose(stream.sensitivity, still.sensitivity, rtol=1e-3)
    assert torch.allclose(stream.cost, still.cost, rtol=1e-5)


class Distance:
    """Squared distance of all maps of a nest."""

    def __call__(self, ann: Any, snn: Any) -> Tensor:
        return (self.embedding(ann, ann) - self.embedding(snn, ann)).square().sum(1)

    def embedding(self, raw: Any, reference: Any) -> Tensor:
        return torch.cat([raw["boxes"][0], raw["masks"].flatten(1)], 1)


def nested(module: nn.Module, x: Tensor) -> Any:
    y = module(x)
    return {"boxes": (y[:, :1],), "masks": y[:, 1:].unsqueeze(2)}


def test_of_a_nest_behind_a_linear_layer_the_table_is_the_squared_distance() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 1), nn.ReLU(), nn.Linear(1, 4)).eval()
    inputs = torch.randn(64, 5)
    network = convert(net, inputs, T=2, forward=nested)
    found = measured(
        network, inputs, divergence=Distance(), noise=0.0, remove_mean=False, generator=seeded(0)
    )
    hidden, power = net[:2](inputs).detach(), float(net[2].weight.detach().square().sum())
    for theta, harm in zip(found.threshold[0].tolist(), found.sensitivity[0].tolist(), strict=True):
        levels = torch.clamp(torch.floor(2 * hidden / theta + 0.5), 0, 8)
        error = levels * theta / 2 - hidden
        assert harm == pytest.approx(float(error.square().mean()) * power, rel=0.2)


def test_a_silent_channel_costs_nothing_and_has_a_threshold() -> None:
    net = filled(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    with torch.no_grad():
        net[0].bias[1] = -100.0
    found = measured(convert(net, torch.rand(8, 4), T=2), torch.rand(8, 4))
    assert found.cost[1].tolist() == [0.0] * 4 and found.sensitivity[1].tolist() == [0.0] * 4
    assert bool((found.threshold > 0).all())


def test_where_only_lumps_count_thresholds_follow_the_third_root() -> None:
    T, budget = 4, 3000.0
    spikes, weight = torch.rand(2, 40, 1, generator=seeded(2)).double().mul(5).exp().unbind(0)
    threshold = torch.logspace(-12, 12, 4000, base=2.0).double().expand(40, -1)
    tables = ChannelTables(
        sites=["a"],
        channels=[40],
        threshold=threshold,
        sensitivity=weight * threshold.square() / (12 * T**2),
        cost=T * spikes / threshold,
    )
    root = (spikes / weight).pow(1 / 3)
    total = float((spikes.pow(2 / 3) * weight.pow(1 / 3)).sum())
    choice = tables.within(budget)
    assert torch.allclose(
        tables.thresholds(choice)["a"], (T * total / budget * root).squeeze(1), rtol=0.01
    )
    assert tables.totals(choice)[0] == pytest.approx(total**3 / (12 * budget**2), rel=0.01)
