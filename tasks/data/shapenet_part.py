"""ShapeNetPart (Yi et al. 2016): 16 classes of shapes whose points belong to 50 parts; from disk.

Two forms, datasets of their own, since their clouds differ:

- `shapenet_part`: tables of about 2,600 points with normals, as PointNet++ used them. A cloud is
  `num_points` of them, drawn with a seed from the file's name: all different if there are enough,
  else each once and some again (2,500 points in PointNet's and the Adaptive Calibration code).
- `shapenet_part_hdf5`: the clouds of 2,048 points that PointNet shares (`tasks.data.cloud_hdf5`).

The official train, validation and test lists hold. The validation shapes belong to the training
split unless `validation=False`, as in PointNet++; a shape of the test list is never trained on. The
lists name a few shapes that the tables' archive lacks (PointNet++'s loader passes over them too,
and finds 13,998 of about 14,007 for training); so many may be missing, and no more.
Clouds lie in the unit sphere around their mean; y is up, all shapes of a class are turned alike.
Training scales them by up to a fifth along each axis and moves them by up to a tenth.
"""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacal.core.errors import DataError
from adacal.suite.registry import DATASETS
from tasks.data.cloud_files import (
    RESTORE,
    Cloud,
    CloudFile,
    FileClouds,
    read_table,
    read_words,
    require_classes,
    sphere,
)
from tasks.data.cloud_hdf5 import STORED_POINTS, Hdf5Clouds, listed_names
from tasks.data.point_clouds import random_scale_and_shift

# Class, its folder (a WordNet synset) and how many parts it has. Parts are numbered through in
# this order, 0 to 49; the archive gives them no names.
CLASSES = (
    ("Airplane", "02691156", 4),
    ("Bag", "02773838", 2),
    ("Cap", "02954340", 2),
    ("Car", "02958343", 4),
    ("Chair", "03001627", 4),
    ("Earphone", "03261776", 3),
    ("Guitar", "03467517", 3),
    ("Knife", "03624134", 2),
    ("Lamp", "03636649", 4),
    ("Laptop", "03642806", 2),
    ("Motorbike", "03790512", 6),
    ("Mug", "03797390", 2),
    ("Pistol", "03948459", 3),
    ("Rocket", "04099429", 3),
    ("Skateboard", "04225987", 3),
    ("Table", "04379243", 3),
)
NAMES = tuple(name for name, _, _ in CLASSES)
SYNSETS = tuple(synset for _, synset, _ in CLASSES)
ENDS = tuple(accumulate(count for _, _, count in CLASSES))
PARTS_OF_CLASS = {
    label: tuple(range(end - CLASSES[label][2], end)) for label, end in enumerate(ENDS)
}
PART_NAMES = tuple(f"{name}_{part}" for name, _, count in CLASSES for part in range(count))
MOST_MISSING = 0.005  # share of the shapes in the lists; the archive lacks 9 of 14,007
SOURCES = {"train": ("train", "val"), "test": ("test",)}


def sources(validation: bool) -> dict[str, tuple[str, ...]]:
    """Returns the official lists that make up each split."""
    return SOURCES if validation else {"train": ("train",), "test": ("test",)}


def shape_variant(clouds: Tensor, generator: torch.Generator) -> Tensor:
    """Returns clouds [B, P, 3] scaled along each axis and moved."""
    return random_scale_and_shift(clouds, generator, scale=0.2, shift=0.1)


