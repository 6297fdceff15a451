"""Part segmentation of point clouds: the part of every point, judged by IoU as ShapeNetPart is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError
from adacal.suite.registry import TASKS
from adacal.suite.task import Batch, Evaluation, Metric, Predict
from tasks.classification import checked_logits
from tasks.cloud_pictures import draw_parts
from tasks.points import PointTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@TASKS.register_module(name="part_segmentation3d")
class PartSegmentation3D(PointTask):
    """One point-cloud dataset that tells parts with one network that returns [B, parts, P].

    As usual on ShapeNetPart the class of a cloud is taken as known when its points are labelled:
    only parts that the class can have are chosen from. The network itself sees points alone.
    Training and its log count points, each cloud by the share of its points.
    """

    name = "part_segmentation3d"
    metric = Metric(name="instance_miou_pct", unit="%")

    def model_defaults(self) -> dict[str, Any]:
        """Returns the number of parts and of coordinates.

        Raises:
            ConfigError: the dataset tells no parts.
        """
        if self.dataset.num_parts is None:
            raise ConfigError(
                f"dataset '{self.dataset_name}' tells no parts; take one that does, mnist_points "
                "say, or the task classification3d"
            )
        return {
            "num_parts": self.dataset.num_parts,
            "in_features": self.dataset.input_shape[1],
        }

    def targets(self, part: str, indices: Tensor) -> Tensor:
        """Returns the part of each point, shape [B, P], int64."""
        return self.dataset.split(part).parts(indices)

    def draw(self, figure: Figure, batch: Batch, ann: Any, snn: Prediction) -> None:
        """Draws the true parts and those of both networks; see `adacal.suite.task.Task`."""
        possible = self.dataset.parts_of_class
        assert possible is not None
        labels = self.dataset.split("test").labels[batch.indices]
        answers = {
            name: choose_parts(logits, labels, possible)
            for name, logits in (("ANN", ann), ("SNN", snn.output))
        }
        scores = {
            name: cloud_ious(parts, batch.targets, labels, possible)
            for name, parts in answers.items()
        }
        draw_parts(figure, batch, answers, scores, self.dataset.part_names)

    def evaluate(
        self,
        predict: Predict,
        batch_size: int = 100,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Measures instance and class mIoU and the accuracy over points.

        A cloud whose logits are not all finite has an IoU and an accuracy of 0.

        Raises:
            DataError: `predict` does not return logits [B, num_parts, P].
        """
        num_parts, possible = self.dataset.num_parts, self.dataset.parts_of_class
        assert num_parts is not None and possible is not None
        labels = self.dataset.split("test").labels[: self.n_test()]
        ious, accuracies = torch.zeros(len(labels)), torch.zeros(len(labels))
        for batch in self.test_batches(batch_size):
            expected = (batch.indices.numel(), num_parts, batch.targets.shape[1])
            logits = checked_logits(predict(batch.inputs), expected)
            mine = labels[batch.indices]
            chosen = choose_parts(logits, mine, possible)
            finite = torch.isfinite(logits).flatten(1).all(1)
            iou = cloud_ious(chosen, batch.targets, mine, possible)
            ious[batch.indices] = torch.where(finite, iou, 0.0)
            right = (chosen == batch.targets).float().mean(1)
            accuracies[batch.indices] = torch.where(finite, right, 0.0)
            if progress is not None:
                progress(int(batch.indices[-1]) + 1, len(labels))
        metrics = {
            "instance_miou_pct": ious.mean(),
            "class_miou_pct": mean_by_class(ious, labels, self.dataset.num_classes),
            "point_accuracy_pct": accuracies.mean(),
        }
        by_cloud = 100.0 * ious.double().numpy()
        return Evaluation(
            metrics={name: 100.0 * float(value) for name, value in metrics.items()},
            redraw=lambda counts: counts @ by_cloud / by_cloud.size,
        )


def choose_parts(
    logits: Tensor, labels: Tensor, parts_of_class: Mapping[int, Sequence[int]]
) -> Tensor:
    """Returns the likeliest part of each point among those its cloud's class can have.

    Args:
        logits: shape [B, K, P].
        labels: class of each cloud, shape [B].
        parts_of_class: the parts that each class can have.

    Returns:
        Parts, shape [B, P], int64.

    >>> choose_parts(torch.tensor([[[3.0], [1.0], [2.0]]]), torch.tensor([0]), {0: (1, 2)})
    tensor([[2]])
    """
    allowed = torch.zeros(len(labels), logits.shape[1], dtype=torch.bool)
    for row, label in enumerate(labels.tolist()):
        allowed[row, list(parts_of_class[label])] = True
    return logits.masked_fill(~allowed[:, :, None], -torch.inf).argmax(1)


def cloud_ious(
    chosen: Tensor, truth: Tensor, labels: Tensor, parts_of_class: Mapping[int, Sequence[int]]
) -> Tensor:
    """Returns the IoU of each cloud: the mean over the parts that its class can have.

    A part that is neither there nor chosen counts 1 (Yi et al. 2016, and PointNet's evaluation).

    Args:
        chosen: part of each point, shape [B, P].
        truth: the true parts, shape [B, P].
        labels: class of each cloud, shape [B].
        parts_of_class: the parts that each class can have.

    Returns:
        Between 0 and 1, shape [B].

    >>> parts = torch.tensor([[0, 0, 1, 1]])
    >>> cloud_ious(parts, torch.tensor([[0, 0, 0, 1]]), torch.tensor([0]), {0: (0, 1, 2)})
    tensor([0.7222])
    """
    found = torch.zeros(len(labels))
    for row, label in enumerate(labels.tolist()):
        parts = torch.tensor(list(parts_of_class[label]))[:, None]
        mine, true = chosen[row] == parts, truth[row] == parts
        union = (mine | true).sum(1)
        iou = (mine & true).sum(1) / union.clamp_min(1)
        found[row] = torch.where(union == 0, 1.0, iou).mean()
    return found


def mean_by_class(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Returns the mean over the classes that occur of the mean over their samples.

    >>> mean_by_class(torch.tensor([1.0, 0.0, 0.5]), torch.tensor([0, 0, 2]), 3)
    tensor(0.5000)
    """
    sizes = torch.bincount(labels, minlength=num_classes)
    sums = torch.zeros(num_classes).index_add(0, labels, values)
    return (sums[sizes > 0] / sizes[sizes > 0]).mean()
