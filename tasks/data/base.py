"""What every labelled dataset offers: splits, labels, a fingerprint, augmentation; and images."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from adacal.core.errors import ConfigError, DataError


class Split(Protocol):
    """One part of a dataset: labels in memory, samples on demand, in a fixed order."""

    @property
    def labels(self) -> Tensor:
        """Class of each sample, shape [N], int64."""
        ...

    def __len__(self) -> int:
        """Returns the number of samples N."""
        ...

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns samples as networks take them, without augmentation, shape [B, ...]."""
        ...


@dataclass(frozen=True)
class PixelSplit:
    """A split held in memory as bytes and normalised when it is read.

    Attributes:
        pixels: images, shape [N, C, H, W], uint8.
        labels: classes, shape [N], int64.
        mean: channel means in units of [0, 1] pixels.
        std: channel deviations in the same units.
    """

    pixels: Tensor
    labels: Tensor
    mean: Sequence[float]
    std: Sequence[float]

    def __len__(self) -> int:
        """Returns the number of samples."""
        return self.labels.numel()

    def raw(self, indices: Tensor) -> Tensor:
        """Returns samples scaled to [0, 1] and not normalised, shape [B, C, H, W], float32."""
        return self.pixels[indices].to(torch.float32).div_(255.0)

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns normalised samples, shape [B, C, H, W], float32."""
        return normalise(self.raw(indices), self.mean, self.std)


class LabelledDataset(ABC):
    """A labelled dataset with a training and a test split.

    Attributes:
        name: registry name.
        num_classes: number of classes.
        input_shape: shape of one sample.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, ...]

    @abstractmethod
    def split(self, part: str) -> Split:
        """Returns the `train` or the `test` split; samples are neither shuffled nor augmented.

        Raises:
            ConfigError: `part` is another word.
            DataError: the data is missing or damaged.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a short hash of name, version, content and order of the samples."""

    def training_batch(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Returns training samples with this dataset's augmentation, as networks take them.

        Args:
            indices: positions in the training split, shape [B].
            epoch: number of the epoch, for datasets that draw a new variant each time.
            generator: source of all randomness.
        """
        del epoch, generator
        return self.split("train").fetch(indices)


class ImageDataset(LabelledDataset):
    """A labelled dataset of images; its input shape is (C, H, W)."""

    input_shape: tuple[int, int, int]


class PixelDataset(ImageDataset):
    """A dataset whose splits fit into memory as bytes; subclasses load and augment them.

    Attributes:
        mean: channel means of the training split, [0, 1] pixels.
        std: channel deviations of the training split.
    """

    mean: Sequence[float]
    std: Sequence[float]

    @abstractmethod
    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Returns `train` and `test`, each as bytes [N, C, H, W] and labels [N]."""

    def split(self, part: str) -> PixelSplit:
        """Returns one split; both are loaded at the first call and kept."""
        check_part(part)
        return self.splits[part]

    @cached_property
    def splits(self) -> dict[str, PixelSplit]:
        """Both splits, loaded once."""
        return {
            part: PixelSplit(pixels, labels.to(torch.int64), self.mean, self.std)
            for part, (pixels, labels) in self.load().items()
        }

    def fingerprint(self) -> str:
        """Returns `name:` and 16 hex digits of a sha256 over every byte and label, in order."""
        return f"{self.name}:{self.checksum[:16]}"

    @cached_property
    def checksum(self) -> str:
        """The sha256, in hex, over pixels and labels of both splits and the normalisation."""
        digest = hashlib.sha256(f"{self.name} {list(self.mean)} {list(self.std)}".encode())
        for part in ("train", "test"):
            split = self.split(part)
            digest.update(str(tuple(split.pixels.shape)).encode())
            digest.update(split.pixels.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return digest.hexdigest()

    def training_batch(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Returns augmented, normalised training samples, shape [B, C, H, W]."""
        raw = self.training_pixels(epoch).raw(indices)
        return normalise(self.augment(raw, generator), self.mean, self.std)

    def training_pixels(self, epoch: int) -> PixelSplit:
        """Returns the training split as used in one epoch; the plain split unless overridden."""
        del epoch
        return self.split("train")

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Returns a random variant of training images in [0, 1], shape [B, C, H, W]."""
        del generator
        return images


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Returns `(images - mean) / std`, channel by channel, for images [B, C, H, W].

    >>> normalise(torch.full((1, 1, 1, 1), 0.75), [0.5], [0.5]).item()
    0.5
    """
    centre = torch.tensor(list(mean), dtype=images.dtype, device=images.device)
    scale = torch.tensor(list(std), dtype=images.dtype, device=images.device)
    return (images - centre[:, None, None]) / scale[:, None, None]


def check_part(part: str) -> None:
    """Raises a ConfigError unless `part` is `train` or `test`."""
    if part not in ("train", "test"):
        raise ConfigError(f"a split is called 'train' or 'test'; got {part!r}; use one of the two")


def round_robin(labels: Tensor, num_classes: int) -> Tensor:
    """Returns the order that visits the classes in turn, each in its given order, shape [N].

    So any first part of a split holds all classes.

    >>> round_robin(torch.tensor([0, 0, 1, 1]), 2).tolist()
    [0, 2, 1, 3]
    """
    rank = torch.empty_like(labels)
    for label in range(num_classes):
        members = torch.nonzero(labels == label).flatten()
        rank[members] = torch.arange(members.numel())
    return torch.argsort(rank * num_classes + labels, stable=True)


def require_disjoint(dataset: str, parts: Mapping[str, Iterable[Hashable]]) -> None:
    """Raises a DataError if a sample is listed for training and for testing.

    >>> require_disjoint("mine", {"train": ["a", "b"], "test": ["c"]})
    """
    both = set(parts["train"]) & set(parts["test"])
    if both:
        first = min(map(str, both))
        raise DataError(
            f"dataset '{dataset}' lists {len(both)} samples for training and for testing, "
            f"'{first}' first; restore its lists from the official archive"
        )


def require_root(root: str | Path | None, dataset: str, expected: str) -> Path:
    """Returns the dataset folder as a path.

    Args:
        root: folder given by the user, or None.
        dataset: registry name, for the message.
        expected: the tree that should be there, for the message.

    Raises:
        DataError: no folder was given or it does not exist.
    """
    what_to_do = (
        f"get the data yourself (nothing is downloaded) and set task.dataset.root to the folder "
        f"that holds {expected}"
    )
    if root is None:
        raise DataError(f"dataset '{dataset}' needs a folder on disk; got none; {what_to_do}")
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(f"dataset '{dataset}' is not at '{path}'; {what_to_do}")
    return path
