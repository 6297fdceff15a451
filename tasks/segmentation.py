"""Semantic segmentation with any encoder-decoder of mmsegmentation, judged by its own evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from adacal.suite.registry import TASKS
from adacal.suite.task import Metric
from tasks.openmmlab.building import Library
from tasks.openmmlab.task import DenseTask


@TASKS.register_module(name="segmentation")
class Segmentation(DenseTask):
    """One segmentation dataset with one segmentor; the main metric is the mean IoU of classes."""

    name = "segmentation"
    metric = Metric(name="miou_pct", unit="%")
    library: ClassVar[Library] = "mmseg"
    example = "digit_masks"
    score_names: ClassVar[Mapping[str, tuple[str, float]]] = {
        "mIoU": ("miou_pct", 1.0),
        "mAcc": ("mean_accuracy_pct", 1.0),
        "aAcc": ("pixel_accuracy_pct", 1.0),
    }
