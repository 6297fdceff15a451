"""What generated sets of dense tasks share: their sizes, their folder, how they are loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from adacal.core.checks import check_whole
from tasks.data.generated import GeneratedFolder, generated_folder
from tasks.openmmlab.data import DenseData


class GeneratedScenes(DenseData):
    """A set of scenes that is written to the cache folder and read by its library's own class.

    Attributes:
        version: of the files; another one is made anew.
        sizes: images of the whole set by part, `train` and `test`.
        counts: those of this one.
    """

    version: ClassVar[int]
    sizes: ClassVar[Mapping[str, int]]

    def __init__(self, *, train_images: int | None = None, test_images: int | None = None) -> None:
        """Says how large the set is; its files are made when `config` is first asked for.

        Args:
            train_images: makes the first so many training images only, for quick trials.
            test_images: makes the first so many test images only.

        Raises:
            ConfigError: a number is not 1 or more.
        """
        self.counts = dict(self.sizes)
        for part, count in (("train", train_images), ("test", test_images)):
            if count is not None:
                check_whole(f"dataset.{part}_images", count, example=self.sizes[part])
                self.counts[part] = count

    def files(self) -> GeneratedFolder:
        """Returns the folder of the set, made if it is not there or damaged.

        Raises:
            DataError: the cache cannot be written.
        """
        sizes = "" if self.counts == self.sizes else "_{train}_{test}".format(**self.counts)
        return generated_folder(f"{self.name}_v{self.version}{sizes}", self.write)

    def fingerprint(self) -> str:
        """Returns the name and a hash over pixels and annotations of both parts."""
        return f"{self.name}:{self.files().fingerprint}"

    def config(self) -> dict[str, Any]:
        """Returns the data loaders, and the evaluator of `evaluator`."""
        return {
            "train_dataloader": self._loader("train", batch_size=32),
            "test_dataloader": self._loader("test", batch_size=50),
            "test_evaluator": self.evaluator(),
        }

    @abstractmethod
    def dataset(self, part: str) -> dict[str, Any]:
        """Returns the config of the library's dataset for `train` or `test`."""

    @abstractmethod
    def evaluator(self) -> dict[str, Any]:
        """Returns the config of the library's evaluator."""

    @abstractmethod
    def write(self, folder: Path) -> str:
        """Writes all files into an empty folder; returns a hash over what they hold."""

    def _loader(self, part: str, batch_size: int) -> dict[str, Any]:
        return {
            "batch_size": batch_size,
            "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": part == "train"},
            "dataset": self.dataset(part),
        }
