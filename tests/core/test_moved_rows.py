"""A network that moves its samples out of dimension 0 computes and costs what it did before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter, EnergyReport
from adacal.core.errors import UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from core.energy_toys import filled, seeded

pytestmark = pytest.mark.usefixtures("every_way")

POSITIONS = torch.rand(5, 1, 6, generator=seeded(8)) - 0.5


class Tokens(nn.Module):
    """[B, 5, 4] -> relu -> [B, 5, 6] -> `way` -> ... -> last; `way` may move samples about."""

    def __init__(self, way: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.act = nn.Linear(4, 6), nn.Linear(6, 3), nn.ReLU()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


Way = Callable[[nn.Module, Tensor], Tensor]
MOVED: dict[str, tuple[Way, Way]] = {
    "tokens first": (
        lambda m, x: m.last(m.act(m.first(x).transpose(0, 1))).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x))),
    ),
    "samples last": (
        lambda m, x: m.last(m.act(m.first(x).permute(1, 2, 0)).permute(2, 0, 1)),
        lambda m, x: m.last(m.act(m.first(x))),
    ),
    "spikes moved": (
        lambda m, x: m.last(m.act(m.first(x)).transpose(0, 1)).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x))),
    ),
    "transposed matrix": (
        lambda m, x: m.last(m.act(m.first(x[:, 0]).t()).t()),
        lambda m, x: m.last(m.act(m.first(x[:, 0]))),
    ),
    "mean over tokens": (
        lambda m, x: m.last(m.act(m.first(x).transpose(0, 1)).mean(0)),
        lambda m, x: m.last(m.act(m.first(x)).mean(1)),
    ),
    "max over tokens": (
        lambda m, x: m.last(m.act(m.first(x).transpose(0, 1)).amax(0)),
        lambda m, x: m.last(m.act(m.first(x)).amax(1)),
    ),
    "max over tokens, with indices": (
        lambda m, x: m.last(torch.max(m.act(m.first(x).transpose(0, 1)), 0)[0]),
        lambda m, x: m.last(torch.max(m.act(m.first(x)), 1)[0]),
    ),
    "joined": (
        lambda m, x: m.last(torch.cat([m.act(m.first(x).transpose(0, 1))] * 2)).transpose(0, 1),
        lambda m, x: m.last(torch.cat([m.act(m.first(x))] * 2, 1)),
    ),
    "joined with the current": (
        lambda m, x: m.last(
            torch.cat([m.act(m.first(x).transpose(0, 1)), m.first(x).transpose(0, 1)])
        ).transpose(0, 1),
        lambda m, x: m.last(torch.cat([m.act(m.first(x)), m.first(x)], 1)),
    ),
    "residual": (
        lambda m, x: (y := m.first(x).transpose(0, 1), m.last(m.act(y) + y))[1].transpose(0, 1),
        lambda m, x: (y := m.first(x), m.last(m.act(y) + y))[1],
    ),
    "reshaped": (
        lambda m, x: m.last(
            m.act(m.first(x).transpose(0, 1)).reshape(5, -1, 2, 3).flatten(2)
        ).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x))),
    ),
    "reshaped to sizes": (
        lambda m, x: m.last(
            m.act(m.first(x).transpose(0, 1)).reshape(5, x.shape[0], 3, 2).view(5, x.shape[0], 6)
        ).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x))),
    ),
    "one token": (
        lambda m, x: m.last(m.act(m.first(x).transpose(0, 1))[2]),
        lambda m, x: m.last(m.act(m.first(x))[:, 2]),
    ),
    "token by token": (
        lambda m, x: sum(m.last(t) for t in m.act(m.first(x).transpose(0, 1)).unbind(0)),
        lambda m, x: sum(m.last(t) for t in m.act(m.first(x)).unbind(1)),
    ),
    "expanded to tokens": (
        lambda m, x: m.last(m.act(m.first(x[:, 0])).expand(5, -1, -1)).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x[:, 0])).unsqueeze(1).expand(-1, 5, -1)),
    ),
    "repeated to tokens": (
        lambda m, x: m.last(m.act(m.first(x[:, 0])).repeat(5, 1, 1)).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x[:, 0])).unsqueeze(1).repeat(1, 5, 1)),
    ),
    "moved by broadcasting": (
        lambda m, x: m.last(m.act(m.first(x[:, 0]) + POSITIONS)).transpose(0, 1),
        lambda m, x: m.last(m.act(m.first(x[:, 0]).unsqueeze(1) + POSITIONS.transpose(0, 1))),
    ),
    "softmax of tokens first": (
        lambda m, x: m.last(m.act(m.first(x).transpose(0, 1)).logsumexp(0)),
        lambda m, x: m.last(m.act(m.first(x)).logsumexp(1)),
    ),
    "one value a sample": (
        lambda m, x: m.last(m.act(m.first(x)[:, 0, 0]).unsqueeze(1).repeat(1, 6)),
        lambda m, x: m.last(m.act(m.first(x)[:, 0, :1]).repeat(1, 6)),
    ),
}


def counts(report: EnergyReport) -> list[float]:
    return [report.spikes, report.events, report.sops, report.macs, report.ann_macs]


def stepwise(network: SpikingNetwork, inputs: Tensor) -> EnergyReport:
    meter, state = EnergyMeter(), RunState()
    for step in range(network.T):
        network.step(inputs, state, step, meter)
    return meter.report()


@pytest.mark.parametrize("form", MOVED)
@pytest.mark.parametrize(("T", "batch"), [(1, 1), (1, 3), (3, 2), (2, 5)])
def test_moved_samples_change_neither_outputs_nor_counts(form: str, T: int, batch: int) -> None:
    inputs = torch.rand(batch, 5, 4, generator=seeded())
    found = []
    for way in MOVED[form]:
        network = convert(filled(Tokens(way)), inputs, T=T, max_spikes=2)
        network.calibrate([inputs], "light", threshold="keep")
        report = measure_energy(network, inputs)
        assert counts(stepwise(network, inputs)) == pytest.approx(counts(report))
        found.append((network(inputs), counts(report)))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1])


def test_spikes_of_tokens_first_cost_their_fan_out_each() -> None:
    """One sample, two tokens; θ = 1, φ = 3, T = 1: the spikes are (1, 0) and (2, 3), 5 classes."""
    net = Tokens(lambda m, x: m.last(m.act(m.first(x).transpose(0, 1))).transpose(0, 1))
    net.first, net.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 5)
    with torch.no_grad():
        net.first.weight.copy_(torch.eye(2))
    network = convert(net, torch.ones(1, 2, 2), T=1, max_spikes=3)
    network.neurons["act"].threshold = torch.tensor(1.0)
    report = measure_energy(network, torch.tensor([[[1.0, 0.0], [2.0, 3.0]]]))
    assert (report.spikes, report.sops) == (6.0, 30.0)
    assert (report.macs, report.ann_macs) == (8.0, 8.0 + 20.0)


@pytest.mark.parametrize("max_pool", ["step_max", "average"])
def test_other_max_pools_follow_moved_samples(max_pool: str) -> None:
    inputs = torch.rand(3, 5, 4, generator=seeded())
    found = []
    for way in MOVED["max over tokens"]:
        network = convert(
            filled(Tokens(way)),
            inputs,
            T=2,
            max_pool=max_pool,  # type: ignore[arg-type]
        )
        network.calibrate([inputs], "light", threshold="keep")
        found.append((network(inputs), counts(measure_energy(network, inputs))))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1])


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: F.conv1d(x.permute(1, 2, 0), torch.ones(2, 4, 1)),
        lambda x: F.avg_pool1d(x.permute(1, 2, 0), 2),
        lambda x: F.max_pool1d(x.permute(1, 2, 0), 2),
        lambda x: F.linear(x.permute(1, 2, 0), torch.ones(3, 2)),
    ],
)
def test_windows_over_moved_samples_are_refused(mix: Callable[[Tensor], Tensor]) -> None:
    net = Tokens(lambda m, x: mix(m.act(x)))
    with pytest.raises(UnsupportedModelError, match="sums over dimension 2.*keep samples"):
        convert(net, torch.rand(1, 5, 4), T=2)


@pytest.mark.parametrize(
    "join",
    [
        lambda x: torch.cat([x, 2 * x]),
        lambda x: torch.cat(tensors=[x, 2 * x], dim=-3),
        lambda x: torch.vstack([x, 2 * x]),
        lambda x: torch.cat([x.transpose(0, 1)] * 2, 1).transpose(0, 1),
        lambda x: x.repeat(2, 1, 1),
    ],
)
def test_samples_put_behind_samples_are_refused(join: Callable[[Tensor], Tensor]) -> None:
    net = Tokens(lambda m, x: m.last(m.act(join(m.first(x)))))
    with pytest.raises(UnsupportedModelError, match="puts samples behind samples in dimension"):
        convert(net, torch.rand(2, 5, 4), T=2)


# calls that treat rows apart ----------------------------------------------------------------------

CAREFUL: dict[str, Way] = {
    "gather": lambda m, x: m.act(m.first(x)).gather(1, torch.zeros(x.shape[0], 1, 6).long()),
    "rows by index": lambda m, x: m.act(m.first(x))[torch.arange(x.shape[0]), 1],
    "rows by slice": lambda m, x: m.act(m.first(x))[: x.shape[0]],
    "rows by narrow": lambda m, x: m.act(m.first(x)).narrow(0, 0, x.shape[0]),
    "rows by index_select": lambda m, x: m.act(m.first(x)).index_select(
        0, torch.arange(x.shape[0])
    ),
}


@pytest.mark.parametrize("form", CAREFUL)
def test_what_may_treat_rows_differently_is_counted_as_macs_and_never_crashes(form: str) -> None:
    inputs = torch.rand(3, 5, 4, generator=seeded())
    net = filled(Tokens(lambda m, x: m.last(CAREFUL[form](m, x))))
    network = convert(net, inputs, T=2)
    report = measure_energy(network, inputs)
    tokens = network(inputs)[0].numel() // 3
    assert report.sops == 0
    assert report.macs == 5 * 4 * 6 + 2 * tokens * 6 * 3


def test_rows_unflattened_by_size_keep_their_spikes() -> None:
    inputs = torch.rand(3, 5, 4, generator=seeded())
    net = filled(
        Tokens(
            lambda m, x: m.last(
                m.act(m.first(x)).flatten(0, 1).unflatten(0, (x.shape[0], 5)).squeeze(0)
            )
        )
    )
    report = measure_energy(convert(net, inputs, T=2), inputs)
    assert report.sops == pytest.approx(3 * report.spikes)
