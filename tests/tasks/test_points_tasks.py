"""Tasks on point clouds: classes and parts, their measures, and one conversion from end to end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from torch import Tensor

from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError, DataError
from adacal.suite.registry import TASKS, build, load_tasks
from tasks.checkpoints import REPOSITORY
from tasks.data.mnist_points import MnistPoints
from tasks.part_segmentation3d import choose_parts, cloud_ious, mean_by_class

POINTNET: dict[str, Any] = {
    "name": "tiny",
    "type": "pointnet",
    "local_widths": (16,),
    "widths": (32,),
    "hidden": (16,),
}
SHIPPED = {
    "mnist_points_pointnet_small_light": "classification3d",
    "mnist_points_pointnet_small_mean_light": "classification3d",
    "mnist_points_pointnet_small_tnet_light": "classification3d",
}
PARTS = {**POINTNET, "type": "pointnet_parts"}
DATA = {"type": "mnist_points", "num_points": 64}


def task(kind: str = "classification3d", **options: Any) -> Any:
    load_tasks()
    model = PARTS if kind == "part_segmentation3d" else POINTNET
    return build(TASKS, "task", {"type": kind, "dataset": DATA, "model": model, **options})


def test_tasks_are_named_by_their_parts_and_tell_the_network_its_outputs():
    classes, parts = task(), task("part_segmentation3d")
    assert (classes.name, classes.dataset_name, classes.model_name) == (
        "classification3d",
        "mnist_points",
        "tiny",
    )
    assert classes.metric.name == "accuracy_pct"
    assert parts.metric.name == "instance_miou_pct"
    assert classes.build_module().eval()(classes.example_input()).shape == (2, 10)
    assert parts.build_module().eval()(parts.example_input()).shape == (2, 4, 64)


def test_calibration_clouds_are_balanced_and_from_the_training_split():
    batches = task().calibration_batches(40, seed=0)
    targets = torch.cat([batch.targets for batch in batches])
    assert torch.bincount(targets).tolist() == [4] * 10
    train = task().dataset.split("train")
    chosen = torch.cat([batch.indices for batch in batches])
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), train.fetch(chosen))


def test_training_takes_some_points_and_their_parts(monkeypatch):
    monkeypatch.setattr(MnistPoints, "augment", lambda self, clouds, generator: clouds)
    dataset, schedule = {**DATA, "training_points": 16}, {"epochs": 4}
    segmentation = task("part_segmentation3d", dataset=dataset, schedule=schedule)
    indices, generator = torch.tensor([5, 900]), torch.Generator().manual_seed(0)
    clouds, parts = segmentation.training_pair(indices, 0, generator)
    assert clouds.shape == (2, 16, 3) and parts.shape == (2, 16)
    split = segmentation.dataset.split("train")
    same = (clouds[:, :, None] == split.fetch(indices)[:, None]).all(3)  # [2, 16, 64]
    assert bool(same.any(2).all())
    known = split.parts(indices)[:, None].expand(2, 16, 64)[same]
    assert torch.equal(known, parts.flatten())
    other, _ = segmentation.training_pair(indices, 2, generator)
    assert other.shape == clouds.shape and not torch.equal(other, clouds)
    assert segmentation.training_pair(indices, 3, generator)[0].shape == (2, 64, 3)
    assert segmentation.inputs("train", indices).shape == (2, 64, 3)


@pytest.mark.parametrize("count", [0, 65])
def test_an_impossible_number_of_training_points_is_refused(count):
    with pytest.raises(
        ConfigError, match=f"training_points must be 1 to num_points, 64; got {count}"
    ):
        task(dataset={**DATA, "training_points": count})


def test_targets_of_part_segmentation_are_the_parts_of_points():
    segmentation = task("part_segmentation3d", max_test_samples=20)
    batch = next(segmentation.test_batches(8))
    assert torch.equal(batch.targets, segmentation.dataset.split("test").parts(torch.arange(8)))


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("classification3d", {"dataset": {"type": "mnist5k"}}, "holds no point clouds; take one"),
        ("classification2d", {"dataset": DATA}, "holds no images; take one that does, mnist5k say"),
        ("part_segmentation3d", {"dataset": {"type": "mnist5k"}}, "holds no point clouds"),
        ("classification3d", {"max_test_sample": 3}, "did you mean 'max_test_samples'"),
        ("classification3d", {"model": {"type": "lenet"}}, "no option of model 'lenet' named 'in_"),
    ],
)
def test_wrong_options_are_one_sentence(kind, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        task(kind, **options).build_module()


def brute_force_iou(
    chosen: Any, truth: Any, label: int, parts: dict[int, tuple[int, ...]]
) -> float:
    found = []
    for part in parts[label]:
        mine = {i for i, value in enumerate(chosen) if value == part}
        true = {i for i, value in enumerate(truth) if value == part}
        found.append(len(mine & true) / len(mine | true) if mine | true else 1.0)
    return sum(found) / len(found)


PARTS_OF_CLASS = {0: (0, 1), 1: (2,), 2: (1, 3, 4)}


@st.composite
def segmented(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Labels [B], true parts [B, P] that the classes have, logits [B, 5, P]."""
    count, points = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    labels = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    truth = [
        draw(st.lists(st.sampled_from(PARTS_OF_CLASS[label]), min_size=points, max_size=points))
        for label in labels
    ]
    seed = draw(st.integers(0, 1000))
    logits = torch.randn(count, 5, points, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(labels), torch.tensor(truth), logits


@given(segmented())
@settings(max_examples=80, deadline=None)
def test_iou_and_its_means_are_those_of_sets_counted_one_by_one(drawn):
    labels, truth, logits = drawn
    chosen = choose_parts(logits, labels, PARTS_OF_CLASS)
    for row, label in enumerate(labels.tolist()):
        for place in range(truth.shape[1]):
            best = max(PARTS_OF_CLASS[label], key=lambda part: float(logits[row, part, place]))
            assert int(chosen[row, place]) == best
    ious = cloud_ious(chosen, truth, labels, PARTS_OF_CLASS)
    wanted = [
        brute_force_iou(chosen[row].tolist(), truth[row].tolist(), int(labels[row]), PARTS_OF_CLASS)
        for row in range(len(labels))
    ]
    assert np.allclose(ious.numpy(), wanted, atol=1e-6)
    classes = sorted(set(labels.tolist()))
    means = [
        np.mean([w for w, label in zip(wanted, labels, strict=True) if label == c]) for c in classes
    ]
    assert float(mean_by_class(ious, labels, 3)) == pytest.approx(float(np.mean(means)), abs=1e-5)
    assert torch.equal(cloud_ious(truth, truth, labels, PARTS_OF_CLASS), torch.ones(len(labels)))


def answer(segmentation: Any, change: Any) -> Any:
    """Evaluates a network that knows the true parts, changed."""
    split, place = segmentation.dataset.split("test"), [0]

    def predict(inputs: Tensor) -> Tensor:
        first, place[0] = place[0], place[0] + len(inputs)
        parts = split.parts(torch.arange(first, place[0]))
        return change(torch.nn.functional.one_hot(parts, 4).transpose(1, 2).float())

    return segmentation.evaluate(predict, 7)


def test_the_evaluation_measures_both_means_and_points():
    segmentation = task("part_segmentation3d", max_test_samples=20)
    perfect = answer(segmentation, lambda logits: logits)
    assert perfect.correct is None
    assert perfect.metrics == {
        "instance_miou_pct": 100.0,
        "class_miou_pct": 100.0,
        "point_accuracy_pct": 100.0,
    }
    shifted = answer(segmentation, lambda logits: logits.roll(1, 1))
    assert shifted.metrics["point_accuracy_pct"] == 0
    assert shifted.metrics["instance_miou_pct"] < 50  # absent parts count 1
    broken = answer(segmentation, lambda logits: logits * torch.nan)
    assert broken.metrics["instance_miou_pct"] == broken.metrics["point_accuracy_pct"] == 0


def test_class_and_instance_means_weigh_clouds_differently():
    segmentation = task("part_segmentation3d", max_test_samples=15)
    labels = segmentation.dataset.split("test").labels[:15]
    assert torch.bincount(labels).tolist() == [2] * 5 + [1] * 5

    def spoil(logits: Tensor) -> Tensor:
        return logits.roll(1, 1)

    calls = [0]

    def spoil_the_first(logits: Tensor) -> Tensor:
        calls[0] += 1
        return spoil(logits) if calls[0] == 1 else logits

    evaluation = answer(segmentation, spoil_the_first)
    metrics = evaluation.metrics
    assert metrics["class_miou_pct"] != pytest.approx(metrics["instance_miou_pct"], abs=0.01)
    # The first batch of seven is spoilt; without it all is right.
    once, without = np.ones(15, int), np.array([0] * 7 + [2] * 7 + [1])
    assert evaluation.redraw is not None
    expected = [metrics["instance_miou_pct"], 100.0]
    assert evaluation.redraw(np.stack([once, without])) == pytest.approx(expected, abs=1e-4)


def test_logits_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"logits of shape \(100, 4, 64\); got \(100, 4\)"):
        task("part_segmentation3d").evaluate(lambda inputs: torch.zeros(len(inputs), 4))


