"""Image classification: a dataset of `tasks.data`, a model of `tasks.models`, top-1 accuracy."""

from __future__ import annotations

from typing import Any

from adacal.core.errors import ConfigError
from adacal.suite.registry import TASKS
from tasks.classification import ClassificationTask


@TASKS.register_module(name="classification2d")
class Classification2D(ClassificationTask):
    """One image dataset with one classifier."""

    name = "classification2d"

    def model_defaults(self) -> dict[str, Any]:
        """Returns classes, channels and the side of the image.

        Raises:
            ConfigError: the images are not square.
        """
        channels, height, width = self.dataset.input_shape
        if height != width:
            raise ConfigError(f"models take square images; '{self.dataset_name}' is not square")
        return {
            "num_classes": self.dataset.num_classes,
            "in_channels": channels,
            "image_size": height,
        }
