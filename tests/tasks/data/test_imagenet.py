"""An ImageNet tree in small: real JPEG files in class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adacal.core.errors import ConfigError, DataError
from tasks.data.imagenet import ImageNet, random_window

WNIDS = ("n01440764", "n01443537", "n02102040")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for label, wnid in enumerate(WNIDS):
            folder = tmp_path / part / wnid
            folder.mkdir(parents=True)
            for index in range(count):
                shape = (40 + 8 * index, 56, 3)
                pixels = rng.integers(80 * label, 80 * label + 60, shape, dtype=np.uint8)
                image = Image.fromarray(pixels)
                if index == 1:
                    image = image.convert("L")
                image.save(folder / f"{wnid}_{index}.JPEG")
    return tmp_path


def small(root: Path) -> ImageNet:
    return ImageNet(root=str(root), num_classes=3, crop=32, resize=36)


def test_a_tree_is_listed_in_the_order_of_its_folders(root):
    dataset = small(root)
    assert dataset.split("train").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.split("test").labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_images_of_any_size_and_mode_become_normalised_squares(root):
    images = small(root).split("test").fetch(torch.arange(6))
    assert images.shape == (6, 3, 32, 32)
    means = images.mean((1, 2, 3))
    assert means[0] < means[2] < means[4]
    # Class 0 has bytes around 29.5, that is 0.116 before normalisation.
    assert means[0].item() == pytest.approx((0.116 - 0.449) / 0.226, abs=0.1)


def test_training_batches_follow_their_generator(root):
    dataset, indices = small(root), torch.arange(12)
    first, second, third = (
        dataset.training_batch(indices, 0, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert first.shape == (12, 3, 32, 32)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_windows_lie_inside_the_image():
    generator = torch.Generator().manual_seed(0)
    for height, width in ((40, 56), (500, 20), (1, 1)):
        for _ in range(50):
            top, left, tall, wide = random_window(height, width, generator)
            assert top >= 0 and top + tall <= height
            assert left >= 0 and left + wide <= width
            assert tall > 0 and wide > 0


def test_nothing_is_read_before_it_is_needed():
    dataset = ImageNet(root="/nowhere")
    assert dataset.input_shape == (3, 224, 224)
    assert dataset.num_classes == 1000


def test_a_missing_tree_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"got none; .*train/<wnid>/\*.JPEG"):
        ImageNet().split("test")
    with pytest.raises(DataError, match=r"is not at '.*nowhere'"):
        ImageNet(root=str(tmp_path / "nowhere")).split("test")
    with pytest.raises(DataError, match=r"no folder '.*train'; it should hold"):
        ImageNet(root=str(tmp_path)).split("test")


def test_a_tree_without_images_is_named(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part / "n01440764").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train' is not a tree of class folders with images"):
        ImageNet(root=str(tmp_path), num_classes=1).split("train")


def test_another_number_of_classes_is_refused(root):
    with pytest.raises(DataError, match="has 3 classes in train and 3 in val.*1000"):
        ImageNet(root=str(root)).split("test")


def test_a_damaged_image_is_named(root):
    victim = root / "val" / WNIDS[1] / f"{WNIDS[1]}_0.JPEG"
    victim.write_bytes(victim.read_bytes()[:200])
    split = small(root).split("test")
    with pytest.raises(DataError, match=rf"image '.*{WNIDS[1]}_0.JPEG' is damaged"):
        split.fetch(torch.arange(6))
    assert split.fetch(torch.tensor([0, 1])).shape == (2, 3, 32, 32)


def test_the_fingerprint_changes_with_a_file(root):
    before = small(root).fingerprint()
    assert before == small(root).fingerprint()
    (root / "val" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG").unlink()
    assert small(root).fingerprint() != before


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ConfigError, match="0 < crop <= resize; got 300 and 256"):
        ImageNet(crop=300)
