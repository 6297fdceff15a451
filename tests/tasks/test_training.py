"""Training: short, seeded, and with a log that can be trusted."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

import tasks.classification2d  # noqa: F401  (registers the task)
from adacal.core.errors import ConfigError, DataError
from adacal.suite.cli import main
from adacal.suite.registry import TASKS, build
from tasks.checkpoints import file_sha256
from tasks.training import Schedule, divide, make_schedule, parameter_groups, train_classifier

SHORT = {"epochs": 1, "batch_size": 20, "lr": 0.05, "max_samples": 200}


def task(path, **schedule):
    return build(
        TASKS,
        "task",
        {"type": "classification2d", "dataset": {"type": "mnist5k"}},
        model={"name": "lenet", "type": "lenet"},
        checkpoint=str(path),
        schedule={**SHORT, **schedule},
    )


def test_one_short_epoch_writes_weights_and_a_log_that_belong_together(tmp_path):
    path = tmp_path / "new" / "lenet.safetensors"
    rows = []
    short = task(path)
    log = short.train(rows.append, seed=1)
    assert [row["epoch"] for row in rows] == [1]
    assert rows[0]["loss"] > 0
    assert json.loads(path.with_suffix(".json").read_text()) == log
    assert log["sha256"] == file_sha256(path) == short.checkpoint_sha256()
    assert (log["seed"], log["train_samples"], log["test_samples"]) == (1, 200, 1000)
    assert log["versions"]["torch"] == torch.__version__
    with torch.inference_mode():
        measured = short.evaluate(short.build_ann()).metrics["accuracy_pct"]
    assert measured == pytest.approx(log["test_accuracy_pct"])
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "lenet.json",
        "lenet.safetensors",
    ]


def test_the_same_seed_gives_the_same_weights_and_does_not_touch_the_global_one(tmp_path):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = task(tmp_path / "a.safetensors").train(lambda row: None, seed=3)
    second = task(tmp_path / "b.safetensors").train(lambda row: None, seed=3)
    third = task(tmp_path / "c.safetensors").train(lambda row: None, seed=4)
    assert first["sha256"] != third["sha256"]
    assert first["epochs"][0]["loss"] == pytest.approx(second["epochs"][0]["loss"], rel=1e-4)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_learns(tmp_path):
    log = task(
        tmp_path / "a.safetensors", epochs=5, max_samples=400, augment=False, label_smoothing=0.1
    ).train(lambda row: None)
    assert log["epochs"][-1]["loss"] < 0.6 * log["epochs"][0]["loss"]
    assert log["test_accuracy_pct"] > 60


def test_a_held_out_part_is_measured_after_each_epoch(tmp_path):
    log = task(tmp_path / "a.safetensors", holdout=0.25).train(lambda row: None)
    assert log["train_samples"] == 150
    assert 0 <= log["epochs"][0]["holdout_accuracy_pct"] <= 100


def test_the_held_out_part_has_the_last_samples_of_each_class():
    labels = torch.tensor([0, 1] * 10)
    kept, held = divide(labels, Schedule(holdout=0.2))
    assert held.tolist() == [16, 17, 18, 19]
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(20))


def test_all_parameters_decay_or_only_weights_of_more_than_one_dimension():
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    for decay_all, counts in ((True, [4, 0]), (False, [1, 3])):
        groups = parameter_groups(module, Schedule(weight_decay=0.1, decay_all=decay_all))
        assert [len(group["params"]) for group in groups] == counts
        assert [group["weight_decay"] for group in groups] == [0.1, 0]


def test_nothing_is_written_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = task("x.safetensors")
    log = train_classifier(short.build_module(), short.dataset, Schedule(**SHORT), None)
    assert "sha256" not in log
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (None, "no 'schedule'"),
        ({"epoch": 3}, "named 'epoch'; did you mean 'epochs'"),
        ({"epochs": 0}, "schedule.epochs must be a whole number of at least 1; got 0"),
        ({"lr": -1.0}, "schedule.lr must be a number above 0"),
        ({"holdout": 1.0}, r"schedule.holdout must lie in \[0, 1\)"),
        ({"epochs": "two"}, "schedule.epochs must be a whole number of at least 1; got 'two'"),
        ({"batch_size": 2.5}, "schedule.batch_size must be a whole number"),
        ({"lr": float("nan")}, "schedule.lr must be a number above 0; got nan"),
        ({"weight_decay": -1}, "schedule.weight_decay must be a number of at least 0"),
        ({"augment": "maybe"}, "schedule.augment must be True or False; got 'maybe'"),
        ({"max_samples": 0}, "max_samples must be a whole number"),
    ],
)
def test_a_wrong_schedule_is_one_clear_sentence(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_schedule(options)


def test_training_into_a_pickle_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="training writes safetensors"):
        task(tmp_path / "a.pth").train(lambda row: None)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("x")
    rows = []
    with pytest.raises(DataError, match="cannot be written"):
        task(tmp_path / "file" / "a.safetensors").train(rows.append)
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        task(tmp_path / "b.safetensors").train(rows.append)
    assert not rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.safetensors", "file"]


def test_training_that_diverges_writes_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"what was there")
    with pytest.raises(DataError, match="training diverged"):
        task(path, lr=1e30, warmup=0.0).train(lambda row: None, overwrite=True)
    assert path.read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_holdout_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="leaves nothing of 20 samples"):
        task(tmp_path / "a.safetensors", holdout=0.99, max_samples=20).train(lambda row: None)


def test_the_command_line_keeps_a_trained_network_unless_told_otherwise(tmp_path):
    path = tmp_path / "lenet.safetensors"
    words = ["train", "classification2d/mnist5k_lenet_light", "--cfg-options"]
    words += [f"model.checkpoint={path}", "schedule.epochs=1", "schedule.max_samples=64"]
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.output
    before = path.read_bytes()
    second = CliRunner().invoke(main, words)
    assert second.exit_code != 0 and "--overwrite" in f"{second.output}{second.exception}"
    assert path.read_bytes() == before
    third = CliRunner().invoke(main, [*words[:2], "--overwrite", *words[2:], "seed=1"])
    assert third.exit_code == 0 and path.read_bytes() != before
