"""ShapeNetPart in small, written in both official forms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adacal.core.errors import ConfigError, DataError
from point_trees import FOLDER, SHAPE_COUNTS, TABLE, shape, write_shapes
from tasks.data import shapenet_part
from tasks.data.shapenet_part import (
    NAMES,
    PART_NAMES,
    PARTS_OF_CLASS,
    SYNSETS,
    ShapeNetPart,
    ShapeNetPartHdf5,
    draw_rows,
)

STORED = 64  # 2,048 in the archive


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    return write_shapes(tmp_path)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "hdf5_data"
    folder.mkdir()
    (folder / "all_object_categories.txt").write_text(TABLE)
    for part in SHAPE_COUNTS:
        name = f"ply_data_{part}0.h5"
        (folder / f"{part}_hdf5_file_list.txt").write_text(f"{name}\n")
        labels = rng.permutation(16)
        shapes = np.stack([shape(int(label), STORED, rng) for label in labels])
        with h5py.File(folder / name, "w") as stored:
            stored["data"] = shapes[:, :, :3].astype(np.float32)
            stored["label"] = labels[:, None].astype(np.uint8)
            stored["pid"] = shapes[:, :, 6].astype(np.uint8)
    return tmp_path


def small(root: Path, num_points: int = 32, **options: bool) -> ShapeNetPart:
    return ShapeNetPart(root=str(root), num_points=num_points, **options)


def stored(root: Path, num_points: int = 32, **options: bool) -> ShapeNetPartHdf5:
    return ShapeNetPartHdf5(root=str(root), num_points=num_points, **options)


FORMS = [(small, "tables"), (stored, "arrays")]


def test_there_are_16_classes_whose_parts_are_the_50_in_turn():
    assert len(NAMES) == len(set(SYNSETS)) == 16
    assert [part for parts in PARTS_OF_CLASS.values() for part in parts] == list(range(50))
    # As published: aeroplane 0-3, motorbike 30-35, table 47-49.
    assert PARTS_OF_CLASS[0] == (0, 1, 2, 3)
    assert PARTS_OF_CLASS[NAMES.index("Motorbike")] == (30, 31, 32, 33, 34, 35)
    assert PARTS_OF_CLASS[15] == (47, 48, 49)
    assert (PART_NAMES[0], PART_NAMES[35], PART_NAMES[49]) == (
        "Airplane_0",
        "Motorbike_5",
        "Table_2",
    )


@pytest.mark.parametrize(("form", "tree"), FORMS)
def test_both_forms_give_clouds_classes_and_parts(form, tree, request):
    data = form(request.getfixturevalue(tree))
    assert (data.num_classes, data.num_parts, data.input_shape) == (16, 50, (32, 3))
    for part in ("train", "test"):
        split = data.split(part)
        everything = torch.arange(len(split))
        clouds, parts = split.fetch(everything), split.parts(everything)
        assert split.labels[:16].tolist() == list(range(16))
        assert clouds.shape == (len(split), 32, 3) and clouds.dtype == torch.float32
        assert parts.shape == (len(split), 32) and parts.dtype == torch.int64
        assert torch.allclose(clouds.norm(dim=2).amax(1), torch.ones(len(split)), atol=1e-6)
        for cloud, told, label in zip(clouds, parts, split.labels.tolist(), strict=True):
            assert set(told.tolist()) <= set(PARTS_OF_CLASS[label])
            # Parts lie one after another along x, so they still belong to their points.
            assert (told[cloud[:, 0].argsort()].diff() >= 0).all()


@pytest.mark.parametrize(("form", "tree"), FORMS)
def test_validation_shapes_train_unless_they_are_left_out(form, tree, request):
    root = request.getfixturevalue(tree)
    per_class = 2 if form is small else 1
    assert len(form(root).split("train")) == 16 * (per_class + 1)
    assert len(form(root, validation=False).split("train")) == 16 * per_class
    assert form(root).fingerprint() != form(root, validation=False).fingerprint()
    assert len(form(root).split("test")) == 16


@pytest.mark.parametrize(("form", "tree"), FORMS)
def test_training_scales_and_moves_clouds_and_keeps_the_order_of_points(form, tree, request):
    data, indices = form(request.getfixturevalue(tree)), torch.arange(32)
    first, again, other = (
        data.training_batch(indices, 0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    still = data.split("train").fetch(indices)
    assert torch.equal(first, again) and not torch.equal(first, other)
    moved = first.mean(1)
    assert moved.abs().max() <= 0.1 + 1e-5
    ratio = (first - moved[:, None]).std(1) / still.std(1)
    assert ratio.min() >= 0.8 - 1e-4 and ratio.max() <= 1.2 + 1e-4
    assert torch.equal(first[..., 0].argsort(1), still[..., 0].argsort(1))


def test_a_table_always_gives_the_same_points_all_different_if_there_are_enough(tables):
    path = tables / FOLDER / SYNSETS[0] / "test0e8d1.txt"
    table = np.loadtxt(path)
    few, many = small(tables, 10), small(tables, 200)
    index = torch.tensor([0])
    assert torch.equal(few.split("test").fetch(index), small(tables, 10).split("test").fetch(index))
    assert len(few.split("test").fetch(index)[0].unique(dim=0)) == 10
    # Asked for more than there are: each point at least once.
    assert len(many.split("test").fetch(index)[0].unique(dim=0)) == len(table)


@given(available=st.integers(1, 60), count=st.integers(1, 150), seed=st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_rows_are_drawn_once_before_any_is_drawn_again(available, count, seed):
    rows = draw_rows(available, count, np.random.default_rng(seed))
    assert len(rows) == count and rows.min() >= 0 and rows.max() < available
    assert len(set(rows[:available].tolist())) == min(available, count)


def test_every_row_is_drawn_alike():
    rng = np.random.default_rng(0)
    seen = Counter(row for _ in range(2_000) for row in draw_rows(8, 3, rng).tolist())
    deviation = (2_000 * 3 / 8 * 5 / 8) ** 0.5
    assert all(abs(seen[row] - 750) < 5 * deviation for row in range(8))


def test_points_and_parts_of_a_batch_are_read_together(tables, monkeypatch):
    read = []
    read_table = shapenet_part.read_table
    monkeypatch.setattr(
        shapenet_part,
        "read_table",
        lambda path, *a, **k: read.append(path) or read_table(path, *a, **k),
    )
    split, indices = small(tables).split("test"), torch.arange(16)
    split.fetch(indices), split.parts(indices)
    assert len(read) == 16


def test_a_shape_of_the_test_list_is_never_trained_on_and_none_is_there_twice(tables):
    split = tables / FOLDER / "train_test_split"
    train, test = (
        json.loads((split / f"shuffled_{part}_file_list.json").read_text())
        for part in ("train", "test")
    )
    mixed = train + train[:3] + test[:2]
    (split / "shuffled_train_file_list.json").write_text(json.dumps(mixed))
    data = small(tables)
    names = {part: [file.name for file in data.split(part).files] for part in ("train", "test")}
    assert not set(names["train"]) & set(names["test"])
    assert len(names["train"]) == len(set(names["train"])) == 48


def test_a_few_listed_shapes_may_be_missing_and_no_more(tables, monkeypatch):
    victims = [tables / FOLDER / SYNSETS[label] / "train0e8d1.txt" for label in (2, 5)]
    victims[0].unlink()
    with pytest.raises(DataError, match=rf"lacks 1 of 48 train shapes, '{SYNSETS[2]}/train0e8d1.t"):
        small(tables).split("train")
    monkeypatch.setattr(shapenet_part, "MOST_MISSING", 1 / 48)
    assert len(small(tables).split("train")) == 47
    victims[1].unlink()
    with pytest.raises(DataError, match="lacks 2 of 48 train shapes"):
        small(tables).split("train")


def test_the_tolerance_covers_what_the_archive_lacks_and_little_more():
    assert 9 <= shapenet_part.MOST_MISSING * 14_007 < 100
    assert shapenet_part.MOST_MISSING * 2_874 < 15


@pytest.mark.parametrize(
    ("form", "tree", "sentence"),
    [
        (small, "tables", r"has no '.*synsetoffset2category.txt'; it should hold shapenetcore_"),
        (stored, "arrays", r"has no '.*all_object_categories.txt'; it should hold hdf5_data/"),
    ],
)
def test_missing_data_says_what_is_expected(form, tree, sentence, request, tmp_path):
    root = request.getfixturevalue(tree)
    with pytest.raises(DataError, match="got none; .*nothing is downloaded.*train,val,test"):
        (ShapeNetPart if form is small else ShapeNetPartHdf5)().split("train")
    with pytest.raises(DataError, match="is not at '.*nowhere'"):
        form(root / "nowhere").split("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=sentence):
        form(tmp_path / "empty").split("train")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "cannot be read"),
        ("{}", r"cannot be read \(it is not a list of shapes\)"),
        ("[]", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[1]", "holds 1 where 'shape_data/<synset>/<id>'"),
        ('["shape_data/02691156"]', "holds 'shape_data/02691156' where"),
        ('["shape_data/99999999/a"]', "of one of the 16 classes"),
        ('["shape_data/02691156/.."]', "should be"),
    ],
)
def test_a_damaged_list_is_named(tables, content, sentence):
    path = tables / FOLDER / "train_test_split" / "shuffled_val_file_list.json"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"shuffled_val_file_list.json'.*{sentence}"):
        small(tables).split("train")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (TABLE.replace("Bag", "Bed"), "names 16 classes, 'Bed' among them"),
        ("".join(reversed(TABLE.splitlines(True))), "names 16 classes and should name the 16 from"),
        (TABLE.replace("02691156", "02691157"), "gives other synsets"),
    ],
)
@pytest.mark.parametrize(("form", "tree"), FORMS)
def test_other_classes_are_refused(form, tree, content, sentence, request):
    root = request.getfixturevalue(tree)
    inner, name = (
        (FOLDER, "synsetoffset2category.txt")
        if form is small
        else ("hdf5_data", "all_object_categories.txt")
    )
    (root / inner / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}' {sentence}"):
        form(root).split("train")


ROW = "0.1 0.2 0.3 0 0 1 "


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is not a table of 7 numbers a line"),
        ("0.1 0.2 0.3 0\n" * 9, "is not a table of 7 numbers a line"),
        (ROW + "0.0\n" + ROW + "zero\n", "is not a table of 7 numbers a line"),
        ("inf" + ROW[3:] + "0\n", "a number is NaN or infinite"),
        (ROW + "nan\n", "a number is NaN or infinite"),
        (ROW + "4.0\n", "has a point of part 4, and a shape of class 'Airplane' has parts 0 to 3"),
        (ROW + "0.5\n", "has a point of part 0.5"),
        (ROW + "-1\n", "has a point of part -1"),
        ((ROW + "1\n") * 9, "has 32 points, all the same"),
    ],
)
def test_a_damaged_table_is_named_and_the_others_are_read(tables, content, sentence):
    (tables / FOLDER / SYNSETS[0] / "test0e8d1.txt").write_text(content)
    split = small(tables).split("test")
    with pytest.raises(DataError, match=rf"test0e8d1.txt'.*{sentence}"):
        split.fetch(torch.arange(3))
    assert split.fetch(torch.tensor([1, 2])).shape == (2, 32, 3)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            np.zeros((16, STORED), np.uint8),
            "holds a cloud of class 1 with a part that is none of 4",
        ),
        (np.full((16, STORED), 50, np.uint8), "a part that is none of 0 to 3"),
        (np.zeros((16, STORED)), "its 'pid' is float64"),
        (np.zeros((15, STORED), np.uint8), r"its 'pid' is uint8 of shape \[15, 64\]"),
        (np.zeros((16, 20), np.uint8), r"its 'pid' is uint8 of shape \[16, 20\]"),
    ],
)
def test_parts_that_do_not_fit_are_named(arrays, parts, sentence):
    with h5py.File(arrays / "hdf5_data" / "ply_data_test0.h5", "a") as file:
        del file["pid"]
        file["pid"] = parts
    with pytest.raises(DataError, match=rf"ply_data_test0.h5' .*{sentence}"):
        stored(arrays).split("test").parts(torch.arange(16))


def test_wrong_numbers_of_points_are_refused():
    with pytest.raises(ConfigError, match="shapenet_part.num_points must be 1 or more; got 0"):
        ShapeNetPart(num_points=0)
    with pytest.raises(ConfigError, match="num_points must be 1 to 2048; got 2500"):
        ShapeNetPartHdf5(num_points=2500)
