"""The embedded detection set from the command line: a detector trained, converted, verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adacal.suite import config as configs
from adacal.suite.cli import main
from adacal.suite.matrix import load_matrix
from adacal.suite.session import build_task
from adacal.suite.store import RecordStore
from tasks.checkpoints import DEFAULT_FOLDER

STEM = "detection/digit_scenes_digit_atss"
SEEN = 80


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADACAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def adacal(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def options(*words: str) -> list[str]:
    return ["--cfg-options", *words, "calibration.n_samples=8", "evaluation.latency_repeats=0"]


@pytest.fixture(scope="module")
def shipped_log() -> dict[str, Any]:
    return dict(json.loads((DEFAULT_FOLDER / "digit_scenes_digit_atss.json").read_text()))


def test_a_detector_goes_through_training_and_conversion_to_verified_rows(tmp_path: Path):
    small = options(
        "task.dataset.train_images=16",
        "task.dataset.test_images=6",
        "model.options={'model.backbone.base_channels': 4, 'model.bbox_head.in_channels': 16,"
        " 'model.bbox_head.feat_channels': 8}",
        f"model.checkpoint={tmp_path / 'tiny.safetensors'}",
    )
    adacal("train", f"{STEM}_light", *small, "schedule.train_cfg.max_epochs=1")
    log = json.loads((tmp_path / "tiny.json").read_text())
    assert len(log["epochs"]) == 1 and log["train_samples"] == 16
    place = ("--results", tmp_path / "results", "--threads", "1")
    for variant in ("light", "backbone_only_burst"):
        adacal("run", f"{STEM}_{variant}", *place, *small, "conversion.T=2")
    records, warnings = RecordStore(tmp_path / "results").read_all()
    assert warnings == [] and len(records) == 2
    for record in records:
        assert (record.task, record.dataset, record.n_test) == ("detection", "digit_scenes", 6)
        assert record.ann["map_pct"] == pytest.approx(log["test_map_pct"])
        assert sum(layer.sops for layer in record.layers) > 0
        assert record.redraws is not None
    assert "verified" in adacal("verify", records[0].id, *place)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The shipped detector with bursts, on the first test images."""
    results = tmp_path_factory.mktemp("results")
    few = ("task.dataset.train_images=32", f"task.dataset.test_images={SEEN}")
    adacal(
        "run", f"{STEM}_burst", "--results", results, "--threads", "1",
        *options(*few), "calibration.n_samples=32", "conversion.T=4",
    )  # fmt: skip
    (record,), warnings = RecordStore(results).read_all()
    assert warnings == []
    return record


def test_the_shipped_detector_is_as_good_as_its_log_says(whole, shipped_log):
    assert whole.checkpoint_sha256 == shipped_log["sha256"]
    assert shipped_log["test_samples"] == 1000
    assert shipped_log["test_map50_pct"] > 89.0
    assert whole.ann["map50_pct"] == pytest.approx(shipped_log["test_map50_pct"], abs=4.0)
    assert whole.ann["map_pct"] == pytest.approx(shipped_log["test_map_pct"], abs=4.0)


def test_the_whole_detector_spikes_and_answers_nearly_as_the_trained_one(whole):
    assert whole.strictness == "burst"
    assert [site.kind for site in whole.sites] == 17 * ["burst"]  # nothing is left analogue
    assert whole.snn["map_pct"] > 0.9 * whole.ann["map_pct"]
    assert whole.energy.energy_pj["per_spike"] < whole.energy.ann_energy_pj["per_spike"]


def test_every_variant_of_the_run_names_the_same_checkpoint():
    names = sorted(path.stem for path in (configs.CONFIG_FOLDER / "detection").glob("digit_*.py"))
    assert len(names) == 7
    for name in names:
        config = configs.load(f"detection/{name}")
        task = build_task(config)
        assert task.checkpoint == DEFAULT_FOLDER / "digit_scenes_digit_atss.safetensors"
        assert task.model_name.endswith("_backbone_only") == ("backbone_only" in name)
        config.build_method()


def test_the_checkpoint_is_small():
    assert (DEFAULT_FOLDER / "digit_scenes_digit_atss.safetensors").stat().st_size < 4e6


def test_the_matrix_runs_whole_and_backbone_at_all_steps():
    cells = load_matrix("detection")
    found = {(cell.config.model.get("backbone_only", False), cell.config.conversion.T)
             for cell in cells if cell.config.uses_T}  # fmt: skip
    assert found == {(kept, T) for kept in (False, True) for T in (2, 4, 8, 16)}
