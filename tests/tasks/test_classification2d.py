"""The task adapter: what it hands to the core, and the shipped networks."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

import adacal
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError, DataError
from adacal.suite.registry import TASKS, build
from tasks.checkpoints import DEFAULT_FOLDER, file_sha256
from tasks.classification import balanced_draw
from tasks.classification2d import Classification2D

LENET = {"name": "lenet", "type": "lenet"}
SHIPPED_MODELS = {
    "lenet": LENET,
    "resnet20": {"name": "resnet20", "type": "resnet_cifar", "depth": 20, "width": 16},
    "vgg_small": {
        "name": "vgg_small",
        "type": "vgg",
        "layers": (32, 32, "P", 64, 64, "P", 128, 128, "P"),
        "global_pool": True,
    },
}
PAIRS = [(data, model) for data in ("mnist5k", "mnist_photos") for model in SHIPPED_MODELS]
SHIPPED = [pair for pair in PAIRS if (DEFAULT_FOLDER / f"{'_'.join(pair)}.safetensors").is_file()]


def digits(**options) -> Classification2D:
    config = {"type": "classification2d", "dataset": {"type": "mnist5k"}}
    return build(TASKS, "task", config, **{"model": LENET, **options})


def test_the_task_is_named_by_its_parts():
    task = digits()
    assert (task.name, task.dataset_name, task.model_name) == (
        "classification2d",
        "mnist5k",
        "lenet",
    )
    assert task.metric.name == "accuracy_pct"
    assert digits(model_name="mine").model_name == "mine"
    assert digits(model={"type": "lenet"}).model_name == "lenet"


def test_the_network_gets_classes_channels_and_size_from_the_dataset():
    photos = digits(dataset={"type": "mnist_photos"})
    assert photos.build_module()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    cifar = digits(dataset={"type": "cifar100"})
    assert cifar.build_module()(torch.zeros(1, 3, 32, 32)).shape == (1, 100)


def test_the_example_input_is_two_test_samples():
    assert digits().example_input().shape == (2, 1, 28, 28)


@pytest.mark.parametrize("count", [1, 10, 64, 300])
def test_calibration_samples_are_balanced_and_from_the_training_split(count):
    task = digits()
    batches = task.calibration_batches(count, seed=0)
    indices = torch.cat([batch.indices for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    train = task.dataset.split("train")
    assert max(len(batch.indices) for batch in batches) <= 128
    assert indices.unique().numel() == count
    assert torch.equal(targets, train.labels[indices])
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), train.fetch(indices))
    sizes = torch.bincount(targets, minlength=10)
    assert sizes.max() - sizes.min() <= 1


def test_calibration_never_sees_a_test_image():
    task = digits()
    calibration = {x.numpy().tobytes() for b in task.calibration_batches(4000, 0) for x in b.inputs}
    test = {x.numpy().tobytes() for b in task.test_batches(500) for x in b.inputs}
    assert len(test) == 1000
    assert not calibration & test


def test_calibration_follows_its_seed():
    task = digits()
    first, second, third = (task.calibration_batches(32, seed)[0].indices for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("count", [0, -3, 4001])
def test_an_impossible_number_of_calibration_samples_is_refused(count):
    with pytest.raises(ConfigError, match=rf"takes 1 to 4000 samples .* got {count}"):
        digits().calibration_batches(count, 0)


def test_a_draw_takes_more_of_the_other_classes_when_one_is_used_up():
    labels = torch.tensor([0] * 20 + [1] * 2)
    chosen = balanced_draw(labels, 2, 10, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[chosen]).tolist() == [8, 2]


def test_test_batches_come_in_a_fixed_order():
    task = digits()
    indices = torch.cat([batch.indices for batch in task.test_batches(64)])
    assert torch.equal(indices, torch.arange(1000))
    with pytest.raises(ConfigError, match="batch_size must be 1 or more"):
        next(task.test_batches(0))


def test_evaluation_gives_accuracy_and_one_answer_a_sample():
    task = digits()
    calls = []

    def always_three(inputs):
        return torch.nn.functional.one_hot(torch.full((len(inputs),), 3), 10).float()

    result = task.evaluate(always_three, 300, lambda done, total: calls.append((done, total)))
    assert result.metrics == {"accuracy_pct": 10.0}
    labels = task.dataset.split("test").labels.numpy()
    assert np.array_equal(result.correct, labels == 3)
    assert calls == [(300, 1000), (600, 1000), (900, 1000), (1000, 1000)]


def test_logits_that_are_not_finite_count_as_wrong():
    task = digits(max_test_samples=20)
    result = task.evaluate(lambda inputs: torch.full((len(inputs), 10), float("nan")))
    assert result.metrics == {"accuracy_pct": 0.0}


def test_logits_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"logits of shape \(100, 10\); got \(100, 3\)"):
        digits().evaluate(lambda inputs: torch.zeros(len(inputs), 3))


def test_a_cut_test_split_holds_all_classes_and_has_its_own_fingerprint():
    task = digits(max_test_samples=50)
    batches = list(task.test_batches(30))
    assert [len(batch.indices) for batch in batches] == [30, 20]
    assert torch.bincount(torch.cat([batch.targets for batch in batches])).tolist() == [5] * 10
    assert task.data_fingerprint() == digits().data_fingerprint() + ":first50"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dataset": {"type": "mnist6k"}}, "no dataset named 'mnist6k'; did you mean 'mnist5k'"),
        (
            {"dataset": {"type": "mnist5k", "root": "x"}},
            "no option of dataset 'mnist5k' named 'root'",
        ),
        ({"dataset": "mnist5k"}, "dataset must be a dict; got 'mnist5k'"),
        ({"max_test_sample": 3}, "did you mean 'max_test_samples'"),
        ({"max_test_samples": "ten"}, "max_test_samples must be a whole number; got 'ten'"),
        ({"model": {**LENET, "schedule": 3}}, "model.schedule must be a dict; got 3"),
        ({"max_test_samples": 0}, "max_test_samples must be 1 or more"),
    ],
)
def test_a_wrong_option_is_one_clear_sentence(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        digits(**options)


def test_a_checkpoint_of_another_dataset_does_not_fit():
    path = str(DEFAULT_FOLDER / "mnist5k_lenet.safetensors")
    task = digits(dataset={"type": "mnist_photos"}, checkpoint=path)
    with pytest.raises(DataError, match="does not fit: 'features.0.weight'"):
        task.build_ann()


def test_a_missing_checkpoint_says_how_to_train_one(tmp_path):
    task = digits(model={**LENET, "checkpoint": str(tmp_path / "none.safetensors")})
    assert task.checkpoint_sha256() == ""
    with pytest.raises(DataError, match="`adacal train CONFIG`"):
        task.build_ann()


def test_a_model_says_what_it_needs_otherwise_than_the_schedule():
    model = {**LENET, "schedule": {"epochs": 40}}
    task = digits(model=model, schedule={"epochs": 15, "lr": 0.1})
    assert task.schedule == {"epochs": 40, "lr": 0.1}
    assert digits(model=model).schedule is None


def test_training_without_a_schedule_is_refused():
    with pytest.raises(ConfigError, match="no 'schedule'"):
        digits().train(lambda row: None)


def test_lenet_and_resnet20_are_shipped_for_both_embedded_sets():
    needed = {(data, model) for data, model in PAIRS if model != "vgg_small"}
    assert needed <= set(SHIPPED)


@pytest.mark.parametrize(("data", "model"), SHIPPED)
def test_a_shipped_checkpoint_loads_is_small_and_matches_its_log(data, model):
    task = digits(dataset={"type": data}, model=SHIPPED_MODELS[model])
    assert not task.build_ann().training
    log = json.loads(task.checkpoint.with_suffix(".json").read_text())
    assert task.checkpoint_sha256() == file_sha256(task.checkpoint) == log["sha256"]
    assert task.checkpoint.stat().st_size < 2e6
    assert log["dataset"] == task.data_fingerprint()
    assert log["schedule"]["holdout"] == 0
    with safe_open(task.checkpoint, "pt") as file:
        assert file.metadata() == {"dataset": data, "model": model}


@pytest.mark.parametrize("data", ["mnist5k", "mnist_photos"])
def test_a_shipped_resnet_is_as_accurate_as_its_log_says(data):
    task = digits(dataset={"type": data}, model=SHIPPED_MODELS["resnet20"], max_test_samples=200)
    module = task.build_ann()
    with torch.inference_mode():
        result = task.evaluate(module)
    assert result.metrics["accuracy_pct"] >= 95


@pytest.mark.slow
def test_matched_thresholds_follow_the_shipped_network_closer_than_mmse_at_two_steps():
    task = digits(model=SHIPPED_MODELS["resnet20"])
    ann = task.build_ann()
    *draws, others = (
        torch.cat([batch.inputs for batch in task.calibration_batches(64, seed)])
        for seed in range(4)
    )
    found = dict.fromkeys(("mmse", "matched"), 0.0)
    for calibration, threshold in itertools.product(draws, found):
        network = adacal.convert(ann, calibration[:2], T=2)
        network.calibrate([calibration], threshold=threshold)
        with torch.no_grad():
            found[threshold] += float(symmetric_kl(ann(others), network(others)).mean())
    assert found["matched"] < 0.8 * found["mmse"]
