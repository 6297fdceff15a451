"""Semantic segmentation with any encoder-decoder of mmsegmentation, judged by its own evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from adacal.suite.registry import TASKS
from adacal.suite.task import Metric, Redraw
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

    def redraw(self, evaluator: Any, results: list[list[Any]]) -> Redraw | None:
        """Returns the mean IoU on redrawn images, from the areas that `IoUMetric` keeps of each."""
        for metric, kept in zip(evaluator.metrics, results, strict=True):
            if type(metric).__name__ == "IoUMetric" and len(kept) == self.n_test():
                both, either = (np.stack([np.asarray(one[i]) for one in kept]) for i in (0, 1))
                missing = metric.nan_to_num
                return lambda counts: 100.0 * mean_iou(counts, both, either, missing)
        return None


def mean_iou(
    counts: NDArray[np.int64],
    intersections: NDArray[Any],
    unions: NDArray[Any],
    missing: float | None = None,
) -> NDArray[np.float64]:
    """Returns the mean over classes of the IoU of all drawn images together, shape [R].

    A class that is neither there nor chosen in any of them is left out, or counts `missing`.

    Args:
        counts: how often each image occurs, shape [R, N].
        intersections: pixels of each class that are right, shape [N, C].
        unions: pixels of each class that are there or chosen, shape [N, C].
        missing: what a class without pixels counts.

    >>> mean_iou(np.array([[1, 1], [2, 0]]), np.array([[1, 0], [2, 3]]), np.array([[2, 0], [2, 3]]))
    array([0.875, 0.5  ])
    """
    drawn = np.asarray(counts, np.float64)
    right, all_ = drawn @ intersections.astype(np.float64), drawn @ unions.astype(np.float64)
    there = all_ > 0
    iou = np.divide(right, all_, out=np.full_like(right, missing or 0.0), where=there)
    classes = there.sum(axis=1) if missing is None else np.full(len(drawn), right.shape[1])
    with np.errstate(invalid="ignore"):
        return np.asarray(iou.sum(axis=1) / classes)
