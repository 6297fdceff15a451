"""Batch norms folded into the layers before them: the same function, sites and energy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import adacal
from adacal.core.advanced import WeightOptions
from adacal.core.folding import fold_batch_norms
from adacal.core.network import call_module


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            if part.affine:
                part.weight.data.copy_(torch.randn(part.num_features, generator=generator))
                part.bias.data.copy_(torch.randn(part.num_features, generator=generator))
    return net.eval()


def images(samples: int = 4) -> Tensor:
    return torch.rand(samples, 2, 8, 8, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    """A residual block, a linear layer with a norm, and a norm without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.bn2 = nn.BatchNorm2d(4, affine=False)
        self.hidden = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)) + x)
        return self.head(self.relu(self.norm(self.hidden(x.mean((2, 3))))))


def test_every_norm_that_alone_reads_a_layer_is_folded_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    net = settled(Block())
    wanted = net(images())
    assert fold_batch_norms(net, call_module, images()) == [
        ("conv1", "bn1"), ("conv2", "bn2"), ("hidden", "norm"),
    ]  # fmt: skip
    assert not any(isinstance(part, nn.BatchNorm2d) for part in net.modules())
    assert torch.allclose(net(images()), wanted, atol=1e-5)


class Twice(nn.Module):
    """Layers whose batch norms may not be folded, each for another reason."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why
        self.conv, self.other = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.bn, self.second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        if why == "weight shared":
            self.other.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = F.relu(self.bn(x))
        if self.why == "output read twice":
            return y + x
        if self.why == "output returned too":
            return y, x
        if self.why == "layer called twice":
            return F.relu(self.second(self.conv(y)))
        if self.why == "norm called twice":
            return F.relu(self.bn(self.other(y)))
        if self.why == "weight read elsewhere":
            return y + self.conv.weight.sum()
        return self.other(y)


@pytest.mark.parametrize(
    "why",
    [
        "output read twice", "output returned too", "layer called twice", "norm called twice",
        "weight read elsewhere", "weight shared",
    ],
)  # fmt: skip
def test_a_norm_stays_where_folding_would_change_something_else(why: str) -> None:
    torch.manual_seed(0)
    net = settled(Twice(why))
    before = net(images())
    assert fold_batch_norms(net, call_module, images()) == []
    after = net(images())
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def test_a_hook_or_a_forward_of_its_own_keeps_a_norm() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    hooked = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
    hooked[1].register_forward_hook(lambda *_: None)
    for net in (hooked, nn.Sequential(nn.Conv2d(2, 2, 1), Own(2), nn.ReLU())):
        assert fold_batch_norms(settled(net), call_module, images()) == []


@pytest.mark.parametrize("mode", ["light", "advanced"])
def test_a_folded_network_has_the_sites_and_energy_of_the_other_and_comes_back_from_a_file(
    mode: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = settled(Block())
    plain = adacal.convert(net, images(), T=4, max_spikes=2)
    folded = adacal.convert(net, images(), T=4, max_spikes=2, fold_batch_norm=True)
    assert len(folded.folded) == 3
    assert isinstance(net.bn1, nn.BatchNorm2d), "the ANN was changed"
    for network in (plain, folded):
        options = {"weight_options": WeightOptions(iterations=5)} if mode == "advanced" else {}
        network.calibrate([images(8)], mode, **options)  # type: ignore[arg-type]
    assert torch.allclose(plain(images()), folded(images()), atol=0.1)
    assert [site.name for site in plain.report()] == [site.name for site in folded.report()]
    one, other = (adacal.measure_energy(each, images()) for each in (plain, folded))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert other.sops == pytest.approx(one.sops, rel=0.05)
    assert (one.macs, one.ann_macs) == (other.macs, other.ann_macs)
    folded.save(tmp_path / "net.st")
    again = adacal.load(tmp_path / "net.st", net)
    assert torch.equal(again(images()), folded(images()))
    again.save(tmp_path / "again.st")
    assert torch.equal(adacal.load(tmp_path / "again.st", net)(images()), folded(images()))
