"""The real sets, in their true layouts: what is read, and numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adacal.suite import runner
from adacal.suite.store import RecordStore
from dense_sets import CLASSES, DETECTION, SEGMENTATION, RealSet, maps_of, name_of, real_set
from dense_trees import VOID
from tasks.openmmlab.data import image_path

SETS = (*DETECTION, *SEGMENTATION)
PLANE, PERSON = 0, 14
"""The two classes of the detection trees, by VOC's names."""


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RealSet]:
    return {name: real_set(name, tmp_path_factory.mktemp(name)) for name in SETS}


@pytest.fixture(scope="module")
def tasks(sets: dict[str, RealSet]) -> dict[str, Any]:
    return {name: real.task() for name, real in sets.items()}


def answers(real: RealSet, score: float = 0.9) -> dict[str, Any]:
    """What is true, as a model would say it; what is passed over is not said."""
    if real.name in SEGMENTATION:
        return dict(real.truth)
    return {
        name: [(thing.label, thing.box, score) for thing in things if not thing.ignored]
        for name, things in real.truth.items()
    }


@pytest.mark.parametrize("name", SETS)
def test_the_whole_truth_scores_100(sets, tasks, name):
    task = tasks[name]
    scores = task.evaluate(maps_of(task, answers(sets[name])), batch_size=1).metrics
    assert scores[task.metric.name] == pytest.approx(100)


@pytest.mark.parametrize("name", SETS)
def test_images_of_all_sizes_come_in_order_and_batches_change_nothing(sets, tasks, name):
    task = tasks[name]
    one, three = list(task.test_batches(1)), list(task.test_batches(3))
    assert [int(batch.indices) for batch in one] == list(range(len(sets[name].truth)))
    assert torch.cat([batch.indices for batch in three]).tolist() == list(range(len(one)))
    images = [image for batch in three for image in batch.inputs]
    assert all(torch.equal(a.inputs[0], b) for a, b in zip(one, images, strict=True))
    assert [name_of(batch.targets[0]) for batch in one] == list(sets[name].truth)
    assert all(max(batch.inputs.shape[2:]) <= 192 for batch in one)  # else this takes minutes


@pytest.mark.parametrize("name", SETS)
def test_calibration_images_are_training_images(tasks: dict[str, Any], name: str) -> None:
    task = tasks[name]
    seen = {image_path(task.test_dataset, position) for position in range(task.n_test())}
    count = len(task.training_dataset)
    (batch,) = task.calibration_batches(count, seed=0)
    assert sorted(batch.indices.tolist()) == list(range(count))
    paths = {sample.img_path for sample in batch.targets}
    assert len(paths) == count and not paths & seen
    again = [task.calibration_batches(2, seed=3)[0].indices.tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_training_data_of_voc_is_of_both_years_and_of_sbd(tasks: dict[str, Any]) -> None:
    assert len(tasks["voc"].training_dataset) == 3 + 4
    assert len(tasks["voc12"].training_dataset) == 2 + 2


@pytest.mark.parametrize("name", DETECTION)
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # of two objects of class 0 one is found: precision 1 up to a recall of 1/2
        ({"first": [PLANE, PERSON]}, {"coco": (51 / 101 + 1) / 2, "voc": (6 / 11 + 1) / 2}),
        # the only person is missed
        ({"first": [PLANE], "third": [PLANE]}, {"coco": 1 / 2, "voc": 1 / 2}),
    ],
)
def test_missed_objects_cost_what_is_worked_out_by_hand(sets, tasks, name, said, expected):
    real = sets[name]
    task = tasks[name]
    parts = dict(zip(("first", "second", "third"), real.truth, strict=True))
    full = answers(real)
    wanted = {
        image: [one for one in full[image] if one[0] in said.get(part, [])]
        for part, image in parts.items()
    }
    score = task.evaluate(maps_of(task, wanted), batch_size=1).metrics[task.metric.name]
    assert score == pytest.approx(100 * expected[name], abs=0.051)  # they round to 0.1 %


@pytest.mark.parametrize("name", DETECTION)
def test_a_wrong_box_costs_precision_unless_it_lies_on_what_is_passed_over(sets, tasks, name):
    real = sets[name]
    task = tasks[name]
    first, second, third = real.truth
    (passed_over,) = [thing for thing in real.truth[third] if thing.ignored]
    wanted = answers(real, 0.8)
    wanted[third].append((PLANE, passed_over.box, 0.95))
    score = task.evaluate(maps_of(task, wanted), batch_size=1).metrics[task.metric.name]
    assert score == pytest.approx(100)
    wanted[second].append((PLANE, (1, 1, 20, 20), 0.9))  # where there is nothing at all
    score = task.evaluate(maps_of(task, wanted), batch_size=1).metrics[task.metric.name]
    # ranks: wrong, right, right; the best precision at any recall is 2/3
    assert score == pytest.approx(100 * (2 / 3 + 1) / 2, abs=0.051)
    assert first in wanted


@pytest.mark.parametrize("name", SEGMENTATION)
def test_wrong_masks_score_what_pixel_counts_give(sets, tasks, name):
    real = sets[name]
    task = tasks[name]
    said = {image: np.roll(np.where(m == VOID, 0, m), 9, 1) for image, m in real.truth.items()}
    score = task.evaluate(maps_of(task, said), batch_size=1).metrics["miou_pct"]
    true = np.concatenate([mask.ravel() for mask in real.truth.values()])
    guess = np.concatenate([said[image].ravel() for image in real.truth])
    guess, true = guess[true != VOID], true[true != VOID]
    ious = [
        ((guess == label) & (true == label)).sum() / ((guess == label) | (true == label)).sum()
        for label in range(CLASSES[name])
        if ((guess == label) | (true == label)).any()
    ]
    assert 0 < score < 100 and score == pytest.approx(100 * np.mean(ious), abs=0.0051)


@pytest.mark.parametrize("name", SETS)
def test_a_run_converts_and_measures(sets: dict[str, RealSet], name: str, tmp_path: Path) -> None:
    real = sets[name]
    as_they_are = {"test_dataloader.dataset.pipeline.1": {"scale_factor": 1.0}}
    config = real.config(
        task={"dataset": {"options": as_they_are}},
        method={"max_spikes": 8},
        conversion={"T": 4},
        calibration={"n_samples": 1},
    )
    record = runner.run(config, RecordStore(tmp_path), threads=1)
    assert (record.dataset, record.model, record.n_test) == (name, "small", len(real.truth))
    assert record.metric.name == {"coco": "map_pct", "voc": "map50_pct"}.get(name, "miou_pct")
    # random heads: about as unsure of each class at every place, which a detector's sums up
    assert 0 < record.divergence < (2.0 if name in DETECTION else 0.001)
    assert record.energy.sops > 0 and record.energy.macs < record.energy.ann_macs
