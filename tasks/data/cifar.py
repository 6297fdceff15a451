"""CIFAR-10 and CIFAR-100 from the official archives, unpacked on disk; nothing is downloaded.

Both official forms are read: the python one, by an unpickler that can build numpy arrays and
nothing else, and the binary one. Normalisation uses the means and deviations of the training split;
augmentation is the usual one, a crop from an image padded by 4 zeros and a random mirror.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacal.core.errors import ConfigError, DataError
from adacal.suite.registry import DATASETS
from tasks.data.augment import random_crop, random_flip
from tasks.data.base import PixelDataset, require_root

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
IMAGE_BYTES = 3 * 32 * 32

# What a pickled numpy array needs, and nothing that could act.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, numbers, text and numpy arrays; refuses every other class or call."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns an allowed global.

        Raises:
            pickle.UnpicklingError: it is not on the list.
        """
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which is not allowed")
        return super().find_class(module, name)


class Cifar(PixelDataset):
    """What both datasets share; subclasses name the files."""

    python_folder: str
    python_files: dict[str, list[str]]
    python_label: bytes
    binary_folder: str
    binary_files: dict[str, list[str]]
    binary_label_bytes: int

    def __init__(self, *, root: str | None = None, source: str = "auto") -> None:
        """Says where the data lies; it is read at the first `split`.

        Args:
            root: folder that holds the unpacked archive's folder (or is that folder).
            source: `python`, `binary`, or `auto` for whichever is there.

        Raises:
            ConfigError: another source.
        """
        if source not in ("auto", "python", "binary"):
            raise ConfigError(
                f"{self.name}.source must be 'auto', 'python' or 'binary'; got {source!r}"
            )
        self.root, self.source = root, source
        self.input_shape = (3, 32, 32)

    def expected(self) -> str:
        """Returns the tree of files, for error messages."""
        python = self.python_files["train"] + self.python_files["test"]
        binary = self.binary_files["train"] + self.binary_files["test"]
        return (
            f"{self.python_folder}/{{{', '.join(python)}}} or "
            f"{self.binary_folder}/{{{', '.join(binary)}}}"
        )

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Reads both splits from whichever form is on disk."""
        root = require_root(self.root, self.name, self.expected())
        forms = {
            "python": (self.python_folder, self.python_files, self.read_python),
            "binary": (self.binary_folder, self.binary_files, self.read_binary),
        }
        for form, (folder_name, files, read) in forms.items():
            if self.source not in ("auto", form):
                continue
            for folder in (root / folder_name, root):
                names = [name for part in files.values() for name in part]
                if all((folder / name).is_file() for name in names):
                    return {
                        part: self.join([read(folder / name) for name in files[part]])
                        for part in ("train", "test")
                    }
        raise DataError(
            f"dataset '{self.name}' is not complete under '{root}'; unpack the official archive "
            f"there so that it holds {self.expected()}"
        )

    def join(self, parts: Sequence[Arrays]) -> tuple[Tensor, Tensor]:
        """Returns the images [N, 3, 32, 32] and labels [N] of several files.

        Raises:
            DataError: a label is not a class.
        """
        pixels = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([marks for _, marks in parts])
        if labels.size == 0 or labels.min() < 0 or labels.max() >= self.num_classes:
            raise DataError(
                f"'{self.name}' under '{self.root}' has no samples or labels outside 0 to "
                f"{self.num_classes - 1}; unpack the official archive again"
            )
        return torch.from_numpy(pixels), torch.from_numpy(labels)

    def read_python(self, path: Path) -> Arrays:
        """Returns images [N, 3072] and labels [N] of one file of the python form.

        Raises:
            DataError: the file is damaged or holds anything but arrays.
        """
        try:
            content = ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
            images = np.asarray(content[b"data"], dtype=np.uint8)
            labels = np.asarray(content[self.python_label], dtype=np.int64)
            if images.ndim != 2 or images.shape != (labels.size, IMAGE_BYTES):
                raise ValueError(f"{images.shape} bytes for {labels.size} labels")
        # A damaged pickle can fail in many ways; all mean the same to the reader.
        except Exception as error:
            raise DataError(
                f"'{path}' is not a file of '{self.name}' in the official python form ({error}); "
                "unpack the official archive again"
            ) from error
        return images, labels

    def read_binary(self, path: Path) -> Arrays:
        """Returns images [N, 3072] and labels [N] of one file of the binary form.

        Raises:
            DataError: its length is not a whole number of records.
        """
        record = self.binary_label_bytes + IMAGE_BYTES
        content = np.fromfile(path, dtype=np.uint8)
        if content.size == 0 or content.size % record:
            raise DataError(
                f"'{path}' has {content.size} bytes, not a whole number of records of {record}; "
                "unpack the official archive again"
            )
        table = content.reshape(-1, record)
        labels = table[:, self.binary_label_bytes - 1].astype(np.int64)
        return table[:, self.binary_label_bytes :], labels

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Shifts by up to 4 pixels over zeros and mirrors half of the images."""
        return random_flip(random_crop(images, 4, generator), generator)


@DATASETS.register_module(name="cifar10")
class Cifar10(Cifar):
    """50,000 training and 10,000 test images of 10 classes, 3x32x32."""

    name = "cifar10"
    num_classes = 10
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    python_folder = "cifar-10-batches-py"
    python_files = {  # noqa: RUF012
        "train": [f"data_batch_{number}" for number in range(1, 6)],
        "test": ["test_batch"],
    }
    python_label = b"labels"
    binary_folder = "cifar-10-batches-bin"
    binary_files = {  # noqa: RUF012
        "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
        "test": ["test_batch.bin"],
    }
    binary_label_bytes = 1


@DATASETS.register_module(name="cifar100")
class Cifar100(Cifar):
    """50,000 training and 10,000 test images of 100 (fine) classes, 3x32x32."""

    name = "cifar100"
    num_classes = 100
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    python_folder = "cifar-100-python"
    python_files = {"train": ["train"], "test": ["test"]}  # noqa: RUF012
    python_label = b"fine_labels"
    binary_folder = "cifar-100-binary"
    binary_files = {"train": ["train.bin"], "test": ["test.bin"]}  # noqa: RUF012
    binary_label_bytes = 2
