"""MNIST-Photos: the digits of MNIST-5k in colour over crops of photographs, 32x32 RGB.

The photographs are the ten free ones (CC0 or public domain) that come inside the scikit-image
package, so nothing is downloaded: astronaut, brick, camera, chelsea, coffee, grass, gravel,
hubble_deep_field, retina and rocket. Each is cut in columns BEFORE it is made smaller: the left two
thirds serve the training images, the right third the test images, so no pixel is behind both.
The digits are split as in MNIST-5k; a training digit appears on 4 backgrounds, a test digit on 1.
All randomness comes from fixed seeds and all arithmetic is on whole numbers, so every machine
makes the same bytes (as far as its JPEG decoder does); the fingerprint is a hash over them.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adacal.core.errors import DataError
from adacal.suite.registry import DATASETS
from tasks.data.augment import random_affine, random_colour
from tasks.data.base import PixelDataset, PixelSplit
from tasks.data.mnist5k import digits

Bytes = NDArray[np.uint8]

# File name and by how much the photograph is made smaller, so that crops show some structure.
PHOTOGRAPHS = {
    "astronaut.png": 2,
    "brick.png": 2,
    "camera.png": 2,
    "chelsea.png": 1,
    "coffee.png": 2,
    "grass.png": 2,
    "gravel.png": 2,
    "hubble_deep_field.jpg": 3,
    "retina.jpg": 4,
    "rocket.jpg": 2,
}
SIDE = 32
SMALLEST, LARGEST = 20, 30
COPIES = {"train": 4, "test": 1}
SEEDS = {"train": 1998, "test": 2016}
COLOUR_DRAWS = 12
CONTRAST = 80
MEAN, STD = (0.474, 0.383, 0.349), (0.271, 0.227, 0.222)


@DATASETS.register_module(name="mnist_photos")
class MnistPhotos(PixelDataset):
    """16,000 training and 1,000 test images, 3x32x32."""

    def __init__(self, *, fresh_backgrounds: bool = True) -> None:
        """Says the dataset's shape; the images are made at the first `split`.

        Args:
            fresh_backgrounds: whether `training_batch` puts the training digits on new crops and
                colours in every epoch after the first; the splits themselves never change.
        """
        self.name, self.num_classes, self.input_shape = "mnist_photos", 10, (3, SIDE, SIDE)
        self.mean, self.std = MEAN, STD
        self.fresh_backgrounds = fresh_backgrounds
        self._variant: tuple[int, PixelSplit] | None = None

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Makes both splits, in about two seconds."""
        return plain_splits()

    def training_pixels(self, epoch: int) -> PixelSplit:
        """Returns the training digits on the backgrounds of one epoch; epoch 0 is the split."""
        if epoch == 0 or not self.fresh_backgrounds:
            return self.split("train")
        if self._variant is None or self._variant[0] != epoch:
            pixels, labels = compose("train", SEEDS["train"] + 1000 * epoch)
            self._variant = (epoch, PixelSplit(pixels, labels, self.mean, self.std))
        return self._variant[1]

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Turns, scales and shifts a little and changes colours; digits are never mirrored."""
        moved = random_affine(
            images,
            generator,
            degrees=12.0,
            scale=0.1,
            shear=0.15,
            shift=2.0,
            padding_mode="reflection",
        )
        return random_colour(moved, generator, contrast=0.2, brightness=0.1)


@lru_cache(maxsize=1)
def plain_splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Returns both splits; they are made once in a process."""
    return {part: compose(part, SEEDS[part]) for part in ("train", "test")}


def compose(part: str, seed: int) -> tuple[Tensor, Tensor]:
    """Puts each digit of a split on crops of that split's part of the photographs.

    Args:
        part: `train` or `test`.
        seed: of crops, sizes, places and colours.

    Returns:
        Images [N, 3, 32, 32], uint8, the copies of one digit next to each other; labels [N].
    """
    rng = np.random.default_rng(seed)
    pixels, labels = digits()[part]
    glyphs = np.repeat(pixels[:, 0].numpy(), COPIES[part], axis=0)
    images = crops(part, len(glyphs), rng)
    ink = place(glyphs, rng)[..., None]
    for first in range(0, len(images), 500):
        chunk = slice(first, first + 500)
        images[chunk] = paint(images[chunk], ink[chunk], rng)
    stored = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return torch.from_numpy(stored), labels.repeat_interleave(COPIES[part])


