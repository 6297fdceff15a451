"""The networks: shapes, sizes and the sentences for wrong options."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import tasks.classification2d  # noqa: F401  (registers the models)
from adacal.core.errors import ConfigError
from adacal.suite.registry import MODELS, build

SMALL_VGG = (32, 32, "P", 64, 64, "P", 128, 128, "P")


def make(**config):
    return build(MODELS, "model", config)


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("shape", [(1, 28), (3, 32)])
@pytest.mark.parametrize(
    "config",
    [
        {"type": "lenet"},
        {"type": "lenet", "pool": "max"},
        {"type": "resnet_cifar", "depth": 8, "width": 4},
        {"type": "resnet_cifar", "depth": 14, "widths": (4, 6, 10)},
        {"type": "vgg", "layers": (4, "P", 6, "P"), "hidden": (10,), "dropout": 0.5},
        {"type": "vgg", "layers": (4, "P", 6, "P"), "global_pool": True, "pool": "max"},
    ],
)
def test_every_network_takes_both_embedded_image_shapes(config, shape):
    channels, side = shape
    module = make(**config, num_classes=7, in_channels=channels, image_size=side).eval()
    assert module(torch.zeros(2, channels, side, side)).shape == (2, 7)


def test_the_shipped_networks_fit_into_two_megabytes():
    for config in (
        {"type": "lenet"},
        {"type": "resnet_cifar", "depth": 20, "width": 16},
        {"type": "vgg", "layers": SMALL_VGG, "global_pool": True},
    ):
        assert 4 * parameters(make(**config, in_channels=3, image_size=32)) < 2e6


def test_lenet_has_the_classic_number_of_weights():
    assert parameters(make(type="lenet")) == 61706


class ReluCounter(TorchFunctionMode):
    """Counts calls of ReLU, however they are written."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += func in (F.relu, torch.relu, torch.Tensor.relu)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("depth", "sites"), [(8, 7), (20, 19), (32, 31)])
def test_a_residual_network_calls_one_relu_for_each_layer_but_the_last(depth, sites):
    module = make(type="resnet_cifar", depth=depth, width=2).eval()
    with ReluCounter() as counter:
        module(torch.zeros(1, 3, 32, 32))
    assert counter.calls == sites


def test_the_papers_resnet20_has_its_widths():
    module = make(type="resnet_cifar", depth=20, widths=(64, 128, 256))
    assert module.classifier.in_features == 256
    assert 4.2e6 < parameters(module) < 4.4e6


def test_vgg16_pools_by_averages_only():
    module = make(type="vgg")
    kinds = [type(layer).__name__ for layer in module.features]
    assert kinds.count("Conv2d") == 13
    assert kinds.count("AvgPool2d") == 5
    assert "MaxPool2d" not in kinds


def test_a_torchvision_network_is_built_by_name_without_weights():
    module = make(type="torchvision", arch="squeezenet1_1", num_classes=5).eval()
    assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize("arch", ["resnet18", "vgg11_bn", "squeezenet1_1"])
def test_a_torchvision_network_takes_other_channels_in_its_first_layer_alone(arch):
    usual, other = (
        make(type="torchvision", arch=arch, num_classes=5, in_channels=channels)
        for channels in (3, 2)
    )
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (usual, other)]
    changed = [name for name in shapes[0] if shapes[0][name] != shapes[1][name]]
    assert shapes[0].keys() == shapes[1].keys() and len(changed) == 1
    assert shapes[1][changed[0]][1] == 2
    assert other.eval()(torch.zeros(1, 2, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize(
    "config",
    [
        {"type": "torchvision", "arch": "resnet18"},
        {"type": "resnet_cifar", "depth": 8, "width": 4},
        {"type": "vgg", "layers": (4, "P", 6, "P"), "hidden": (10,)},
        {"type": "vgg", "layers": (4, "P", 6, "P"), "global_pool": True},
    ],
)
def test_networks_take_images_that_are_not_square(config):
    module = make(**config, num_classes=7, in_channels=2, image_size=(36, 48)).eval()
    assert module(torch.zeros(2, 2, 36, 48)).shape == (2, 7)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"type": "torchvision", "arch": "resnet43"}, "no torchvision model named 'resnet43'; did"),
        ({"type": "torchvision", "arch": "resnet18", "in_channels": 0}, "1 or more in_channels"),
        ({"type": "resnet_cifar", "depth": 19}, r"must be 6n \+ 2; got 19"),
        ({"type": "resnet_cifar", "widths": (4, 8)}, "three positive widths"),
        ({"type": "vgg", "image_size": 28}, "5 times, too often for 28 pixels"),
        ({"type": "vgg", "layers": (4, "M")}, "got 'M'"),
        ({"type": "vgg", "pool": "min"}, "'avg' or 'max'; got 'min'"),
        ({"type": "lenet", "pool": "min"}, "'avg' or 'max'; got 'min'"),
        ({"type": "lenet", "image_size": 15}, "even image size"),
        ({"type": "lenet", "image_size": (18, 24)}, r"takes square images; got \(18, 24\)"),
        ({"type": "vgg", "image_size": (64, 30)}, r"5 times, too often for \(64, 30\) pixels"),
        (
            {"type": "lenet", "widht": 3},
            "did you mean 'hidden'|no option of model 'lenet' named 'widht'",
        ),
        ({"type": "resnet"}, "no model named 'resnet'; did you mean"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(**config)
