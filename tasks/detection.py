"""Object detection with any single-stage detector of mmdet, judged by mmdet's own evaluators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from adacal.suite.registry import TASKS
from adacal.suite.task import Metric, Redraw
from tasks.openmmlab.average_precision import average_precision, match_boxes
from tasks.openmmlab.building import Library, quiet
from tasks.openmmlab.task import DenseTask


@TASKS.register_module(name="detection")
class Detection(DenseTask):
    """One detection dataset with one detector.

    The main metric is COCO's average precision, a mean over IoU from 0.5 to 0.95; with mmdet's
    `VOCMetric` it is the average precision at an IoU of 0.5.
    """

    name = "detection"
    library: ClassVar[Library] = "mmdet"
    example = "digit_scenes"
    score_names: ClassVar[Mapping[str, tuple[str, float]]] = {
        "coco/bbox_mAP": ("map_pct", 100.0),
        "coco/bbox_mAP_50": ("map50_pct", 100.0),
        "coco/bbox_mAP_75": ("map75_pct", 100.0),
        "pascal_voc/AP50": ("map50_pct", 100.0),
    }

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        """What the evaluator gives first."""
        wanted = self.config.test_evaluator
        kinds = [one.get("type") for one in (wanted if isinstance(wanted, list) else [wanted])]
        return Metric(name="map50_pct" if "VOCMetric" in kinds else "map_pct", unit="%")

    def prepare_evaluator(self, evaluator: Any) -> None:
        """Lets COCO's evaluator know which images were seen; it takes all it knows otherwise."""
        seen = [self.test_dataset.get_data_info(i)["img_id"] for i in range(self.n_test())]
        for metric in evaluator.metrics:
            if self.max_test_samples is not None and hasattr(metric, "img_ids"):
                metric.img_ids = seen

    def redraw(self, evaluator: Any, results: list[list[Any]]) -> Redraw | None:
        """Returns COCO's average precision on redrawn images; VOC's has no such way yet."""
        for metric, kept in zip(evaluator.metrics, results, strict=True):
            judged = type(metric).__name__ == "CocoMetric" and "bbox" in metric.metrics
            if judged and len(kept) == self.n_test():
                answers = [answer for _, answer in kept]
                with quiet():
                    classes = match_boxes(
                        metric._coco_api,
                        [box for answer in answers for box in _boxes(answer, metric.cat_ids)],
                        [answer["img_id"] for answer in answers],
                        metric.cat_ids,
                        np.asarray(metric.iou_thrs),
                    )
                return lambda counts: 100.0 * average_precision(classes, counts)
        return None


def _boxes(answer: Mapping[str, Any], category_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yields an image's boxes as COCO's results have them."""
    corners, scores, labels = (np.asarray(answer[k]) for k in ("bboxes", "scores", "labels"))
    for (left, top, right, bottom), score, label in zip(
        corners.tolist(), scores.tolist(), labels.tolist(), strict=True
    ):
        yield {
            "image_id": answer["img_id"],
            "category_id": category_ids[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
        }
