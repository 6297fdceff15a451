"""Image classification: a dataset of `tasks.data`, a model of `tasks.models`, top-1 accuracy."""

from __future__ import annotations

from typing import Any

from adacal.suite.registry import TASKS
from tasks.classification import ClassificationTask, image_defaults
from tasks.data.base import ImageDataset


@TASKS.register_module(name="classification2d")
class Classification2D(ClassificationTask):
    """One image dataset with one classifier."""

    name = "classification2d"
    dataset: ImageDataset

    def model_defaults(self) -> dict[str, Any]:
        """Returns classes, channels and the side of the image."""
        return image_defaults(self.dataset, self.dataset_name)
