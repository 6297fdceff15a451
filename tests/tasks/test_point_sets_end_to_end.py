"""Tiny trees of real point-cloud sets from the command line to records."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from adacal.suite.cli import main
from adacal.suite.store import RecordStore
from point_trees import write_meshes, write_shapes

TINY = ("model.local_widths=(16,)", "model.widths=(32,)", "model.hidden=(16,)")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path / "cache"))


def adacal(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def options(tmp_path: Path) -> list[str]:
    return [
        "--cfg-options",
        f"task.dataset.root={tmp_path}",
        "task.dataset.num_points=64",
        f"model.checkpoint={tmp_path / 'tiny.safetensors'}",
        *TINY,
    ]


SHORT = ("schedule.epochs=2", "schedule.batch_size=16")
FEW = ("calibration.n_samples=20", "evaluation.latency_repeats=1")


def test_meshes_go_through_training_and_conversion_to_verified_rows(tmp_path):
    write_meshes(tmp_path, 10)
    stem = "classification3d/modelnet10_pointnet_mean"
    adacal("train", f"{stem}_light_T8", *options(tmp_path), *SHORT)
    place = ("--results", tmp_path / "results", "--threads", "1")
    for method in ("light", "adaptive"):
        adacal("run", f"{stem}_{method}_T8", *place, *options(tmp_path), *FEW)
    records, warnings = RecordStore(tmp_path / "results").read_all()
    assert warnings == []
    methods = {record.method for record in records}
    assert methods == {"snn_calibration_light", "adaptive_calibration"}
    for record in records:
        assert (record.task, record.dataset) == ("classification3d", "modelnet10")
        assert record.ann["accuracy_pct"] % 10 == record.snn["accuracy_pct"] % 10 == 0
        assert sum(layer.sops for layer in record.layers) > 0
        assert "verified" in adacal("verify", record.id, *place)


@pytest.mark.slow
def test_parts_go_through_training_and_conversion_to_rows(tmp_path):
    write_shapes(tmp_path)
    stem = "part_segmentation3d/shapenet_part_pointnet_parts_mean"
    adacal("train", f"{stem}_light_T8", *options(tmp_path), *SHORT)
    place = ("--results", tmp_path / "results", "--threads", "1")
    for method in ("light", "adaptive"):
        adacal("run", f"{stem}_{method}_T8", *place, *options(tmp_path), *FEW)
    records, warnings = RecordStore(tmp_path / "results").read_all()
    assert warnings == [] and len(records) == 2
    for record in records:
        assert (record.task, record.dataset) == ("part_segmentation3d", "shapenet_part")
        # Only parts of the cloud's own class are chosen from, so even chance scores.
        assert 10.0 < record.snn["instance_miou_pct"] <= 100.0
        assert sum(layer.sops for layer in record.layers) > 0
