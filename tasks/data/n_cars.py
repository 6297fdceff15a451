"""N-Cars: cars and other things on the road, cut out of drives with an ATIS camera.

Sironi et al. 2018; 100 ms a recording, at most 120x100 pixels. Cut-outs differ in size: each lies
in the upper left corner of the frame and the rest stays empty. An event beyond 120x100 means that
the file is not of N-Cars.
"""

from __future__ import annotations

from pathlib import Path

from adacal.suite.registry import DATASETS
from tasks.data.event_files import EventFiles, Recording
from tasks.data.event_formats import EventArray, read_dat

CLASSES = ("background", "cars")


@DATASETS.register_module(name="n_cars")
class NCars(EventFiles):
    """15,422 training and 8,607 test recordings of 2 classes, 2x100x120, in the official split."""

    name, num_classes, sensor, events_per_unit = "n_cars", 2, (100, 120), 1.0
    expected = "{n-cars_train, n-cars_test}/{cars, background}/*.dat, or {train, test}/…"

    def list_files(self, root: Path) -> dict[str, list[Recording]]:
        """Returns the recordings of both splits; the archives unpack into one of three trees."""
        base = root / "Prophesee_Dataset_n_cars"
        base = base if base.is_dir() else root
        found = {}
        for part in ("train", "test"):
            places = (f"n-cars_{part}", f"n-cars_{part}/{part}", part)
            folder = self.place(base, places, CLASSES[0])
            found[part] = [
                Recording(path, label)
                for label, name in enumerate(CLASSES)
                for path in self.files(folder / name, ".dat")
            ]
        return found

    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one recording."""
        return read_dat(recording.path)
