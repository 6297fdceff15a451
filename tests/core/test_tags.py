"""Spikes stay spikes through every operation that only moves, joins or scales them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import compiled
from adacal.core.conversion import convert
from adacal.core.measure import measure_energy
from core.energy_toys import (
    Captured,
    Functional,
    fan_out_by_loops,
    filled,
    images,
    seeded,
    spiking,
    total,
)

pytestmark = pytest.mark.usefixtures("every_way")

GAMMA = nn.Parameter(0.5 + torch.rand(4, 1, 1, generator=seeded(3)))
BIAS = torch.rand(4, 1, 1, generator=seeded(4)) - 0.5

SAME_SYNAPSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mT": lambda x: x.mT.mT,
    "mH": lambda x: x.mH.mH,
    "adjoint": lambda x: x.adjoint().adjoint(),
    "data": lambda x: x.data,
    "real": lambda x: x.real,
    "parameter first": lambda x: GAMMA * x,
    "parameter first by function": lambda x: torch.mul(GAMMA, x),
    "number first": lambda x: 0.5 * x,
    "number first by function": lambda x: torch.mul(torch.tensor(0.5), x),
    "scaled in place": lambda x: x.mul_(GAMMA),
    "a constant by channel": lambda x: x + BIAS,
    "a constant by channel first": lambda x: BIAS - x,
    "a constant by channel in place": lambda x: x.sub_(BIAS),
    "negated in place": lambda x: x.neg_(),
    "negative": lambda x: torch.negative(x),
    "positive": lambda x: +x,
    "stacked": lambda x: torch.stack(x.unbind(1), 1),
    "stacked with keywords": lambda x: torch.stack(tensors=x.unbind(1), dim=-1).movedim(-1, 1),
    "horizontally stacked": lambda x: torch.hstack(x.chunk(2, 1)),
    "stacked in depth": lambda x: torch.dstack(x.chunk(2, 2)),
    "unfolded": lambda x: x.unfold(2, 2, 2).movedim(-1, 3).flatten(2, 3),
    "squeezed": lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(0).squeeze(0),
    "rolled": lambda x: x.roll(1, 1),
    "flipped by left and right": lambda x: x.fliplr(),
    "unsqueezed in place": lambda x: x.unsqueeze_(1).flatten(1, 2),
    "unsqueezed in place without thresholds": lambda x: (0.5 * x).unsqueeze_(2).flatten(2, 3),
    "transposed in place": lambda x: x.transpose_(1, 3).movedim(1, 3).transpose(1, 2),
    "transposed in place without thresholds": lambda x: (0.5 * x).transpose_(1, 2).transpose(1, 2),
    "squeezed in place": lambda x: x.unsqueeze(1).squeeze_(1),
}


@pytest.mark.parametrize(("T", "batch", "max_spikes"), [(1, 2, 2), (3, 4, 2), (3, 4, 1)])
@pytest.mark.parametrize("way", SAME_SYNAPSES)
def test_operations_that_keep_spikes_change_no_synapse(
    way: str, T: int, batch: int, max_spikes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "FIRST_USE", 1)  # whose spikes and events may be one tensor
    inputs = images(batch)
    net = filled(Functional(SAME_SYNAPSES[way], nn.Conv2d(4, 3, 3)))
    network = convert(net, inputs, T=T, max_spikes=max_spikes)
    report = measure_energy(network, inputs)
    # the layer has no padding, so a spike has as many synapses in every channel
    fan = fan_out_by_loops(nn.Conv2d(4, 3, 3), (4, 6, 6))
    with torch.no_grad():
        current = network.module.first(inputs).expand(T, -1, -1, -1, -1)
        counts, _ = network.neurons["act"].scan(current, T)
    expected = total(counts.flatten(0, 1).double().numpy(), fan)
    assert report.sops * batch == pytest.approx(expected, rel=1e-6)
    assert report.macs == report.ann_macs - fan.sum()
    events = total(counts.clamp_max(1).flatten(0, 1).double().numpy(), fan)
    assert report.energy_pj["per_event"] * batch == pytest.approx(
        0.9 * events + 4.6 * report.macs * batch, rel=1e-6
    )


def test_a_transposed_matrix_keeps_its_spikes() -> None:
    net = filled(Functional(lambda x: x.mean((2, 3)).T.T, nn.Linear(4, 3)))
    report = measure_energy(spiking(net, images(2)), images(2))
    assert report.sops == pytest.approx(3 * report.spikes, rel=1e-5)


def test_a_stack_with_analogue_values_costs_both_sops_and_macs() -> None:
    inputs = images(2)

    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.last = nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Linear(2, 5)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.last(torch.stack([self.act(y), y], -1))

    report = measure_energy(convert(filled(Stacked()), inputs, T=3), inputs)
    assert report.sops == pytest.approx(5 * report.spikes)
    assert report.macs == 2 * 2 * 36 + 3 * 5 * 2 * 36


def test_a_factor_that_differs_by_sample_makes_the_next_layer_multiply() -> None:
    inputs = torch.rand(3, 4, generator=seeded())

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.last = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(self.first(x)) * x.mean(1, keepdim=True))

    report = measure_energy(convert(filled(Gated()), inputs, T=3), inputs)
    assert report.sops == 0
    assert report.macs == 4 * 6 + 3 * 6 + 3 * 6 * 5
    assert report.ann_macs == 4 * 6 + 6 + 6 * 5


def test_a_broadcast_sum_costs_an_accumulate_at_every_element_that_a_spike_reaches() -> None:
    inputs = images(2)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Conv2d(2, 4, 1), nn.ReLU()
            self.small, self.few = nn.Conv2d(2, 4, 6), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) + self.few(self.small(x))

    report = measure_energy(convert(filled(Pooled()), inputs, T=3), inputs)
    assert report.sops == pytest.approx(36 * report.spikes)


def test_a_maximum_over_channels_of_different_thresholds_is_no_number_of_spikes() -> None:
    inputs, net = (
        images(2),
        filled(Functional(lambda x: x.amax(1, keepdim=True), nn.Conv2d(1, 3, 1))),
    )
    network = spiking(net, inputs)
    report = measure_energy(network, inputs)
    assert report.sops == 0
    assert report.macs == report.ann_macs + 2 * 36 * 3
    network.neurons["act"].threshold = 0.25
    captured = Captured(network.module.last)
    even = measure_energy(network, inputs)
    assert even.sops * 2 == pytest.approx(
        3 * np.abs(captured.rows(last=True) / 0.25).sum(), rel=1e-5
    )


def test_a_constant_added_before_a_max_pool_is_not_taken_for_spikes() -> None:
    inputs = images(2)
    net = filled(Functional(lambda x: F.max_pool2d(x + 1.0, 2), nn.Conv2d(4, 3, 1)))
    network = spiking(net, inputs)
    report = measure_energy(network, inputs)
    assert report.sops == 0
    assert report.macs == report.ann_macs + 2 * 9 * 4 * 3
