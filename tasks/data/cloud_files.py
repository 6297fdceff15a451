"""Point clouds that lie in one file each: listed first, read when they are asked for."""

from __future__ import annotations

import hashlib
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacal.core.errors import ConfigError, DataError
from tasks.data.base import check_part, require_disjoint, require_root, round_robin
from tasks.data.point_clouds import PointDataset, unit_sphere

VERSION = 1  # of how files become clouds; part of fingerprints and names of kept clouds
REMEMBERED = 512  # clouds that a split read last; more than a batch
RESTORE = "restore that file from the archive"


class Cloud(NamedTuple):
    """Points of one sample, shape [P, 3], and the part of each, shape [P], or None."""

    points: NDArray[np.float32]
    parts: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class CloudFile:
    """One file of a dataset.

    Attributes:
        path: where it lies.
        name: its place in the dataset, `<class>/<name>.off` say; seeds what is drawn from it.
        label: number of its class.
        size: in bytes.
        changed: when it was changed last, in ns.
    """

    path: Path
    name: str
    label: int
    size: int
    changed: int

    @classmethod
    def at(cls, path: Path, name: str, label: int) -> CloudFile:
        """Returns the file at a path.

        Raises:
            DataError: there is none.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(
                f"'{path}' belongs to the dataset and is not there ({error.strerror}); "
                "unpack the archive again"
            ) from error
        return cls(path, name, label, found.st_size, found.st_mtime_ns)

    def rng(self) -> np.random.Generator:
        """Returns a source of randomness that depends on the file's name and nothing else."""
        return np.random.default_rng(list(hashlib.sha256(self.name.encode()).digest()))


class FileSplit:
    """Clouds of one split, one file each, the classes in turn.

    Attributes:
        labels: class of each file, shape [N], int64.
        files: in the order of the samples.
    """

    def __init__(
        self, files: Sequence[CloudFile], num_classes: int, read: Callable[[CloudFile], Cloud]
    ) -> None:
        """Orders the files; none is opened.

        Args:
            files: in any fixed order.
            num_classes: number of classes.
            read: returns the cloud of a file.
        """
        labels = torch.tensor([file.label for file in files], dtype=torch.int64)
        order = round_robin(labels, num_classes)
        self.labels = labels[order]
        self.files = [files[index] for index in order.tolist()]
        # A batch's parts are asked for after its points, and lie in the same files.
        self.read = lru_cache(maxsize=REMEMBERED)(read)

    def __len__(self) -> int:
        """Returns the number of clouds."""
        return len(self.files)

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns clouds in the unit sphere, shape [B, P, 3], float32.

        Raises:
            DataError: a file is damaged; names it.
        """
        clouds = [self.read(self.files[index]).points for index in indices.tolist()]
        return torch.from_numpy(np.stack(clouds))

    def parts(self, indices: Tensor) -> Tensor:
        """Returns the part of each point, shape [B, P], int64.

        Raises:
            ConfigError: the dataset does not tell parts.
            DataError: a file is damaged; names it.
        """
        parts = [self.read(self.files[index]).parts for index in indices.tolist()]
        told = [part for part in parts if part is not None]
        if len(told) < len(parts):
            raise no_parts()
        return torch.from_numpy(np.stack(told))


class UnpackedClouds(PointDataset):
    """A dataset in the folder that its archive unpacks to.

    Attributes:
        root: folder given by the user.
        folder: name of the folder that the archive unpacks to.
        expected: the tree of files, for error messages.
    """

    root: str | None
    folder: str
    expected: str

    def unpacked(self) -> Path:
        """Returns the dataset's own folder, which is `root` or in it.

        Raises:
            DataError: there is no such folder.
        """
        root = require_root(self.root, self.name, self.expected)
        inner = root / self.folder
        return inner if inner.is_dir() else root

    def require_list(self, path: Path) -> Path:
        """Returns the path of a list; raises a DataError unless it is there."""
        if not path.is_file():
            raise DataError(
                f"dataset '{self.name}' has no '{path}'; it should hold {self.expected}"
            )
        return path


class FileClouds(UnpackedClouds):
    """A dataset of one file for each cloud; subclasses list the files and read one."""

    @abstractmethod
    def list_files(self, folder: Path) -> dict[str, list[CloudFile]]:
        """Returns the files of `train` and `test` under the dataset's own folder.

        Raises:
            DataError: the tree is not complete.
        """

    @abstractmethod
    def read(self, file: CloudFile) -> Cloud:
        """Returns the cloud of one file, `num_points` points in the unit sphere.

        Raises:
            DataError: the file is damaged; names it.
        """

    @cached_property
    def splits(self) -> dict[str, FileSplit]:
        """Both splits, listed once.

        Raises:
            DataError: the tree is missing or not complete.
        """
        listed = self.list_files(self.unpacked())
        for part, files in listed.items():
            if not files:
                raise DataError(
                    f"dataset '{self.name}' has no {part} files under '{self.root}'; it should "
                    f"hold {self.expected}"
                )
        require_disjoint(
            self.name, {part: [f.name for f in files] for part, files in listed.items()}
        )
        return {
            part: FileSplit(files, self.num_classes, self.read) for part, files in listed.items()
        }

    def split(self, part: str) -> FileSplit:
        """Returns one split; files are listed at the first call, and read when fetched."""
        check_part(part)
        return self.splits[part]

    def fingerprint(self) -> str:
        """Returns a hash over order, names and sizes of the files; contents are not read."""
        digest = hashlib.sha256(f"{self.name} v{VERSION} {self.num_points}".encode())
        for part in ("train", "test"):
            for file in self.split(part).files:
                digest.update(f"{part} {file.label} {file.name} {file.size}\n".encode())
        return f"{self.name}:{digest.hexdigest()[:16]}"


def read_table(path: Path, columns: int, *, delimiter: str | None, rows: int | None) -> NDArray:
    """Reads numbers from text, one row a line.

    Args:
        path: the file.
        columns: how many numbers each line must hold.
        delimiter: what stands between them; None for blanks.
        rows: reads the first so many lines only; None for all.

    Returns:
        Numbers, shape [rows, columns], float64.

    Raises:
        DataError: the file is missing, empty, or holds something else; names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is refused below
            table = np.loadtxt(
                path,
                dtype=np.float64,
                comments=None,
                delimiter=delimiter,
                max_rows=rows,
                ndmin=2,
                encoding="latin-1",
            )
        if table.shape[1] != columns or not len(table):
            raise ValueError(f"{list(table.shape)} numbers")
        if not np.isfinite(table).all():
            raise ValueError("a number is NaN or infinite")
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{path}' is not a table of {columns} numbers a line ({error}); {RESTORE}"
        ) from error
    return table


