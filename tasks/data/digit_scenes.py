"""Digit-Scenes: find the coloured digits on photographs; 96x96 RGB, boxes as COCO writes them.

One to five digits of 15 to 40 pixels on a crop of a photograph; see `tasks.data.scenes`, which also
keeps digits and photographs of training and test images apart. On disk, in the cache folder, lie

    train/000001.png …, test/000001.png …       RGB
    annotations/train.json, test.json           COCO: boxes, masks, ten categories

so that mmdet's own CocoDataset reads them and CocoMetric judges by them. All is made from fixed
seeds, in about 15 seconds; see `tasks.data.generated`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adacal.suite.registry import DATASETS
from tasks.data.generated_scenes import GeneratedScenes
from tasks.data.scenes import Scene, SceneStyle, bounding_box, compose_scenes
from tasks.openmmlab.building import Library

VERSION = 1
SIDE = 96
CLASSES = tuple(str(digit) for digit in range(10))
STYLE = SceneStyle(side=SIDE, counts=(1, 5), sizes=(28, 56))
COUNTS = {"train": 4_000, "test": 1_000}
SEEDS = {"train": 96, "test": 1096}
# Never mirrored or turned: digits stay legible and boxes tight.
CHANGES: tuple[dict[str, Any], ...] = (
    {
        "type": "RandomAffine",
        "max_rotate_degree": 0.0,
        "max_shear_degree": 0.0,
        "max_translate_ratio": 0.1,
        "scaling_ratio_range": (0.8, 1.2),
    },
    {"type": "PhotoMetricDistortion"},
)


@DATASETS.register_module(name="digit_scenes")
class DigitScenes(GeneratedScenes):
    """4,000 training and 1,000 test images of 96x96 pixels with digits of 10 classes."""

    name = "digit_scenes"
    library: Library = "mmdet"
    version = VERSION
    sizes = COUNTS

    def evaluator(self) -> dict[str, Any]:
        """Returns COCO's average precision of boxes."""
        return {
            "type": "CocoMetric",
            "ann_file": str(self.files().path / "annotations" / "test.json"),
            "metric": "bbox",
        }

    def dataset(self, part: str) -> dict[str, Any]:
        """Returns mmdet's COCO dataset; training changes place, size and colours."""
        return {
            "type": "CocoDataset",
            "data_root": str(self.files().path),
            "ann_file": f"annotations/{part}.json",
            "data_prefix": {"img": f"{part}/"},
            "metainfo": {"classes": CLASSES},
            "test_mode": part == "test",
            "pipeline": [
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations", "with_bbox": True},
                *(CHANGES if part == "train" else ()),
                {"type": "Resize", "scale": (SIDE, SIDE), "keep_ratio": True},
                {
                    "type": "PackDetInputs",
                    "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
                },
            ],
        }

    def write(self, folder: Path) -> str:
        """Writes images and annotations; returns a hash over both."""
        digest = hashlib.sha256()
        (folder / "annotations").mkdir()
        for part, count in self.counts.items():
            (folder / part).mkdir()
            truth = _Truth(part)
            for scene in compose_scenes(part, count, STYLE, SEEDS[part]):
                name = truth.add(scene)
                Image.fromarray(scene.image).save(folder / part / name, compress_level=1)
                digest.update(scene.image.tobytes())
            text = json.dumps(truth.content)
            (folder / "annotations" / f"{part}.json").write_text(text, encoding="utf-8")
            digest.update(text.encode())
        return digest.hexdigest()[:16]


class _Truth:
    """What COCO's json says of one part; images and annotations are numbered from 1."""

    def __init__(self, part: str) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.content = {
            "info": {"description": f"Digit-Scenes, {part}", "version": str(VERSION)},
            "licenses": [],
            "categories": [
                {"id": label + 1, "name": name, "supercategory": "digit"}
                for label, name in enumerate(CLASSES)
            ],
            "images": self.images,
            "annotations": self.annotations,
        }

    def add(self, scene: Scene) -> str:
        """Notes a scene; returns the name of its image file."""
        from pycocotools import mask as coco_masks

        number = len(self.images) + 1
        name = f"{number:06}.png"
        self.images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for digit in scene.digits:
            packed = coco_masks.encode(np.asfortranarray(digit.mask, np.uint8))
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": number,
                    "category_id": digit.label + 1,
                    "bbox": list(bounding_box(digit.mask)),
                    "area": int(digit.mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [SIDE, SIDE], "counts": packed["counts"].decode()},
                }
            )
        return name
