"""Classification of event recordings: as streams, another frame each step, or as one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError
from adacal.suite.registry import TASKS
from adacal.suite.task import Batch
from tasks.classification import ClassificationTask, image_defaults
from tasks.data.event_frames import EventDataset
from tasks.pictures import draw_events

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("stream", "static")


@TASKS.register_module(name="events")
class Events(ClassificationTask):
    """One event dataset with one classifier, trained on counts over recordings and parts of them.

    In mode `stream` the recording is cut into T bins and step t sees the counts of bin t: after t
    of T steps a part t/T of the recording has been seen. In mode `static` the counts over the whole
    recording are an analogue image, the same at every step (as the Adaptive Calibration code does
    with a voxel grid), so nothing is answered before the recording has ended. The network and its
    weights are the same in both.
    """

    name = "events"
    needs_T: ClassVar[bool] = True
    dataset: EventDataset
    takes: ClassVar[type] = EventDataset
    content: ClassVar[tuple[str, str]] = ("events", "dvs_mnist")

    def __init__(self, *, T: int, mode: str = "stream", **options: Any) -> None:
        """Names the parts; see `tasks.classification.ClassificationTask` for `options`.

        Args:
            T: timesteps, and bins of a stream.
            mode: `stream` or `static`.
            options: dataset, model, checkpoint, schedule, …

        Raises:
            ConfigError: an unknown mode, or a dataset without events.
        """
        if mode not in MODES:
            raise ConfigError(f"events.mode must be 'stream' or 'static'; got {mode!r}")
        super().__init__(**options)
        self.dataset_name = f"{self.dataset_name}_{mode}"
        self.stream = self.event_input = mode == "stream"
        self.T = T
        if self.stream and self.dataset.duration_us is not None:
            self.ms_per_step = self.dataset.duration_us / 1e3 / T

    def model_defaults(self) -> dict[str, Any]:
        """Returns classes, polarities as channels, and the side of the frame or both sides."""
        return image_defaults(self.dataset)

    def inputs(self, part: str, indices: Tensor) -> Tensor:
        """Returns counts by bin, [T, B, 2, H, W], or over the whole recording, [B, 2, H, W]."""
        split = self.dataset.split(part)
        if self.stream:
            return split.counts(indices, self.T).transpose(0, 1).contiguous()
        return split.fetch(indices)

    def spiking_forward(self, module: nn.Module, inputs: Tensor) -> Any:
        """Runs the network; counts of a bin are brought to the scale it was trained at.

        A scale of all inputs alike folds into the weights, so inputs stay whole events.
        """
        return module(inputs * (self.T / self.dataset.scale)) if self.stream else module(inputs)

    def draw(self, figure: Figure, batch: Batch, ann: Any, snn: Prediction) -> None:
        """Draws what has been seen after each step with the answer then; see `Task`."""
        draw_events(figure, batch, ann, snn, stream=self.stream, ms_per_step=self.ms_per_step)

    def data_fingerprint(self) -> str:
        """Returns the dataset's fingerprint and the mode."""
        return f"{super().data_fingerprint()}:{'stream' if self.stream else 'static'}"
