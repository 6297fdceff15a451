"""What a benchmark task must say for the core to convert and measure its models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from adacal.core.converted import Prediction
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Predict = Callable[[Tensor], Any]

Redraw = Callable[[np.ndarray], np.ndarray]
"""Maps how often each test sample occurs, [R, N], to the main metric of each such set, [R]."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The number a task is judged by.

    Attributes:
        name: key of the number in records, for example `accuracy_pct`.
        unit: unit as printed, for example `%`.
        higher_is_better: direction of improvement.
    """

    name: str
    unit: str
    higher_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples that travel together.

    Attributes:
        inputs: network input, shape [B, ...] (or [T, B, ...] for streams).
        targets: labels, shape [B], or whatever the task's evaluator needs.
        indices: position of each sample in its split, shape [B]; proves which samples were used.
    """

    inputs: Tensor
    targets: Any
    indices: Tensor


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `Task.evaluate` found.

    Attributes:
        metrics: metric name to value; holds the task's main metric.
        correct: one bool a test sample where the task is a classification, else None. Paired
            intervals between methods are computed from it.
        redraw: for a metric that is no mean of `correct`: gives the main metric on redrawn test
            sets from what was measured, nothing is run again. Intervals come from it; without
            either, tables show the range over seeds. Samples count in the order of `test_batches`,
            and every one taken once must give the metric itself.
    """

    metrics: dict[str, float]
    correct: np.ndarray | None = None
    redraw: Redraw | None = None


class Task(ABC):
    """A dataset, a model and its evaluator, told to the task-blind core.

    Attributes:
        name: task family, for example `classification2d`.
        dataset_name: registry name of the dataset, for example `mnist5k`.
        model_name: name of the model, for example `resnet20`.
        metric: the main metric.
        stream: whether inputs are streams [T, B, ...] (a different frame each step).
        event_input: whether inputs are counts of events, which a first layer accumulates.
        needs_T: whether the task is built with `T`, because its inputs depend on it.
        ms_per_step: of a stream, how much of a recording a step stands for, ms; None if unknown.
    """

    name: str
    dataset_name: str
    model_name: str
    metric: Metric
    stream: bool = False
    event_input: bool = False
    ms_per_step: float | None = None
    needs_T: ClassVar[bool] = False

    @abstractmethod
    def build_ann(self) -> nn.Module:
        """Returns the trained network in eval mode, from its checkpoint.

        Raises:
            DataError: the checkpoint is missing or does not fit; the sentence says what to run.
        """

    @abstractmethod
    def example_input(self) -> Tensor:
        """Returns an input of two samples, shape [2, ...], to trace the network with."""

    @abstractmethod
    def calibration_batches(self, n_samples: int, seed: int) -> list[Batch]:
        """Draws calibration samples from TRAINING data only, the same for the same seed."""

    @abstractmethod
    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the test samples in their fixed order."""

    @abstractmethod
    def evaluate(
        self,
        predict: Predict,
        batch_size: int = 100,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Runs the test set through `predict` and measures it.

        Args:
            predict: maps `Batch.inputs` to the raw output (logits, head maps).
            batch_size: samples a call.
            progress: called with (samples done, samples in all) after each batch.
        """

    @abstractmethod
    def data_fingerprint(self) -> str:
        """Returns a short hash of the dataset's name, version and sample order."""

    def checkpoint_sha256(self) -> str:
        """Returns the sha256 of the checkpoint file in use, or an empty string without one."""
        return ""

    def spiking_forward(self, module: nn.Module, inputs: Tensor) -> Any:
        """Returns the raw outputs (logits, head maps; any nest) of the module that is converted."""
        return module(inputs)

    def metric_by_step(self, by_step: Sequence[Tensor]) -> list[float] | None:
        """Returns the main metric after 1 … T steps; None where it is not known.

        Args:
            by_step: running means of the output, shape [T, B, K], one entry a test batch in order.
        """
        return None

    def draw(self, figure: Figure, batch: Batch, ann: Any, snn: Prediction) -> None:
        """Draws test samples with both networks' answers.

        Args:
            figure: an empty figure, whose size may be changed.
            batch: a few test samples.
            ann: the ANN's raw output for them, on the CPU.
            snn: what the converted network gave, on the CPU.

        Raises:
            ConfigError: the task has no pictures.
        """
        self.draw_answers(figure, batch, ann, {"SNN": snn})

    def read_image(self, path: Path) -> Batch:
        """Returns an image from a file as the network takes it, a batch of one.

        Its targets are unknown and its index is -1.

        Raises:
            ConfigError: the task does not read images from files.
            DataError: the file is missing or no image.
        """
        raise ConfigError(
            f"task '{self.name}' reads no images from files; take a config of detection or "
            "segmentation"
        )

    def draw_answers(
        self, figure: Figure, batch: Batch, ann: Any, snn: Mapping[str, Prediction]
    ) -> None:
        """Draws samples with the answers of the ANN and of several conversions side by side.

        Args:
            figure: an empty figure, whose size may be changed.
            batch: a few samples; those with an index of -1 have no truth to draw.
            ann: the ANN's raw output for them, on the CPU.
            snn: what conversions gave, on the CPU, by the name that stands above it.

        Raises:
            ConfigError: the task has no pictures.
        """
        raise ConfigError(f"task '{self.name}' has no pictures of its samples")

    def compare(self, batch: Batch, ann: Any, snn: Prediction) -> str:
        """Returns in a few words how far a conversion answers as the ANN does.

        Args:
            batch: samples.
            ann: the ANN's raw output for them, on the CPU.
            snn: what the conversion gave.

        Raises:
            ConfigError: the task has no words for it.
        """
        raise ConfigError(f"task '{self.name}' does not compare answers")

    def divergence(self, ann_out: Any, snn_out: Any) -> Tensor:
        """Returns how far two raw outputs are apart, one number a sample, shape [B]."""
        return symmetric_kl(ann_out, snn_out)

    def train(
        self,
        log: Callable[[dict[str, float]], None],
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        overwrite: bool = False,
    ) -> Any:
        """Trains the network by the task's schedule and writes its checkpoint.

        Raises:
            ConfigError: the task has no schedule, or there is a checkpoint and `overwrite` is not
                set.
        """
        raise ConfigError(f"task '{self.name}' on '{self.dataset_name}' has no training schedule")


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """Returns the batch with inputs (and tensor targets) on another device."""
    targets = batch.targets.to(device) if isinstance(batch.targets, Tensor) else batch.targets
    return Batch(inputs=batch.inputs.to(device), targets=targets, indices=batch.indices)