def short(tmp_path: Any, kind: str) -> Any:
    schedule = {"epochs": 4, "batch_size": 20, "lr": 0.1, "max_samples": 400}
    return task(
        kind,
        checkpoint=str(tmp_path / "tiny.safetensors"),
        schedule=schedule,
        max_test_samples=100,
    )


@pytest.mark.parametrize("kind", ["classification3d", "part_segmentation3d"])
def test_a_tiny_pointnet_learns_and_is_converted(tmp_path, kind):
    whole = short(tmp_path, kind)
    log = whole.train(lambda row: None)
    assert log["epochs"][-1]["loss"] < 0.9 * log["epochs"][0]["loss"]
    assert json.loads((tmp_path / "tiny.json").read_text()) == log
    ann = whole.build_ann()
    with torch.inference_mode():
        trained = whole.evaluate(ann).metrics
    if kind == "part_segmentation3d":
        assert trained["point_accuracy_pct"] > 45
    else:
        assert trained["accuracy_pct"] > 30
    inputs = [batch.inputs for batch in whole.calibration_batches(64, 0)]
    network = convert(ann, inputs[0], T=8, max_spikes=4, strict=True)
    found = network.calibrate(inputs)
    spiking = whole.evaluate(network).metrics
    assert found < 0.1
    assert spiking[whole.metric.name] == pytest.approx(trained[whole.metric.name], abs=6)


