"""The embedded segmentation set from training to records, whole net and backbone only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from adacal.suite.cli import main
from adacal.suite.config import load
from adacal.suite.records import RunRecord
from adacal.suite.session import build_task
from adacal.suite.store import RecordStore
from tasks.checkpoints import REPOSITORY, file_sha256
from tasks.openmmlab.operations import prepare
from tasks.segmentation import mean_iou

STEM = "segmentation/digit_masks_digit_fcn"
SHIPPED = REPOSITORY / "results" / "checkpoints" / "digit_masks_digit_fcn.safetensors"
CONFIGS = sorted((REPOSITORY / "configs" / "segmentation").glob("digit_masks_*.py"))
TRAIN, TEST = 24, 6
FIRST = "backbone.encoder.0.0.convs.0.conv"


def adacal(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model trained for one epoch on a few scenes, and their cache."""
    folder = tmp_path_factory.mktemp("segmentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADACAL_CACHE", str(folder / "cache"))
        adacal("train", f"{STEM}_light", *tiny(folder), "schedule.train_cfg.max_epochs=1")
        yield folder


def tiny(folder: Path) -> list[str]:
    return [
        "--cfg-options",
        f"task.dataset.train_images={TRAIN}",
        f"task.dataset.test_images={TEST}",
        f"model.checkpoint={folder / 'tiny.safetensors'}",
        "schedule.train_dataloader.batch_size=8",
    ]


@pytest.fixture(scope="module")
def records(place) -> dict[str, RunRecord]:
    few = ("conversion.T=2", "calibration.n_samples=4", "evaluation.latency_repeats=0")
    for config in ("burst", "backbone_only_burst"):
        where = ("--results", place / "results", "--threads", "1")
        adacal("run", f"{STEM}_{config}", *where, *tiny(place), *few)
    found, warnings = RecordStore(place / "results").read_all()
    assert warnings == [] and len(found) == 2
    return {record.model: record for record in found}


def test_training_by_the_command_line_writes_weights_and_a_log(place):
    log = json.loads((place / "tiny.json").read_text())
    assert log["sha256"] == file_sha256(place / "tiny.safetensors")
    assert (log["train_samples"], log["test_samples"]) == (TRAIN, TEST)
    assert [row["epoch"] for row in log["epochs"]] == [1.0]


def test_every_activation_of_the_whole_network_is_a_neuron(records):
    """8 in the encoder; 3 after enlarging and 3 after joining in the decoder; 1 in the head."""
    record = records["digit_fcn"]
    assert [site.kind for site in record.sites] == ["burst"] * 15
    assert record.energy.macs < 0.05 * record.energy.ann_macs
    assert [layer.name for layer in record.layers if layer.macs] == [FIRST]  # it sees pixels


def test_a_spiking_backbone_leaves_the_head_analogue_and_counts_it(records):
    whole, part = records["digit_fcn"], records["digit_fcn_backbone_only"]
    kinds = [site.kind for site in part.sites]
    assert kinds.count("burst") == 14 and len(kinds) == 15
    assert whole.energy.macs < part.energy.macs < part.energy.ann_macs
    assert whole.checkpoint_sha256 == part.checkpoint_sha256


def test_both_are_judged_by_the_mean_iou_on_the_same_images(place, records):
    log = json.loads((place / "tiny.json").read_text())
    for record in records.values():
        assert (record.task, record.dataset, record.n_test) == ("segmentation", "digit_masks", TEST)
        assert record.ann["miou_pct"] == pytest.approx(log["test_miou_pct"])
        assert set(record.snn) == {"miou_pct", "mean_accuracy_pct", "pixel_accuracy_pct"}


def test_records_hold_the_mean_iou_of_redrawn_images(records):
    whole, part = (records[name].redrawn() for name in ("digit_fcn", "digit_fcn_backbone_only"))
    assert (whole[0] == part[0]).all()  # the same ANN on the same redraws
    assert whole[1].std() > 0
    assert whole[1].min() < records["digit_fcn"].snn["miou_pct"] < whole[1].max()


@pytest.mark.parametrize("missing", [None, 0.0])
def test_the_mean_iou_of_redrawn_images_is_mmsegmentations_on_copies(missing):
    """Three images of four classes, one of which the first image alone has."""
    prepare()
    from mmseg.evaluation.metrics import IoUMetric

    random = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (3, 8, 8), generator=random)
    truth[0, 0] = 3
    noise = torch.rand(3, 8, 8, generator=random) < 0.3
    chosen = torch.where(noise, (truth + 1) % 3, truth)
    areas = [
        IoUMetric.intersect_and_union(c, t, 4, 255) for c, t in zip(chosen, truth, strict=True)
    ]
    both, either = (np.stack([one[i].numpy() for one in areas]) for i in (0, 1))
    counts = np.array([[1, 1, 1], [0, 2, 1], [3, 0, 0]])
    for row, value in zip(counts, mean_iou(counts, both, either, missing), strict=True):
        copies = [one for one, count in zip(areas, row, strict=True) for _ in range(count)]
        totals = [sum(one[i] for one in copies) for i in range(4)]
        with np.errstate(all="ignore"):
            theirs = IoUMetric.total_area_to_metrics(*totals, ["mIoU"], missing)["IoU"]
        assert value == pytest.approx(float(np.nanmean(theirs.astype(float))), abs=1e-7)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_is_of_the_shipped_network(path):
    task = build_task(load(path))
    assert task.checkpoint == SHIPPED
    assert (task.dataset_name, task.metric.name) == ("digit_masks", "miou_pct")
    assert task.model_name == "digit_fcn" + "_backbone_only" * ("backbone_only" in path.stem)


def test_the_shipped_network_scores_what_its_log_says(place):
    """The test images are the same however many training images are made."""
    log = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert log["sha256"] == file_sha256(SHIPPED)
    assert SHIPPED.stat().st_size < 4_000_000
    task = build_task(load(f"{STEM}_ann", ["task.dataset.train_images=1"]))
    ann = task.build_ann()
    scores = task.evaluate(lambda inputs: task.spiking_forward(ann, inputs).detach(), 50).metrics
    assert scores["miou_pct"] == pytest.approx(log["test_miou_pct"], abs=0.1)
    assert log["test_samples"] == task.n_test() == 500
