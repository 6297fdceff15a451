"""Shipped configs of detectors and segmentors, narrow enough for seconds, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tasks.openmmlab.building import build_model

CLASSES = 3
GROUP_NORM = {"type": "GN", "num_groups": 4, "requires_grad": True}


def _resnet(style: str = "pytorch") -> dict[str, Any]:
    return {"model.backbone.depth": 18, "model.backbone.base_channels": 8} | {
        "model.backbone.style": style
    }


def _pyramid(**head: Any) -> dict[str, Any]:
    """ResNet-18, a pyramid and a head, all narrow."""
    head = {"num_classes": CLASSES, "in_channels": 16, "feat_channels": 16, **head}
    return {
        **_resnet(),
        "model.neck.in_channels": [8, 16, 32, 64],
        "model.neck.out_channels": 16,
        **{f"model.bbox_head.{key}": value for key, value in head.items()},
    }


def _decoder(**head: Any) -> dict[str, Any]:
    head = {"num_classes": CLASSES, "in_channels": 64, "channels": 16, **head}
    extra = {"num_classes": CLASSES, "in_channels": 32, "channels": 8}
    return {
        **_resnet(),
        **{f"model.decode_head.{key}": value for key, value in head.items()},
        **{f"model.auxiliary_head.{key}": value for key, value in extra.items()},
    }


DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "retinanet": ("retinanet/retinanet_r18_fpn_1x_coco", _pyramid()),
    "fcos": (
        "fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco",
        _pyramid(norm_cfg=GROUP_NORM),
    ),
    "fcos_exp": ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco", _pyramid(norm_cfg=GROUP_NORM)),
    "atss": ("atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco", _pyramid(norm_cfg=GROUP_NORM)),
    "gfl": ("gfl/gfl_r50_fpn_1x_coco", _pyramid(norm_cfg=GROUP_NORM)),
    "yolof": (
        "yolof/yolof_r50-c5_8xb8-1x_coco",
        {
            **_resnet(),
            "model.neck.in_channels": 64,
            "model.neck.out_channels": 16,
            "model.neck.block_mid_channels": 8,
            "model.bbox_head.in_channels": 16,
            "model.bbox_head.num_classes": CLASSES,
        },
    ),
    # its widths are fixed; at 64 pixels the last maps would be smaller than their kernels
    "ssd": (
        "ssd/ssd300_coco",
        {"model.neck.level_paddings": [1, 1, 1, 1], "model.bbox_head.num_classes": CLASSES},
    ),
    "yolov3": ("yolo/yolov3_d53_8xb8-320-273e_coco", {"model.bbox_head.num_classes": CLASSES}),
    "yolox": (
        "yolox/yolox_tiny_8xb8-300e_coco",
        {"model.bbox_head.num_classes": CLASSES},
    ),
}
SEGMENTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "fcn": ("fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512", _decoder()),
    "pspnet": ("pspnet/pspnet_r50-d8_4xb4-20k_voc12aug-512x512", _decoder()),
    "deeplabv3": ("deeplabv3/deeplabv3_r50-d8_4xb4-20k_voc12aug-512x512", _decoder()),
    "deeplabv3plus": (
        "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512",
        _decoder(c1_in_channels=8, c1_channels=4),
    ),
}


def plain_model(name: str, seed: int = 0) -> nn.Module:
    """Builds a model with the weights of its own initialisation."""
    library = "mmdet" if name in DETECTORS else "mmseg"
    config, options = (DETECTORS | SEGMENTORS)[name]
    torch.manual_seed(seed)
    return build_model(config, library=library, options=options)  # type: ignore[arg-type]


def small_model(name: str, size: int = 64, seed: int = 0) -> nn.Module:
    """Builds a model whose activations and maps vary as those of a trained one do.

    Its own initialisation makes maps that hardly depend on the image, so that nothing could be
    told from their error: weights are drawn larger and batch norms see some images.
    """
    module = plain_model(name, seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # a running mean over what it has seen
            part.train()
            nn.init.uniform_(part.weight, 0.5, 1.0)
            nn.init.normal_(part.bias, std=0.2)
    with torch.no_grad():
        module(images(8, size, seed=99), mode="tensor")
    return module.eval()


def images(count: int, size: int = 64, seed: int = 0) -> Tensor:
    """Smooth random images, [count, 3, size, size], of mean 0 and deviation about 1."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, size // 8, size // 8, generator=random)
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return smooth + 0.3 * torch.randn(count, 3, size, size, generator=random)


def tensors(nest: Any) -> list[Tensor]:
    """All tensors of a nest, in order."""
    if isinstance(nest, Tensor):
        return [nest]
    return [tensor for part in nest for tensor in tensors(part)]


def map_errors(ann: Any, snn: Any) -> list[float]:
    """Relative L2 error of each map, what each channel has of constant left out."""
    errors = []
    for one, other in zip(tensors(ann), tensors(snn), strict=True):
        spread = one - one.mean((0, 2, 3), keepdim=True)
        errors.append(float((other - one).norm() / spread.norm().clamp_min(1e-9)))
    return errors
