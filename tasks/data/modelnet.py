"""ModelNet10 and ModelNet40 (Wu et al. 2015) from files on disk; nothing is downloaded.

Three forms, datasets of their own, since their clouds differ:

- `modelnet10`, `modelnet40`: the official meshes (OFF). Points are drawn from the surface by area,
  with a seed from the file's name, so a mesh always gives the same cloud; z is up. Large meshes
  take half a second, so clouds are kept under the cache folder, 12 kB each at 1,024 points.
- `modelnet10_resampled`, `modelnet40_resampled`: the tables of 10,000 points that PointNet++ used;
  the first `num_points` of them are taken, as there; y is up. Normals are not used.
- `modelnet40_hdf5`: the clouds of 2,048 points that PointNet used (`tasks.data.cloud_hdf5`); the
  first `num_points` too; y is up.

Clouds lie in the unit sphere around their mean. Training turns them about the upright axis by any
angle and moves points by Gaussian noise of 0.01, at most 0.05 (Qi et al. 2017, PointNet).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from adacal.core.errors import DataError
from adacal.suite.registry import DATASETS
from tasks.data.cloud_cache import cached_points
from tasks.data.cloud_files import (
    RESTORE,
    VERSION,
    Cloud,
    CloudFile,
    FileClouds,
    read_table,
    read_words,
    require_classes,
    sphere,
)
from tasks.data.cloud_hdf5 import STORED_POINTS, Hdf5Clouds, listed_names
from tasks.data.meshes import read_off, sample_surface
from tasks.data.point_clouds import random_jitter, random_rotation

NAMES_10 = "bathtub bed chair desk dresser monitor night_stand sofa table toilet"
NAMES_40 = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser "
    "flower_pot glass_box guitar keyboard lamp laptop mantel monitor night_stand person piano "
    "plant radio range_hood sink sofa stairs stool table tent toilet tv_stand vase wardrobe xbox"
)
CLASSES = {10: tuple(NAMES_10.split()), 40: tuple(NAMES_40.split())}


def upright_variant(clouds: Tensor, generator: torch.Generator, axis: int) -> Tensor:
    """Returns clouds [B, P, 3] turned about an upright axis by any angle, their points jittered."""
    turned = random_rotation(clouds, generator, degrees=180.0, axis=axis)
    return random_jitter(turned, generator, deviation=0.01, limit=0.05)


class ModelNetMeshes(FileClouds):
    """The official meshes; subclasses say how many classes."""

    def __init__(self, classes: int, root: str | None, num_points: int) -> None:
        """Says where the data lies; files are listed at the first `split`."""
        super().__init__(
            name=f"modelnet{classes}", class_names=CLASSES[classes], num_points=num_points
        )
        self.root, self.folder = root, f"ModelNet{classes}"
        self.expected = f"{self.folder}/<class>/{{train,test}}/<class>_0001.off, {classes} classes"

    def list_files(self, folder: Path) -> dict[str, list[CloudFile]]:
        """Returns the meshes of each split, class by class, in the order of their names.

        Raises:
            DataError: the class folders are not those of this dataset.
        """
        found = {
            path.name
            for path in folder.iterdir()
            if path.is_dir() and not path.name.startswith((".", "__"))
        }
        missing, other = (
            sorted(set(self.class_names) - found),
            sorted(found - set(self.class_names)),
        )
        if missing or other:
            reason = f"no class '{missing[0]}'" if missing else f"another folder, '{other[0]}'"
            raise DataError(
                f"'{folder}' is not the tree of dataset '{self.name}': it has {reason}; it should "
                f"hold {self.expected}"
            )
        return {
            part: [
                CloudFile.at(path, f"{name}/{path.name}", label)
                for label, name in enumerate(self.class_names)
                for path in sorted((folder / name / part).glob("*.off"))
                if not path.name.startswith(".")
            ]
            for part in ("train", "test")
        }

    def read(self, file: CloudFile) -> Cloud:
        """Returns points drawn from a mesh by area, from the cache once they were drawn."""
        changed = f"{file.path.absolute()} {file.name} {file.size} {file.changed}"
        key = hashlib.sha256(changed.encode()).hexdigest()[:32]
        place = f"{self.name}_{self.num_points}_v{VERSION}/{key}.npz"
        return Cloud(cached_points(place, self.num_points, lambda: self._draw(file).points))

    def _draw(self, file: CloudFile) -> Cloud:
        mesh = read_off(file.path)
        try:
            points = sample_surface(mesh, self.num_points, file.rng())
        except ValueError as error:
            raise DataError(f"the mesh '{file.path}' is of no use: {error}; {RESTORE}") from error
        return Cloud(sphere(points, file.path))

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Turns each cloud about z by any angle and jitters its points."""
        return upright_variant(clouds, generator, axis=2)


