"""The networks of the simulation benchmark: untrained, their batch norms settled on noise."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adacal.core.folding import fold_batch_norms
from adacal.core.network import call_module


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network with a batch of inputs.

    Attributes:
        name: for the table.
        ann: eval mode; batch norms not folded.
        inputs: shape [B, C, H, W].
        forward: how to call the network.
    """

    name: str
    ann: nn.Module
    inputs: Tensor
    forward: Callable[[nn.Module, Any], Any] = call_module

    def channels_last(self) -> Case:
        """Returns the case with weights and inputs in channels-last memory."""
        ann = copy.deepcopy(self.ann).to(memory_format=torch.channels_last)
        inputs = self.inputs.contiguous(memory_format=torch.channels_last)
        return dataclasses.replace(self, ann=ann, inputs=inputs)

    def to(self, device: str) -> Case:
        """Returns the case on a device."""
        return dataclasses.replace(self, ann=self.ann.to(device), inputs=self.inputs.to(device))

    def in_bfloat16(self) -> Case:
        """Returns the case in bfloat16 throughout: what the ANN itself would gain from it."""
        ann = copy.deepcopy(self.ann).bfloat16()
        return dataclasses.replace(self, ann=ann, inputs=self.inputs.bfloat16())

    def optimised(self, *, channels_last: bool) -> Callable[[], Any]:
        """Returns the ANN's forward with folded batch norms, in inference mode."""
        case = self.channels_last() if channels_last else self
        ann, inputs = copy.deepcopy(case.ann), case.inputs
        fold_batch_norms(ann, self.forward, inputs[:1])
        if channels_last:  # what was folded is a tensor of its own
            ann = ann.to(memory_format=torch.channels_last)

        @torch.inference_mode()
        def run() -> Any:
            return self.forward(ann, inputs)

        return run


def build(name: str, batch: int, seed: int = 0) -> Case:
    """Builds `resnet18`, `vgg16` (32 px), `mobilenet_v2`, `resnet50`, `retinanet_r18` (256 px)."""
    torch.manual_seed(seed)
    net, side, forward = _NETWORKS[name]()
    _settle(net, torch.randn(2, 3, side, side), forward)
    return Case(name=name, ann=net, inputs=torch.randn(batch, 3, side, side), forward=forward)


def _resnet18() -> tuple[nn.Module, int, Any]:
    from torchvision.models import resnet18

    net: Any = resnet18(num_classes=10)  # for 32 px: a 3x3 stem that keeps the size, no pool
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net, 32, call_module


def _vgg16() -> tuple[nn.Module, int, Any]:
    from tasks.models.vgg import Vgg

    return Vgg(), 32, call_module


def _mobilenet_v2() -> tuple[nn.Module, int, Any]:
    from torchvision.models import mobilenet_v2

    return mobilenet_v2(), 256, call_module


def _resnet50() -> tuple[nn.Module, int, Any]:
    from torchvision.models import resnet50

    return resnet50(), 256, call_module


def _retinanet_r18() -> tuple[nn.Module, int, Any]:
    from tasks.openmmlab.building import build_model
    from tasks.openmmlab.dense import raw_maps

    net = build_model("retinanet/retinanet_r18_fpn_1x_coco", library="mmdet")
    return net, 256, raw_maps


_NETWORKS: dict[str, Callable[[], tuple[nn.Module, int, Any]]] = {
    "resnet18": _resnet18,
    "vgg16": _vgg16,
    "mobilenet_v2": _mobilenet_v2,
    "resnet50": _resnet50,
    "retinanet_r18": _retinanet_r18,
}
BATCHES = {"resnet18": 8, "vgg16": 16, "resnet50": 1, "retinanet_r18": 1}


@torch.no_grad()
def _settle(net: nn.Module, inputs: Tensor, forward: Callable[[nn.Module, Any], Any]) -> None:
    """Gives batch norms the statistics of one batch of noise, so that activations keep a scale."""
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    forward(net, inputs)
    net.eval()
