"""What classification tasks share: a dataset, a model, checkpoints, top-1 accuracy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import tasks.models.lenet
import tasks.models.pointnet
import tasks.models.resnet_cifar
import tasks.models.torchvision_models
import tasks.models.vgg  # noqa: F401  (the five imports register models)
from adacal.core.errors import ConfigError, DataError
from adacal.suite.registry import DATASETS, MODELS, build, import_all
from adacal.suite.task import Batch, Evaluation, Metric, Predict, Task
from tasks.checkpoints import file_sha256, load_checkpoint, require_trainable, resolve_checkpoint
from tasks.data.base import ImageDataset, LabelledDataset
from tasks.models.qcfs import QcfsNetwork
from tasks.training import Schedule, divide, make_schedule, train_classifier

CALIBRATION_BATCH = 128
CEILING_SAMPLES = 256
"""Training samples that the first ceilings of quantised activations are fitted to."""


class ClassificationTask(Task):
    """One labelled dataset with one classifier; subclasses say what its inputs are.

    Attributes:
        dataset: where samples come from.
        takes: what a dataset must be for this task.
        content: what such datasets hold, and one of them, for the sentence about another.
        base: name of the model that this one is a retrained version of, if it is one.
    """

    metric = Metric(name="accuracy_pct", unit="%")
    dataset: LabelledDataset
    takes: ClassVar[type] = ImageDataset
    content: ClassVar[tuple[str, str]] = ("images", "mnist5k")

    def __init__(
        self,
        *,
        dataset: Mapping[str, Any],
        model: Mapping[str, Any],
        checkpoint: str | None = None,
        schedule: Mapping[str, Any] | None = None,
        model_name: str | None = None,
        max_test_samples: int | None = None,
    ) -> None:
        """Names the parts; data and weights are read when they are first needed.

        Args:
            dataset: config of the dataset: `type` and its options, for example `root`.
            model: config of the network: `type`, its options, and optionally `name` (for records
                and the checkpoint's file name), `checkpoint`, `schedule` (what this network needs
                otherwise than `schedule` says), `base` (name of the model whose trained weights
                training begins with) or `counterpart` (that of the plain model which this is a
                version of, trained from scratch).
            checkpoint: path of the weights; see `tasks.checkpoints.resolve_checkpoint`.
            schedule: how `train` trains; see `tasks.training.Schedule`.
            model_name: overrides `model['name']`.
            max_test_samples: uses the first so many test samples only; they hold all classes.

        Raises:
            ConfigError: an unknown dataset, model or option, or a dataset of another kind.
        """
        import_all("tasks.data")
        options = dict(model)
        given_name = options.pop("name", None)
        own_checkpoint = options.pop("checkpoint", None)
        self.base: str | None = options.pop("base", None)
        if not isinstance(self.base, str | None):
            raise ConfigError(f"model.base must be the name of a model; got {self.base!r}")
        options.pop("counterpart", None)  # for readers of the records
        self.model_name = str(model_name or given_name or options.get("type"))
        self.dataset_name = str(dataset.get("type"))
        self.dataset = build(DATASETS, "dataset", dict(dataset))
        if not isinstance(self.dataset, self.takes):
            content, example = self.content
            raise ConfigError(
                f"dataset '{self.dataset_name}' holds no {content}; take one that does, {example} "
                "say"
            )
        own_schedule = options.pop("schedule", None) or {}
        if not isinstance(own_schedule, Mapping):
            raise ConfigError(f"model.schedule must be a dict; got {own_schedule!r}")
        self.schedule = None if schedule is None else {**schedule, **own_schedule}
        if max_test_samples is not None and max_test_samples < 1:
            raise ConfigError(f"max_test_samples must be 1 or more; got {max_test_samples}")
        self.max_test_samples = max_test_samples
        self.checkpoint: Path = resolve_checkpoint(
            checkpoint or own_checkpoint, self.dataset_name, self.model_name
        )
        self._model_config = {**self.model_defaults(), **options}

    @abstractmethod
    def model_defaults(self) -> dict[str, Any]:
        """Returns what the dataset says of the network: classes, channels, size.

        Raises:
            ConfigError: no network can take samples of this shape.
        """

    def build_module(self) -> nn.Module:
        """Returns the network with random weights, in training mode."""
        module: nn.Module = build(MODELS, "model", self._model_config)
        return module

    def build_ann(self) -> nn.Module:
        """Returns the trained network in eval mode, from its checkpoint."""
        module = self.build_module()
        load_checkpoint(self.checkpoint, module)
        return module.eval()

    def checkpoint_sha256(self) -> str:
        """Returns the sha256 of the checkpoint, or an empty string if there is none."""
        return file_sha256(self.checkpoint) if self.checkpoint.is_file() else ""

    def example_input(self) -> Tensor:
        """Returns the first two test samples, shape [2, ...]."""
        return self.inputs("test", torch.arange(2))

    def inputs(self, part: str, indices: Tensor) -> Tensor:
        """Returns network inputs of samples of a split, shape [B, ...], without augmentation."""
        return self.dataset.split(part).fetch(indices)

    def targets(self, part: str, indices: Tensor) -> Tensor:
        """Returns what samples of a split should be classified as, shape [B], int64."""
        return self.dataset.split(part).labels[indices]

    def training_pair(
        self, indices: Tensor, epoch: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Returns training samples, augmented, and their targets.

        Args:
            indices: positions in the training split, shape [B].
            epoch: number of the epoch.
            generator: source of all randomness.
        """
        inputs = self.dataset.training_batch(indices, epoch, generator)
        return inputs, self.targets("train", indices)

    def calibration_batches(self, n_samples: int, seed: int) -> list[Batch]:
        """Draws training samples without augmentation, as many of each class as possible.

        Args:
            n_samples: how many in all.
            seed: of the drawing.

        Returns:
            Batches of at most 128; their indices are positions in the training split.

        Raises:
            ConfigError: no samples are asked for, or more than there are.
        """
        split = self.dataset.split("train")
        if not 1 <= n_samples <= len(split):
            raise ConfigError(
                f"calibration takes 1 to {len(split)} samples of '{self.dataset_name}'; "
                f"got {n_samples}; try 128"
            )
        generator = torch.Generator().manual_seed(seed)
        chosen = balanced_draw(split.labels, self.dataset.num_classes, n_samples, generator)
        return [
            Batch(
                inputs=self.inputs("train", part),
                targets=self.targets("train", part),
                indices=part,
            )
            for part in chosen.split(CALIBRATION_BATCH)
        ]

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the test samples in their fixed order."""
        if batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more; got {batch_size}; try 100")
        for part in torch.arange(self.n_test()).split(batch_size):
            inputs, targets = self.inputs("test", part), self.targets("test", part)
            yield Batch(inputs=inputs, targets=targets, indices=part)

    def n_test(self) -> int:
        """Returns how many test samples are used."""
        return min(len(self.dataset.split("test")), self.max_test_samples or 2**62)

    def evaluate(
        self,
        predict: Predict,
        batch_size: int = 100,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Measures top-1 accuracy; a sample whose logits are not all finite counts as wrong.

        Raises:
            DataError: `predict` does not return logits [B, num_classes].
        """
        total = self.n_test()
        correct = np.zeros(total, dtype=bool)
        for batch in self.test_batches(batch_size):
            expected = (batch.indices.numel(), self.dataset.num_classes)
            logits = checked_logits(predict(batch.inputs), expected)
            right = (logits.argmax(1) == batch.targets) & torch.isfinite(logits).all(1)
            correct[batch.indices.numpy()] = right.numpy()
            if progress is not None:
                progress(int(batch.indices[-1]) + 1, total)
        return Evaluation(
            metrics={self.metric.name: 100.0 * float(correct.mean())}, correct=correct
        )

    def metric_by_step(self, by_step: Sequence[Tensor]) -> list[float] | None:
        """Returns top-1 accuracy after 1 … T steps; see `adacal.suite.task.Task`."""
        if self.metric.name != "accuracy_pct":
            return None
        logits = torch.cat(list(by_step), 1)
        targets = self.targets("test", torch.arange(logits.shape[1]))
        right = (logits.argmax(2) == targets) & torch.isfinite(logits).all(2)
        return (100.0 * right.double().mean(1)).tolist()

    def data_fingerprint(self) -> str:
        """Returns the dataset's fingerprint, with the number of test samples if it was cut."""
        cut = "" if self.max_test_samples is None else f":first{self.n_test()}"
        return self.dataset.fingerprint() + cut

    def train(
        self,
        log: Callable[[dict[str, float]], None],
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Trains the network by the schedule and writes its checkpoint and training log.

        Args:
            log: called after each epoch.
            seed: of the weights, the order and the augmentation.
            device: where to train; the GPU if there is one.
            overwrite: whether a checkpoint that is there may be replaced; records of its network
                could not be verified any more.

        Raises:
            ConfigError: there is no schedule, the checkpoint is not a safetensors path, or it is
                there and `overwrite` is not set.
            DataError: the checkpoint cannot be written, or training diverged.
        """
        schedule = make_schedule(self.schedule)
        require_trainable(self.checkpoint, overwrite)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.build_module()
            notes = {"dataset": self.dataset_name, "model": self.model_name}
            if self.base is not None:
                notes["base"] = self.base
                self._begin_with_base(module, schedule, seed)
            return train_classifier(
                module,
                self.dataset,
                schedule,
                self.checkpoint,
                targets=self.targets,
                pairs=self.training_pair,
                log=log,
                seed=seed,
                device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
                notes=notes,
            )

    def _begin_with_base(self, module: nn.Module, schedule: Schedule, seed: int) -> None:
        """Loads the weights of the base and fits what it lacks to samples that are trained on."""
        if not isinstance(module, QcfsNetwork):
            raise ConfigError(
                f"model '{self.model_name}' has a base, and only networks of type 'qcfs' are "
                "retrained from one; leave model.base out"
            )
        load_checkpoint(resolve_checkpoint(None, self.dataset_name, str(self.base)), module.network)
        chosen, _ = divide(self.dataset.split("train").labels, schedule)
        labels = self.dataset.split("train").labels[chosen]
        count = min(CEILING_SAMPLES, chosen.numel())
        generator = torch.Generator().manual_seed(seed)
        drawn = balanced_draw(labels, self.dataset.num_classes, count, generator)
        module.fit_ceilings(self.inputs("train", chosen[drawn]))


def checked_logits(output: Any, expected: tuple[int, ...]) -> Tensor:
    """Returns raw outputs on the CPU, if they are logits of that shape.

    Raises:
        DataError: they are not.
    """
    if not isinstance(output, Tensor) or tuple(output.shape) != expected:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise DataError(f"the network must return logits of shape {expected}; got {got}")
    return output.detach().cpu()


def image_defaults(dataset: ImageDataset) -> dict[str, Any]:
    """Returns classes, channels and the side of images, (height, width) if not square.

    Networks that pool over what is left of the image take any shape; others refuse the pair.
    """
    channels, height, width = dataset.input_shape
    return {
        "num_classes": dataset.num_classes,
        "in_channels": channels,
        "image_size": height if height == width else (height, width),
    }


def balanced_draw(
    labels: Tensor, num_classes: int, count: int, generator: torch.Generator
) -> Tensor:
    """Draws positions so that class counts differ by at most one (while a class lasts).

    Args:
        labels: class of each sample, shape [N].
        num_classes: number of classes.
        count: positions to draw, at most N.
        generator: source of randomness.

    Returns:
        Different positions in random order, shape [count].
    """
    shuffled = torch.randperm(labels.numel(), generator=generator)
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    sizes = torch.bincount(labels, minlength=num_classes)
    starts = torch.cumsum(sizes, 0) - sizes
    sorted_labels = labels[by_class]
    rank = torch.arange(labels.numel()) - starts[sorted_labels]
    turn = torch.randperm(num_classes, generator=generator)[sorted_labels]
    chosen = by_class[torch.argsort(rank * num_classes + turn)[:count]]
    return chosen[torch.randperm(count, generator=generator)]
