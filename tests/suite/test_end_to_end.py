"""One real run on a shipped network: config, record, table, and the record verified."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from adacal.suite.cli import main
from adacal.suite.store import RecordStore

SMALL = ("task.max_test_samples=100", "calibration.n_samples=32", "evaluation.latency_repeats=1")


def adacal(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_shipped_network_goes_from_config_to_a_verified_row(tmp_path: Path) -> None:
    place = ("--results", tmp_path)
    for method in ("ann", "quantized_ann", "snn_calibration_light", "adaptive_calibration"):
        adacal(
            "run", "classification2d/mnist5k_lenet_light", *place, "--threads", "1",
            "--cfg-options", f"method.type={method}", *SMALL,
        )  # fmt: skip
    records, warnings = RecordStore(tmp_path).read_all()
    assert warnings == []
    found = {record.method: record for record in records}
    assert found["ann"].energy.macs == found["ann"].energy.ann_macs
    assert found["ann"].divergence is not None
    assert abs(found["ann"].divergence) < 1e-6
    assert found["quantized_ann"].strictness == "quantised"
    light = found["snn_calibration_light"]
    assert light.strictness == "binary"
    assert light.snn["accuracy_pct"] > 90.0
    by_step = light.timesteps.metric_by_step
    assert by_step is not None and len(by_step) == light.T
    assert by_step[-1] == light.snn["accuracy_pct"] and by_step[0] < by_step[-1]
    assert light.timesteps.ms_per_step is None and found["ann"].timesteps.metric_by_step is None
    assert light.energy.energy_pj["per_spike"] < light.energy.ann_energy_pj["per_spike"]
    assert sum(layer.sops for layer in light.layers) > 0
    assert found["adaptive_calibration"].timesteps.mean <= 4.0
    shown = adacal("show", light.id, *place)
    assert "conv" in shown and "after each step" in shown and "recording" not in shown
    drawn = adacal("show", light.id, "--pictures", "--samples", 3, *place)
    assert f"wrote {tmp_path / 'pictures'}" in drawn.replace("\n", "")
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.name.startswith("mnist5k-lenet") and picture.read_bytes()[:4] == b"\x89PNG"
    assert "verified" in adacal("verify", light.id, *place, "--threads", "1")
    table = adacal("leaderboard", *place, "--format", "md")
    assert "| control | ann | none |" in table
    assert "snn_calibration_light" in table
