"""DVS-MNIST-5k: what an event camera would see of the digits of MNIST-5k, simulated.

As N-MNIST was recorded (Orchard et al. 2015), the camera makes three saccades of 100 ms along a
closed triangle of 3 pixels a side before a still digit. A pixel fires when its log intensity has
moved by a threshold of about 0.29 since its last event (Lichtsteiner et al. 2008); thresholds
differ by 3 % from pixel to pixel, a pixel fires at most once in 1 ms, and noise adds 0.5 events a
second and pixel. The splits are those of MNIST-5k. All randomness comes from fixed seeds;
intensities are whole numbers up to the logarithm, which is looked up in a rounded table, so every
machine makes the same events.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacal.core.errors import ConfigError
from adacal.suite.places import cache_folder
from tasks.data.base import check_part
from tasks.data.mnist5k import digits

Bytes = NDArray[np.uint8]
EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.bool_)])

VERSION = 1
SIDE = 34
DURATION_US, STEP_US, SLOT_US = 300_000, 3_000, 1_000
SLOTS = STEP_US // SLOT_US
TRIANGLE_PX = 3.0
THRESHOLD, MISMATCH = 0.29, 0.03
NOISE_HZ = 0.5
DARK = 0.1  # light of a black pixel, in units of a white one
SEEDS = {"sensor": 2015, "train": 34, "test": 300}
_LEVELS = 4080  # whole levels of the interpolated intensity: 255 * 16
_CHUNK = 250


@dataclass(frozen=True)
class Events:
    """Events of many samples, one after the other, in order of time within each.

    Attributes:
        x, y: pixel, shape [N].
        t: microseconds since the start of the recording, shape [N].
        p: whether it grew brighter, shape [N].
        starts: first event of each sample and the end, shape [samples + 1].
    """

    x: Bytes
    y: Bytes
    t: NDArray[np.int32]
    p: NDArray[np.bool_]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Returns one sample's events as a structured array (x, y, t, p), as tonic has them."""
        part = slice(self.starts[index], self.starts[index + 1])
        events = np.empty(part.stop - part.start, EVENT)
        for name in ("x", "y", "t", "p"):
            events[name] = getattr(self, name)[part]
        return events

    def checksum(self) -> str:
        """Returns the sha256 over all arrays, in hex."""
        digest = hashlib.sha256()
        for name in ("x", "y", "t", "p", "starts"):
            digest.update(np.ascontiguousarray(getattr(self, name)).data)
        return digest.hexdigest()


class DvsMnist:
    """DVS-MNIST-5k as tonic's datasets are: `dataset[i]` is (events, class).

    >>> from tonic.transforms import ToFrame  # doctest: +SKIP
    >>> dataset = DvsMnist("test", transform=ToFrame(DvsMnist.sensor_size, n_time_bins=4))
    ... # doctest: +SKIP
    >>> frames, label = dataset[0]  # doctest: +SKIP
    """

    classes = tuple(str(digit) for digit in range(10))
    sensor_size = (SIDE, SIDE, 2)
    dtype = EVENT
    ordering = EVENT.names

    def __init__(
        self,
        part: str,
        *,
        transform: Callable[[NDArray[Any]], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        cache: str | Path | None = None,
    ) -> None:
        """Makes the events, in a few seconds, or reads them from the cache.

        Args:
            part: `train` (4,000 samples) or `test` (1,000).
            transform: applied to the structured array of a sample's events.
            target_transform: applied to its class.
            cache: folder for the events; `adacal.suite.places.cache_folder()` if None.

        Raises:
            ConfigError: `part` is another word.
        """
        check_part(part)
        self.events = load(part, Path(cache) if cache is not None else cache_folder())
        self.labels = digits()[part][1].numpy()
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.events)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Returns a sample's events and its class, transformed."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        events: Any = self.events[index]
        label: Any = int(self.labels[index])
        if self.transform is not None:
            events = self.transform(events)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return events, label


@lru_cache(maxsize=2)
def load(part: str, folder: Path) -> Events:
    """Returns a split's events from a cache file whose checksum holds, or makes and keeps them.

    A folder that cannot be written is no error: the events are made again next time.
    """
    path = folder / f"dvs_mnist_{part}_v{VERSION}.npz"
    kept = _read(path)
    if kept is not None:
        return kept
    events = simulate(digits()[part][0][:, 0].numpy(), SEEDS[part])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            arrays = {name: getattr(events, name) for name in ("x", "y", "t", "p", "starts")}
            np.savez(stream, **arrays, sha256=np.array(events.checksum()))
        os.replace(temporary, path)
    except OSError:
        pass
    return events


