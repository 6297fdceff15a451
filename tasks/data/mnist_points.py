"""MNIST-Points: the digits of MNIST-5k as flat clouds of 1,024 points, with parts of strokes.

A digit is extruded: points fall on its pixels in proportion to their intensity, anywhere within the
pixel and within a depth of 6 pixels, and are jittered by 0.3 pixels; the cloud is turned about z by
up to 20 degrees either way and brought into the unit sphere. The splits are those of MNIST-5k.

Parts come from the pen stroke, the skeleton of the pixels of half intensity and more, freed from
branches of up to 3 pixels. A point has the part of its pixel, the first of these that holds:

- `end`: within 3 pixels of an end of the skeleton (a pixel left towards one side only);
- `junction`: within 2 pixels of a pixel of the skeleton that is left towards three sides or more;
- `loop`: the nearest pixel of the skeleton borders an enclosed area of 4 pixels or more;
- `stroke`: all other points.

All randomness comes from fixed seeds; coordinates are rounded to multiples of 1/4096, so every
machine makes the same clouds, in about four seconds; the fingerprint is a hash over them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacal.suite.registry import DATASETS
from tasks.data.base import check_part
from tasks.data.mnist5k import digits
from tasks.data.point_clouds import (
    PointDataset,
    StoredClouds,
    random_jitter,
    random_rotation,
    random_scale_and_shift,
    random_slant,
    rotations,
    unit_sphere,
)

Mask = NDArray[np.bool_]

SEEDS = {"train": 1998, "test": 3000}
POINTS = 1024
DEPTH_PX, JITTER_PX = 6.0, 0.3
DEGREES = 20.0
GRID = 4096.0
PARTS = ("stroke", "end", "junction", "loop")
STROKE, END, JUNCTION, LOOP = range(4)
END_PX, JUNCTION_PX = 3.0, 2.0
INK = 128
SPUR_PX, HOLE_PX = 3, 4
_MARGIN = 2  # pixels around a digit; keeps neighbours in the strip more than END_PX apart


@DATASETS.register_module(name="mnist_points")
class MnistPoints(PointDataset):
    """4,000 training and 1,000 test clouds of 1,024 points in 10 classes and 4 parts."""

    def __init__(self, *, num_points: int = POINTS, training_points: int | None = None) -> None:
        """Says the dataset's shape; the clouds are made at the first `split`.

        Args:
            num_points: uses the first so many of the 1,024 points, which are in random order.
            training_points: so many of them, drawn anew, most training batches take; all if None.

        Raises:
            ConfigError: a number of points is out of range.
        """
        super().__init__(
            name="mnist_points",
            class_names=[str(digit) for digit in range(10)],
            num_points=num_points,
            most_points=POINTS,
            training_points=training_points,
            part_names=PARTS,
        )

    def split(self, part: str) -> StoredClouds:
        """Returns one split; it is made at the first call and kept."""
        check_part(part)
        whole = extruded(part)
        if self.num_points == POINTS:
            return whole
        kept = slice(self.num_points)
        assert whole.part_labels is not None
        return StoredClouds(whole.clouds[:, kept], whole.labels, whole.part_labels[:, kept])

    def fingerprint(self) -> str:
        """Returns `mnist_points:` and digits of the checksums of both splits."""
        sums = [self.split(part).checksum() for part in ("train", "test")]
        return f"{self.name}:{sums[0][:8]}{sums[1][:8]}"

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Slants, turns, stretches, moves and jitters clouds a little; they are never mirrored."""
        slanted = random_slant(clouds, generator, slant=0.3)
        turned = random_rotation(slanted, generator, degrees=10.0)
        moved = random_scale_and_shift(turned, generator, scale=0.15, shift=0.05)
        return random_jitter(moved, generator, deviation=0.01, limit=0.03)


@lru_cache(maxsize=2)
def extruded(part: str) -> StoredClouds:
    """Returns a split; it is made once in a process."""
    pixels, labels = digits()[part]
    images = pixels[:, 0].numpy()
    rng = np.random.default_rng(SEEDS[part])
    which = draw_pixels(images, POINTS, rng)
    parts = np.take_along_axis(stroke_parts(images).reshape(len(images), -1), which, 1)
    clouds = place(which, images.shape[2], rng)
    return StoredClouds(clouds, labels.to(torch.int64), torch.from_numpy(parts))


