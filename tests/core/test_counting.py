"""SOPs and MACs against connections counted one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.advanced import WeightOptions
from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter, EnergyReport
from adacal.core.measure import measure_energy
from adacal.core.network import SpikingNetwork
from adacal.core.synapses import FanOuts
from core.energy_toys import (
    Captured,
    Functional,
    adaptive_windows,
    between,
    fan_out_by_loops,
    fan_out_of_pool,
    filled,
    images,
    pool_windows,
    seeded,
    small,
    spikes_into,
    spiking,
    total,
    two_layers,
)

pytestmark = pytest.mark.usefixtures("every_way")

SYNAPTIC: dict[str, nn.Module] = {
    "padding": nn.Conv2d(4, 3, 3, padding=1),
    "no padding": nn.Conv2d(4, 3, 3),
    "stride": nn.Conv2d(4, 3, 3, stride=2, padding=1),
    "stride that skips": nn.Conv2d(4, 3, 1, stride=2),
    "dilation": nn.Conv2d(4, 3, 3, dilation=2, padding=1),
    "groups": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "rectangular": nn.Conv2d(4, 3, (1, 5), stride=(2, 1), padding=(0, 2)),
    "no bias": nn.Conv2d(4, 3, 5, padding=2, bias=False),
    "transposed": nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed groups": nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
}


def sops(network: SpikingNetwork, inputs: Tensor) -> float:
    return measure_energy(network, inputs).sops * inputs.shape[0]


@pytest.mark.parametrize("kind", SYNAPTIC)
def test_sops_of_a_convolution_are_its_connections_counted_one_by_one(kind: str) -> None:
    layer, inputs = SYNAPTIC[kind], images(3)
    network = spiking(filled(between(layer)), inputs)
    spikes = spikes_into(network, network.module[2], "1", inputs)
    assert spikes.sum() > 30
    expected = total(spikes, fan_out_by_loops(layer, spikes.shape[1:]))
    assert sops(network, inputs) == pytest.approx(expected, rel=1e-9)


def test_sops_of_a_one_dimensional_convolution_are_counted_exactly() -> None:
    layer = nn.Conv1d(4, 5, 3, stride=2, padding=1, groups=1)
    inputs = torch.rand(3, 2, 9, generator=seeded())
    network = spiking(filled(between(layer, spatial=1)), inputs)
    spikes = spikes_into(network, network.module[2], "1", inputs)
    expected = total(spikes, fan_out_by_loops(layer, spikes.shape[1:]))
    assert sops(network, inputs) == pytest.approx(expected, rel=1e-9)


def test_a_convolution_called_twice_with_different_strides_is_counted_apart() -> None:
    weight = torch.rand(3, 4, 3, 3, generator=seeded()) - 0.4

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
            self.probe = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = self.probe(self.act(self.first(x)))
            fine = F.conv2d(x, weight, stride=1).mean((2, 3))
            return fine + F.conv2d(x, weight, stride=2).mean((2, 3))

    inputs = images(2)
    network = spiking(filled(Twice()), inputs)
    spikes = spikes_into(network, network.module.probe, "act", inputs)
    once = fan_out_by_loops(nn.Conv2d(4, 3, 3), spikes.shape[1:])
    again = fan_out_by_loops(nn.Conv2d(4, 3, 3, stride=2), spikes.shape[1:])
    assert sops(network, inputs) == total(spikes, once + again)


def test_border_neurons_have_fewer_synapses_than_inner_ones() -> None:
    fan = fan_out_by_loops(nn.Conv2d(1, 1, 3, padding=1), (1, 4, 4))
    assert fan[0, 0, 0] == 4 and fan[0, 0, 1] == 6 and fan[0, 1, 1] == 9
    net = filled(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1)))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.zero_()
    network = convert(net, torch.ones(1, 1, 4, 4), T=1)
    for place, synapses in (((0, 0), 4.0), ((0, 1), 6.0), ((1, 1), 9.0)):
        image = torch.zeros(1, 1, 4, 4)
        image[0, 0, place[0], place[1]] = 1.0
        assert measure_energy(network, image).sops == synapses


def test_tokens_through_linear_layers_cost_their_width_each() -> None:
    inputs = torch.rand(3, 5, 4, generator=seeded())
    net = filled(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 7)))
    network = spiking(net, inputs)
    report = measure_energy(network, inputs)
    spikes = spikes_into(network, network.module[2], "1", inputs)
    assert report.sops * 3 == pytest.approx(7 * spikes.sum())
    assert report.macs == 5 * 4 * 6
    assert report.ann_macs == 5 * 4 * 6 + 5 * 6 * 7


def test_a_matrix_product_with_a_constant_counts_as_a_layer() -> None:
    matrix = torch.rand(6, 7, generator=seeded()) - 0.4

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.probe = nn.Linear(4, 6), nn.ReLU(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.probe(self.act(self.first(x))) @ matrix

    for shape in ((3, 4), (3, 5, 4)):
        inputs = torch.rand(*shape, generator=seeded())
        network = spiking(filled(Product()), inputs)
        spikes = spikes_into(network, network.module.probe, "act", inputs)
        report = measure_energy(network, inputs)
        assert report.sops * 3 == pytest.approx(7 * spikes.sum())
        tokens = shape[1] if len(shape) == 3 else 1
        assert report.ann_macs == tokens * (4 * 6 + 6 * 7)


# pools --------------------------------------------------------------------------------


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)]
)
def test_an_average_pool_is_folded_into_the_layer_after_it(
    kernel: int, stride: int, padding: int, ceil_mode: bool, count_include_pad: bool
) -> None:
    pool = nn.AvgPool2d(
        kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
    )
    conv = nn.Conv2d(4, 3, 2, padding=1)
    inputs = torch.rand(2, 2, 6, 5, generator=seeded())
    network = spiking(filled(between(nn.Sequential(pool, conv))), inputs)
    spikes = spikes_into(network, network.module[2], "1", inputs)
    windows = [pool_windows(size, kernel, stride, padding, ceil_mode) for size in (6, 5)]
    after = fan_out_by_loops(conv, (4, *(len(axis) for axis in windows)))
    fan = fan_out_of_pool(spikes.shape[1:], windows, after)
    assert sops(network, inputs) == pytest.approx(total(spikes, fan), rel=1e-5)


def test_a_divisor_of_ones_own_changes_no_synapse() -> None:
    inputs = images(2)
    found = []
    for divisor in (None, 3):
        pool = nn.AvgPool2d(2, divisor_override=divisor)
        net = filled(between(nn.Sequential(pool, nn.Conv2d(4, 3, 2))))
        network = spiking(net, inputs)
        spikes = spikes_into(network, network.module[2], "1", inputs)
        after = fan_out_by_loops(nn.Conv2d(4, 3, 2), (4, 3, 3))
        windows = [pool_windows(6, 2, 2, 0, False)] * 2
        fan = fan_out_of_pool(spikes.shape[1:], windows, after)
        found.append(sops(network, inputs) - total(spikes, fan))
    assert np.abs(found).max() < 1e-2


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (6, None)])
def test_an_adaptive_average_pool_is_folded_with_its_overlapping_windows(
    size: tuple[int, int | None],
) -> None:
    inputs = torch.rand(2, 2, 6, 5, generator=seeded())
    out = (size[0], size[1] or 5)
    conv = nn.Conv2d(4, 3, 1)
    net = filled(between(nn.Sequential(nn.AdaptiveAvgPool2d(size), conv)))
    network = spiking(net, inputs)
    spikes = spikes_into(network, network.module[2], "1", inputs)
    windows = [adaptive_windows(6, out[0]), adaptive_windows(5, out[1])]
    fan = fan_out_of_pool(spikes.shape[1:], windows, fan_out_by_loops(conv, (4, *out)))
    assert sops(network, inputs) == pytest.approx(total(spikes, fan), rel=1e-5)


WAYS_TO_THE_HEAD: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean((2, 3)),
    "torch.mean, kept": lambda x: torch.mean(x, dim=[2, 3], keepdim=True).flatten(1),
    "sum": lambda x: x.sum(-1).sum(-1) / 36,
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, x.shape[2:]).squeeze(-1).squeeze(-1),
    "mean of mean": lambda x: x.mean(3).mean(2),
}


@pytest.mark.parametrize("way", WAYS_TO_THE_HEAD)
def test_a_global_mean_before_the_classifier_costs_one_accumulate_per_spike_and_class(
    way: str,
) -> None:
    inputs = images(2)
    net = filled(Functional(WAYS_TO_THE_HEAD[way], nn.Linear(4, 3)))
    network = spiking(net, inputs)
    report = measure_energy(network, inputs)
    assert report.sops == pytest.approx(3 * report.spikes, rel=1e-5)
    assert report.macs == 36 * 4 * 2 * 9 - border_macs(4)


def border_macs(channels: int) -> int:
    """Taps of a padded 3x3 convolution over 2 channels of 6x6 that fall outside."""
    outside = sum(
        not (0 <= y + dy < 6 and 0 <= x + dx < 6)
        for y in range(6)
        for x in range(6)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    )
    return outside * channels * 2


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_behind_a_max_pool_the_pooled_spikes_are_counted(
    kernel: int, stride: int, padding: int
) -> None:
    inputs, conv = images(3), nn.Conv2d(4, 3, 2)
    net = filled(between(nn.Sequential(nn.MaxPool2d(kernel, stride, padding), conv)))
    network = spiking(net, inputs)
    before = spikes_into(network, network.module[2], "1", inputs).reshape(3, 3, 4, 6, 6)
    windows = pool_windows(6, kernel, stride, padding, False)
    cumulated = before.cumsum(0)
    pooled = np.stack(
        [
            np.stack(
                [
                    cumulated[..., rows.start : rows.stop, cols.start : cols.stop].max((-1, -2))
                    for cols in windows
                ],
                -1,
            )
            for rows in windows
        ],
        -2,
    )
    emitted = np.diff(pooled, axis=0, prepend=0).reshape(9, *pooled.shape[2:])
    fan = fan_out_by_loops(conv, emitted.shape[1:])
    assert sops(network, inputs) == pytest.approx(total(emitted, fan), rel=1e-6)


def test_a_max_over_points_is_counted_like_a_max_pool() -> None:
    net = filled(Functional(lambda x: x.flatten(2).max(2)[0], nn.Linear(4, 5)))
    inputs = images(2)
    network = spiking(net, inputs)
    captured = Captured(network.module.last)
    meter = EnergyMeter()
    network.predict(inputs, meter)
    theta = torch.as_tensor(network.neurons["act"].threshold).double().numpy()
    counts = captured.rows(last=True) / theta
    assert meter.report().sops * 2 == pytest.approx(5 * counts.sum(), rel=1e-5)


# shapes --------------------------------------------------------------------------------


def shuffled(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


def halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat((second, first), dim=1)


SAME_SYNAPSES: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda x: x,
    "shuffled": shuffled,
    "native shuffle": lambda x: F.channel_shuffle(x, 2),
    "halves": halves,
    "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
    "dropout": lambda x: F.dropout(x, training=False),
    "scaled": lambda x: x * 0.5,
    "divided": lambda x: x / 2,
    "negated": lambda x: -x,
    "cloned": lambda x: x.clone(),
    "added to a number": lambda x: x + 1.0,
    "there and back": lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    "as tokens": lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).view_as(x),
    "as rows": lambda x: x.reshape(x.shape[0] * 4, 1, 6, 6).reshape(x.shape[0], 4, 6, 6),
    "unflattened": lambda x: x.flatten(1).unflatten(1, (4, 6, 6)),
    "flipped channels": lambda x: x.flip(1),
}


@pytest.mark.parametrize(("T", "batch"), [(1, 1), (1, 2), (2, 2), (3, 4), (2, 6)])
@pytest.mark.parametrize("way", SAME_SYNAPSES)
def test_operations_of_shape_alone_change_no_synapse(way: str, T: int, batch: int) -> None:
    inputs = images(batch)
    net = filled(Functional(SAME_SYNAPSES[way], nn.Conv2d(4, 3, 3)))
    network = convert(net, inputs, T=T, max_spikes=2)
    report = measure_energy(network, inputs)
    spikes = spikes_into_act(network, inputs)
    fan = fan_out_by_loops(nn.Conv2d(4, 3, 3), (4, 6, 6))
    assert report.sops * batch == pytest.approx(total(spikes, fan), rel=1e-6)
    assert report.macs == 36 * 4 * 2 * 9 - border_macs(4)


def spikes_into_act(network: SpikingNetwork, inputs: Tensor) -> np.ndarray:
    """The spikes of the only site, by running its neurons on the current of the first layer."""
    with torch.no_grad():
        current = network.module.first(inputs).expand(network.T, -1, -1, -1, -1)
        counts, _ = network.neurons["act"].scan(current, network.T)
    return counts.flatten(0, 1).double().numpy()


@pytest.mark.parametrize(("T", "batch"), [(1, 2), (2, 8), (8, 1), (3, 5)])
@pytest.mark.parametrize(
    "flat",
    [
        lambda x: x.flatten(1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.view(x.size(0), 4 * 36),
        lambda x: x.view(-1, 4 * 36),
        lambda x: torch.reshape(x, (x.shape[0], 144)),
    ],
)
def test_flattening_is_followed_whatever_the_sizes(
    flat: Callable[[Tensor], Tensor], T: int, batch: int
) -> None:
    inputs = images(batch)
    network = convert(filled(Functional(flat, nn.Linear(144, 5))), inputs, T=T, max_spikes=2)
    report = measure_energy(network, inputs)
    assert report.sops == pytest.approx(5 * report.spikes)


@pytest.mark.parametrize(
    "grow",
    [
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(x, size=(12, 12), mode="nearest"),
        lambda x: F.interpolate(x, (12, 12)),
        lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
    ],
)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_nearest_interpolation_gives_a_spike_the_synapses_of_all_its_copies(
    grow: Callable[[Tensor], Tensor], batch: int
) -> None:
    inputs, conv = images(batch), nn.Conv2d(4, 3, 3, padding=1)
    network = convert(filled(Functional(grow, conv)), inputs, T=3, max_spikes=2)
    spikes = spikes_into_act(network, inputs)
    after = fan_out_by_loops(conv, (4, 12, 12))
    fan = after.reshape(4, 6, 2, 6, 2).sum((2, 4))
    assert sops(network, inputs) == pytest.approx(total(spikes, fan), rel=1e-6)


def test_bilinear_interpolation_makes_the_next_layer_multiply() -> None:
    inputs, conv = images(2), nn.Conv2d(4, 3, 1)
    for grow in (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, (12, 12), None, "bilinear"),
    ):
        network = convert(filled(Functional(grow, conv)), inputs, T=3)
        report = measure_energy(network, inputs)
        assert report.sops == 0
        assert report.macs == 36 * 4 * 2 * 9 - border_macs(4) + 3 * 144 * 4 * 3


# joining --------------------------------------------------------------------------------


class Joined(nn.Module):
    """Two branches of spikes (or one and the image) meet before the last layer."""

    def __init__(self, join: str) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)
        self.act_a, self.act_b = nn.ReLU(), nn.ReLU()
        self.join = join
        self.last = nn.Conv2d(4 if "cat" in join else 2, 3, 3)
        self.after, self.end = nn.ReLU(), nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.act_a(self.a(x)), self.act_b(self.b(x))
        joined = {
            "cat": lambda: torch.cat([a, b], 1),
            "cat image": lambda: torch.cat((a, x), dim=1),
            "cat image first": lambda: torch.cat((x, a), dim=1),
            "add": lambda: a + b,
            "add in place": lambda: a.add_(b),
            "add current": lambda: a + self.b(x),
            "add to current": lambda: self.b(x) + a,
        }[self.join]()
        return self.end(self.after(self.last(joined)))


def joined(join: str) -> tuple[EnergyReport, np.ndarray, np.ndarray, float]:
    """The report, the spikes of both branches [T*B, 2, 6, 6], and SOPs of the last layer."""
    inputs = images(2)
    network = spiking(filled(Joined(join)), inputs)
    report = measure_energy(network, inputs)
    branches = []
    for conv, act in ((network.module.a, "act_a"), (network.module.b, "act_b")):
        current = conv(inputs).expand(3, -1, -1, -1, -1)
        counts, _ = (
            network.neurons[act].scan(current, 3) if act in network.neurons else (current, 0)
        )
        branches.append(counts.flatten(0, 1).double().numpy())
    end = next(layer.sops for layer in report.layers if layer.name == "end") * 2
    assert end == 2 * next(layer.spikes for layer in report.layers if layer.name == "after")
    return report, branches[0], branches[1], report.sops * 2 - end


def test_a_concat_of_spikes_costs_the_synapses_of_both() -> None:
    report, a, b, found = joined("cat")
    fan = fan_out_by_loops(nn.Conv2d(4, 3, 3), (4, 6, 6))
    assert found == pytest.approx(total(a, fan[:2]) + total(b, fan[2:]), rel=1e-6)
    assert report.macs == pytest.approx(2 * 2 * (256 + 36))


@pytest.mark.parametrize("join", ["cat image", "cat image first"])
def test_a_concat_with_analogue_values_costs_both_sops_and_macs(join: str) -> None:
    report, a, _, found = joined(join)
    fan = fan_out_by_loops(nn.Conv2d(4, 3, 3), (4, 6, 6))
    mine, image = (fan[:2], fan[2:]) if join == "cat image" else (fan[2:], fan[:2])
    assert found == pytest.approx(total(a, mine), rel=1e-6)
    first = 2 * 2 * (256 + 36)
    assert report.macs == pytest.approx(first + 3 * image.sum())


@pytest.mark.parametrize("join", ["add", "add in place"])
def test_a_sum_of_spikes_passes_every_spike_on(join: str) -> None:
    _, a, b, found = joined(join)
    fan = fan_out_by_loops(nn.Conv2d(2, 3, 3), (2, 6, 6))
    assert found == pytest.approx(total(a, fan) + total(b, fan), rel=1e-6)


@pytest.mark.parametrize("join", ["add current", "add to current"])
def test_a_spike_added_to_a_current_costs_one_accumulate(join: str) -> None:
    report, a, _, found = joined(join)
    assert found == pytest.approx(a.sum())
    last = next(layer for layer in report.layers if layer.name == "last")
    assert last.macs == 3 * fan_out_by_loops(nn.Conv2d(2, 3, 3), (2, 6, 6)).sum()


def test_the_shortcut_of_a_residual_block_costs_one_accumulate_per_spike() -> None:
    inputs = images(3)
    network = spiking(small(), inputs)
    report = measure_energy(network, inputs)
    layers = {layer.name: layer for layer in report.layers}
    # the average pool is folded into both ways: each of its spikes is in one window
    assert layers["add"].sops == pytest.approx(layers["act1"].spikes, rel=1e-5)
    assert layers["head"].sops == pytest.approx(3 * layers["act3"].spikes, rel=1e-5)


# bursts, static inputs, streams, events -----------------------------------------------------------


def test_a_burst_of_three_costs_three_accumulates_per_synapse_and_one_event() -> None:
    network = convert(two_layers(), torch.ones(1, 2), T=1, max_spikes=3)
    network.neurons["1"].threshold = torch.tensor(1.0)
    meter = EnergyMeter()
    network.predict(torch.tensor([[3.0, 0.0]]), meter)
    report = meter.report()
    assert (report.spikes, report.events, report.sops) == (3.0, 1.0, 6.0)
    assert report.energy_pj["per_spike"] == pytest.approx(4.6 * 6 + 0.9 * 6)
    assert report.energy_pj["per_event"] == pytest.approx(4.6 * 6 + 0.9 * 2)


def test_a_static_input_is_multiplied_once_and_a_stream_at_every_step() -> None:
    net = filled(between(nn.Conv2d(4, 3, 3)))
    once = 36 * 4 * 2 * 9 - border_macs(4)
    for T in (1, 4):
        static = convert(net, images(2), T=T)
        assert measure_energy(static, images(2)).macs == once
        frames = torch.rand(T, 2, 2, 6, 6, generator=seeded())
        stream = convert(net, frames, T=T, stream=True)
        report = measure_energy(stream, frames)
        assert report.macs == once * T
        assert report.samples == 2
        assert report.ann_macs == once + 16 * 3 * 4 * 9


def test_event_frames_are_accumulated_and_never_multiplied() -> None:
    net = filled(between(nn.Conv2d(4, 3, 3)))
    frames = torch.randint(0, 3, (4, 2, 2, 6, 6), generator=seeded()).float()
    network = convert(net, frames, T=4, stream=True, event_input=True)
    report = measure_energy(network, frames)
    layers = {layer.name: layer for layer in report.layers}
    fan = fan_out_by_loops(nn.Conv2d(2, 4, 3, padding=1), (2, 6, 6))
    rows = frames.flatten(0, 1).double().numpy()
    assert layers["0"].sops * 2 == total(rows, fan)
    assert layers["input"].spikes * 2 == rows.sum()
    assert report.macs == 0


def test_a_static_event_frame_is_accumulated_once_time_batched_or_stepwise() -> None:
    net = filled(between(nn.Conv2d(4, 3, 3)))
    frame = torch.randint(0, 3, (2, 2, 6, 6), generator=seeded()).float()
    network = convert(net, frame, T=4, event_input=True)
    fan = fan_out_by_loops(nn.Conv2d(2, 4, 3, padding=1), (2, 6, 6))
    layers = {layer.name: layer for layer in measure_energy(network, frame).layers}
    assert layers["0"].sops * 2 == total(frame.double().numpy(), fan)
    assert stepwise(network, frame).sops == measure_energy(network, frame).sops


def stepwise(network: SpikingNetwork, inputs: Tensor) -> EnergyReport:
    from adacal.core.layout import RunState

    meter, state = EnergyMeter(), RunState()
    for step in range(network.T):
        network.step(inputs, state, step, meter)
    return meter.report()


def test_stepwise_and_time_batched_runs_count_the_same() -> None:
    inputs = images(3)
    for mode in ("light", "advanced"):
        for net in (small(), small(max_pool=True)):
            network = convert(net, inputs, T=4, max_spikes=2)
            network.calibrate([inputs], mode, weight_options=WeightOptions(iterations=10))
            batched, by_step = measure_energy(network, inputs), stepwise(network, inputs)
            assert batched.spikes == by_step.spikes
            assert batched.sops == pytest.approx(by_step.sops)
            assert batched.macs == pytest.approx(by_step.macs)
            assert batched.ann_macs == pytest.approx(by_step.ann_macs)
            assert batched.energy_pj == pytest.approx(by_step.energy_pj)


# sums --------------------------------------------------------------------------------


def test_macs_of_the_ann_are_its_connections_counted_one_by_one() -> None:
    inputs = images(2)
    report = measure_energy(spiking(small(), inputs), inputs)
    expected = (
        fan_out_by_loops(nn.Conv2d(2, 6, 3, padding=1), (2, 6, 6)).sum()
        + 2 * fan_out_by_loops(nn.Conv2d(6, 6, 3, padding=1), (6, 3, 3)).sum()
        + 6 * 3
    )
    assert report.ann_macs == pytest.approx(expected)


@pytest.mark.parametrize("max_pool", [False, True])
def test_counts_per_sample_do_not_depend_on_how_samples_are_batched(max_pool: bool) -> None:
    inputs = images(12)
    network = spiking(small(max_pool=max_pool), inputs)
    whole = measure_energy(network, inputs)
    for sizes in ([6, 6], [1] * 12, [5, 5, 2], [4, 8]):
        meter = EnergyMeter()
        for part in inputs.split(sizes):
            network.predict(part, meter)
        report = meter.report()
        assert report.samples == 12
        for key in ("spikes", "events", "sops", "macs", "ann_macs"):
            assert getattr(report, key) == pytest.approx(getattr(whole, key)), (key, sizes)
        assert report.energy_pj == pytest.approx(whole.energy_pj)
        assert report.ann_energy_pj == pytest.approx(whole.ann_energy_pj)


def test_inputs_of_different_size_share_a_meter() -> None:
    net = filled(Functional(lambda x: x.mean((2, 3)), nn.Linear(4, 3)))
    network = convert(net, images(2), T=2)
    meter = EnergyMeter()
    network.predict(images(2), meter)
    network.predict(torch.rand(2, 2, 9, 9, generator=seeded()), meter)
    report = meter.report()
    assert report.sops == pytest.approx(3 * report.spikes)


def test_early_exit_counts_only_what_ran() -> None:
    from adacal.core.exit_rules import ExitRule

    inputs = images(6)
    network = spiking(small(), inputs, T=4)
    full = measure_energy(network, inputs)
    network.exit_rule = ExitRule("entropy", (2.0, 2.0, 2.0, 2.0))
    never = measure_energy(network, inputs)
    assert never.sops == pytest.approx(full.sops) and never.macs == full.macs
    network.exit_rule = ExitRule("entropy", (-1.0,) * 4)
    first = EnergyMeter()
    prediction = network.predict(inputs, first)
    assert prediction.timesteps.tolist() == [1] * 6
    network.exit_rule = None
    meter = EnergyMeter()
    network.predict(inputs, meter)
    assert first.report().sops * 6 == pytest.approx(meter.sops_by_step[0])
    assert sum(meter.sops_by_step.values()) == pytest.approx(full.sops * 6)
    assert first.report().macs == full.macs and first.report().ann_macs == full.ann_macs


def test_samples_that_left_cost_nothing_more() -> None:
    from adacal.core.exit_rules import ExitRule, score

    inputs = images(6)
    network = spiking(small(), inputs, T=3)
    after_one = score(network.steps(inputs)[0], "confidence")
    bar = float(after_one.sort().values[2:4].mean())
    network.exit_rule = ExitRule("confidence", (bar, 2.0, 2.0))
    meter = EnergyMeter()
    steps = network.predict(inputs, meter).timesteps
    assert sorted(steps.tolist()) == [1, 1, 1, 3, 3, 3]
    network.exit_rule = None
    stays, leaves = EnergyMeter(), EnergyMeter()
    network.predict(inputs[steps == 3], stays)
    network.predict(inputs[steps == 1], leaves)
    expected = stays.report().sops * 3 + leaves.sops_by_step[0]
    assert meter.report().sops * 6 == pytest.approx(expected)


def test_a_linear_layer_of_one_output_may_leave_its_dimension_out() -> None:
    flat = filled(Functional(lambda x: x.flatten(1), nn.Linear(4 * 36, 1, bias=False)))
    reports = []
    for weight in (flat.last.weight, flat.last.weight[0]):
        net = filled(
            Functional(
                lambda x, w=weight: F.linear(x.flatten(1), w).reshape(len(x), 1), nn.Identity()
            )
        )
        network = spiking(net, images(2))
        reports.append(measure_energy(network, images(2)))
    wanted, found = reports
    assert (found.sops, found.ann_macs) == (wanted.sops, wanted.ann_macs) and found.sops > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("whole", [False, True], ids=["autocast", "module"])
def test_sums_are_exact_in_sixteen_bits(dtype: torch.dtype, whole: bool) -> None:
    """Which hold no odd number above 256 or 2,048."""
    layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2051))
    net, inputs = filled(layers.eval()), torch.ones(301, 4)
    if whole:
        net, inputs = net.to(dtype), inputs.to(dtype)
    network = convert(net, inputs[:2], T=2, max_spikes=15)
    neuron = network.neurons["1"]
    with torch.autocast("cpu", dtype=dtype, enabled=not whole):
        neuron.shift = 50.0 * float(torch.as_tensor(neuron.threshold))  # fires whatever comes in
        report = measure_energy(network, inputs)
    assert report.spikes == 8 * 2 * 15
    assert report.sops == report.spikes * 2051


def test_fan_outs_of_convolutions_are_exact_in_sixteen_bits() -> None:
    layer = nn.Conv2d(2, 257, 3, padding=1)
    wanted = torch.from_numpy(fan_out_by_loops(layer, (2, 4, 4)))
    for dtype in (torch.float32, torch.bfloat16):
        args = torch.ones(5, 2, 4, 4, dtype=dtype), layer.weight.to(dtype), None, 1, 1
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = FanOuts().of(Call(F.conv2d, "conv2d", args))
        assert torch.equal(found.values[0].double(), wanted)