def paint(background: Bytes, ink: Bytes, rng: np.random.Generator) -> Bytes:
    """Blends each background [N, H, W, 3] with a legible colour by the share ink / 255.

    Sixteen bits hold every intermediate value: 255 * 255 + 127 is below 65,536.
    """
    wide, share = background.astype(np.uint16), ink.astype(np.uint16)
    covered = (wide * share).sum((1, 2), dtype=np.int64)
    under = covered // np.maximum(ink.sum((1, 2), dtype=np.int64), 1)
    colour = legible_colours(under, rng).astype(np.uint16)[:, None, None, :]
    blended: Bytes = ((wide * (255 - share) + colour * share + 127) // 255).astype(np.uint8)
    return blended


def crops(part: str, count: int, rng: np.random.Generator) -> Bytes:
    """Cuts random windows from the photographs, shape [count, 32, 32, 3]."""
    strips = [strip[part] for strip in photographs()]
    which = rng.integers(0, len(strips), count)
    rows, columns = rng.random(count), rng.random(count)
    windows = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for index in range(count):
        strip = strips[which[index]]
        top = int(rows[index] * (strip.shape[0] - SIDE + 1))
        left = int(columns[index] * (strip.shape[1] - SIDE + 1))
        windows[index] = strip[top : top + SIDE, left : left + SIDE]
    return windows


@lru_cache(maxsize=4)
def photographs(least: int = 1) -> list[dict[str, Bytes]]:
    """Returns the photographs, made smaller, each as `train` and `test` [H, W, 3], uint8.

    Args:
        least: pixels that both parts keep in height and width; a photograph is made less small
            where that needs it.

    Raises:
        DataError: scikit-image is not installed or has not all of the photographs.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "photographs as backgrounds need scikit-image, which is missing; install it"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    strips = []
    for file_name, factor in PHOTOGRAPHS.items():
        try:
            with Image.open(folder / file_name) as image:
                whole = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise DataError(
                f"scikit-image has no readable photograph '{folder / file_name}' ({error}); "
                "install scikit-image 0.22 or newer"
            ) from error
        border = boundary(whole.shape[1])
        parts = {"train": whole[:, :border], "test": whole[:, border:]}
        narrowest = min(side for part in parts.values() for side in part.shape[:2])
        smaller = max(1, min(factor, narrowest // least))
        strips.append({name: shrink(part, smaller) for name, part in parts.items()})
    return strips


def boundary(width: int) -> int:
    """Returns the first column of the test part of a photograph this many pixels wide.

    >>> boundary(600)
    400
    """
    return 2 * width // 3


def shrink(image: Bytes, factor: int) -> Bytes:
    """Averages squares of factor x factor pixels; what does not fill a square is left out."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    squares = image[: height * factor, : width * factor].astype(np.int32)
    sums = squares.reshape(height, factor, width, factor, 3).sum((1, 3))
    return ((sums + factor * factor // 2) // (factor * factor)).astype(np.uint8)


def place(glyphs: Bytes, rng: np.random.Generator) -> Bytes:
    """Scales digits to 20 … 30 pixels and puts each at a random place, shape [N, 32, 32]."""
    sizes = rng.integers(SMALLEST, LARGEST + 1, len(glyphs))
    corners = (rng.random((2, len(glyphs))) * (SIDE - sizes + 1)).astype(np.int64)
    canvas = np.zeros((len(glyphs), SIDE, SIDE), np.uint8)
    for size in range(SMALLEST, LARGEST + 1):
        members = np.flatnonzero(sizes == size)
        scaled = resized(glyphs[members], size)
        rows = corners[0, members, None, None] + np.arange(size)[:, None]
        columns = corners[1, members, None, None] + np.arange(size)
        canvas[members[:, None, None], rows, columns] = scaled
    return canvas


def resized(glyphs: Bytes, size: int) -> Bytes:
    """Scales square images [N, S, S] to [N, size, size], bilinearly, the same on every machine.

    The interpolation weights are whole numbers of 1/256 and all sums stay below 2**53, so the
    products in float64 are exact and do not depend on the order of summation.
    """
    weights = linear_weights(glyphs.shape[1], size)
    scaled = weights @ glyphs.astype(np.float64) @ weights.T
    return np.clip((scaled + 32768.0) // 65536.0, 0.0, 255.0).astype(np.uint8)


def linear_weights(old: int, new: int) -> NDArray[np.float64]:
    """Returns the matrix [new, old] of bilinear interpolation, in whole 256ths; rows sum to 256.

    >>> linear_weights(2, 2)
    array([[256.,   0.],
           [  0., 256.]])
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    lower = np.clip(np.floor(centres).astype(int), 0, old - 1)
    upper = np.minimum(lower + 1, old - 1)
    share = np.rint(np.clip(centres - lower, 0.0, 1.0) * 256.0)
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new), lower), 256.0 - share)
    np.add.at(weights, (np.arange(new), upper), share)
    return weights


def legible_colours(under: NDArray[np.int64], rng: np.random.Generator) -> Bytes:
    """Draws a colour that stands out in luminance from what it will cover.

    Args:
        under: mean colour under each digit, shape [N, 3].
        rng: source of randomness.

    Returns:
        The first of 12 random colours that differs by 80 of 255 in luminance, or else the one
        that differs most, shape [N, 3].
    """
    drawn = rng.integers(0, 256, (len(under), COLOUR_DRAWS, 3))
    gap = np.abs(luminance(drawn) - luminance(under)[:, None])
    enough = gap >= CONTRAST
    choice = np.where(enough.any(1), enough.argmax(1), gap.argmax(1))
    picked: Bytes = drawn[np.arange(len(under)), choice].astype(np.uint8)
    return picked


def luminance(colours: NDArray[np.integer]) -> NDArray[np.integer]:
    """Returns 0.299 R + 0.587 G + 0.114 B, in whole numbers, of colours [..., 3]."""
    return (colours[..., 0] * 299 + colours[..., 1] * 587 + colours[..., 2] * 114) // 1000
