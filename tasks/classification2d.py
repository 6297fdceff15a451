"""Image classification: a dataset of `tasks.data`, a model of `tasks.models`, top-1 accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adacal.core.converted import Prediction
from adacal.suite.registry import TASKS
from adacal.suite.task import Batch
from tasks.classification import ClassificationTask, image_defaults
from tasks.data.base import ImageDataset
from tasks.pictures import draw_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@TASKS.register_module(name="classification2d")
class Classification2D(ClassificationTask):
    """One image dataset with one classifier."""

    name = "classification2d"
    dataset: ImageDataset

    def draw(self, figure: Figure, batch: Batch, ann: Any, snn: Prediction) -> None:
        """Draws the images with both answers; see `adacal.suite.task.Task`."""
        draw_images(figure, batch, ann, snn)

    def model_defaults(self) -> dict[str, Any]:
        """Returns classes, channels and the side of the image."""
        return image_defaults(self.dataset)