def read_words(path: Path) -> list[str]:
    """Returns the lines of a list file, stripped, without empty ones.

    Raises:
        DataError: the file is missing, empty or no text; names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list '{path}' cannot be read ({error}); {RESTORE}") from error
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        raise DataError(f"the list '{path}' is empty; {RESTORE}")
    return words


def require_classes(path: Path, found: Iterable[str], wanted: Sequence[str]) -> None:
    """Raises a DataError unless a file names the dataset's classes in their order."""
    names = list(found)
    if names != list(wanted):
        unknown = [name for name in names if name not in wanted]
        among = f", '{unknown[0]}' among them," if unknown else ""
        raise DataError(
            f"'{path}' names {len(names)} classes{among} and should name the {len(wanted)} from "
            f"{wanted[0]} to {wanted[-1]} in their order; {RESTORE}"
        )


def no_parts() -> ConfigError:
    """Returns the error of asking for parts where there are none."""
    return ConfigError(
        "this dataset does not tell parts of its clouds; take one that does, shapenet_part say, or "
        "classify whole clouds with task 'classification3d'"
    )


def sphere(points: NDArray[np.floating], path: Path) -> NDArray[np.float32]:
    """Returns points around their mean, the farthest at distance 1, shape [P, 3].

    Raises:
        DataError: all points are one; names the file.
    """
    centred = points - points.mean(0, dtype=np.float64)
    size = np.abs(centred).max()
    # Not zero where a float is rounded: compared with where the points are.
    if size <= 1e-12 * np.abs(points).max():
        raise DataError(f"'{path}' has {len(points)} points, all the same; {RESTORE}")
    return unit_sphere(torch.from_numpy(centred / size)[None])[0].to(torch.float32).numpy()
