"""Event recordings as labelled datasets: counts in bins of time, or over the whole recording."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from adacal.core.errors import DataError
from adacal.suite.registry import DATASETS
from tasks.data.base import ImageDataset, check_part
from tasks.data.dvs_mnist import DURATION_US, VERSION, DvsMnist

WINDOW_BINS = 12
"""Bins that windows of training samples are made of."""
LEAST_WINDOW = 0.25
"""Shortest window, as a share of the recording."""


class Recordings(Protocol):
    """Anything that gives the events of a sample by its number."""

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Returns a structured array (x, y, t, p), t in µs."""
        ...


@dataclass(frozen=True)
class EventSplit:
    """One part of an event dataset.

    Attributes:
        recordings: `recordings[i]` is the structured array (x, y, t, p) of a sample's events.
        labels: classes, shape [N], int64.
        sensor_size: width, height and number of polarities, as tonic has it.
        duration_us: length of every recording, which starts at t = 0; None for recordings of
            different lengths, each from its first to its last event.
        scale: counts that stand for an input of 1.
    """

    recordings: Recordings
    labels: Tensor
    sensor_size: tuple[int, int, int]
    duration_us: int | None
    scale: float

    def __len__(self) -> int:
        """Returns the number of samples."""
        return self.labels.numel()

    def counts(self, indices: Tensor, bins: int) -> Tensor:
        """Counts events by bin of equal length, shape [B, bins, polarities, H, W], float32.

        Raises:
            DataError: a recording holds events outside of its length.
        """
        frames = [self._frames(index, bins) for index in indices.tolist()]
        return torch.from_numpy(np.stack(frames))

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns counts over the whole recording over `scale`, [B, polarities, H, W]."""
        return self.counts(indices, 1)[:, 0] / self.scale

    def _frames(self, index: int, bins: int) -> NDArray[np.float32]:
        """Returns one recording's counts, shape [bins, polarities, H, W].

        They are the numbers of tonic's ToFrame, whose 16 bits a noisy pixel of a long recording
        would overflow.
        """
        width, height, polarities = self.sensor_size
        shape = (bins, polarities, height, width)
        events = self.recordings[index]
        if not len(events):
            return np.zeros(shape, np.float32)
        t = events["t"]
        first, last = int(t.min()), int(t.max())
        start, length = first, last - first + 1
        if self.duration_us is not None:
            start, length = 0, self.duration_us
        if not start <= first <= last < start + length:
            raise DataError(
                f"recording {index} has events outside of its {length} µs; name its true length"
            )
        place = (t - start) // math.ceil(length / bins)
        for name, size in (("p", polarities), ("y", height), ("x", width)):
            place = place * size + events[name]
        counts = np.bincount(place, minlength=math.prod(shape))
        return counts.reshape(shape).astype(np.float32)


class EventDataset(ImageDataset):
    """A labelled dataset of recordings; as an image it is the counts over a whole recording.

    Attributes:
        duration_us: length of a recording; None if each has its own.
        scale: counts that stand for an input of 1.
    """

    duration_us: int | None
    scale: float

    @abstractmethod
    def split(self, part: str) -> EventSplit:
        """Returns the `train` or the `test` split."""

    def training_batch(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Returns training samples: half of them whole, half random windows of time.

        Windows are brought to the scale of a whole recording, so the network learns to answer from
        a part, which is what a stream shows it. All move by up to 2 pixels in each direction.
        """
        del epoch
        bins = self.split("train").counts(indices, WINDOW_BINS)
        images = random_windows(bins, generator) / self.scale
        moves = torch.randint(-2, 3, (len(images), 2), generator=generator).tolist()
        padded = F.pad(images, (2, 2, 2, 2))
        height, width = images.shape[2:]
        return torch.stack(
            [p[:, 2 + y : 2 + y + height, 2 + x : 2 + x + width]
             for p, (y, x) in zip(padded, moves, strict=True)]
        )  # fmt: skip


def random_windows(counts: Tensor, generator: torch.Generator) -> Tensor:
    """Sums bins over a window of time, at the scale of the whole recording.

    Args:
        counts: counts by bin, shape [B, bins, polarities, H, W].
        generator: source of randomness.

    Returns:
        Half of the samples whole; of the others a window of at least `LEAST_WINDOW` of the bins,
        times the number of bins over the window's. Shape [B, polarities, H, W].
    """
    samples, bins = counts.shape[:2]
    whole = torch.rand(samples, generator=generator) < 0.5
    shortest = max(1, math.ceil(LEAST_WINDOW * bins))
    length = torch.randint(shortest, bins + 1, (samples,), generator=generator)
    length = length.masked_fill(whole, bins)
    start = (torch.rand(samples, generator=generator) * (bins - length + 1)).long()
    place = torch.arange(bins)
    inside = (place >= start[:, None]) & (place < (start + length)[:, None])
    weights = inside * (bins / length)[:, None]
    return torch.einsum("bn,bnphw->bphw", weights.to(counts), counts)


@DATASETS.register_module(name="dvs_mnist")
class DvsMnistFrames(EventDataset):
    """DVS-MNIST-5k: 4,000 training and 1,000 test recordings of 300 ms, 2x34x34."""

    def __init__(self, *, cache: str | None = None) -> None:
        """Says the dataset's shape; events are made or read at the first `split`.

        Args:
            cache: folder for the simulated events; see `adacal.suite.places.cache_folder`.
        """
        width, height, polarities = DvsMnist.sensor_size
        self.name, self.num_classes = "dvs_mnist", len(DvsMnist.classes)
        self.input_shape = (polarities, height, width)
        self.duration_us, self.scale = DURATION_US, 4.0
        self.cache = cache

    def split(self, part: str) -> EventSplit:
        """Returns one split; both are made at the first call and kept."""
        check_part(part)
        return self.splits[part]

    @cached_property
    def splits(self) -> dict[str, EventSplit]:
        """Both splits, made once."""
        found = {}
        for part in ("train", "test"):
            recordings = DvsMnist(part, cache=self.cache)
            found[part] = EventSplit(
                recordings.events,
                torch.from_numpy(recordings.labels).to(torch.int64),
                DvsMnist.sensor_size,
                self.duration_us,
                self.scale,
            )
        return found

    def fingerprint(self) -> str:
        """Returns `dvs_mnist:`, the version, and digits of the checksums of all events."""
        sums = [DvsMnist(part, cache=self.cache).events.checksum() for part in ("train", "test")]
        return f"{self.name}:v{VERSION}:{sums[0][:8]}{sums[1][:8]}"
