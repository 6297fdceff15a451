"""ImageNet-1k as a folder tree on disk, read image by image; nothing is downloaded or kept.

Evaluation: shorter side to 256 pixels, 224x224 from the middle. Training: a random resized crop and
a random mirror. Both are normalised with the usual constants.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from adacal.core.errors import ConfigError, DataError
from adacal.suite.registry import DATASETS
from tasks.data.base import ImageDataset, check_part, normalise, require_root

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FOLDERS = {"train": "train", "test": "val"}
EXPECTED = "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, the same <wnid> folders in both"


class FolderSplit:
    """The images of one folder tree in the order of their paths.

    Attributes:
        labels: index of each image's class folder, shape [N].
        files: path of each image.
        classes: names of the class folders in order.
    """

    def __init__(self, folder: Path, crop: int, resize: int) -> None:
        """Lists the files; no image is opened.

        Args:
            folder: holds one folder for each class.
            crop: side of the square that is cut out, in pixels.
            resize: length of the shorter side before that, in pixels.

        Raises:
            DataError: the folder is missing or has no class folders with images.
        """
        from torchvision.datasets import ImageFolder

        try:
            tree = ImageFolder(str(folder))
        except (FileNotFoundError, RuntimeError) as error:
            raise DataError(
                f"'{folder}' is not a tree of class folders with images "
                f"({str(error).splitlines()[0]}); it should hold <wnid>/*.JPEG"
            ) from error
        self.folder, self.crop, self.resize = folder, crop, resize
        self.files = [Path(path) for path, _ in tree.samples]
        self.labels = torch.tensor(tree.targets, dtype=torch.int64)
        self.classes: list[str] = list(tree.classes)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.files)

    def open(self, index: int) -> Image.Image:
        """Returns one image as RGB.

        Raises:
            DataError: the file cannot be decoded; names it.
        """
        path = self.files[index]
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"image '{path}' is damaged ({error}); restore that file") from error

    def fetch(self, indices: Tensor) -> Tensor:
        """Returns the middle of each image, normalised, shape [B, 3, crop, crop]."""
        import torchvision.transforms.v2.functional as V

        images = []
        for index in indices.tolist():
            image = V.resize(self.open(index), [self.resize], antialias=True)
            images.append(V.pil_to_tensor(V.center_crop(image, [self.crop])))
        return normalise(torch.stack(images).float() / 255.0, MEAN, STD)

    def fetch_augmented(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Returns a random part of each image, half of them mirrored, normalised."""
        import torchvision.transforms.v2.functional as V

        images = []
        for index in indices.tolist():
            image = self.open(index)
            top, left, height, width = random_window(image.height, image.width, generator)
            image = V.resized_crop(image, top, left, height, width, [self.crop, self.crop])
            if torch.rand((), generator=generator) < 0.5:
                image = V.horizontal_flip(image)
            images.append(V.pil_to_tensor(image))
        return normalise(torch.stack(images).float() / 255.0, MEAN, STD)


@DATASETS.register_module(name="imagenet")
class ImageNet(ImageDataset):
    """The 1,000-class tree, or any tree of that form; the classes are the folders of `train`."""

    def __init__(
        self,
        *,
        root: str | None = None,
        num_classes: int = 1000,
        crop: int = 224,
        resize: int = 256,
    ) -> None:
        """Says where the data lies; folders are listed at the first `split`.

        Args:
            root: folder that holds `train` and `val`.
            num_classes: how many class folders there must be.
            crop: side of the network's input, in pixels.
            resize: length of the shorter side before the middle is cut out.

        Raises:
            ConfigError: the crop does not fit into the resized image.
        """
        if not 0 < crop <= resize:
            raise ConfigError(f"imagenet needs 0 < crop <= resize; got {crop} and {resize}")
        self.name, self.num_classes, self.input_shape = "imagenet", num_classes, (3, crop, crop)
        self.root, self.crop, self.resize = root, crop, resize

    @cached_property
    def parts(self) -> dict[str, FolderSplit]:
        """Both splits, listed once.

        Raises:
            DataError: the tree is missing or its classes are not the expected ones.
        """
        root = require_root(self.root, self.name, EXPECTED)
        missing = [name for name in FOLDERS.values() if not (root / name).is_dir()]
        if missing:
            raise DataError(
                f"dataset 'imagenet' has no folder '{root / missing[0]}'; it should hold {EXPECTED}"
            )
        parts = {
            part: FolderSplit(root / name, self.crop, self.resize) for part, name in FOLDERS.items()
        }
        train, test = parts["train"].classes, parts["test"].classes
        if train != test or len(train) != self.num_classes:
            raise DataError(
                f"'{root}' has {len(train)} classes in train and {len(test)} in val; there should "
                f"be the same {self.num_classes} in both (task.dataset.num_classes)"
            )
        return parts

    def split(self, part: str) -> FolderSplit:
        """Returns the images of `train`, or those of `val` as `test`."""
        check_part(part)
        return self.parts[part]

    def training_batch(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Returns random resized crops, mirrored at random, normalised."""
        del epoch
        return self.split("train").fetch_augmented(indices, generator)

    def fingerprint(self) -> str:
        """Returns a hash over the order, names and sizes of the files; contents are not read."""
        digest = hashlib.sha256(f"imagenet {self.crop} {self.resize}".encode())
        for part in FOLDERS:
            split = self.split(part)
            for path in split.files:
                place = path.relative_to(split.folder).as_posix()
                digest.update(f"{part} {place} {path.stat().st_size}\n".encode())
        return f"imagenet:{digest.hexdigest()[:16]}"


def random_window(
    height: int, width: int, generator: torch.Generator, least: float = 0.08
) -> tuple[int, int, int, int]:
    """Draws the window of a random resized crop: 8 to 100 % of the area, sides 3:4 to 4:3.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        generator: source of randomness.
        least: smallest share of the area.

    Returns:
        Top, left, height and width of the window.
    """
    for _ in range(10):
        share, shape, row, column = torch.rand(4, generator=generator).tolist()
        area = height * width * (least + (1.0 - least) * share)
        ratio = math.exp((2.0 * shape - 1.0) * math.log(4.0 / 3.0))
        window_width, window_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < window_width <= width and 0 < window_height <= height:
            top = int(row * (height - window_height + 1))
            left = int(column * (width - window_width + 1))
            return top, left, window_height, window_width
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
