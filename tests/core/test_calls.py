"""A call means the same whichever way its operands are written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.conversion import convert
from adacal.core.energy import EnergyReport
from adacal.core.measure import measure_energy
from core.energy_toys import Functional, filled, images, seeded

GAMMA = 0.5 + torch.rand(4, 1, 1, generator=seeded(3))
KERNEL = torch.rand(4, 4, 3, 3, generator=seeded(4)) - 0.4
BIAS = torch.rand(4, generator=seeded(5)) - 0.4
MATRIX = torch.rand(6, 6, generator=seeded(6)) - 0.4

Form = Callable[[Tensor], Tensor]
KEYWORDS: dict[str, tuple[Form, Form]] = {
    "add": (lambda x: torch.add(input=x, other=x), lambda x: x + x),
    "x.add": (lambda x: x.add(other=1.0), lambda x: x + 1.0),
    "sub": (lambda x: torch.sub(x, other=BIAS.mean()), lambda x: x - BIAS.mean()),
    "mul": (lambda x: torch.mul(x, other=GAMMA), lambda x: x * GAMMA),
    "x.mul": (lambda x: x.mul(other=GAMMA), lambda x: x * GAMMA),
    "div": (lambda x: torch.div(input=x, other=GAMMA), lambda x: x / GAMMA),
    "conv2d": (
        lambda x: F.conv2d(input=x, weight=KERNEL, bias=BIAS, stride=2),
        lambda x: F.conv2d(x, KERNEL, BIAS, 2),
    ),
    "conv2d, weight only": (
        lambda x: F.conv2d(x, weight=KERNEL, padding=1),
        lambda x: F.conv2d(x, KERNEL, None, 1, 1),
    ),
    "linear": (
        lambda x: F.linear(x, weight=MATRIX, bias=BIAS.mean()),
        lambda x: F.linear(x, MATRIX, BIAS.mean()),
    ),
    "matmul": (lambda x: torch.matmul(input=x, other=MATRIX), lambda x: x @ MATRIX),
    "cat": (lambda x: torch.cat(tensors=[x, x], dim=2), lambda x: torch.cat([x, x], 2)),
    "cat along an axis": (lambda x: torch.cat([x, x], axis=2), lambda x: torch.cat([x, x], 2)),
    "mean along an axis": (
        lambda x: x.mean(axis=(2, 3), keepdims=True),
        lambda x: x.mean((2, 3), keepdim=True),
    ),
    "max along an axis": (
        lambda x: torch.amax(input=x, axis=3, keepdims=True),
        lambda x: x.amax(3, keepdim=True),
    ),
    "max pool": (
        lambda x: F.max_pool2d(input=x, kernel_size=2),
        lambda x: F.max_pool2d(x, 2),
    ),
    "relu": (lambda x: F.relu(input=x - 0.5), lambda x: F.relu(x - 0.5)),
    "softmax": (lambda x: torch.softmax(input=x, dim=1), lambda x: torch.softmax(x, 1)),
}


def layers(report: EnergyReport) -> list[tuple[float, float, float]]:
    return [(layer.spikes, layer.sops, layer.macs) for layer in report.layers]


@pytest.mark.parametrize("form", KEYWORDS)
def test_operands_given_by_keyword_compute_and_cost_what_they_do_by_position(form: str) -> None:
    found = []
    for way in KEYWORDS[form]:
        net, inputs = filled(Functional(way, nn.Conv2d(4, 3, 1))), images(2)
        network = convert(net, inputs, T=3, max_spikes=2)
        report = measure_energy(network, inputs)
        found.append((network(inputs), layers(report), report.energy_pj, report.ann_energy_pj))
        assert report.sops + report.macs > 0
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


class Keyword(nn.Module):
    """A convolution that names its weight when it calls."""

    def __init__(self, *, keyword: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4, 4, 3, 3)), nn.Parameter(torch.ones(4))
        self.keyword = keyword

    def forward(self, x: Tensor) -> Tensor:
        if self.keyword:
            return F.conv2d(x, bias=self.bias, weight=self.weight, padding=1)
        return F.conv2d(x, self.weight, self.bias, padding=1)


def test_weights_given_by_keyword_are_fitted_like_others() -> None:
    found = []
    for keyword in (True, False):
        net = filled(
            nn.Sequential(
                nn.Conv2d(2, 4, 3),
                nn.ReLU(),
                Keyword(keyword=keyword),
                nn.ReLU(),
                nn.Conv2d(4, 3, 1),
            )
        )
        inputs = images(6)
        network = convert(net, inputs, T=2)
        network.calibrate([inputs], "advanced")
        assert "2" in network.weight_changes
        found.append((network(inputs), measure_energy(network, inputs).energy_pj))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
