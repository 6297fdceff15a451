"""Event recordings in files on disk, each read when it is asked for; nothing is downloaded or kept.

A dataset says how its tree is listed and how a file is read; what all share is here: recordings of
different lengths, sensors that are not square, smaller frames, splits by class, the fingerprint.

Time. By default a recording is cut into bins between its own first and last event, so step t of T
has seen a part t/T of it. With `duration_us` all recordings are cut at that time after their first
event, and bins have the same length for all.

Frames. Each event is counted where it fell. With `image_size` the sensor is divided into that many
cells and an event counts for the cell it fell into: counts stay whole and no event is lost. Where
the sides do not divide, some cells are a pixel wider than others; another ratio of the sides
squeezes the picture.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from adacal.core.errors import ConfigError, DataError
from tasks.data.base import check_part, require_disjoint, require_root, round_robin
from tasks.data.event_formats import EventArray, damaged
from tasks.data.event_frames import EventDataset, EventSplit

Sides = int | Sequence[int] | None


@dataclass(frozen=True)
class Recording:
    """One labelled recording.

    Attributes:
        path: file that holds it.
        label: its class.
        window: the part of the file's clock it takes, (first µs, µs after the last); None for all.
    """

    path: Path
    label: int
    window: tuple[int, int] | None = None


@dataclass(frozen=True)
class FileRecordings:
    """Recordings that are read when they are asked for.

    Attributes:
        recordings: what to read, in the order of the samples.
        read: returns the events of one of them.
        sensor: height and width of the camera in pixels.
        frame: height and width of the frames to be counted.
        duration_us: where a recording is cut off; None keeps all of it.
    """

    recordings: Sequence[Recording]
    read: Callable[[Recording], EventArray]
    sensor: tuple[int, int]
    frame: tuple[int, int]
    duration_us: int | None

    def __getitem__(self, index: int) -> EventArray:
        """Returns one recording's events, with the first at t = 0, on the frame's grid.

        Raises:
            DataError: the file is damaged, without events, or has some outside of the sensor.
        """
        recording = self.recordings[index]
        events = self.read(recording)
        self.check(recording, events)
        events["t"] -= events["t"].min()
        if self.duration_us is not None:
            events = events[events["t"] < self.duration_us]
        for name, pixels, cells in zip(("y", "x"), self.sensor, self.frame, strict=True):
            if pixels != cells:
                events[name] = events[name].astype(int) * cells // pixels
        return events

    def check(self, recording: Recording, events: EventArray) -> None:
        """Raises a DataError unless there are events and all of them lie on the sensor."""
        if not len(events):
            part = "" if recording.window is None else " from {} to {} µs".format(*recording.window)
            raise damaged(recording.path, f"it has no events{part}")
        for name, pixels in zip(("y", "x"), self.sensor, strict=True):
            least, most = int(events[name].min()), int(events[name].max())
            if least < 0 or most >= pixels:
                raise damaged(
                    recording.path,
                    f"{name} is {least} to {most} on a sensor of {pixels} pixels",
                )


class EventFiles(EventDataset):
    """A dataset of recordings on disk; subclasses list the tree and read a file.

    Attributes:
        sensor: height and width of the camera in pixels.
        events_per_unit: events of a pixel that stand for an input of 1; a round number near what
            the busier pixels see. A first layer with batch-norm takes up the rest.
        expected: the tree, for error messages.
    """

    sensor: tuple[int, int]
    events_per_unit: float
    expected: str

    def __init__(
        self,
        *,
        root: str | None = None,
        image_size: Sides = None,
        duration_us: int | None = None,
        scale: float | None = None,
    ) -> None:
        """Says where the data lies; folders are listed at the first `split`.

        Args:
            root: folder of the unpacked dataset.
            image_size: height and width of the frames, or one number for squares; the sensor's by
                default.
            duration_us: cuts all recordings at this time; each has its own length by default.
            scale: counts that stand for an input of 1; grows with the pixels in a cell by default.

        Raises:
            ConfigError: a frame larger than the sensor, a length or a scale that is not positive.
        """
        self.root = root
        self.frame = self.check_frame(image_size)
        self.input_shape = (2, *self.frame)
        if duration_us is not None and duration_us < 1:
            raise ConfigError(
                f"{self.name}.duration_us must be 1 or more µs; got {duration_us!r}; leave it out "
                "to take all of each recording"
            )
        self.duration_us = duration_us
        cell = self.sensor[0] * self.sensor[1] / (self.frame[0] * self.frame[1])
        self.scale = self.events_per_unit * cell if scale is None else scale
        if not self.scale > 0:
            raise ConfigError(f"{self.name}.scale must be above 0; got {scale!r}; try 4")

    def check_frame(self, image_size: Sides) -> tuple[int, int]:
        """Returns height and width of the frames.

        Raises:
            ConfigError: they are not one or two whole numbers from 1 to the sensor's.
        """
        if image_size is None:
            return self.sensor
        sides = tuple(image_size) if isinstance(image_size, list | tuple) else (image_size,) * 2
        fits = len(sides) == 2 and all(
            isinstance(side, int) and 1 <= side <= pixels
            for side, pixels in zip(sides, self.sensor, strict=False)
        )
        if not fits:
            raise ConfigError(
                f"{self.name}.image_size must be (height, width) or one number, at most the "
                f"sensor's {self.sensor}; got {image_size!r}"
            )
        height, width = sides
        return int(height), int(width)

    @abstractmethod
    def list_files(self, root: Path) -> dict[str, list[Recording]]:
        """Returns the recordings of `train` and `test`, each in a fixed order.

        Raises:
            DataError: the tree is not complete.
        """

    @abstractmethod
    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one recording.

        Raises:
            DataError: the file is damaged.
        """

    @cached_property
    def recordings(self) -> dict[str, list[Recording]]:
        """The recordings of both splits, class by class in turn, listed once.

        Raises:
            DataError: the tree is missing or not complete.
        """
        listed = self.list_files(require_root(self.root, self.name, self.expected))
        places = {part: [(r.path, r.window) for r in found] for part, found in listed.items()}
        require_disjoint(self.name, places)
        found = {}
        for part, recordings in listed.items():
            if not recordings:
                raise self.incomplete(f"there are no recordings for '{part}'")
            labels = torch.tensor([recording.label for recording in recordings])
            order = round_robin(labels, self.num_classes).tolist()
            found[part] = [recordings[index] for index in order]
        return found

    def split(self, part: str) -> EventSplit:
        """Returns one split; files are read when samples are asked for."""
        check_part(part)
        recordings = self.recordings[part]
        return EventSplit(
            FileRecordings(recordings, self.read, self.sensor, self.frame, self.duration_us),
            torch.tensor([recording.label for recording in recordings]),
            (self.frame[1], self.frame[0], 2),
            self.duration_us,
            self.scale,
        )

    def fingerprint(self) -> str:
        """Returns a hash over options, order, names, sizes and windows; contents are not read."""
        options = f"{self.name} {self.frame} {self.duration_us} {self.scale:.9g}"
        digest = hashlib.sha256(options.encode())
        for part in ("train", "test"):
            for recording in self.recordings[part]:
                path, window = recording.path, recording.window
                # Trials lie in the root, whatever the user calls it; other files in folders.
                place = path.name if window else f"{path.parent.name}/{path.name}"
                facts = f"{place} {path.stat().st_size} {recording.label} {window}"
                digest.update(f"{part} {facts}\n".encode())
        return f"{self.name}:{digest.hexdigest()[:16]}"

    def incomplete(self, fact: str) -> DataError:
        """Returns the error for a tree that is not what it should be."""
        return DataError(
            f"dataset '{self.name}' is not complete under '{self.root}' ({fact}); unpack the "
            f"official archive there so that it holds {self.expected}"
        )

    def place(self, root: Path, places: Sequence[str], holds: str) -> Path:
        """Returns the first of some folders below `root` that holds an entry.

        Raises:
            DataError: none does.
        """
        for name in places:
            if (root / name / holds).exists():
                return root / name
        raise self.incomplete(f"there is no '{holds}'")

    def files(self, folder: Path, suffix: str) -> list[Path]:
        """Returns the files of a folder by their ending, in the order of their numbers.

        Raises:
            DataError: the folder is missing or has none.
        """
        found = [
            path
            for path in (folder.iterdir() if folder.is_dir() else ())
            if path.suffix == suffix and not path.name.startswith(".")
        ]
        if not found:
            raise self.incomplete(f"folder '{folder.name}' has no {suffix} files")
        return sorted(found, key=lambda path: natural(path.name))