def _read(path: Path) -> Events | None:
    """Returns what a cache file holds; None if there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            events = Events(*(stored[name] for name in ("x", "y", "t", "p", "starts")))
            return events if str(stored["sha256"]) == events.checksum() else None
    except Exception:  # a damaged archive raises whatever its bytes lead to; it is made again
        return None


def simulate(images: Bytes, seed: int) -> Events:
    """Simulates the recording of each image.

    Args:
        images: digits, shape [N, 28, 28], 0 … 255.
        seed: of the noise; the sensor's mismatch is the same for all.

    Raises:
        ConfigError: the images are not 28 pixels high and wide.
    """
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ConfigError(f"images must be of shape [N, 28, 28]; got {list(images.shape)}")
    rng = np.random.default_rng(seed)
    chunks = [
        _record(images[first : first + _CHUNK], rng) for first in range(0, len(images), _CHUNK)
    ]
    x, y, t, p = (np.concatenate([chunk[i] for chunk in chunks]) for i in range(4))
    counts = np.concatenate([chunk[4] for chunk in chunks])
    return Events(x, y, t, p, np.append(0, np.cumsum(counts)))


def saccades() -> NDArray[np.float64]:
    """Returns where the image is after each step, (y, x) in pixels, shape [steps + 1, 2]."""
    height = TRIANGLE_PX * math.sqrt(3) / 2
    corners = np.array([[-height / 3, -1.5], [2 * height / 3, 0.0], [-height / 3, 1.5]])
    corners = np.vstack([corners, corners[:1]])
    steps = DURATION_US // STEP_US
    place = np.arange(steps + 1) * 3 / steps
    side = np.minimum(place.astype(int), 2)
    eased = (1 - np.cos(np.pi * (place - side))) / 2  # starts and stops softly, as an eye does
    return corners[side] + eased[:, None] * (corners[side + 1] - corners[side])


def _record(images: Bytes, rng: np.random.Generator) -> tuple[Any, ...]:
    """Returns x, y, t, p of all events of a chunk, and how many each sample has."""
    thresholds, phase = _sensor()
    table = np.round(np.log(DARK + np.arange(_LEVELS + 1) / _LEVELS), 9).astype(np.float32)
    padded = np.pad(images.astype(np.int32), ((0, 0), (5, 5), (5, 5)))
    keys: list[NDArray[np.int64]] = []
    last: NDArray[np.float32] | None = None
    for step, intensity in enumerate(_views(padded)):
        level = table[intensity].reshape(-1)
        if last is None:
            last = level
            continue
        change = level - last
        active = np.flatnonzero(np.abs(change) >= thresholds.min())
        moved = change[active]
        sample, pixel = np.divmod(active, SIDE * SIDE)
        brighter = (moved > 0).astype(np.int64)
        threshold = thresholds[brighter, pixel]
        counts = np.minimum(np.floor(np.abs(moved) / threshold), SLOTS)
        last[active] += np.sign(moved) * counts * threshold
        for number in range(1, SLOTS + 1):
            chosen = counts == number
            place = (sample[chosen], pixel[chosen], brighter[chosen])
            keys.extend(_pack(slot, *place) for slot in _slots(step - 1, number))
    keys.append(_noise(len(images), rng))
    # One event a pixel and slot: the sensor's own come first in the order of a stable unique.
    key = np.concatenate(keys)
    _, first = np.unique(key >> 1, return_index=True)
    key = key[np.sort(first)]
    sample, slot, pixel, polarity = _unpack(key)
    time = slot * SLOT_US + phase[pixel]
    order = np.lexsort((pixel, time, sample))
    sample, pixel, time = sample[order], pixel[order], time[order]
    counts = np.bincount(sample, minlength=len(images))
    return (
        (pixel % SIDE).astype(np.uint8),
        (pixel // SIDE).astype(np.uint8),
        time.astype(np.int32),
        polarity[order].astype(bool),
        counts,
    )


def _views(padded: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Yields what the sensor sees after each step, shape [B, 34, 34], levels 0 … 4080."""
    for dy, dx in saccades():
        top, left = 2 - dy, 2 - dx  # of the window of 34 pixels in the padded 38
        row, column = math.floor(top), math.floor(left)
        down, right = round(64 * (top - row)), round(64 * (left - column))
        seen = np.zeros((len(padded), SIDE, SIDE), np.int32)
        for y, weight_y in ((0, 64 - down), (1, down)):
            for x, weight_x in ((0, 64 - right), (1, right)):
                if weight_y * weight_x:
                    rows = slice(row + y, row + y + SIDE)
                    columns = slice(column + x, column + x + SIDE)
                    seen += weight_y * weight_x * padded[:, rows, columns]
        yield seen >> 8


def _sensor() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns each pixel's thresholds (darker, brighter), [2, pixels], and clock phase in µs."""
    rng = np.random.default_rng(SEEDS["sensor"])
    spread = np.clip(rng.standard_normal((2, SIDE * SIDE)), -3, 3)
    thresholds = np.round(THRESHOLD * (1 + MISMATCH * spread), 6).astype(np.float32)
    return thresholds, rng.integers(0, SLOT_US, SIDE * SIDE)


def _slots(step: int, number: int) -> list[int]:
    """Returns the slots of a step's events, spread evenly over the step.

    >>> _slots(0, 1), _slots(1, 2)
    ([1], [3, 5])
    """
    return [step * SLOTS + int((event + 0.5) * SLOTS / number) for event in range(number)]


def _noise(samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    rate = NOISE_HZ * SIDE * SIDE * DURATION_US / 1e6
    sample = np.repeat(np.arange(samples), rng.poisson(rate, samples))
    slot = rng.integers(0, DURATION_US // SLOT_US, len(sample))
    pixel = rng.integers(0, SIDE * SIDE, len(sample))
    return _pack(slot, sample, pixel, rng.integers(0, 2, len(sample)))


def _pack(slot: Any, sample: Any, pixel: Any, polarity: Any) -> NDArray[np.int64]:
    """Returns one whole number an event: sample, slot, pixel, polarity."""
    packed: NDArray[np.int64] = ((sample * 1024 + slot) * 2048 + pixel) * 2 + polarity
    return packed


def _unpack(key: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    return key >> 22, (key >> 12) & 1023, (key >> 1) & 2047, key & 1