@DATASETS.register_module(name="shapenet_part")
class ShapeNetPart(FileClouds):
    """About 14,000 training shapes, 1,870 of them for validation, and 2,874 test shapes."""

    def __init__(
        self, *, root: str | None = None, num_points: int = 2500, validation: bool = True
    ) -> None:
        """Says where the data lies; files are listed at the first `split`.

        Args:
            root: folder that holds `shapenetcore_partanno_segmentation_benchmark_v0_normal`, or
                is it.
            num_points: points of a cloud.
            validation: whether the validation shapes belong to the training split.

        Raises:
            ConfigError: no points are asked for.
        """
        super().__init__(
            name="shapenet_part",
            class_names=NAMES,
            num_points=num_points,
            part_names=PART_NAMES,
            parts_of_class=PARTS_OF_CLASS,
        )
        self.root, self.sources = root, sources(validation)
        self.folder = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
        self.expected = (
            f"{self.folder}/{{synsetoffset2category.txt, train_test_split/"
            "shuffled_{train,val,test}_file_list.json, <synset>/<id>.txt}"
        )

    def list_files(self, folder: Path) -> dict[str, list[CloudFile]]:
        """Returns the shapes that the official lists name, sorted: the lists are shuffled.

        Raises:
            DataError: a list or too many shapes are missing, or the classes are others.
        """
        table = self.require_list(folder / "synsetoffset2category.txt")
        require_synsets(table)
        listed = {
            part: {place for name in names for place in shapes_in(folder, name)}
            for part, names in self.sources.items()
        }
        listed["train"] -= listed["test"]
        return {
            part: self._present(folder, part, sorted(places)) for part, places in listed.items()
        }

    def _present(self, folder: Path, part: str, places: list[str]) -> list[CloudFile]:
        """Returns the files of the shapes that are there, if nearly all are."""
        missing = [place for place in places if not (folder / f"{place}.txt").is_file()]
        if len(missing) > MOST_MISSING * len(places):
            raise DataError(
                f"'{folder}' lacks {len(missing)} of {len(places)} {part} shapes, "
                f"'{missing[0]}.txt' first; unpack the archive again"
            )
        absent = set(missing)
        return [self._locate(folder, place) for place in places if place not in absent]

    def _locate(self, folder: Path, place: str) -> CloudFile:
        label = SYNSETS.index(place.partition("/")[0])
        return CloudFile.at(folder / f"{place}.txt", f"{place}.txt", label)

    def read(self, file: CloudFile) -> Cloud:
        """Returns points drawn from a table of x, y, z, the normal's three and the part."""
        table = read_table(file.path, 7, delimiter=None, rows=None)
        told = table[:, 6]
        allowed = PARTS_OF_CLASS[file.label]
        if not np.isin(told, allowed).all():
            wrong = told[~np.isin(told, allowed)][0]
            raise DataError(
                f"'{file.path}' has a point of part {wrong:g}, and a shape of class "
                f"'{NAMES[file.label]}' has parts {allowed[0]} to {allowed[-1]}; {RESTORE}"
            )
        chosen = draw_rows(len(table), self.num_points, file.rng())
        return Cloud(sphere(table[chosen, :3], file.path), told[chosen].astype(np.int64))

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Scales each cloud along each axis and moves it."""
        return shape_variant(clouds, generator)


@DATASETS.register_module(name="shapenet_part_hdf5")
class ShapeNetPartHdf5(Hdf5Clouds):
    """About 14,000 training shapes, 1,870 of them for validation, and 2,874 test shapes."""

    def __init__(
        self, *, root: str | None = None, num_points: int = STORED_POINTS, validation: bool = True
    ) -> None:
        """Says where the data lies; labels are read at the first `split`.

        Args:
            root: folder that holds `hdf5_data`, or is it.
            num_points: points of a cloud, the first so many.
            validation: whether the validation shapes belong to the training split.

        Raises:
            ConfigError: no points are asked for, or more than there are.
        """
        super().__init__(
            name="shapenet_part_hdf5",
            class_names=NAMES,
            num_points=num_points,
            most_points=STORED_POINTS,
            part_names=PART_NAMES,
            parts_of_class=PARTS_OF_CLASS,
        )
        self.root, self.folder, self.sources = root, "hdf5_data", sources(validation)
        self.expected = (
            f"{self.folder}/{{all_object_categories.txt, {{train,val,test}}_hdf5_file_list.txt, "
            "ply_data_train0.h5, …}"
        )

    def list_names(self, folder: Path) -> dict[str, list[str]]:
        """Returns the files that the official lists name.

        Raises:
            DataError: a list is missing, or the classes are others.
        """
        table = self.require_list(folder / "all_object_categories.txt")
        require_synsets(table)
        return {
            part: [
                name
                for source in sources_of_part
                for name in listed_names(folder / f"{source}_hdf5_file_list.txt")
            ]
            for part, sources_of_part in self.sources.items()
        }

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Scales each cloud along each axis and moves it."""
        return shape_variant(clouds, generator)


def draw_rows(available: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws rows of a table: all different if there are enough, else each once and some again.

    >>> draw_rows(3, 5, np.random.default_rng(0))[:3].tolist()
    [2, 0, 1]
    """
    order = rng.permutation(available)[:count]
    return np.concatenate([order, rng.integers(0, available, count - len(order))])


def require_synsets(path: Path) -> None:
    """Raises a DataError unless a file names the 16 classes and their synsets in order."""
    pairs = [line.split() for line in read_words(path)]
    require_classes(path, [pair[0] for pair in pairs], NAMES)
    if [pair[-1] for pair in pairs] != list(SYNSETS):
        raise DataError(f"'{path}' gives other synsets than those of ShapeNetPart; {RESTORE}")


def shapes_in(folder: Path, source: str) -> list[str]:
    """Returns `<synset>/<id>` of the shapes in an official list, in its order.

    Raises:
        DataError: the list is missing or damaged, or an entry is not `shape_data/<synset>/<id>`.
    """
    path = folder / "train_test_split" / f"shuffled_{source}_file_list.json"
    try:
        entries = json.loads(path.read_bytes())
        if not isinstance(entries, list) or not entries:
            raise ValueError("it is not a list of shapes")
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"the list '{path}' cannot be read ({error}); {RESTORE}") from error
    places = []
    for entry in entries:
        words = entry.split("/") if isinstance(entry, str) else []
        if len(words) != 3 or words[1] not in SYNSETS or words[2] in ("", ".", ".."):
            raise DataError(
                f"the list '{path}' holds {entry!r} where 'shape_data/<synset>/<id>' of one of the "
                f"{len(SYNSETS)} classes should be; {RESTORE}"
            )
        places.append(f"{words[1]}/{words[2]}")
    return places
