"""HDF5 files of clouds as PointNet's authors share them, in small: ModelNet40."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from adacal.core.errors import ConfigError, DataError
from tasks.data.modelnet import CLASSES, ModelNet40Hdf5

FILES = {"train": ("ply_data_train0.h5", "ply_data_train1.h5"), "test": ("ply_data_test0.h5",)}
STORED = 64  # 2,048 in the archive


def write_file(path: Path, labels: np.ndarray, **extra: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(len(path.name) + int(labels.sum()))
    data = rng.uniform(-1, 1, (len(labels), STORED, 3)).astype(np.float32)
    with h5py.File(path, "w") as stored:
        stored.create_dataset("data", data=data, compression="gzip")
        stored.create_dataset("label", data=labels[:, None].astype(np.uint8))
        for name, array in extra.items():
            stored.create_dataset(name, data=array)
    return data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    (folder / "shape_names.txt").write_text("\n".join(CLASSES[40]) + "\n")
    rng = np.random.default_rng(0)
    for part, names in FILES.items():
        listed = [f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in names]
        (folder / f"{part}_files.txt").write_text("".join(listed))
        for name in names:
            write_file(folder / name, rng.permutation(40))
    return tmp_path


def small(root: Path, num_points: int = 32) -> ModelNet40Hdf5:
    return ModelNet40Hdf5(root=str(root), num_points=num_points)


def test_clouds_of_several_files_become_one_split_with_the_classes_in_turn(root):
    data = small(root)
    assert data.split("train").labels.tolist() == list(range(40)) * 2
    assert data.split("test").labels.tolist() == list(range(40))
    clouds = data.split("train").fetch(torch.arange(80))
    assert clouds.shape == (80, 32, 3) and clouds.dtype == torch.float32
    assert clouds.mean(1).abs().max() < 1e-6
    assert torch.allclose(clouds.norm(dim=2).amax(1), torch.ones(80), atol=1e-6)


def test_a_sample_is_the_first_points_of_its_own_cloud(root):
    split = small(root).split("train")
    for index in (0, 7, 40, 79):
        name, label = FILES["train"][index // 40], index % 40
        with h5py.File(root / "modelnet40_ply_hdf5_2048" / name) as stored:
            row = int(np.flatnonzero(stored["label"][:, 0] == label)[0])
            points = stored["data"][row, :32].astype(np.float64)
        centred = points - points.mean(0)
        wanted = centred / np.linalg.norm(centred, axis=1).max()
        got = split.fetch(torch.tensor([index]))[0].numpy()
        assert split.labels[index] == label
        assert np.allclose(got, wanted, atol=1e-6)


def test_the_order_of_the_indices_is_the_order_of_the_clouds(root):
    split = small(root).split("train")
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    assert torch.equal(split.fetch(order), split.fetch(torch.arange(80))[order])


def test_only_files_that_are_asked_for_are_read(root):
    broken = root / "modelnet40_ply_hdf5_2048" / "ply_data_train1.h5"
    with h5py.File(broken, "a") as stored:
        stored["data"][3, 5, 1] = np.nan
    split = small(root).split("train")
    assert split.fetch(torch.arange(40)).shape == (40, 32, 3)
    with pytest.raises(DataError, match=r"ply_data_train1.h5' holds points that are NaN"):
        split.fetch(torch.tensor([40]))


def test_a_file_in_both_lists_is_refused(root):
    folder = root / "modelnet40_ply_hdf5_2048"
    (folder / "test_files.txt").write_text((folder / "train_files.txt").read_text())
    with pytest.raises(DataError, match="for training and for testing, 'ply_data_train0.h5' first"):
        small(root).split("train")


def test_missing_data_says_what_is_expected(root, tmp_path):
    with pytest.raises(DataError, match=r"got none; .*nothing is downloaded.*train_files.txt"):
        ModelNet40Hdf5().split("train")
    folder = root / "modelnet40_ply_hdf5_2048"
    (folder / "ply_data_test0.h5").unlink()
    with pytest.raises(DataError, match=r"ply_data_test0.h5' belongs to the dataset and is not"):
        small(root).split("train")
    (folder / "test_files.txt").unlink()
    with pytest.raises(DataError, match=r"the list '.*test_files.txt' cannot be read"):
        small(root).split("train")
    (folder / "shape_names.txt").unlink()
    with pytest.raises(DataError, match=r"has no '.*shape_names.txt'; it should hold modelnet40_"):
        small(root).split("train")


def replace(key: str, array: np.ndarray | None) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "a") as stored:
            del stored[key]
            if array is not None:
                stored.create_dataset(key, data=array)

    return damage


def link_to_elsewhere(path: Path) -> None:
    with h5py.File(path, "a") as stored:
        del stored["data"]
        stored["data"] = h5py.ExternalLink("ply_data_train0.h5", "/data")


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(40, STORED, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("ply_data_train0.h5", "data", shape=(40, STORED, 3))
    with h5py.File(path, "a") as stored:
        del stored["data"]
        stored.create_virtual_dataset("data", layout)


LABELS = np.arange(40, dtype=np.uint8)[:, None]
ONES = np.ones((40, STORED, 3), np.float32)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "is not a sound HDF5 file"),
        (lambda path: path.write_bytes(b""), "is not a sound HDF5 file"),
        (lambda path: path.write_text("data"), "is not a sound HDF5 file"),
        (replace("label", None), "it holds no 'label'"),
        (replace("data", None), "it holds no 'data'"),
        (replace("label", LABELS + 1), "labels outside 0 to 39"),
        (replace("label", LABELS[:0]), "has no clouds"),
        (replace("label", LABELS[:, [0, 0]]), r"its 'label' is uint8 of shape \[40, 2\]"),
        (replace("label", LABELS / 2), "its 'label' is float64"),
        (replace("data", ONES[:39]), r"its 'data' is float32 of shape \[39, 64, 3\]"),
        (replace("data", ONES[:, :20]), r"its 'data' is float32 of shape \[40, 20, 3\]"),
        (replace("data", ONES[:, :, :2]), r"its 'data' is float32 of shape \[40, 64, 2\]"),
        (replace("data", ONES.astype(int)), "its 'data' is int64"),
        (replace("data", ONES), "a cloud whose points are all one"),
        (replace("data", ONES * np.inf), "NaN or infinite"),
        (link_to_elsewhere, "it holds no 'data'"),
        (virtual, "its 'data' is not stored in it"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(root, damage, sentence):
    damage(root / "modelnet40_ply_hdf5_2048" / "ply_data_test0.h5")
    with pytest.raises(DataError, match=rf"ply_data_test0.h5' .*{sentence}"):
        small(root).split("test").fetch(torch.arange(40))


def test_a_dataset_without_parts_says_so(root):
    with pytest.raises(ConfigError, match="does not tell parts"):
        small(root).split("test").parts(torch.arange(2))


def test_the_fingerprint_follows_files_labels_and_the_number_of_points(root):
    before = small(root).fingerprint()
    assert before.startswith("modelnet40_hdf5:") and before == small(root).fingerprint()
    assert small(root, 16).fingerprint() != before
    path = root / "modelnet40_ply_hdf5_2048" / "ply_data_test0.h5"
    with h5py.File(path, "a") as stored:
        stored["label"][:] = stored["label"][:][::-1]
    assert small(root).fingerprint() != before


def test_more_points_than_are_stored_are_refused():
    with pytest.raises(ConfigError, match="modelnet40_hdf5.num_points must be 1 to 2048; got 2500"):
        ModelNet40Hdf5(num_points=2500)
