"""N-MNIST and N-Caltech101: still images before an ATIS camera that makes three saccades.

Orchard et al. 2015; recordings of about 300 ms. Both come as one `.bin` of 40-bit events for each
image. Where an image is smaller than the sensor, the rest of the frame stays empty.
"""

from __future__ import annotations

from pathlib import Path

from adacal.suite.registry import DATASETS
from tasks.data.event_files import EventFiles, Recording, Sides, SplitByClass
from tasks.data.event_formats import EventArray, read_bin

BACKGROUND = "BACKGROUND_Google"


@DATASETS.register_module(name="n_mnist")
class NMnist(EventFiles):
    """60,000 training and 10,000 test recordings of 10 digits, 2x34x34, in the official split."""

    name, num_classes, sensor, events_per_unit = "n_mnist", 10, (34, 34), 4.0
    expected = "{Train, Test}/{0, …, 9}/*.bin"

    def list_files(self, root: Path) -> dict[str, list[Recording]]:
        """Returns the recordings of `Train` and `Test`."""
        folder = self.place(root, ("", "NMNIST", "N-MNIST"), "Train")
        return {
            part: [
                Recording(path, digit)
                for digit in range(self.num_classes)
                for path in self.files(folder / name / str(digit), ".bin")
            ]
            for part, name in (("train", "Train"), ("test", "Test"))
        }

    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one recording."""
        return read_bin(recording.path)


@DATASETS.register_module(name="n_caltech101")
class NCaltech101(SplitByClass):
    """8,709 recordings of 101 classes, 2x180x240, without an official split.

    The 101 are 100 kinds of objects and `BACKGROUND_Google`: the release leaves out `Faces`, which
    would repeat `Faces_easy`. Classes are numbered in the order of their folders' names.
    """

    name, sensor, events_per_unit = "n_caltech101", (180, 240), 4.0
    expected = "Caltech101/<class>/*.bin, 101 folders with BACKGROUND_Google among them"

    def __init__(
        self,
        *,
        root: str | None = None,
        image_size: Sides = None,
        duration_us: int | None = None,
        scale: float | None = None,
        split_seed: int | None = None,
        background: bool = True,
        num_classes: int | None = None,
    ) -> None:
        """Says where the data lies.

        Args:
            root: folder of the unpacked dataset.
            image_size: see `EventFiles`.
            duration_us: see `EventFiles`.
            scale: see `EventFiles`.
            split_seed: see `SplitByClass`.
            background: whether `BACKGROUND_Google` is a class.
            num_classes: how many class folders there must be; 101 by default, 100 without
                `BACKGROUND_Google`.

        Raises:
            ConfigError: see `EventFiles`.
        """
        super().__init__(
            root=root,
            image_size=image_size,
            duration_us=duration_us,
            scale=scale,
            split_seed=split_seed,
        )
        self.background = background
        self.num_classes = num_classes or (101 if background else 100)

    def list_classes(self, root: Path) -> list[list[Path]]:
        """Returns the files of each class folder.

        Raises:
            DataError: there are more or fewer classes than there should be.
        """
        tree = root / "Caltech101" if (root / "Caltech101").is_dir() else root
        folders = [
            folder
            for folder in sorted(tree.iterdir())
            if folder.is_dir()
            and not folder.name.startswith((".", "__"))
            and (self.background or folder.name != BACKGROUND)
        ]
        if len(folders) != self.num_classes:
            raise self.incomplete(
                f"{len(folders)} class folders instead of {self.num_classes}, "
                "task.dataset.num_classes"
            )
        return [self.files(folder, ".bin") for folder in folders]

    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one recording."""
        return read_bin(recording.path)
