"""Classification of point clouds: a dataset of clouds, a PointNet, top-1 accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

from adacal.suite.registry import TASKS
from tasks.classification import ClassificationTask
from tasks.data.point_clouds import PointDataset


@TASKS.register_module(name="classification3d")
class Classification3D(ClassificationTask):
    """One point-cloud dataset with one classifier."""

    name = "classification3d"
    dataset: PointDataset
    takes: ClassVar[type] = PointDataset
    content: ClassVar[tuple[str, str]] = ("point clouds", "mnist_points")

    def model_defaults(self) -> dict[str, Any]:
        """Returns the number of classes and of coordinates."""
        return {
            "num_classes": self.dataset.num_classes,
            "in_features": self.dataset.input_shape[1],
        }
