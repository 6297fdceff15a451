"""What differs between two records, and what that did to the numbers."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adacal.suite.cli import main
from adacal.suite.config import resolve
from adacal.suite.diff import KINDS, diff
from adacal.suite.foreign import PlugIn
from adacal.suite.records import RunRecord, pack
from adacal.suite.runner import measure
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from suite.suite_toys import N_TEST, raw_config


@pytest.fixture(scope="module")
def first() -> RunRecord:
    return measure(resolve(raw_config()), Session())


@pytest.fixture(scope="module")
def second() -> RunRecord:
    method = {"type": "toy_spiking", "misses": 2}
    return measure(resolve(raw_config(method=method, conversion={"T": 2})), Session())


def test_a_record_does_not_differ_from_itself(first: RunRecord) -> None:
    found = diff(first, first)
    assert found.causes == []
    assert {effect.difference for effect in found.effects} <= {0.0, None}
    assert found.layers == []
    assert found.notes[0] == f"The same: {', '.join(KINDS)}."


def test_settings_are_named_with_defaults_written_out(first: RunRecord, second: RunRecord) -> None:
    causes = [cause for cause in diff(first, second).causes if cause.kind == "config"]
    assert [(cause.what, cause.first, cause.second) for cause in causes] == [
        ("conversion.T", "4", "2"),
        ("method.misses", "1", "2"),  # the first config never said 1: it is the default
    ]


@pytest.mark.parametrize(
    ("kind", "what", "change"),
    [
        ("code", "commit", {"environment": {"commit": "f" * 40}}),
        ("code", "dirty", {"environment": {"dirty": None}}),
        ("machine", "threads", {"environment": {"threads": 99}}),
        ("machine", "processor", {"environment": {"processor": "abacus"}}),
        ("versions", "torch", {"environment": {"torch": "0.1"}}),
        ("versions", "mmdet", {"environment": {"libraries": {"mmdet": "0.1"}}}),
        ("versions", "tonic", {"environment": {"libraries": {"tonic": None}}}),
        ("data", "fingerprint", {"data_fingerprint": "toy:ffff"}),
        ("data", "which calibration samples", {"calibration": {"indices_sha256": "0" * 64}}),
        ("checkpoint", "sha256", {"checkpoint_sha256": "cd" * 32}),
    ],
)
def test_each_cause_is_told_apart(
    first: RunRecord, kind: str, what: str, change: dict[str, object]
) -> None:
    update: dict[str, object] = {}
    for key, value in change.items():
        if isinstance(value, dict):
            if "dirty" in value:
                value = {"dirty": not first.environment.dirty}
            if "libraries" in value:
                known = {**(first.environment.libraries or {}), **value["libraries"]}
                value = {"libraries": {name: it for name, it in known.items() if it}}
            value = getattr(first, key).model_copy(update=value)
        update[key] = value
    found = diff(first, first.model_copy(update=update))
    assert [(cause.kind, cause.what) for cause in found.causes] == [(kind, what)]
    assert found.notes[0].startswith(f"Different: {kind}; the same: ")


def test_plug_ins_of_other_versions_are_a_cause_and_older_records_do_not_know(
    first: RunRecord,
) -> None:
    def using(*plug_ins: PlugIn) -> RunRecord:
        return first.model_copy(update={"plug_ins": list(plug_ins)})

    old = PlugIn(
        name="mine", version="1.0", source="", modules=["mine"], parts=["method mine"], sha256="a"
    )
    new = old.model_copy(update={"version": "1.1", "sha256": "b"})
    changed = diff(using(old), using(new))
    assert [(cause.kind, cause.what, cause.first, cause.second) for cause in changed.causes] == [
        ("plug-ins", "mine", "1.0 (a)", "1.1 (b)")
    ]
    assert [cause.first for cause in diff(using(), using(new)).causes] == ["–"]
    older = diff(first.model_copy(update={"plug_ins": None}), using(new))
    assert older.causes == []
    assert older.notes[0].endswith("versions; not recorded in both: plug-ins.")


def test_versions_of_libraries_are_not_compared_with_a_record_that_does_not_know_them(
    first: RunRecord,
) -> None:
    assert first.environment.libraries is not None
    assert first.environment.libraries["torchvision"] == metadata.version("torchvision")
    unknown = first.environment.model_copy(update={"libraries": None})
    older = diff(first.model_copy(update={"environment": unknown}), first)
    assert older.causes == []
    assert older.notes[0].endswith("versions; not recorded in both: versions of other libraries.")
    other = unknown.model_copy(update={"torch": "0.1"})
    (cause,) = diff(first.model_copy(update={"environment": other}), first).causes
    assert (cause.kind, cause.what, cause.first) == ("versions", "torch", "0.1")


def test_numbers_have_difference_and_ratio(first: RunRecord, second: RunRecord) -> None:
    effects = {effect.quantity: effect for effect in diff(first, second).effects}
    assert effects["spikes"].difference == pytest.approx(-20.0)  # ten a step, T from 4 to 2
    assert effects["spikes"].ratio == pytest.approx(0.5)
    lost = 100.0 * 2 / N_TEST  # one sample more of each of two batches
    assert effects["accuracy_pct, converted"].difference == pytest.approx(-lost)
    assert effects["accuracy_pct, ANN"].difference == 0.0
    assert effects["energy, per_spike (µJ)"].ratio == pytest.approx(0.5)
    (layer,) = diff(first, second).layers
    assert (layer.quantity, layer.ratio) == ("site", pytest.approx(0.5))


def test_samples_that_moved_are_counted(first: RunRecord) -> None:
    correct = first.correct()
    assert correct is not None
    moved = correct[1].copy()
    right, wrong = np.flatnonzero(moved), np.flatnonzero(~moved)
    moved[right[:3]] = False
    moved[wrong[:1]] = True
    other = first.model_copy(update={"snn_correct": pack(moved)})
    (sentence,) = (note for note in diff(first, other).notes if "test samples" in note)
    assert "3 are right in the first alone and 1 in the second alone: -5.00 points" in sentence
    elsewhere = other.model_copy(update={"data_fingerprint": "other"})
    assert not any("test samples" in note for note in diff(first, elsewhere).notes)


def test_the_command_compares_ids_and_paths(
    first: RunRecord, second: RunRecord, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    store.prepare()
    store.add(first)
    path = store.add(second)
    done = CliRunner().invoke(main, ["diff", first.id[:8], str(path), "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for text in (first.id, second.id, "method.misses", "wall time", "Different: config"):
        assert text in done.output
    missing = CliRunner().invoke(main, ["diff", first.id, "ffff", "--results", str(tmp_path)])
    assert missing.exit_code == 2
    assert "no record 'ffff'" in missing.output
