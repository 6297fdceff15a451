"""torchvision's models, unmodified and with random weights, become spiking networks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models

from adacal.core.conversion import convert
from adacal.core.errors import UnsupportedModelError
from adacal.core.network import SpikingNetwork

# name: (options, input size, known number of activation calls)
SPIKING: dict[str, tuple[dict[str, Any], int, int]] = {
    "resnet18": ({}, 32, 17),
    "resnet50": ({}, 32, 49),
    "vgg11_bn": ({"init_weights": False}, 32, 10),
    "vgg16": ({"init_weights": False}, 32, 15),
    "googlenet": ({"init_weights": False}, 32, 57),
    "densenet121": ({}, 32, 121),
    "mobilenet_v2": ({}, 32, 35),
    "shufflenet_v2_x0_5": ({}, 32, 37),
    "regnet_x_400mf": ({}, 32, 67),
}
ANALOGUE: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "efficientnet_b0": ({}, 32, "silu", r"features\.0\.2"),
    "regnet_y_400mf": ({}, 32, "sigmoid", r"trunk_output\.block1\.block1-0\.f\.se\.scale_activ"),
    "convnext_tiny": ({}, 32, "layer_norm", r"features\.0\.1"),
    "vit_b_16": ({"image_size": 32}, 32, "layer_norm", r"encoder\.layers\.encoder_layer_0\.ln_1"),
}


class Calls(TorchDispatchMode):
    """Counts kernels of the ReLU family where torch dispatches them, far below interception."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        if name in {"relu", "hardtanh", "relu6", "clamp_min"}:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def build(name: str, options: dict[str, Any], size: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    ann: nn.Module = models.get_model(name, weights=None, num_classes=10, **options).eval()
    for layer in ann.modules():
        if isinstance(layer, nn.Linear) and layer.out_features == 10:
            nn.init.normal_(layer.weight, std=0.1)  # some heads begin at zero
    return ann, torch.randn(1, 3, size, size)


def exact_ann(ann: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return ann(x)


def finely_calibrated(network: SpikingNetwork, x: Tensor) -> SpikingNetwork:
    network.calibrate([x], mode="none", threshold="max", per_channel=False)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", SPIKING)
def test_a_relu_network_converts_strictly_with_every_call_and_nears_the_ann(name: str) -> None:
    options, size, known = SPIKING[name]
    ann, x = build(name, options, size)
    network = convert(ann, x, T=2, max_spikes=4096, strict=True)
    with Calls() as calls:
        wanted = exact_ann(ann, x)
    assert len(network.report()) == len(network.neurons) == calls.seen.total() == known
    assert {site.kind for site in network.report()} <= {"burst", "capped"}
    output = finely_calibrated(network, x)(x)
    assert (output - wanted).abs().max() < 0.01 * (wanted.abs().max())


@pytest.mark.parametrize("name", ANALOGUE)
def test_gates_and_norms_are_refused_under_strict_with_function_and_site(name: str) -> None:
    options, size, function, site = ANALOGUE[name]
    ann, x = build(name, options, size)
    with pytest.raises(UnsupportedModelError, match=rf"'{function}' at '{site}.*strict=True"):
        convert(ann, x, T=2, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ANALOGUE)
def test_gates_and_norms_stay_analogue_with_a_flag_and_the_network_nears_the_ann(name: str) -> None:
    options, size, function, _ = ANALOGUE[name]
    ann, x = build(name, options, size)
    network = finely_calibrated(convert(ann, x, T=2, max_spikes=4096), x)
    flagged = [site for site in network.report() if site.kind == "analogue"]
    assert function in {site.function for site in flagged}
    assert network.strictness() == "analogue parts"
    output, wanted = network(x), exact_ann(ann, x)
    assert (output - wanted).abs().max() < 0.01 * wanted.abs().max()
