"""Scenes: coloured digits of MNIST-5k, of many sizes, on crops of the photographs of MNIST-Photos.

What `digit_scenes` and other generated sets of detection and segmentation are made of. Digits and
photographs are split as in `tasks.data.mnist_photos`: no digit and no pixel of a photograph is in
training and in test scenes. All randomness comes from a seed and all arithmetic is on whole
numbers, so every machine composes the same scenes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adacal.core.errors import ConfigError
from tasks.data.base import check_part
from tasks.data.mnist5k import digits
from tasks.data.mnist_photos import paint, photographs, resized

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

INK = 128  # of 255: from here on a pixel counts as the digit's
TRIES = 30


@dataclass(frozen=True, kw_only=True)
class SceneStyle:
    """What scenes look like.

    Attributes:
        side: height and width of a scene, pixels.
        counts: least and largest number of digits in a scene; fewer where they find no room.
        sizes: least and largest side of the square that MNIST's 28x28 are scaled to, pixels; the
            ink is about 0.7 of it high.
    """

    side: int
    counts: tuple[int, int]
    sizes: tuple[int, int]

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        if not 1 <= self.counts[0] <= self.counts[1]:
            raise ConfigError(f"counts must be two rising numbers from 1; got {self.counts}")
        if not 8 <= self.sizes[0] <= self.sizes[1] <= self.side:
            raise ConfigError(
                f"sizes must be two rising numbers from 8 to side={self.side}; got {self.sizes}"
            )


@dataclass(frozen=True)
class PlacedDigit:
    """A digit in a scene.

    Attributes:
        label: 0 … 9.
        mask: its pixels, shape [side, side]; boxes of a scene do not overlap.
    """

    label: int
    mask: Mask


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: RGB, shape [side, side, 3].
        digits: at least one.
    """

    image: Bytes
    digits: tuple[PlacedDigit, ...]


def compose_scenes(part: str, count: int, style: SceneStyle, seed: int) -> Iterator[Scene]:
    """Composes scenes of one part; each digit of it is used about equally often.

    Args:
        part: `train` or `test`; says which digits and which parts of photographs are used.
        count: number of scenes.
        style: what they look like.
        seed: of everything that is drawn.

    Yields:
        The scenes, in a fixed order.
    """
    check_part(part)
    rng = np.random.default_rng(seed)
    pixels, labels = digits()[part]
    glyphs, classes = pixels[:, 0].numpy(), labels.numpy()
    order = _endless_order(len(glyphs), rng)
    for _ in range(count):
        image = _background(part, style.side, rng)
        placed: list[PlacedDigit] = []
        taken = np.zeros((style.side, style.side), np.bool_)
        for _ in range(int(rng.integers(style.counts[0], style.counts[1] + 1))):
            which = next(order)
            ink = _ink(glyphs[which], taken, style, rng)
            if ink is not None:
                placed.append(PlacedDigit(int(classes[which]), ink >= INK))
                image = paint(image[None], ink[None, :, :, None], rng)[0]
        yield Scene(image, tuple(placed))


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """Returns left, top, width and height of a mask that is not empty, in pixels.

    >>> bounding_box(np.array([[False, False, False], [False, True, True]]))
    (1, 1, 2, 1)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _endless_order(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields all positions in random order, again and again, so that none is left out."""
    while True:
        yield from (int(position) for position in rng.permutation(count))


def _background(part: str, side: int, rng: np.random.Generator) -> Bytes:
    """Cuts a window from a random photograph, mirrored at random, shape [side, side, 3]."""
    strips = photographs(side)
    strip = strips[int(rng.integers(len(strips)))][part]
    top = int(rng.integers(strip.shape[0] - side + 1))
    left = int(rng.integers(strip.shape[1] - side + 1))
    window = strip[top : top + side, left : left + side]
    flips = rng.integers(0, 2, 2)
    return np.ascontiguousarray(window[:: 1 - 2 * flips[0], :: 1 - 2 * flips[1]])


def _ink(glyph: Bytes, taken: Mask, style: SceneStyle, rng: np.random.Generator) -> Bytes | None:
    """Scales a digit and puts it where no other digit's box is.

    Args:
        glyph: shape [28, 28].
        taken: boxes of the digits that are there, shape [side, side]; gets the new one.
        style: how large digits are.
        rng: source of randomness.

    Returns:
        The ink, 0 … 255, shape [side, side]; None where no free place was found.
    """
    size = int(rng.integers(style.sizes[0], style.sizes[1] + 1))
    scaled = resized(glyph[None], size)[0]
    left, top, width, height = bounding_box(scaled > 0)
    cut = scaled[top : top + height, left : left + width]
    for _ in range(TRIES):
        row = int(rng.integers(style.side - height + 1))
        column = int(rng.integers(style.side - width + 1))
        place = slice(row, row + height), slice(column, column + width)
        if not taken[place].any():
            taken[place] = True
            ink = np.zeros_like(taken, np.uint8)
            ink[place] = cut
            return ink
    return None