class SplitByClass(EventFiles):
    """A dataset without an official split: 90 % of each class for training, the rest for testing.

    By default the first 90 % in the order of the files' numbers (in CIFAR10-DVS 0 to 899 of each
    class), with `split_seed` a random draw; the split enters the fingerprint.
    """

    train_share = 0.9

    def __init__(
        self,
        *,
        root: str | None = None,
        image_size: Sides = None,
        duration_us: int | None = None,
        scale: float | None = None,
        split_seed: int | None = None,
    ) -> None:
        """Says where the data lies.

        Args:
            root: folder of the unpacked dataset.
            image_size: see `EventFiles`.
            duration_us: see `EventFiles`.
            scale: see `EventFiles`.
            split_seed: draws the split at random; None takes the files in their order.

        Raises:
            ConfigError: see `EventFiles`.
        """
        super().__init__(root=root, image_size=image_size, duration_us=duration_us, scale=scale)
        self.split_seed = split_seed

    @abstractmethod
    def list_classes(self, root: Path) -> list[list[Path]]:
        """Returns the files of each class in order.

        Raises:
            DataError: the tree is not complete.
        """

    def list_files(self, root: Path) -> dict[str, list[Recording]]:
        """Returns the recordings of both splits.

        Raises:
            DataError: the tree is not complete, or a class has fewer than two recordings.
        """
        generator = None
        if self.split_seed is not None:
            generator = torch.Generator().manual_seed(self.split_seed)
        found: dict[str, list[Recording]] = {"train": [], "test": []}
        for label, paths in enumerate(self.list_classes(root)):
            if len(paths) < 2:
                raise self.incomplete(f"'{paths[0].parent.name}' has one recording, too few")
            if generator is not None:
                order = torch.randperm(len(paths), generator=generator).tolist()
                paths = [paths[index] for index in order]
            cut = min(max(round(self.train_share * len(paths)), 1), len(paths) - 1)
            found["train"] += [Recording(path, label) for path in paths[:cut]]
            found["test"] += [Recording(path, label) for path in paths[cut:]]
        return found


def natural(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts names by the numbers in them.

    >>> sorted(["a_10", "a_9", "a"], key=natural)
    ['a', 'a_9', 'a_10']
    """
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
