"""ModelNet trees in small, written in the official forms: OFF meshes and resampled tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adacal.core.errors import ConfigError, DataError
from adacal.suite.registry import DATASETS, build, import_all
from point_trees import COUNTS, box, write_meshes, write_tables
from tasks.data import modelnet
from tasks.data.modelnet import (
    CLASSES,
    ModelNet10,
    ModelNet10Resampled,
    ModelNet40,
    ModelNet40Resampled,
)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ADACAL_CACHE", str(folder))
    return folder


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    return write_meshes(tmp_path, 10)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    return write_tables(tmp_path)


def small(root: Path, num_points: int = 32) -> ModelNet10:
    return ModelNet10(root=str(root), num_points=num_points)


def resampled(root: Path, num_points: int = 32) -> ModelNet10Resampled:
    return ModelNet10Resampled(root=str(root), num_points=num_points)


@pytest.mark.parametrize(
    ("dataset", "classes", "write"),
    [
        (ModelNet10, 10, lambda root: write_meshes(root, 10)),
        (ModelNet40, 40, lambda root: write_meshes(root, 40)),
        (ModelNet10Resampled, 10, write_tables),
        (ModelNet40Resampled, 40, write_tables),
    ],
)
def test_each_form_is_read_as_clouds_in_the_unit_sphere(tmp_path, dataset, classes, write):
    write(tmp_path)
    data = dataset(root=str(tmp_path), num_points=16)
    assert data.num_classes == classes and data.input_shape == (16, 3)
    assert data.num_parts is None and data.parts_of_class is None
    for part, count in COUNTS.items():
        split = data.split(part)
        assert len(split) == classes * count
        assert split.labels.tolist() == list(range(classes)) * count
        clouds = split.fetch(torch.arange(len(split)))
        assert clouds.shape == (len(split), 16, 3) and clouds.dtype == torch.float32
        assert clouds.mean(1).abs().max() < 1e-6
        assert torch.allclose(clouds.norm(dim=2).amax(1), torch.ones(len(split)), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["modelnet10", "modelnet40", "modelnet10_resampled", "modelnet40_resampled"]
)
def test_every_form_is_registered_and_reads_nothing_before_it_is_needed(name):
    import_all("tasks.data")
    data = build(DATASETS, "dataset", {"type": name, "root": "/nowhere"})
    assert (data.name, data.num_points) == (name, 1024)


def test_points_lie_on_the_sides_of_the_box(meshes):
    split = small(meshes, 500).split("test")
    for cloud in split.fetch(torch.arange(10)):
        low, high = cloud.amin(0), cloud.amax(0)
        reach = torch.minimum((cloud - low).abs(), (cloud - high).abs()).amin(1)
        # The outermost of 500 points are near the sides, not on them.
        assert reach.max() < 0.03


def test_a_square_and_its_two_triangles_give_the_same_cloud(tmp_path):
    clouds = []
    for quads in (False, True):
        root = write_meshes(tmp_path / str(quads), 10)
        path = root / "ModelNet10" / "bed" / "test" / "bed_0003.off"
        path.write_text(box(np.array([1.0, 2.0, 3.0]), glued=True, quads=quads))
        clouds.append(small(root).split("test").fetch(torch.tensor([1])))
    assert torch.equal(*clouds)


def test_a_mesh_always_gives_the_same_cloud_and_another_name_another(meshes, monkeypatch, tmp_path):
    first = small(meshes).split("test").fetch(torch.arange(10))
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path / "other"))
    assert torch.equal(first, small(meshes).split("test").fetch(torch.arange(10)))
    folder = meshes / "ModelNet10" / "bed" / "test"
    (folder / "bed_0003.off").rename(folder / "bed_0004.off")
    second = small(meshes).split("test").fetch(torch.arange(10))
    changed = [index for index in range(10) if not torch.equal(first[index], second[index])]
    assert changed == [1]


def test_clouds_are_kept_and_a_damaged_or_outdated_one_is_made_again(
    meshes, own_cache, monkeypatch
):
    drawn = []
    read_off = modelnet.read_off
    monkeypatch.setattr(modelnet, "read_off", lambda path: drawn.append(path) or read_off(path))
    indices = torch.arange(10)
    first = small(meshes).split("test").fetch(indices)
    assert len(drawn) == 10
    assert torch.equal(small(meshes).split("test").fetch(indices), first) and len(drawn) == 10
    kept = sorted(own_cache.rglob("*.npz"))
    assert len(kept) == 10 and kept[0].parent.name == "modelnet10_32_v1"
    kept[0].write_bytes(kept[0].read_bytes()[:-40])
    kept[1].write_bytes(b"")
    assert torch.equal(small(meshes).split("test").fetch(indices), first) and len(drawn) == 12
    drawn[0].write_text(box(np.array([9.0, 1.0, 1.0]), glued=False, quads=False))
    again = small(meshes).split("test").fetch(indices)
    assert len(drawn) == 13 and not torch.equal(again[0], first[0])
    small(meshes, 8).split("test").fetch(indices)
    assert len(drawn) == 23


def test_a_cache_that_cannot_be_written_is_no_error(meshes, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path / "file"))
    assert small(meshes).split("test").fetch(torch.arange(2)).shape == (2, 32, 3)


def test_the_root_may_be_the_folder_itself(meshes, tables):
    assert len(small(meshes / "ModelNet10").split("test")) == 10
    assert len(resampled(tables / "modelnet40_normal_resampled").split("test")) == 10


def test_a_missing_tree_says_what_is_expected_and_that_nothing_is_downloaded(tmp_path):
    with pytest.raises(DataError, match=r"got none; .*nothing is downloaded.*ModelNet10/<class>"):
        ModelNet10().split("train")
    with pytest.raises(DataError, match=r"is not at '.*nowhere'"):
        small(tmp_path / "nowhere").split("train")
    with pytest.raises(DataError, match=r"has no class 'bathtub'; it should hold ModelNet10/"):
        small(tmp_path).split("train")
    with pytest.raises(DataError, match=r"has no '.*modelnet10_shape_names.txt'; it should hold"):
        resampled(tmp_path).split("train")


def test_the_tree_of_the_other_number_of_classes_is_refused(tmp_path):
    write_meshes(tmp_path, 40)
    with pytest.raises(DataError, match="has another folder, 'airplane'"):
        small(tmp_path / "ModelNet40").split("train")


def test_a_split_without_files_is_named(meshes):
    for path in meshes.rglob("test/*.off"):
        path.unlink()
    with pytest.raises(DataError, match="'modelnet10' has no test files"):
        small(meshes).split("train")


def test_a_damaged_mesh_is_named_and_the_others_are_read(meshes):
    victim = meshes / "ModelNet10" / "chair" / "test" / "chair_0003.off"
    victim.write_text(victim.read_text()[:60])
    split = small(meshes).split("test")
    with pytest.raises(DataError, match=r"chair_0003.off' is not a sound OFF mesh"):
        split.fetch(torch.arange(10))
    assert split.fetch(torch.tensor([0, 1, 3])).shape == (3, 32, 3)


def test_a_mesh_without_area_is_named(meshes):
    victim = meshes / "ModelNet10" / "chair" / "test" / "chair_0003.off"
    victim.write_text("OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n")
    with pytest.raises(DataError, match=r"chair_0003.off' is of no use: the surface has no area"):
        small(meshes).split("test").fetch(torch.tensor([2]))


def test_the_first_points_of_a_table_are_taken(tables):
    path = tables / "modelnet40_normal_resampled" / "bed" / "bed_0003.txt"
    table = np.loadtxt(path, delimiter=",")[:32, :3]
    centred = table - table.mean(0)
    wanted = centred / np.linalg.norm(centred, axis=1).max()
    cloud = resampled(tables).split("test").fetch(torch.tensor([1]))[0]
    assert np.allclose(cloud.numpy(), wanted, atol=1e-6)


def cut_row(text: str) -> str:
    return text.replace(text.splitlines()[3], text.splitlines()[3].rpartition(",")[0])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: "", "is not a table of 6 numbers a line"),
        (cut_row, "is not a table of 6 numbers a line .*columns changed from 6 to 5 at row 4"),
        (lambda text: text.replace(",", " "), "is not a table of 6 numbers a line"),
        (lambda text: text.replace(",0.000000\n", "\n"), r"\(\[32, 5\] numbers\)"),
        (lambda text: "nan," + text.partition(",")[2], "a number is NaN or infinite"),
        (lambda text: "\n".join(text.splitlines()[:20]), "has 20 points and 32 are asked for; set"),
        (lambda text: "1,2,3,0,0,1\n" * 40, "has 32 points, all the same"),
        (lambda text: "0.1,0.2,0.7,0,0,1\n" * 40, "has 32 points, all the same"),
    ],
)
def test_a_damaged_table_is_named_with_what_is_wrong(tables, damage, sentence):
    path = tables / "modelnet40_normal_resampled" / "bed" / "bed_0003.txt"
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=rf"bed_0003.txt.*{sentence}"):
        resampled(tables).split("test").fetch(torch.tensor([1]))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", r"the list '.*modelnet10_test.txt' is empty"),
        ("bed_0009\n", r"bed_0009.txt' belongs to the dataset and is not there"),
        ("boat_0001\n", r"modelnet10_test.txt' names 'boat_0001', which is of none of the 10"),
        ("../bed_0001\n", "of none of the 10 classes"),
        ("bed\n", "of none of the 10 classes"),
    ],
)
def test_a_wrong_list_is_named(tables, lines, sentence):
    (tables / "modelnet40_normal_resampled" / "modelnet10_test.txt").write_text(lines)
    with pytest.raises(DataError, match=sentence):
        resampled(tables).split("test")


def test_a_cloud_in_both_lists_is_refused(tables):
    folder = tables / "modelnet40_normal_resampled"
    names = (folder / "modelnet10_train.txt").read_text()
    with (folder / "modelnet10_test.txt").open("a") as listed:
        listed.write(names.split()[0] + "\n")
    with pytest.raises(DataError, match="1 samples for training and for testing, 'bathtub"):
        resampled(tables).split("test")


def test_classes_in_another_order_are_refused(tables):
    path = tables / "modelnet40_normal_resampled" / "modelnet10_shape_names.txt"
    path.write_text("\n".join(reversed(CLASSES[10])))
    with pytest.raises(DataError, match="names 10 classes and should name the 10 from bathtub"):
        resampled(tables).split("test")
    path.write_text("boat\n")
    with pytest.raises(DataError, match="names 1 classes, 'boat' among them, and should"):
        resampled(tables).split("test")


def test_a_dataset_without_parts_says_so(meshes):
    with pytest.raises(ConfigError, match="does not tell parts.*shapenet_part"):
        small(meshes).split("test").parts(torch.arange(2))


def test_the_fingerprint_follows_names_sizes_and_the_number_of_points(meshes):
    before = small(meshes).fingerprint()
    assert before.startswith("modelnet10:") and before == small(meshes).fingerprint()
    assert small(meshes, 16).fingerprint() != before
    path = meshes / "ModelNet10" / "sofa" / "train" / "sofa_0001.off"
    path.write_text(path.read_text() + "\n")
    longer = small(meshes).fingerprint()
    assert longer != before
    path.rename(path.with_name("sofa_0009.off"))
    assert small(meshes).fingerprint() not in (before, longer)


@pytest.mark.parametrize(("form", "axis"), [(small, 2), (resampled, 1)])
def test_training_turns_about_the_upright_axis_and_follows_its_generator(
    meshes, tables, form, axis
):
    root = meshes if form is small else tables
    data, indices = form(root), torch.arange(20)
    first, again, other = (
        data.training_batch(indices, 0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    still = data.split("train").fetch(indices)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (first - still)[..., axis].abs().max() <= 0.05 + 1e-6
    assert (first - still).abs().max() > 0.5
    # 0.05 along each of three axes at most, so lengths change by its root of three at most.
    assert (first.norm(dim=2) - still.norm(dim=2)).abs().max() <= 0.05 * 3**0.5 + 1e-6


def test_no_points_are_refused():
    with pytest.raises(ConfigError, match="modelnet40.num_points must be 1 or more; got 0"):
        ModelNet40(num_points=0)
