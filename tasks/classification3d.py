"""Classification of point clouds: a dataset of clouds, a PointNet, top-1 accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adacal.core.converted import Prediction
from adacal.suite.registry import TASKS
from adacal.suite.task import Batch
from tasks.cloud_pictures import draw_clouds
from tasks.points import PointTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@TASKS.register_module(name="classification3d")
class Classification3D(PointTask):
    """One point-cloud dataset with one classifier."""

    name = "classification3d"

    def model_defaults(self) -> dict[str, Any]:
        """Returns the number of classes and of coordinates."""
        return {
            "num_classes": self.dataset.num_classes,
            "in_features": self.dataset.input_shape[1],
        }

    def draw(self, figure: Figure, batch: Batch, ann: Any, snn: Prediction) -> None:
        """Draws the clouds with both answers; see `adacal.suite.task.Task`."""
        draw_clouds(figure, batch, ann, snn, self.dataset.class_names)
