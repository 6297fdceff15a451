"""CIFAR10-DVS: pictures of CIFAR-10 moved on a screen before a DVS128 (Li et al. 2017).

10,000 recordings of about 1.2 s, 1,000 a class, 128x128 pixels. Two forms are read: the release as
it was recorded, AEDAT 2.0 (`cifar10_airplane_0.aedat`), and the later copy of the authors, AEDAT 4
(`.aedat4`), which tonic downloads. There is no official split; see `SplitByClass`. Papers split it
in different ways, and numbers of different splits do not compare. Weights of one form need not fit
the other: axes and polarities may differ.
"""

from __future__ import annotations

from pathlib import Path

from adacal.suite.registry import DATASETS
from tasks.data.event_files import Recording, SplitByClass
from tasks.data.event_formats import EventArray, read_aedat4, read_dvs128

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
READERS = {".aedat": read_dvs128, ".aedat4": read_aedat4}


@DATASETS.register_module(name="cifar10_dvs")
class Cifar10Dvs(SplitByClass):
    """9,000 training and 1,000 test recordings of 10 classes, 2x128x128."""

    name, num_classes, sensor, events_per_unit = "cifar10_dvs", 10, (128, 128), 16.0
    expected = "{airplane, …, truck}/*.aedat (the original release) or *.aedat4 (tonic's copy)"

    def list_classes(self, root: Path) -> list[list[Path]]:
        """Returns the files of each class; the original release if both forms are there."""
        folder = self.place(root, ("", "CIFAR10DVS"), CLASSES[0])
        original = any(path.suffix == ".aedat" for path in (folder / CLASSES[0]).iterdir())
        suffix = ".aedat" if original else ".aedat4"
        return [self.files(folder / name, suffix) for name in CLASSES]

    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one recording."""
        return READERS[recording.path.suffix](recording.path)
