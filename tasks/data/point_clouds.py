"""What every point-cloud dataset offers: clouds, their classes and, in some, parts of points.

A cloud is a set of points (x, y, z) in the unit sphere around its centre. Networks must not care
for the order of the points, but a split keeps it, so that part labels belong to their points.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adacal.core.errors import ConfigError
from tasks.data.base import LabelledDataset, Split


class PointSplit(Split, Protocol):
    """One part of a point-cloud dataset; `fetch` returns clouds [B, P, 3], float32."""

    def parts(self, indices: Tensor) -> Tensor:
        """Returns the part that each point belongs to, shape [B, P], int64.

        Raises:
            ConfigError: the dataset does not tell parts.
        """
        ...


@dataclass(frozen=True)
class StoredClouds:
    """A split held in memory.

    Attributes:
        clouds: points, shape [N, P, 3], float32.
        labels: classes, shape [N], int64.
        part_labels: parts of the points, shape [N, P], any integer type; None if they have none.
    """

    clouds: Tensor
    labels: Tensor
    part_labels: Tensor | None = None

    def __len__(self) -> int:
        """Returns the number of samples."""
        return self.labels.numel()

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns clouds without augmentation, shape [B, P, 3], float32."""
        return self.clouds[indices]

    def parts(self, indices: Tensor) -> Tensor:
        """Returns the parts of the points, shape [B, P], int64.

        Raises:
            ConfigError: the split has no part labels.
        """
        if self.part_labels is None:
            raise ConfigError(
                "this dataset does not tell parts of its clouds; take one that does, mnist_points "
                "say, or classify whole clouds with task 'classification3d'"
            )
        return self.part_labels[indices].to(torch.int64)

    def checksum(self) -> str:
        """Returns the sha256 over clouds, labels and parts, in hex."""
        digest = hashlib.sha256()
        for tensor in (self.clouds, self.labels, self.part_labels):
            if tensor is not None:
                digest.update(str(tuple(tensor.shape)).encode())
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