def draw_pixels(images: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draws pixels in proportion to their intensity, with replacement.

    Args:
        images: shape [N, H, W]; none is black all over.
        count: pixels P to draw of each image.
        rng: source of randomness.

    Returns:
        Positions in the flattened image, shape [N, P].
    """
    size = images[0].size
    ends = np.cumsum(images.reshape(-1), dtype=np.int64)
    totals = images.reshape(len(images), -1).sum(1, dtype=np.int64)
    starts = np.cumsum(totals) - totals
    ink = (rng.random((len(images), count)) * totals[:, None]).astype(np.int64)
    flat = np.searchsorted(ends, ink + starts[:, None], side="right")
    return flat - size * np.arange(len(images))[:, None]


def place(which: NDArray[Any], width: int, rng: np.random.Generator) -> Tensor:
    """Puts points into their pixels and the depth, jitters and turns them, x right and y up.

    Args:
        which: positions in the flattened image, shape [N, P].
        width: of the image.
        rng: source of randomness.

    Returns:
        Clouds in the unit sphere, shape [N, P, 3], float32, multiples of 1/4096.
    """
    points = rng.random((*which.shape, 3)) - 0.5
    points[..., 0] += which % width
    points[..., 1] -= which // width
    points[..., 2] *= DEPTH_PX
    points += JITTER_PX * rng.standard_normal(points.shape)
    angles = np.radians(DEGREES) * (2.0 * rng.random(len(which)) - 1.0)
    turned = torch.bmm(torch.from_numpy(points), rotations(torch.from_numpy(angles)))
    return unit_sphere(turned).mul_(GRID).round_().div_(GRID).float()


def stroke_parts(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the part of every pixel, shape of the images [N, H, W].

    The images are laid out as one strip, in which all are treated at once.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    margins = ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN))
    padded = np.pad(images, margins)
    strip = without_spurs(skeletonize(padded.reshape(-1, padded.shape[2]) >= INK), SPUR_PX)
    _, nearest = distance_transform_edt(~strip, return_indices=True)
    parts = np.where(beside_holes(strip)[tuple(nearest)], LOOP, STROKE).astype(np.uint8)
    sides = leaving_sides(strip)
    parts[distance_transform_edt(~(strip & (sides >= 3))) <= JUNCTION_PX] = JUNCTION
    parts[distance_transform_edt(~ends_of(strip)) <= END_PX] = END
    inside = slice(_MARGIN, -_MARGIN)
    return np.ascontiguousarray(parts.reshape(padded.shape)[:, inside, inside])


def neighbours(mask: Mask) -> list[NDArray[np.int8]]:
    """Returns what the eight neighbours of each pixel are, in their order around it."""
    p = np.pad(mask, 1).astype(np.int8)
    up, middle, down = p[:-2], p[1:-1], p[2:]
    left, centre, right = slice(None, -2), slice(1, -1), slice(2, None)
    return [
        *(up[:, left], up[:, centre], up[:, right], middle[:, right]),
        *(down[:, right], down[:, centre], down[:, left], middle[:, left]),
    ]


def leaving_sides(skeleton: Mask) -> NDArray[np.int8]:
    """Counts the groups of neighbours that touch around each pixel: where lines leave it."""
    ring = neighbours(skeleton)
    sides: NDArray[np.int8] = sum(
        (1 - before) * after for before, after in zip(ring, [*ring[1:], ring[0]], strict=True)
    )  # type: ignore[assignment]
    return sides


def ends_of(skeleton: Mask) -> Mask:
    """Returns the pixels that a line leaves towards one side only, shape of the skeleton.

    Bumps, single pixels on the side of a line (with three neighbours), are such pixels too.
    """
    few = sum(neighbours(skeleton)) <= 3
    found: Mask = skeleton & (leaving_sides(skeleton) == 1) & few
    return found


def without_spurs(skeleton: Mask, length: int) -> Mask:
    """Takes branches of up to `length` pixels away; longer lines stay whole.

    Ends are taken off so many times; what is left then grows back from its ends.
    """
    core = skeleton.copy()
    for _ in range(length):
        core &= ~ends_of(core)
    regrown = ends_of(core)
    for _ in range(length):
        regrown = thickened(regrown) & skeleton
    return core | regrown


def beside_holes(skeleton: Mask) -> Mask:
    """Returns the pixels of a skeleton that touch an area it encloses, of `HOLE_PX` or more."""
    from skimage.measure import label

    areas = label(~skeleton, connectivity=1)
    sizes = np.bincount(areas.reshape(-1))
    hole = (areas > 0) & (areas != areas[0, 0]) & (sizes[areas] >= HOLE_PX)
    return skeleton & thickened(hole)


def thickened(mask: Mask) -> Mask:
    """Returns the mask with all eight neighbours of its pixels."""
    return mask | (sum(neighbours(mask)) > 0)
