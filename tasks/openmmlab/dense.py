"""Dense models as functions: raw maps from images, the models' own predictions from raw maps.

A detector's raw maps are what its head gives (scores, boxes, centerness by level), a segmentor's
its logits. They are means of linear outputs over steps, so spikes can compute them; what chooses
among them (thresholds, top-k, non-maximum suppression, argmax) is the model's own and runs once, on
the mean.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from adacal.core.analogue import keep_analogue
from adacal.core.errors import ConfigError, UnsupportedModelError


def raw_maps(module: nn.Module, inputs: Tensor) -> Any:
    """Runs backbone, neck and head; the `forward` to convert a dense model with.

    Args:
        module: a model of `tasks.openmmlab.building.build_model`.
        inputs: what its data preprocessor gives, shape [B, 3, H, W].

    Returns:
        A detector's nest of maps, each [B, channels, h, w]; a segmentor's logits [B, K, h, w].
    """
    return module(inputs, mode="tensor")


def raw_maps_of_spiking_backbone(module: Any, inputs: Tensor) -> Any:
    """As `raw_maps`, with neck and head kept analogue: of a conversion only the backbone spikes.

    Neck and head get the backbone's mean features and are one analogue site, whose MACs count once.
    """
    return keep_analogue(partial(_maps_from_features, module), module.backbone(inputs))


def _maps_from_features(module: Any, features: Any) -> Any:
    if module.with_neck:
        features = module.neck(features)
    head = module.decode_head if _is_segmentor(module) else module.bbox_head
    return head.forward(features)


def predictions(module: Any, raw: Any, samples: Sequence[Any]) -> list[Any]:
    """Lets a model choose its answer from raw maps, as its `predict` does from images.

    Args:
        module: the model, as `build_model` gives it.
        raw: what `raw_maps` returned, or its mean over steps.
        samples: the data samples of the batch, whose meta information says how images were
            resized and padded; they are left as they are.

    Returns:
        Copies of the samples with `pred_instances` in pixels of the original image, or with
        `pred_sem_seg` and `seg_logits` of its size: what evaluators of the library take.
    """
    answered = [sample.new() for sample in samples]
    metas = [sample.metainfo for sample in answered]
    if _is_segmentor(module):
        logits = module.decode_head.predict_by_feat(raw, metas)
        return list(module.postprocess_result(logits, answered))
    found = module.bbox_head.predict_by_feat(*raw, batch_img_metas=metas, rescale=True)
    return list(module.add_pred_to_datasample(answered, found))


def refuse_other_kinds(module: Any) -> None:
    """Raises unless the model's output is a function of its images that spikes can compute.

    Raises:
        UnsupportedModelError: a transformer or a two-stage detector, or a head of another form.
        ConfigError: a segmentor that slides a window.
    """
    kind = type(module).__name__
    if _is_segmentor(module):
        _refuse_segmentor(module, kind)
    elif "mmdet" in sys.modules:
        _refuse_detector(module, kind)


def _refuse_detector(module: Any, kind: str) -> None:
    detectors = importlib.import_module("mmdet.models.detectors")
    heads = importlib.import_module("mmdet.models.dense_heads.base_dense_head")
    if isinstance(module, detectors.DetectionTransformer):
        raise UnsupportedModelError(
            f"'{kind}' is a transformer detector: its attention and layer norms cannot be computed "
            "by spikes; take a single-stage detector with ReLU, RetinaNet say"
        )
    if isinstance(module, detectors.TwoStageDetector):
        raise UnsupportedModelError(
            f"'{kind}' is a two-stage detector: its second stage looks at regions that the first "
            "one's scores choose, which differ from step to step and are known only at the end; "
            "take a single-stage detector, RetinaNet say"
        )
    head: Any = getattr(module, "bbox_head", None)
    plain = isinstance(module, detectors.SingleStageDetector) and isinstance(
        head, heads.BaseDenseHead
    )
    if not plain or type(head).predict is not heads.BaseDenseHead.predict:
        raise UnsupportedModelError(
            f"'{kind}' is no single-stage detector whose boxes come from the maps of one dense "
            "head; take RetinaNet, FCOS, ATSS, GFL, YOLOF, SSD or YOLOv3"
        )


def _refuse_segmentor(module: Any, kind: str) -> None:
    segmentors = importlib.import_module("mmseg.models.segmentors")
    heads = importlib.import_module("mmseg.models.decode_heads.decode_head")
    head: Any = getattr(module, "decode_head", None)
    cascade = isinstance(module, segmentors.CascadeEncoderDecoder)
    if cascade or not isinstance(head, heads.BaseDecodeHead):
        raise UnsupportedModelError(
            f"'{kind}' has no single decode head whose logits are its output; take FCN, PSPNet, "
            "DeepLabV3 or DeepLabV3+"
        )
    if type(head).predict is not heads.BaseDecodeHead.predict:
        raise UnsupportedModelError(
            f"the decode head '{type(head).__name__}' makes masks of queries instead of logits; "
            "take FCN, PSPNet, DeepLabV3 or DeepLabV3+"
        )
    if module.test_cfg.get("mode", "whole") != "whole":
        raise ConfigError(
            f"'{kind}' slides a window over images (model.test_cfg.mode='slide'); set "
            "model.test_cfg to dict(mode='whole'), or cut the images before"
        )


def _is_segmentor(module: nn.Module) -> bool:
    base = sys.modules.get("mmseg.models.segmentors")
    return base is not None and isinstance(module, base.EncoderDecoder)
