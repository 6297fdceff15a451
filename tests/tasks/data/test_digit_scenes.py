"""Digit-Scenes: a true COCO set from seeds, which pycocotools and mmdet read as it was meant."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from adacal.core.errors import ConfigError
from adacal.suite.registry import DATASETS, build
from tasks.data import generated
from tasks.data.digit_scenes import CLASSES, SEEDS, SIDE, STYLE, DigitScenes
from tasks.data.scenes import bounding_box, compose_scenes
from tasks.openmmlab.data import open_dataset

FEW = {"train": 12, "test": 6}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADACAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield DigitScenes(train_images=FEW["train"], test_images=FEW["test"])


@pytest.fixture(scope="module")
def root(data):
    return data.files().path


@pytest.fixture(scope="module")
def coco(root):
    return {part: COCO(str(root / "annotations" / f"{part}.json")) for part in FEW}


def test_every_machine_makes_the_same_pixels_and_boxes(data, tmp_path):
    assert data.write(tmp_path) == data.files().fingerprint
    assert data.fingerprint() == "digit_scenes:1a7231bdf86ee8ec"


def test_files_hold_the_scenes_of_their_own_part(root):
    for part, count in FEW.items():
        files = sorted((root / part).glob("*.png"))
        scenes = compose_scenes(part, count, STYLE, SEEDS[part])
        for file, scene in zip(files, scenes, strict=True):
            with Image.open(file) as image:
                assert np.array_equal(np.asarray(image), scene.image)


def test_a_damaged_image_is_noticed_and_the_set_made_again(data, tmp_path, monkeypatch):
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path))
    small = DigitScenes(train_images=2, test_images=1)
    image = small.files().path / "train" / "000002.png"
    assert small.files().path == tmp_path / "digit_scenes_v1_2_1"
    whole = image.read_bytes()
    image.write_bytes(whole[:-20])
    generated._checked.cache_clear()  # as in a new process
    small.files()
    assert image.read_bytes() == whole


def test_pycocotools_finds_boxes_that_fit_the_masks(coco):
    for part, count in FEW.items():
        found = coco[part]
        assert sorted(found.getImgIds()) == list(range(1, count + 1))
        assert [c["name"] for c in found.loadCats(sorted(found.getCatIds()))] == list(CLASSES)
        annotations = found.loadAnns(found.getAnnIds())
        assert count <= len(annotations) <= 5 * count
        for annotation in annotations:
            mask = found.annToMask(annotation).astype(bool)
            assert mask.shape == (SIDE, SIDE)
            assert tuple(annotation["bbox"]) == bounding_box(mask)
            assert annotation["area"] == mask.sum() > 0


def test_mmdet_reads_images_classes_and_boxes(data, root, coco):
    dataset = open_dataset(data.config()["test_dataloader"]["dataset"], "mmdet", "test")
    assert dataset.metainfo["classes"] == CLASSES and len(dataset) == FEW["test"]
    first = dataset[0]
    with Image.open(root / "test" / "000001.png") as image:
        pixels = np.asarray(image)
    assert np.array_equal(first["inputs"].numpy()[::-1].transpose(1, 2, 0), pixels)
    truth = coco["test"].loadAnns(coco["test"].getAnnIds(imgIds=[1]))
    instances = first["data_samples"].gt_instances
    assert instances.labels.tolist() == [a["category_id"] - 1 for a in truth]
    sides = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in truth)]
    assert instances.bboxes.tensor.tolist() == sides


def test_training_images_vary_and_keep_their_size(data):
    dataset = open_dataset(data.config()["train_dataloader"]["dataset"], "mmdet", "training")
    one, other = dataset[0]["inputs"], dataset[0]["inputs"]
    assert one.shape == other.shape == (3, SIDE, SIDE)
    assert not np.array_equal(one.numpy(), other.numpy())


def test_sizes_are_checked_and_name_the_folder():
    assert build(DATASETS, "dataset", {"type": "digit_scenes"}).counts["train"] == 4000
    with pytest.raises(ConfigError, match="dataset.test_images"):
        build(DATASETS, "dataset", {"type": "digit_scenes", "test_images": 0})
    with pytest.raises(ConfigError, match="side"):
        build(DATASETS, "dataset", {"type": "digit_scenes", "side": 64})
