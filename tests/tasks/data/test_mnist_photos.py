"""MNIST-Photos: generated from seeds, its test images from pixels no training image has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adacal.core.errors import DataError
from tasks.data import mnist_photos
from tasks.data.mnist5k import digits
from tasks.data.mnist_photos import MnistPhotos


@pytest.fixture(scope="module")
def dataset():
    return MnistPhotos()


def test_it_has_four_images_of_each_training_digit_and_one_of_each_test_digit(dataset):
    train, test = dataset.split("train"), dataset.split("test")
    assert train.pixels.shape == (16000, 3, 32, 32)
    assert test.pixels.shape == (1000, 3, 32, 32)
    assert torch.equal(train.labels, digits()["train"][1].repeat_interleave(4))
    assert torch.equal(test.labels, digits()["test"][1])


def test_training_images_are_about_normalised(dataset):
    images = dataset.split("train").fetch(torch.arange(4000))
    assert (images.mean((0, 2, 3)).abs() < 0.05).all()
    assert ((images.std((0, 2, 3)) - 1).abs() < 0.05).all()


def test_every_machine_makes_the_same_bytes(dataset):
    assert dataset.fingerprint() == "mnist_photos:3b83546610c60e9a"


def test_making_the_test_images_again_gives_the_same_bytes(dataset):
    pixels, _ = mnist_photos.compose("test", mnist_photos.SEEDS["test"])
    assert torch.equal(pixels, dataset.split("test").pixels)


def test_training_and_test_crops_come_from_columns_that_do_not_overlap(monkeypatch):
    """Each photograph is replaced by its column numbers, so a crop shows where it is from."""

    class Columns:
        def __init__(self, path):
            self.path = path

        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

        def convert(self, mode):
            columns = np.arange(250, dtype=np.uint8)
            return np.broadcast_to(columns[None, :, None], (200, 250, 3))

    monkeypatch.setattr(mnist_photos.Image, "open", Columns)
    whole = mnist_photos.photographs.__wrapped__()
    assert mnist_photos.boundary(250) == 166
    for strips in whole:
        assert strips["train"].max() < 166 <= strips["test"].min()
    monkeypatch.setattr(mnist_photos, "photographs", lambda: whole)
    rng = np.random.default_rng(0)
    # At factor 4 the test strip is 21 columns wide: too narrow to crop, so only the wide ones.
    wide = [strips for strips in whole if min(s.shape[1] for s in strips.values()) >= 32]
    monkeypatch.setattr(mnist_photos, "photographs", lambda: wide)
    assert mnist_photos.crops("train", 200, rng).max() < 166
    assert mnist_photos.crops("test", 200, rng).min() >= 166


def test_digits_stand_out_from_what_they_cover():
    rng = np.random.default_rng(0)
    under = rng.integers(0, 256, (500, 3))
    colours = mnist_photos.legible_colours(under, rng).astype(np.int64)
    gaps = np.abs(mnist_photos.luminance(colours) - mnist_photos.luminance(under))
    assert (gaps >= mnist_photos.CONTRAST).mean() > 0.9
    assert gaps.min() > 30


def test_a_digit_scaled_to_its_own_size_is_unchanged():
    weights = mnist_photos.linear_weights(28, 28)
    assert np.array_equal(weights, 256 * np.eye(28))
    assert (mnist_photos.linear_weights(28, 21).sum(1) == 256).all()


def test_later_epochs_put_the_same_digits_on_new_backgrounds(dataset, monkeypatch):
    assert dataset.training_pixels(0) is dataset.split("train")
    asked = []

    def small(part, seed):
        asked.append((part, seed))
        return torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)

    monkeypatch.setattr(mnist_photos, "compose", small)
    fresh = MnistPhotos()
    fresh.training_pixels(1)
    fresh.training_pixels(1)
    fresh.training_pixels(2)
    assert asked == [("train", 2998), ("train", 3998)]
    plain = MnistPhotos(fresh_backgrounds=False)
    assert plain.training_pixels(7) is plain.split("train")


def test_augmented_images_keep_their_range_before_normalisation(dataset):
    raw = dataset.split("train").raw(torch.arange(32))
    changed = dataset.augment(raw, torch.Generator().manual_seed(0))
    assert changed.shape == raw.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_missing_photograph_is_named(monkeypatch):
    monkeypatch.setattr(mnist_photos, "PHOTOGRAPHS", {"no_such.png": 1})
    with pytest.raises(DataError, match=r"no readable photograph '.*no_such.png'"):
        mnist_photos.photographs.__wrapped__()