class ModelNetTables(FileClouds):
    """The resampled tables; subclasses say how many classes. Both share one folder."""

    def __init__(self, classes: int, root: str | None, num_points: int) -> None:
        """Says where the data lies; files are listed at the first `split`."""
        super().__init__(
            name=f"modelnet{classes}_resampled",
            class_names=CLASSES[classes],
            num_points=num_points,
        )
        self.root, self.folder, self.prefix = (
            root,
            "modelnet40_normal_resampled",
            f"modelnet{classes}",
        )
        lists = ", ".join(f"{self.prefix}_{part}.txt" for part in ("train", "test", "shape_names"))
        self.expected = f"{self.folder}/{{{lists}}} and {self.folder}/<class>/<class>_0001.txt"

    def list_files(self, folder: Path) -> dict[str, list[CloudFile]]:
        """Returns the tables that the lists name, in their order.

        Raises:
            DataError: a list or a table is missing, or a name is of no class.
        """
        names_list = self.require_list(folder / f"{self.prefix}_shape_names.txt")
        require_classes(names_list, read_words(names_list), self.class_names)
        return {
            part: [
                self._locate(folder, name, part)
                for name in read_words(folder / f"{self.prefix}_{part}.txt")
            ]
            for part in ("train", "test")
        }

    def _locate(self, folder: Path, name: str, part: str) -> CloudFile:
        class_name = name.rpartition("_")[0]
        if class_name not in self.class_names or "/" in name:
            raise DataError(
                f"'{folder / f'{self.prefix}_{part}.txt'}' names '{name}', which is of none of the "
                f"{self.num_classes} classes; {RESTORE}"
            )
        place = f"{class_name}/{name}.txt"
        return CloudFile.at(folder / place, place, self.class_names.index(class_name))

    def read(self, file: CloudFile) -> Cloud:
        """Returns the first points of a table of x, y, z and the normal's three."""
        table = read_table(file.path, 6, delimiter=",", rows=self.num_points)
        if len(table) < self.num_points:
            raise DataError(
                f"'{file.path}' has {len(table)} points and {self.num_points} are asked for; set "
                f"task.dataset.num_points to that at most, or {RESTORE}"
            )
        return Cloud(sphere(table[:, :3], file.path))

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Turns each cloud about y by any angle and jitters its points."""
        return upright_variant(clouds, generator, axis=1)


@DATASETS.register_module(name="modelnet10")
class ModelNet10(ModelNetMeshes):
    """3,991 training and 908 test meshes of 10 classes, turned alike by hand."""

    def __init__(self, *, root: str | None = None, num_points: int = 1024) -> None:
        """Takes the folder that holds `ModelNet10` (or is it) and the points of a cloud."""
        super().__init__(10, root, num_points)


@DATASETS.register_module(name="modelnet40")
class ModelNet40(ModelNetMeshes):
    """9,843 training and 2,468 test meshes of 40 classes."""

    def __init__(self, *, root: str | None = None, num_points: int = 1024) -> None:
        """Takes the folder that holds `ModelNet40` (or is it) and the points of a cloud."""
        super().__init__(40, root, num_points)


@DATASETS.register_module(name="modelnet10_resampled")
class ModelNet10Resampled(ModelNetTables):
    """3,991 training and 908 test clouds of 10 classes."""

    def __init__(self, *, root: str | None = None, num_points: int = 1024) -> None:
        """Takes the folder that holds `modelnet40_normal_resampled` (or is it)."""
        super().__init__(10, root, num_points)


@DATASETS.register_module(name="modelnet40_resampled")
class ModelNet40Resampled(ModelNetTables):
    """9,843 training and 2,468 test clouds of 40 classes."""

    def __init__(self, *, root: str | None = None, num_points: int = 1024) -> None:
        """Takes the folder that holds `modelnet40_normal_resampled` (or is it)."""
        super().__init__(40, root, num_points)


@DATASETS.register_module(name="modelnet40_hdf5")
class ModelNet40Hdf5(Hdf5Clouds):
    """9,840 training and 2,468 test clouds of 40 classes."""

    def __init__(self, *, root: str | None = None, num_points: int = 1024) -> None:
        """Takes the folder that holds `modelnet40_ply_hdf5_2048` (or is it).

        Raises:
            ConfigError: more points are asked for than there are.
        """
        super().__init__(
            name="modelnet40_hdf5",
            class_names=CLASSES[40],
            num_points=num_points,
            most_points=STORED_POINTS,
        )
        self.root, self.folder = root, "modelnet40_ply_hdf5_2048"
        self.expected = (
            f"{self.folder}/{{train_files.txt, test_files.txt, shape_names.txt, "
            "ply_data_train0.h5, …}"
        )

    def list_names(self, folder: Path) -> dict[str, list[str]]:
        """Returns the files that the two lists name.

        Raises:
            DataError: a list is missing, or the classes are others.
        """
        names_list = self.require_list(folder / "shape_names.txt")
        require_classes(names_list, read_words(names_list), self.class_names)
        return {part: listed_names(folder / f"{part}_files.txt") for part in ("train", "test")}

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Turns each cloud about y by any angle and jitters its points."""
        return upright_variant(clouds, generator, axis=1)
