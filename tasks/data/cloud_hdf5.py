"""Point clouds in HDF5 files, as PointNet's authors share them: many clouds of 2,048 points a file.

Each file holds `data` [N, 2048, 3], `label` [N, 1] and, in the set with parts, `pid` [N, 2048], the
part of each point. The first `num_points` of each cloud are taken, as their code does (the points
of a cloud lie in random order) and centred again, since they are fewer. A file is read whole when
a cloud of it is first asked for, and stays in memory: chunks are compressed.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacal.core.errors import DataError
from tasks.data.base import check_part, require_disjoint, round_robin
from tasks.data.cloud_files import RESTORE, VERSION, CloudFile, UnpackedClouds, no_parts, read_words
from tasks.data.point_clouds import unit_sphere

STORED_POINTS = 2048


@dataclass(frozen=True)
class Hdf5File:
    """One file of clouds; what it says of itself is read at once, the clouds when needed.

    Attributes:
        file: where it lies.
        labels: classes, shape [N], int64.
        num_points: points that are taken of each cloud.
        parts_of_class: the parts that each class can have if parts are told, else None.
    """

    file: CloudFile
    labels: NDArray[np.int64]
    num_points: int
    parts_of_class: Mapping[int, tuple[int, ...]] | None

    @classmethod
    def listed(
        cls,
        path: Path,
        *,
        num_classes: int,
        num_points: int,
        parts_of_class: Mapping[int, tuple[int, ...]] | None,
    ) -> Hdf5File:
        """Reads the labels of a file and looks whether the clouds are there.

        Raises:
            DataError: the file is missing, damaged or of another kind; names it.
        """
        file = CloudFile.at(path, path.name, label=0)
        labels = read_array(path, "label", "iu", lambda shape: shape[1:] in ((1,), ()))
        labels = labels.reshape(-1).astype(np.int64)
        if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(
                f"'{path}' has no clouds or labels outside 0 to {num_classes - 1}; {RESTORE}"
            )
        return cls(file, labels, num_points, parts_of_class)

    @cached_property
    def clouds(self) -> Tensor:
        """All clouds of the file in the unit sphere, shape [N, P, 3], float32.

        Raises:
            DataError: they are not N clouds of enough points, or hold no numbers or no extent.
        """
        wanted = (len(self.labels), 3)
        data = read_array(
            self.file.path,
            "data",
            "f",
            lambda s: len(s) == 3 and (s[0], s[2]) == wanted and s[1] >= self.num_points,
            points=self.num_points,
        )
        if not np.isfinite(data).all():
            raise DataError(f"'{self.file.path}' holds points that are NaN or infinite; {RESTORE}")
        clouds = unit_sphere(torch.from_numpy(data.astype(np.float32)))
        if (clouds.square().sum(2).amax(1) < 0.5).any():
            raise DataError(f"'{self.file.path}' holds a cloud whose points are all one; {RESTORE}")
        return clouds

    @cached_property
    def parts(self) -> Tensor:
        """The part of each point of all clouds, shape [N, P], uint8.

        Raises:
            ConfigError: the dataset does not tell parts.
            DataError: they do not fit the clouds, or are of another class.
        """
        if self.parts_of_class is None:
            raise no_parts()
        parts = read_array(
            self.file.path,
            "pid",
            "iu",
            lambda s: len(s) == 2 and s[0] == len(self.labels) and s[1] >= self.num_points,
            points=self.num_points,
        )
        for label in np.unique(self.labels).tolist():
            allowed = self.parts_of_class[label]
            if not np.isin(parts[self.labels == label], allowed).all():
                raise DataError(
                    f"'{self.file.path}' holds a cloud of class {label} with a part that is "
                    f"none of {allowed[0]} to {allowed[-1]}; {RESTORE}"
                )
        return torch.from_numpy(parts.astype(np.uint8))


class Hdf5Split:
    """Clouds of one split from several files, the classes in turn.

    Attributes:
        labels: class of each cloud, shape [N], int64.
        files: where they lie.
    """

    def __init__(self, files: Sequence[Hdf5File], num_classes: int) -> None:
        """Orders the clouds of all files; none is read."""
        self.files = list(files)
        labels = torch.from_numpy(np.concatenate([file.labels for file in files]))
        order = round_robin(labels, num_classes)
        self.labels = labels[order]
        sizes = [len(file.labels) for file in files]
        self._file = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[order]
        self._row = torch.cat([torch.arange(size) for size in sizes])[order]

    def __len__(self) -> int:
        """Returns the number of clouds."""
        return self.labels.numel()

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns clouds in the unit sphere, shape [B, P, 3], float32.

        Raises:
            DataError: a file is damaged; names it.
        """
        return torch.stack([file.clouds[row] for file, row in self._places(indices)])

    def parts(self, indices: Tensor) -> Tensor:
        """Returns the part of each point, shape [B, P], int64.

        Raises:
            ConfigError: the dataset does not tell parts.
            DataError: a file is damaged; names it.
        """
        parts = torch.stack([file.parts[row] for file, row in self._places(indices)])
        return parts.to(torch.int64)

    def _places(self, indices: Tensor) -> list[tuple[Hdf5File, int]]:
        numbers, rows = self._file[indices].tolist(), self._row[indices].tolist()
        return [(self.files[number], row) for number, row in zip(numbers, rows, strict=True)]


