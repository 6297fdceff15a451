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

from adacal.suite.registry import DATASETS
from tasks.data.generated_scenes import GeneratedScenes
from tasks.data.scenes import Scene, SceneStyle, compose_scenes
from tasks.openmmlab.building import Library

VERSION = 1
CLASSES = ("background", *(str(digit) for digit in range(10)))
PALETTE = (
    *((0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48)),
    *((145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212)),
)
STYLE = SceneStyle(side=64, counts=(1, 4), sizes=(24, 40))
COUNTS = {"train": 8_000, "test": 500}
SEEDS = {"train": 2012, "test": 2019}
CHANGES: tuple[dict[str, Any], ...] = (
    {
        "type": "PhotoMetricDistortion",
        "brightness_delta": 24,
        "contrast_range": (0.8, 1.2),
        "saturation_range": (0.8, 1.2),
        "hue_delta": 12,
    },
)


@DATASETS.register_module(name="digit_masks")
class DigitMasks(GeneratedScenes):
    """8,000 training and 500 test images of 64x64 pixels in 11 classes, background included."""

    name = "digit_masks"
    library: Library = "mmseg"
    version = VERSION
    sizes = COUNTS

    def evaluator(self) -> dict[str, Any]:
        """Returns mmsegmentation's mean IoU."""
        return {"type": "IoUMetric", "iou_metrics": ["mIoU"]}

    def dataset(self, part: str) -> dict[str, Any]:
        """Returns mmsegmentation's plain dataset; training changes colours mildly."""
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
                *(CHANGES if part == "train" else ()),
                {"type": "PackSegInputs"},
            ],
        }

    def write(self, folder: Path) -> str:
        """Writes images and masks; returns a hash over pixels and labels."""
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
