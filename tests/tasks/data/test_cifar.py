"""CIFAR archives, in small: made up here in both official forms."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from adacal.core.errors import ConfigError, DataError
from tasks.data.cifar import Cifar10, Cifar100

PER_FILE = 6


def made_up(seed: int, classes: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8)
    return images, rng.integers(0, classes, PER_FILE).tolist()


def write_python(root: Path, dataset: type, protocol: int = 2) -> None:
    """Writes the python form: a dict with byte keys, as the official Python 2 pickles load."""
    folder = root / dataset.python_folder
    folder.mkdir(parents=True)
    names = [name for part in dataset.python_files.values() for name in part]
    for seed, name in enumerate(names):
        images, labels = made_up(seed, dataset.num_classes)
        content = {
            b"batch_label": name.encode(),
            b"data": images,
            dataset.python_label: labels,
            b"filenames": [b"a.png"] * PER_FILE,
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


def write_binary(root: Path, dataset: type) -> None:
    folder = root / dataset.binary_folder
    folder.mkdir(parents=True)
    names = [name for part in dataset.binary_files.values() for name in part]
    for seed, name in enumerate(names):
        images, labels = made_up(seed, dataset.num_classes)
        marks = np.zeros((PER_FILE, dataset.binary_label_bytes), np.uint8)
        marks[:, -1] = labels
        (folder / name).write_bytes(np.concatenate([marks, images], 1).tobytes())


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100])
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_python_form_is_read_as_it_was_written(tmp_path, dataset, protocol):
    write_python(tmp_path, dataset, protocol)
    train = dataset(root=str(tmp_path)).split("train")
    images, labels = made_up(0, dataset.num_classes)
    assert np.array_equal(train.pixels[:PER_FILE].numpy().reshape(PER_FILE, 3072), images)
    assert train.labels[:PER_FILE].tolist() == labels
    assert len(train) == PER_FILE * len(dataset.python_files["train"])


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100])
def test_both_forms_give_the_same_dataset(tmp_path, dataset):
    write_python(tmp_path, dataset)
    write_binary(tmp_path, dataset)
    python = dataset(root=str(tmp_path), source="python")
    binary = dataset(root=str(tmp_path), source="binary")
    assert python.fingerprint() == binary.fingerprint()
    assert torch.equal(python.split("test").pixels, binary.split("test").pixels)


def test_the_root_may_be_the_archive_folder_itself(tmp_path):
    write_binary(tmp_path, Cifar10)
    assert len(Cifar10(root=str(tmp_path / "cifar-10-batches-bin")).split("test")) == PER_FILE


class Malicious:
    """Would run a command when unpickled without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_would_run_a_command_is_refused(tmp_path):
    write_python(tmp_path, Cifar10)
    victim = tmp_path / "victim"
    target = tmp_path / Cifar10.python_folder / "data_batch_3"
    target.write_bytes(pickle.dumps({b"data": Malicious(f"touch {victim}"), b"labels": [0]}))
    with pytest.raises(DataError, match=r"data_batch_3.*system.*not allowed"):
        Cifar10(root=str(tmp_path)).split("train")
    assert not victim.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "numpy.load"])
def test_no_other_function_can_be_named_in_a_pickle(tmp_path, name):
    write_python(tmp_path, Cifar10)
    module, function = name.split(".")
    target = tmp_path / Cifar10.python_folder / "test_batch"
    target.write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(DataError, match="not allowed"):
        Cifar10(root=str(tmp_path)).split("test")


def test_a_truncated_pickle_is_named(tmp_path):
    write_python(tmp_path, Cifar100)
    target = tmp_path / Cifar100.python_folder / "test"
    target.write_bytes(target.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"cifar-100-python/test' is not a file of 'cifar100'"):
        Cifar100(root=str(tmp_path)).split("train")


def test_a_truncated_binary_file_is_named(tmp_path):
    write_binary(tmp_path, Cifar10)
    target = tmp_path / Cifar10.binary_folder / "data_batch_2.bin"
    target.write_bytes(target.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_2.bin' has 18437 bytes"):
        Cifar10(root=str(tmp_path)).split("train")


def test_a_label_outside_the_classes_is_refused(tmp_path):
    write_binary(tmp_path, Cifar10)
    target = tmp_path / Cifar10.binary_folder / "test_batch.bin"
    content = bytearray(target.read_bytes())
    content[0] = 11
    target.write_bytes(content)
    with pytest.raises(DataError, match="labels outside 0 to 9"):
        Cifar10(root=str(tmp_path)).split("test")


def test_missing_data_says_what_tree_is_expected_and_that_nothing_is_downloaded(tmp_path):
    with pytest.raises(DataError, match=r"got none; .*nothing is downloaded.*cifar-10-batches-py"):
        Cifar10().split("train")
    with pytest.raises(DataError, match=r"is not at '.*nowhere'.*data_batch_1"):
        Cifar10(root=str(tmp_path / "nowhere")).split("train")
    with pytest.raises(DataError, match=r"not complete under .*cifar-100-binary/\{train.bin"):
        Cifar100(root=str(tmp_path)).split("train")


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match=r"cifar10.source must be .* got 'npz'"):
        Cifar10(source="npz")


def test_augmentation_shifts_over_zeros_and_mirrors(tmp_path):
    write_binary(tmp_path, Cifar10)
    dataset = Cifar10(root=str(tmp_path))
    image = torch.arange(1.0, 1025.0).reshape(1, 1, 32, 32).repeat(64, 3, 1, 1)
    changed = dataset.augment(image, torch.Generator().manual_seed(0))
    assert changed.shape == image.shape
    rising = (changed.diff(dim=-1)[:, 0, 8:24, 8:24] > 0).flatten(1).all(1)
    assert 15 < int(rising.sum()) < 49
    assert (changed == 0).any()