class Hdf5Clouds(UnpackedClouds):
    """A dataset of clouds in HDF5 files; subclasses say which lists name the files of a split."""

    @abstractmethod
    def list_names(self, folder: Path) -> dict[str, list[str]]:
        """Returns the names of the HDF5 files of `train` and `test` in the dataset's folder.

        Raises:
            DataError: the tree is not complete.
        """

    @cached_property
    def splits(self) -> dict[str, Hdf5Split]:
        """Both splits, listed once.

        Raises:
            DataError: the tree is missing or not complete.
        """
        folder = self.unpacked()
        listed = self.list_names(folder)
        require_disjoint(self.name, listed)
        return {
            part: Hdf5Split([self._listed(folder / name) for name in names], self.num_classes)
            for part, names in listed.items()
        }

    def _listed(self, path: Path) -> Hdf5File:
        return Hdf5File.listed(
            path,
            num_classes=self.num_classes,
            num_points=self.num_points,
            parts_of_class=self.parts_of_class,
        )

    def split(self, part: str) -> Hdf5Split:
        """Returns one split; labels are read at the first call, clouds when fetched."""
        check_part(part)
        return self.splits[part]

    def fingerprint(self) -> str:
        """Returns a hash over order, names and sizes of the files, and all labels."""
        digest = hashlib.sha256(f"{self.name} v{VERSION} {self.num_points}".encode())
        for part in ("train", "test"):
            for listed in self.split(part).files:
                digest.update(f"{part} {listed.file.name} {listed.file.size}\n".encode())
                digest.update(listed.labels.data)
        return f"{self.name}:{digest.hexdigest()[:16]}"


def listed_names(path: Path) -> list[str]:
    """Returns the file names of a list; the folders before them are those of its author.

    Raises:
        DataError: the list is missing or empty; names it.
    """
    return [line.rpartition("/")[2] for line in read_words(path)]


def read_array(
    path: Path,
    key: str,
    kinds: str,
    fits: Callable[[tuple[int, ...]], bool],
    points: int | None = None,
) -> NDArray:
    """Reads one array of an HDF5 file, from that file and no other.

    Args:
        path: the file.
        key: name of the array.
        kinds: numpy's letters of the kinds of numbers that it may hold, "iu" for whole ones.
        fits: whether a shape is as it should be.
        points: reads the first so many along dimension 1; None for all.

    Raises:
        DataError: the file is missing, damaged or of another kind; names it.
    """
    import h5py

    try:
        with h5py.File(path, "r") as stored:
            # A link, or an array kept elsewhere, would make the reader open any file it names.
            if not isinstance(stored.get(key, getlink=True), h5py.HardLink):
                raise ValueError(f"it holds no '{key}'")
            array = stored[key]
            if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
                raise ValueError(f"its '{key}' is not stored in it")
            if array.dtype.kind not in kinds or not fits(array.shape):
                raise ValueError(f"its '{key}' is {array.dtype} of shape {list(array.shape)}")
            read: NDArray = array[:] if points is None else array[:, :points]
            return read
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(
            f"'{path}' is not a sound HDF5 file of clouds ({error}); {RESTORE}"
        ) from error
