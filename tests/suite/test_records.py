"""Records and their store: whole or absent, never rewritten, read with patience."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adacal.core.errors import DataError
from adacal.suite.config import resolve
from adacal.suite.records import SCHEMA_VERSION, RunRecord, pack, read_record, unpack
from adacal.suite.runner import measure, run
from adacal.suite.session import Session
from adacal.suite.store import RecordStore, write_once
from suite.suite_toys import raw_config


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return measure(resolve(raw_config()), Session())


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_results_unpack_to_themselves(values: list[bool]) -> None:
    assert unpack(pack(np.array(values)), len(values)).tolist() == values


def test_a_record_comes_back_as_it_was_written(record: RunRecord, tmp_path: Path) -> None:
    path = RecordStore(tmp_path).add(record)
    assert read_record(path) == record
    assert path.name.startswith("toy_data-toy_net-toy_spiking-T4-s0-")
    assert record.id in path.name


def test_a_divergence_that_is_not_a_number_survives_the_file(
    record: RunRecord, tmp_path: Path
) -> None:
    odd = record.model_copy(update={"divergence": float("inf")})
    path = RecordStore(tmp_path).add(odd)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert read_record(path).divergence == float("inf")


def test_a_record_is_never_rewritten(record: RunRecord, tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    first = store.add(record)
    second = store.add(record.model_copy(update={"created": "later"}))
    assert second == first
    assert read_record(first).created == record.created
    assert len(list(store.folder.iterdir())) == 1


def test_bad_files_are_named_and_left_alone(record: RunRecord, tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    path = store.add(record)
    values = json.loads(path.read_text())
    bad = {
        "a-cut.json": path.read_text()[:200],
        "b-foreign.json": '{"hello": 1}',
        "c-newer.json": json.dumps({**values, "schema_version": SCHEMA_VERSION + 1}),
        "d-field.json": json.dumps({**values, "T": -1}),
        "e-bits.json": json.dumps({**values, "snn_correct": "AAAA"}),
        "f-list.json": "[1, 2]",
    }
    for name, text in bad.items():
        (store.folder / name).write_text(text)
    (store.folder / "g-bytes.json").write_bytes(b"\xff\xfe\x00")
    records, warnings = store.read_all()
    assert [found.id for found in records] == [record.id]
    assert len(warnings) == len(bad) + 1
    for name, warning in zip([*bad, "g-bytes.json"], warnings, strict=True):
        assert name in warning
        assert (store.folder / name).exists()
    assert f"reads up to {SCHEMA_VERSION}; install a newer adacal" in warnings[2]


def test_a_damaged_file_on_the_name_does_not_lose_the_record(
    record: RunRecord, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    store.folder.mkdir()
    (store.folder / record.filename()).write_text("{")
    assert not store.has(record.id)
    path = store.add(record)
    assert path.name.endswith(f"{record.id}.2.json")
    assert store.has(record.id)
    assert (store.folder / record.filename()).read_text() == "{"
    assert store.find(record.id[:6])[1] == path


def test_a_record_is_found_by_path_and_by_the_start_of_its_id(
    record: RunRecord, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    path = store.add(record)
    assert store.find(str(path))[0] == record
    assert store.find(record.id[:4])[1] == path
    other = record.model_copy(update={"id": record.id[:4] + "0" * 12, "seed": 9})
    store.add(other)
    with pytest.raises(DataError, match="fits 2 records"):
        store.find(record.id[:4])
    with pytest.raises(DataError, match="no record 'zz'"):
        store.find("zz")


def test_an_unwritable_folder_is_refused_before_any_computing(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    config = resolve(raw_config(task={"type": "toy_task", "dataset": {"type": "x"}, "fail": True}))
    with pytest.raises(DataError, match=r"results folder .* cannot be written"):
        run(config, RecordStore(blocker / "results"))


WRITER = """
import sys
from pathlib import Path
from adacal.suite.store import write_once
folder, text = Path(sys.argv[1]), "x" * 2_000_000 + "end"
print("ready", flush=True)
for i in range(10_000):
    write_once(folder / f"{i}.json", text)
"""


def test_a_killed_writer_leaves_no_half_file(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 + 0.03 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for path in folder.glob("*.json"):
            text = path.read_text()
            assert len(text) == 2_000_003
            assert text.endswith("end")


def test_the_second_of_two_writers_keeps_the_firsts_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert write_once(path, "first")
    assert not write_once(path, "second")
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_system_without_hard_links_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_link)
    assert write_once(tmp_path / "a.json", "first")
    assert not write_once(tmp_path / "a.json", "second")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "first")]


def test_a_mistyped_id_gets_the_near_one(record: RunRecord, tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.add(record)
    wrong = record.id[:-1] + ("0" if record.id[-1] != "0" else "1")
    with pytest.raises(DataError, match=f"did you mean '{record.id}'"):
        store.find(wrong)


def test_json_nested_too_deeply_is_a_damaged_record(record: RunRecord, tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.add(record)
    (store.folder / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    found, warnings = store.read_all()
    assert [one.id for one in found] == [record.id]
    assert "deep.json is not JSON" in warnings[0]
