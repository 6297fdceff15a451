"""Digit-Masks: true files of mmsegmentation's layout, the same on every machine."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adacal.core.errors import ConfigError
from tasks.data import digit_masks
from tasks.data.digit_masks import CLASSES, PALETTE, DigitMasks, label_map
from tasks.data.scenes import compose_scenes
from tasks.openmmlab.data import open_dataset

FEW = {"train_images": 12, "test_images": 8}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADACAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        dataset = DigitMasks(**FEW)
        dataset.files()
        yield dataset


def scenes(part: str, count: int) -> list:
    return list(compose_scenes(part, count, digit_masks.STYLE, digit_masks.SEEDS[part]))


@pytest.mark.parametrize("part", ["train", "test"])
def test_files_hold_the_scenes_and_a_class_for_every_pixel(few, part):
    folder = few.files().path
    images = sorted((folder / "img_dir" / part).iterdir())
    masks = sorted((folder / "ann_dir" / part).iterdir())
    assert [p.name for p in images] == [p.name for p in masks]
    assert len(images) == few.counts[part]
    for scene, image, mask in zip(scenes(part, len(images)), images, masks, strict=True):
        with Image.open(image) as stored:
            assert stored.mode == "RGB" and np.array_equal(np.asarray(stored), scene.image)
        with Image.open(mask) as stored:
            assert stored.mode == "P" and stored.getpalette()[: 3 * len(PALETTE)] == list(
                np.ravel(PALETTE)
            )
            labels = np.asarray(stored)
        assert labels.shape == scene.image.shape[:2]
        for digit in scene.digits:
            assert (labels[digit.mask] == 1 + digit.label).all()
        assert (labels > 0).sum() == sum(digit.mask.sum() for digit in scene.digits)


def test_every_machine_makes_the_same_pixels(few):
    assert few.fingerprint() == "digit_masks:b530b48164e4744d"


def test_a_set_of_another_size_has_a_folder_and_a_fingerprint_of_its_own(few):
    other = DigitMasks(train_images=12, test_images=7)
    assert other.files().path != few.files().path
    assert other.fingerprint() != few.fingerprint()


def test_digits_are_a_small_part_of_a_scene_and_every_class_occurs():
    maps = np.stack([label_map(scene) for scene in scenes("test", 200)])
    shares = np.bincount(maps.ravel(), minlength=len(CLASSES)) / maps.size
    assert 0.85 < shares[0] < 0.97
    assert shares[1:].min() > 0.002


def test_mmsegmentation_reads_images_and_masks(few):
    config = few.config()
    dataset = open_dataset(config["test_dataloader"]["dataset"], "mmseg", "test")
    assert type(dataset).__module__ == "mmseg.datasets.basesegdataset"
    assert len(dataset) == 8 and dataset.metainfo["classes"] == list(CLASSES)
    for number, scene in enumerate(scenes("test", 8)):
        sample = dataset[number]
        assert Path(sample["data_samples"].img_path).name == f"{number:05}.png"
        picture = sample["inputs"].numpy().transpose(1, 2, 0)[:, :, ::-1]  # OpenCV's BGR
        assert np.array_equal(picture, scene.image)
        labels = sample["data_samples"].gt_sem_seg.data[0].numpy()
        assert np.array_equal(labels, label_map(scene))


def test_training_images_change_in_colour_and_never_in_their_masks(few):
    config = few.config()["train_dataloader"]["dataset"]
    assert config["data_prefix"] == {"img_path": "img_dir/train", "seg_map_path": "ann_dir/train"}
    dataset = open_dataset(config, "mmseg", "training")
    first, again = dataset[0], dataset[0]
    assert not np.array_equal(first["inputs"], again["inputs"])
    truth = label_map(scenes("train", 1)[0])
    for sample in (first, again):
        assert np.array_equal(sample["data_samples"].gt_sem_seg.data[0], truth)


def test_the_evaluator_is_the_library_s_own(few):
    metrics = importlib.import_module("mmseg.evaluation.metrics")
    config = dict(few.config()["test_evaluator"])
    assert hasattr(metrics, config.pop("type"))
    assert config == {"iou_metrics": ["mIoU"]}


@pytest.mark.parametrize("options", [{"train_images": 0}, {"test_images": 2.5}])
def test_a_number_of_images_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigError, match=r"dataset\.(train|test)_images must be a whole number"):
        DigitMasks(**options)
