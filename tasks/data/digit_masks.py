"""Digit-Masks: digits on photographs, 64x64 RGB, every pixel labelled, as mmsegmentation reads it.

One to four digits of MNIST-5k on a crop of a photograph; see `tasks.data.scenes`, which also keeps
digits and photographs of training and test images apart. A pixel under at least half of a digit's
ink has the digit's class, all others are background: strokes are a few pixels wide, so a rim of
pixels to be ignored would leave little of them, and none is. On disk, in the cache folder, lie

    img_dir/{train,test}/00000.png …    RGB
    ann_dir/{train,test}/00000.png …    palette images; the index is the class

The files are made from fixed seeds in about 15 seconds; see `tasks.data.generated`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adacal.core.checks import check_whole
from adacal.suite.registry import DATASETS
from tasks.data.generated import GeneratedFolder, generated_folder
from tasks.data.scenes import Scene, SceneStyle, compose_scenes
from tasks.openmmlab.building import Library
from tasks.openmmlab.data import DenseData

VERSION = 1
CLASSES = ("background", *(str(digit) for digit in range(10)))
PALETTE = (
    *((0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48)),
    *((145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212)),
)
STYLE = SceneStyle(side=64, counts=(1, 4), sizes=(24, 40))
COUNTS = {"train": 8_000, "test": 500}
SEEDS = {"train": 2012, "test": 2019}


@DATASETS.register_module(name="digit_masks")
class DigitMasks(DenseData):
    """8,000 training and 500 test images of 64x64 pixels in 11 classes, background included."""

    name = "digit_masks"
    library: Library = "mmseg"

    def __init__(self, *, train_images: int | None = None, test_images: int | None = None) -> None:
        """Says how large the set is; its files are made when `config` is first asked for.

        Args:
            train_images: makes the first so many training images only, for quick trials.
            test_images: makes the first so many test images only.

        Raises:
            ConfigError: a number is not 1 or more.
        """
        self.counts = dict(COUNTS)
        for part, count in (("train", train_images), ("test", test_images)):
            if count is not None:
                check_whole(f"dataset.{part}_images", count, example=COUNTS[part])
                self.counts[part] = count

    def files(self) -> GeneratedFolder:
        """Returns the folder of the set, made if it is not there or damaged.

        Raises:
            DataError: the cache cannot be written.
        """
        sizes = "" if self.counts == COUNTS else "_{train}_{test}".format(**self.counts)
        return generated_folder(f"digit_masks_v{VERSION}{sizes}", self._write)

    def fingerprint(self) -> str:
        """Returns `digit_masks:` and a hash over pixels and labels of both parts."""
        return f"{self.name}:{self.files().fingerprint}"

    def config(self) -> dict[str, Any]:
        """Returns data loaders, with a mild change of colours in training, and IoU."""
        changed = [
            {
                "type": "PhotoMetricDistortion",
                "brightness_delta": 24,
                "contrast_range": (0.8, 1.2),
                "saturation_range": (0.8, 1.2),
                "hue_delta": 12,
            }
        ]
        return {
            "train_dataloader": {
                "batch_size": 32,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": True},
                "dataset": self._dataset("train", changed),
            },
            "test_dataloader": {
                "batch_size": 50,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "dataset": self._dataset("test", []),
            },
            "test_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
        }

    def _dataset(self, part: str, changes: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "type": "BaseSegDataset",
            "data_root": str(self.files().path),
            "data_prefix": {"img_path": f"img_dir/{part}", "seg_map_path": f"ann_dir/{part}"},
            "img_suffix": ".png",
            "seg_map_suffix": ".png",
            "metainfo": {"classes": list(CLASSES), "palette": [list(c) for c in PALETTE]},
            "pipeline": [
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations"},
                *changes,
                {"type": "PackSegInputs"},
            ],
        }

    def _write(self, folder: Path) -> str:
        digest = hashlib.sha256()
        for part, count in self.counts.items():
            images, masks = folder / "img_dir" / part, folder / "ann_dir" / part
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            for number, scene in enumerate(compose_scenes(part, count, STYLE, SEEDS[part])):
                labels = label_map(scene)
                digest.update(scene.image.tobytes() + labels.tobytes())
                picture = Image.fromarray(scene.image)
                picture.save(images / f"{number:05}.png", compress_level=1)
                mask = Image.fromarray(labels, mode="P")
                mask.putpalette([channel for colour in PALETTE for channel in colour])
                mask.save(masks / f"{number:05}.png")
        return digest.hexdigest()[:16]


def label_map(scene: Scene) -> NDArray[np.uint8]:
    """Returns the class of every pixel, shape [H, W]: 0 for background, else 1 + the digit."""
    labels = np.zeros(scene.image.shape[:2], np.uint8)
    for digit in scene.digits:
        labels[digit.mask] = 1 + digit.label
    return labels
