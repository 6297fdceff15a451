"""Event datasets on disk: small trees in the published layouts and byte formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import event_trees as trees
import event_writers as writers
from adacal.core.errors import ConfigError, DataError
from adacal.suite.cli import main
from adacal.suite.registry import DATASETS, build, import_all
from adacal.suite.store import RecordStore
from event_writers import write
from tasks.checkpoints import REPOSITORY
from tasks.data import action_sets
from tasks.data.dvs_mnist import EVENT
from tasks.data.event_files import EventFiles, FileRecordings, Recording

TREES: dict[str, tuple[Callable[[Path], None], dict[str, Any], tuple[int, int], int]] = {
    "cifar10_dvs": (trees.cifar10_tree, {}, (110, 10), 10),
    "n_mnist": (trees.n_mnist_tree, {}, (30, 20), 10),
    "n_caltech101": (trees.n_caltech_tree, {"num_classes": 3}, (9, 3), 3),
    "n_cars": (trees.n_cars_tree, {}, (16, 8), 2),
    "dvs128_gesture": (trees.gesture_tree, {}, (22, 11), 11),
    "action_recognition": (trees.action_tree, {}, (20, 10), 10),
}


def make(name: str, root: Path | None, **options: Any) -> EventFiles:
    import_all("tasks.data")
    place = None if root is None else str(root)
    config = {"type": name, "root": place, **TREES[name][1], **options}
    return build(DATASETS, "dataset", config)


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_listed_and_its_events_are_counted_where_they_fell(tmp_path: Path, name: str):
    tree, _, sizes, classes = TREES[name]
    tree(tmp_path)
    dataset = make(name, tmp_path)
    assert (len(dataset.split("train")), len(dataset.split("test"))) == sizes
    test = dataset.split("test")
    assert test.labels[:classes].tolist() == list(range(classes))
    height, width = dataset.sensor
    assert dataset.input_shape == (2, height, width)
    counts = test.counts(torch.arange(2), 8)
    assert counts.shape == (2, 8, 2, height, width)
    whole = counts.sum((1, 2))
    corners = whole[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    if name == "n_cars":  # its background lies on the left, its cars on the right
        assert (whole[0, :, 60:] == 0).all() and (whole[1, :, :60] == 0).all()
    else:
        assert (corners >= 1).all()
    assert torch.allclose(test.fetch(torch.arange(2)), counts.sum(1) / dataset.scale)
    assert torch.equal(counts, counts.round())


@pytest.mark.parametrize("name", TREES)
def test_smaller_frames_keep_every_event_in_its_cell(tmp_path: Path, name: str):
    TREES[name][0](tmp_path)
    whole, small = make(name, tmp_path), make(name, tmp_path, image_size=(12, 17))
    indices = torch.arange(2)
    counts = small.split("test").counts(indices, 4)
    assert counts.shape == (2, 4, 2, 12, 17) and small.input_shape == (2, 12, 17)
    full = whole.split("test").counts(indices, 4)
    assert torch.equal(counts.sum((3, 4)), full.sum((3, 4)))
    height, width = whole.sensor
    rows = torch.arange(height) * 12 // height
    columns = torch.arange(width) * 17 // width
    wanted = torch.zeros(2, 4, 2, 12, width).index_add_(3, rows, full)
    wanted = torch.zeros(2, 4, 2, 12, 17).index_add_(4, columns, wanted)
    assert torch.equal(counts, wanted)
    assert small.scale == pytest.approx(whole.scale * height * width / (12 * 17))


@pytest.mark.parametrize("name", TREES)
def test_missing_data_says_what_tree_is_expected(tmp_path: Path, name: str):
    ending = r"\.(aedat|bin|dat|npy)|csv"
    with pytest.raises(DataError, match=rf"'{name}' needs a folder.*nothing is down.*{ending}"):
        make(name, None).split("train")
    with pytest.raises(DataError, match=r"is not at '.*nowhere'"):
        make(name, tmp_path / "nowhere").split("train")
    with pytest.raises(DataError, match=rf"'{name}' is not complete under .*{ending}"):
        make(name, tmp_path).split("train")


@pytest.mark.parametrize("name", TREES)
def test_the_fingerprint_changes_with_a_file_and_with_the_options(tmp_path: Path, name: str):
    TREES[name][0](tmp_path)
    before = make(name, tmp_path).fingerprint()
    assert before == make(name, tmp_path).fingerprint()
    TREES[name][0](tmp_path / "elsewhere")
    assert before == make(name, tmp_path / "elsewhere").fingerprint()
    assert before.startswith(f"{name}:")
    for options in ({"image_size": 16}, {"duration_us": 5000}, {"scale": 3.0}):
        assert make(name, tmp_path, **options).fingerprint() != before
    victim = make(name, tmp_path).recordings["test"][0].path
    victim.write_bytes(victim.read_bytes() + bytes(40))
    assert make(name, tmp_path).fingerprint() != before


@pytest.mark.parametrize("name", TREES)
def test_a_truncated_file_is_named_when_it_is_read(tmp_path: Path, name: str):
    TREES[name][0](tmp_path)
    dataset = make(name, tmp_path)
    victim = dataset.recordings["test"][0].path
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"event file '.*{victim.name}' is damaged \("):
        dataset.split("test").fetch(torch.tensor([0]))


def test_events_outside_of_the_sensor_and_empty_recordings_are_named(tmp_path: Path):
    trees.n_cars_tree(tmp_path)
    dataset = make("n_cars", tmp_path)
    victim = dataset.recordings["test"][0].path
    write(victim, writers.dat([(0, 0, 1, 1), (120, 3, 5, 1)]))
    with pytest.raises(DataError, match=rf"{victim.name}' .*x is 0 to 120 on a sensor of 120"):
        dataset.split("test").fetch(torch.tensor([0]))
    write(victim, writers.dat([]))
    with pytest.raises(DataError, match=rf"{victim.name}' is damaged \(it has no events\)"):
        dataset.split("test").fetch(torch.tensor([0]))


def test_recordings_are_cut_at_the_same_time_if_a_length_is_given(tmp_path: Path):
    read = FileRecordings(
        [Recording(tmp_path, 0)],
        lambda _: np.array([(1, 2, 900, 1), (3, 4, 1899, 0), (5, 6, 1900, 0)], EVENT),
        (10, 10),
        (10, 10),
        duration_us=1000,
    )
    assert read[0]["t"].tolist() == [0, 999]
    trees.n_cars_tree(tmp_path)
    short = make("n_cars", tmp_path, duration_us=5_000).split("test")
    counts = short.counts(torch.tensor([0]), 4)
    # An event each 250 µs: twenty before 5 ms, five in a quarter of that.
    assert counts.flatten(2).sum(2).tolist() == [[5, 5, 5, 5]]


def test_the_first_nine_tenths_of_a_class_train_and_a_seed_draws_others(tmp_path: Path):
    trees.cifar10_tree(tmp_path)

    def numbers(dataset: EventFiles, part: str) -> list[int]:
        return sorted(
            int(recording.path.stem.split("_")[-1])
            for recording in dataset.recordings[part]
            if recording.label == 3
        )

    plain = make("cifar10_dvs", tmp_path)
    assert numbers(plain, "train") == list(range(11)) and numbers(plain, "test") == [11]
    drawn = [make("cifar10_dvs", tmp_path, split_seed=seed) for seed in range(8)]
    for dataset in drawn:
        both = numbers(dataset, "train") + numbers(dataset, "test")
        assert sorted(both) == list(range(12)) and len(numbers(dataset, "test")) == 1
    assert len({tuple(numbers(dataset, "test")) for dataset in drawn}) > 2
    assert numbers(drawn[0], "test") == numbers(make("cifar10_dvs", tmp_path, split_seed=0), "test")
    assert len({dataset.fingerprint() for dataset in [plain, *drawn]}) == 9


def test_cifar10_dvs_is_found_in_both_forms_and_the_original_comes_first(tmp_path: Path):
    trees.cifar10_tree(tmp_path / "CIFAR10DVS", ".aedat4")
    copy = make("cifar10_dvs", tmp_path)
    assert copy.recordings["test"][0].path.suffix == ".aedat4"
    trees.cifar10_tree(tmp_path / "CIFAR10DVS")
    both = make("cifar10_dvs", tmp_path)
    assert {recording.path.suffix for recording in both.recordings["train"]} == {".aedat"}
    assert len(both.split("train")) == 110


def test_n_caltech101_may_leave_the_background_out(tmp_path: Path):
    trees.n_caltech_tree(tmp_path)
    dataset = make("n_caltech101", tmp_path, background=False, num_classes=2)
    names = [recording.path.parent.name for recording in dataset.recordings["test"]]
    assert names == ["Faces_easy", "accordion"]
    with pytest.raises(DataError, match=r"3 class folders instead of 101, task.dataset.num_class"):
        make("n_caltech101", tmp_path, num_classes=None).split("train")
    assert make("n_caltech101", None, num_classes=None).num_classes == 101
    assert make("n_caltech101", None, num_classes=None, background=False).num_classes == 100


@pytest.mark.parametrize("parts", [("train", "test"), ("n-cars_train/train", "n-cars_test/test")])
def test_n_cars_is_found_as_its_archives_unpack(tmp_path: Path, parts: tuple[str, str]):
    trees.n_cars_tree(tmp_path / "Prophesee_Dataset_n_cars", *parts)
    assert len(make("n_cars", tmp_path).split("train")) == 16


def test_gestures_are_the_windows_of_their_table(tmp_path: Path):
    trees.gesture_tree(tmp_path)
    dataset = make("dvs128_gesture", tmp_path)
    test = dataset.split("test")
    # The end of a window is not in it: it is where the last of the 40 events lies.
    assert test.counts(torch.arange(11), 1).flatten(1).sum(1).tolist() == [39] * 11
    assert dataset.recordings["test"][4].window == (501_000, 510_750)
    people = {recording.path.name[:6] for recording in dataset.recordings["train"]}
    assert people == {"user01", "user02"}


def test_both_forms_of_the_gestures_hold_the_same_events(tmp_path: Path):
    trees.gesture_tree(tmp_path / "official")
    trees.gesture_copy(tmp_path / "copy")
    official, copy = (
        make("dvs128_gesture", tmp_path / form).split("test") for form in ("official", "copy")
    )
    assert official.labels.tolist() == copy.labels.tolist()
    first, second = (split.counts(torch.arange(11), 1) for split in (official, copy))
    assert (second - first).min() >= 0 and float((second - first).sum()) == 11


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("user24_led_labels.csv", "class,start\n1,2,3\n", r"labels.csv' is no table of gestures"),
        ("user24_led_labels.csv", "", r"labels.csv' is no table of gestures"),
        ("user24_led_labels.csv", "{head}\n12,1,2\n", r"labels.csv' line 2 is '12,1,2', not a"),
        ("user24_led_labels.csv", "{head}\n1,1,9\n1,5,5\n", r"labels.csv' line 3 is '1,5,5', not"),
        ("user24_led_labels.csv", "{head}\n1,a,9\n", r"line 2 is '1,a,9'"),
        ("user24_led_labels.csv", "{head}\n1,7,8\n", r"led.aedat'.*no events from 7 to 8 µs"),
        ("trials_to_test.txt", "user29_led.aedat\n", r"names 'user29_led.aedat', which is not"),
        ("trials_to_test.txt", "", r"no recordings for 'test'"),
        ("trials_to_test.txt", "../DvsGesture/user24_led.aedat\n", r"names '../DvsGesture/user24"),
        ("trials_to_test.txt", "user01_led.aedat\n", r"11 samples for training and for testing"),
        ("user24_led_labels.csv", None, r"there is no 'user24_led_labels.csv'"),
        ("trials_to_test.txt", None, r"there is no 'trials_to_test.txt'"),
    ],
)
def test_a_wrong_list_or_table_of_gestures_is_named(tmp_path, name, content, sentence):
    trees.gesture_tree(tmp_path)
    file = tmp_path / "DvsGesture" / name
    file.unlink()
    if content is not None:
        file.write_text(content.replace("{head}", action_sets.CSV_HEAD))
    with pytest.raises(DataError, match=sentence):
        make("dvs128_gesture", tmp_path).split("test").fetch(torch.tensor([0]))


def test_a_copy_of_the_gestures_has_files_named_after_classes(tmp_path: Path):
    trees.gesture_copy(tmp_path)
    folder = tmp_path / "DVSGesture/ibmGestureTest/user24_led"
    (folder / "3.npy").rename(folder / "11.npy")
    with pytest.raises(DataError, match=r"11.npy' is not named after a class"):
        make("dvs128_gesture", tmp_path).split("test")


def test_an_action_has_one_folder(tmp_path: Path):
    trees.action_tree(tmp_path)
    (tmp_path / "Action Recognition" / "Sit_Down").mkdir()
    with pytest.raises(DataError, match=r"2 folders for 'sit-down' instead of one"):
        make("action_recognition", tmp_path).split("train")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 200}, r"n_cars.image_size must be .* \(100, 120\); got 200"),
        ({"image_size": (100, 0)}, r"got \(100, 0\)"),
        ({"image_size": (1, 2, 3)}, r"got \(1, 2, 3\)"),
        ({"duration_us": 0}, "n_cars.duration_us must be 1 or more µs; got 0"),
        ({"image_size": 4.5}, "image_size must be a whole number; got 4.5"),
        ({"scale": 0.0}, "n_cars.scale must be above 0; got 0.0"),
        ({"scale": "4"}, "scale must be a number; got '4'"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        make("n_cars", None, **options)


def test_training_moves_recordings_that_are_read_from_disk(tmp_path: Path):
    trees.n_cars_tree(tmp_path)
    dataset = make("n_cars", tmp_path)
    still = dataset.split("train").fetch(torch.arange(4))
    moved = dataset.training_batch(torch.arange(4), 0, torch.Generator().manual_seed(0))
    assert moved.shape == still.shape == (4, 2, 100, 120)
    assert not torch.equal(moved, still)


def test_a_tree_goes_from_training_to_a_verified_record(tmp_path: Path):
    """N-Cars in small, not square: a network is trained, converted lightly, run as a stream."""
    trees.n_cars_tree(tmp_path / "data")
    pieces = ("tasks/n_cars_stream", "models/vgg_small", "methods/snn_calibration_light",
              "schedules/embedded_15")  # fmt: skip
    base = [str(REPOSITORY / "configs" / "_base_" / f"{piece}.py") for piece in pieces]
    config = tmp_path / "run.py"
    config.write_text(
        f"_base_ = {base!r}\nconversion = dict(T=4)\n"
        "calibration = dict(n_samples=16)\nevaluation = dict(latency_repeats=1)\n"
    )
    options = (
        "--cfg-options", f"task.dataset.root={tmp_path / 'data'}",
        f"model.checkpoint={tmp_path / 'weights.safetensors'}",
        "schedule.epochs=20", "schedule.batch_size=4", "schedule.lr=0.02",
        "model.layers=[4,'P',8,'P']",
    )  # fmt: skip

    def adacal(*words: object) -> str:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    adacal("train", config, *options)
    adacal("run", config, "--results", tmp_path / "results", "--threads", 1, *options)
    (record,), warnings = RecordStore(tmp_path / "results").read_all()
    assert warnings == []
    assert record.dataset == "n_cars_stream" and record.strictness == "binary"
    assert (record.ann["accuracy_pct"], record.snn["accuracy_pct"]) == (100.0, 100.0)
    layers = {layer.name: layer for layer in record.layers}
    # The first layer accumulates events: 300 a recording, none multiplied.
    assert record.energy.macs == 0
    assert layers["input"].spikes == pytest.approx(300)
    assert "verified" in adacal(
        "verify", record.id, "--results", tmp_path / "results", "--threads", 1
    )