def test_the_divergence_of_parts_is_the_mean_over_points():
    segmentation = task("part_segmentation3d")
    first, second = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    by_point = torch.stack([symmetric_kl(first[..., p], second[..., p]) for p in range(8)])
    assert torch.allclose(segmentation.divergence(first, second), by_point.mean(0), atol=1e-6)


def shipped(config: str, **options: Any) -> Any:
    load_tasks()
    cfg = Config.fromfile(REPOSITORY / "configs" / SHIPPED[config] / f"{config}.py")
    return build(TASKS, "task", cfg.task, model=cfg.model, **options)


@pytest.mark.parametrize("config", SHIPPED)
def test_a_shipped_checkpoint_is_small_matches_its_log_and_keeps_its_promise(config):
    whole = shipped(config)
    log = json.loads(whole.checkpoint.with_suffix(".json").read_text())
    assert whole.checkpoint_sha256() == log["sha256"]
    assert whole.checkpoint.stat().st_size < 2e6
    assert log["dataset"] == whole.data_fingerprint()
    assert log["schedule"]["holdout"] == 0
    few = shipped(config, max_test_samples=100)
    with torch.inference_mode():
        metrics = few.evaluate(few.build_ann(), 50).metrics
    measured = metrics.get("accuracy_pct", metrics.get("point_accuracy_pct"))
    assert measured == pytest.approx(log["test_accuracy_pct"], abs=5)


@pytest.mark.slow
@pytest.mark.parametrize("config", SHIPPED)
def test_eight_steps_of_bursts_follow_a_shipped_network_closely(config):
    whole = shipped(config, max_test_samples=100)
    ann, batches = whole.build_ann(), [b.inputs for b in whole.calibration_batches(64, 0)]
    network = convert(ann, batches[0], T=8, max_spikes=4, strict=True)
    network.calibrate(batches)
    with torch.inference_mode():
        wanted = whole.evaluate(ann, 50).metrics[whole.metric.name]
    found = whole.evaluate(network, 50).metrics[whole.metric.name]
    assert found == pytest.approx(wanted, abs=3)