class PointDataset(LabelledDataset):
    """A labelled dataset of point clouds.

    Attributes:
        num_points: points P of a cloud.
        training_points: tasks train on so many points of each cloud, drawn anew for each batch,
            which is quicker, and on all in the last quarter of the epochs; always on all if None.
        class_names: of all classes, in the order of their numbers.
        part_names: of all parts, in the order of their numbers; empty where parts are not told.
        num_parts: number of parts over all classes; None where parts are not told.
        parts_of_class: the parts that clouds of a class can have; None where parts are not told.
    """

    num_points: int
    training_points: int | None
    class_names: tuple[str, ...]
    part_names: tuple[str, ...]
    num_parts: int | None
    parts_of_class: Mapping[int, tuple[int, ...]] | None
    input_shape: tuple[int, int]

    def __init__(
        self,
        *,
        name: str,
        class_names: Sequence[str],
        num_points: int,
        most_points: int | None = None,
        training_points: int | None = None,
        part_names: Sequence[str] = (),
        parts_of_class: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Says the dataset's shape; subclasses read the data at the first `split`.

        Args:
            name: registry name.
            class_names: of all classes.
            num_points: points of a cloud.
            most_points: so many points the data has, if that is a limit.
            training_points: so many of them most training batches take; all if None.
            part_names: of all parts, if they are told.
            parts_of_class: the parts that each class can have; every part in every class if None.

        Raises:
            ConfigError: no points are asked for, or more than there are.
        """
        if num_points < 1 or num_points > (most_points or num_points):
            limit = f"1 to {most_points}" if most_points else "1 or more"
            raise ConfigError(f"{name}.num_points must be {limit}; got {num_points}; try 1024")
        if training_points is not None and not 1 <= training_points <= num_points:
            raise ConfigError(
                f"{name}.training_points must be 1 to num_points, {num_points}; got "
                f"{training_points}; try {max(1, num_points // 4)}"
            )
        self.name, self.num_points = name, num_points
        self.training_points = training_points
        self.input_shape = (num_points, 3)
        self.class_names, self.num_classes = tuple(class_names), len(class_names)
        self.part_names, self.num_parts = tuple(part_names), len(part_names) or None
        if parts_of_class is None and part_names:
            parts_of_class = dict.fromkeys(range(self.num_classes), range(len(part_names)))
        self.parts_of_class = (
            None
            if parts_of_class is None
            else {label: tuple(parts) for label, parts in parts_of_class.items()}
        )

    @abstractmethod
    def split(self, part: str) -> PointSplit:
        """Returns the `train` or the `test` split; samples are neither shuffled nor augmented."""

    def training_batch(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Returns training clouds, augmented; points keep their order, so parts still fit."""
        del epoch
        return self.augment(self.split("train").fetch(indices), generator)

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Returns a random variant of training clouds, shape [B, P, 3], points in their order."""
        del generator
        return clouds


def unit_sphere(clouds: Tensor) -> Tensor:
    """Moves the mean of each cloud to the origin and its farthest point to distance 1.

    Args:
        clouds: shape [B, P, 3]; a cloud whose points are all one stays at the origin.

    >>> unit_sphere(torch.tensor([[[1.0, 0.0, 0.0], [5.0, 0.0, 0.0]]]))
    tensor([[[-1.,  0.,  0.],
             [ 1.,  0.,  0.]]])
    """
    centred = clouds - clouds.mean(1, keepdim=True)
    radius = centred.square().sum(2).amax(1).sqrt()
    return centred / radius.clamp_min(1e-12)[:, None, None]


def random_rotation(
    clouds: Tensor, generator: torch.Generator, *, degrees: float, axis: int = 2
) -> Tensor:
    """Turns each cloud about an axis by a random angle.

    Args:
        clouds: shape [B, P, 3].
        generator: source of randomness, on the CPU.
        degrees: largest rotation either way; 180 for any.
        axis: 0, 1 or 2, for x, y or z.
    """
    angles = (torch.rand(len(clouds), generator=generator) * 2.0 - 1.0) * math.radians(degrees)
    return torch.bmm(clouds, rotations(angles, axis).to(clouds))


def rotations(angles: Tensor, axis: int = 2) -> Tensor:
    """Returns matrices [B, 3, 3] that turn row vectors about an axis by angles [B], in radians.

    >>> x_to_y = rotations(torch.tensor([torch.pi / 2]))[0]
    >>> (torch.tensor([1.0, 0.0, 0.0]) @ x_to_y).abs().round()
    tensor([0., 1., 0.])
    """
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices = torch.zeros(len(angles), 3, 3, dtype=angles.dtype)
    matrices[:, first, first] = matrices[:, second, second] = torch.cos(angles)
    matrices[:, first, second] = torch.sin(angles)
    matrices[:, second, first] = -torch.sin(angles)
    matrices[:, axis, axis] = 1.0
    return matrices


def random_scale_and_shift(
    clouds: Tensor, generator: torch.Generator, *, scale: float, shift: float
) -> Tensor:
    """Scales each cloud along each axis by 1 ± scale and moves it by up to ± shift.

    Args:
        clouds: shape [B, P, 3].
        generator: source of randomness, on the CPU.
        scale: largest relative change of size either way, for each axis on its own.
        shift: largest move either way, in units of the cloud's radius.
    """
    draw = (torch.rand(2, len(clouds), 1, 3, generator=generator) * 2.0 - 1.0).to(clouds)
    return clouds * (1.0 + scale * draw[0]) + shift * draw[1]


def random_slant(clouds: Tensor, generator: torch.Generator, *, slant: float) -> Tensor:
    """Shears each cloud along x by up to ± slant times y; shape [B, P, 3]."""
    draw = torch.rand(len(clouds), 1, generator=generator) * 2.0 - 1.0
    slanted = clouds.clone()
    slanted[..., 0] += slant * draw.to(clouds) * clouds[..., 1]
    return slanted


def random_jitter(
    clouds: Tensor, generator: torch.Generator, *, deviation: float, limit: float
) -> Tensor:
    """Moves every point by Gaussian noise, cut off at ± limit, in units of the cloud's radius."""
    noise = torch.randn(clouds.shape, generator=generator) * deviation
    return clouds + noise.clamp_(-limit, limit).to(clouds)
