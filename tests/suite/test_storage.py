"""What lies in a results folder: files whole or absent, claims, the quarantine, older schemas."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adacal.core.errors import DataError
from adacal.suite import files
from adacal.suite.claims import Claims
from adacal.suite.config import resolve
from adacal.suite.files import StorageError, move_aside, sweep_parts, write_once, write_replacing
from adacal.suite.migrations import HISTORY, SCHEMA_VERSION, STEPS, NewerSchema, migrate
from adacal.suite.places import CHECKOUT
from adacal.suite.records import DamagedRecord, RunRecord, parse_record, read_record
from adacal.suite.runner import measure
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from suite.suite_toys import raw_config


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return measure(resolve(raw_config()), Session())


def as_first_schema(record: RunRecord) -> dict[str, Any]:
    values = json.loads(record.to_json())
    del values["wall"], values["shared"], values["plug_ins"], values["timesteps"]["warmup"]
    del values["environment"]["libraries"], values["environment"]["instructions"]
    return {**values, "schema_version": 1}


def test_a_record_of_the_first_schema_is_read_and_its_file_left_as_it_is(
    record: RunRecord, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(as_first_schema(record)))
    before = path.read_bytes()
    read = read_record(path)
    assert read.schema_version == SCHEMA_VERSION
    assert read.wall is None and read.shared is None and read.plug_ins is None  # never invented
    assert read.environment.libraries is None and read.environment.instructions is None
    unknown = {"libraries": None, "instructions": None}
    assert read.environment == record.environment.model_copy(update=unknown)
    assert read.numbers() == record.numbers()
    assert path.read_bytes() == before


def test_records_that_were_committed_under_an_older_schema_are_read() -> None:
    folder = CHECKOUT / "results" / "records"
    old = [p for p in sorted(folder.glob("*.json")) if '"schema_version": 1,' in p.read_text()[:40]]
    for path in old[:10]:
        assert read_record(path).id in path.name


def test_every_schema_of_the_past_has_its_step_and_its_word() -> None:
    assert list(HISTORY) == list(range(1, SCHEMA_VERSION + 1))
    assert list(STEPS) == list(range(1, SCHEMA_VERSION))


def test_the_fields_of_an_older_schema_are_not_taken_for_those_of_the_present(
    record: RunRecord,
) -> None:
    values = {**as_first_schema(record), "schema_version": SCHEMA_VERSION}
    with pytest.raises(DamagedRecord, match="wall: Field required"):
        parse_record(json.dumps(values), "it")


@pytest.mark.parametrize(
    ("version", "kind", "sentence"),
    [
        (SCHEMA_VERSION + 1, NewerSchema, f"reads up to {SCHEMA_VERSION}; install a newer adacal"),
        (0, DataError, "schema 0, which never was; the first is 1"),
        (-1, DataError, "schema -1, which never was"),
    ],
)
def test_a_schema_from_elsewhere_is_refused_with_both_versions(
    version: int, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        migrate({"schema_version": version}, "it")


def test_what_is_no_record_goes_to_the_quarantine_and_is_named(
    record: RunRecord, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    good = store.add(record)
    values = json.loads(good.read_text())
    bad = {
        "cut.json": good.read_bytes()[:300],
        "foreign.json": b'{"hello": 1}',
        "bytes.json": b"\xff\xfe\x00",
        "empty.json": b"",
        "true.json": json.dumps({**values, "schema_version": True}).encode(),
        "big.json": b'{"schema_version": 1' + b"0" * 5000 + b"}",
        "field.json": json.dumps({**values, "T": -1}).encode(),
    }
    newer = json.dumps({**values, "schema_version": SCHEMA_VERSION + 1})
    for name, content in bad.items():
        (store.folder / name).write_bytes(content)
    (store.folder / "newer.json").write_text(newer)
    (store.folder / "folder.json").mkdir()
    store.quarantine_folder.mkdir()
    (store.quarantine_folder / "cut.json").write_text("from last week")
    sentences = store.quarantine()
    assert len(sentences) == len(bad) + 2
    for name, content in bad.items():
        assert any(name in sentence and "moved to" in sentence for sentence in sentences)
        moved = store.quarantine_folder / ("cut.json.2" if name == "cut.json" else name)
        assert moved.read_bytes() == content
        reason = moved.with_name(f"{moved.name}.reason.txt").read_text()
        assert reason.startswith(str(store.folder / name))
    assert (store.quarantine_folder / "cut.json").read_text() == "from last week"
    assert sorted(p.name for p in store.folder.iterdir()) == sorted(
        [good.name, "folder.json", "newer.json"]
    )
    assert len(store.quarantine()) == 2  # the two that stay are named again, nothing else moves
    assert [found.id for found in store.read_all()[0]] == [record.id]


def test_a_record_of_a_newer_adacal_is_not_computed_again(
    record: RunRecord, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    path = store.add(record)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(NewerSchema, match="install a newer adacal"):
        store.has(record.id)


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "link", "replace"])
def test_a_full_disk_is_one_sentence_at_whichever_step_it_shows(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_replacing(tmp_path / "old", "kept")
    if step == "mkstemp":
        monkeypatch.setattr(files.tempfile, step, full)
    else:
        monkeypatch.setattr(os, step, full)
        if step == "link":  # then a rename is tried, on the same full disk
            monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=r"No space left on device\); free space and run"):
        if step == "replace":
            write_replacing(tmp_path / "old", "new")
        else:
            write_once(tmp_path / "new", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "kept"


def test_a_file_moved_aside_overwrites_none_and_one_that_is_gone_is_no_error(
    tmp_path: Path,
) -> None:
    for text in ("first", "second"):
        (tmp_path / "a").write_text(text)
        assert move_aside(tmp_path / "a", tmp_path / "aside") is not None
    assert move_aside(tmp_path / "a", tmp_path / "aside") is None
    found = {p.name: p.read_text() for p in (tmp_path / "aside").iterdir()}
    assert found == {"a": "first", "a.2": "second"}


def test_parts_of_killed_writers_go_after_a_day(tmp_path: Path) -> None:
    for name, age_s in ((".old.part", 2 * files.STALE_S), (".new.part", 60.0)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    sweep_parts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".new.part"]


HOLDER = """
import sys
from pathlib import Path
from adacal.suite.claims import Claims
print(Claims(Path(sys.argv[1])).take("cell"), flush=True)
sys.stdin.read()
"""


def test_a_claim_is_anothers_till_it_lets_go_or_dies(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "locks")
    command = [sys.executable, "-c", HOLDER, str(claims.folder)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    assert not claims.take("cell")
    assert claims.take("other")
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert claims.take("cell")
    assert not claims.take("cell")  # it is taken, by ourselves
    assert not Claims(claims.folder).take("cell")
    claims.release("cell")
    other = Claims(claims.folder)
    assert other.take("cell")
    claims.release_all()
    assert claims.folder.exists()  # the other one's claim is there
    other.release_all()
    assert not claims.folder.exists()
    claims.release_all()


def test_a_file_system_without_locks_gives_every_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.take("cell") and second.take("cell")
    first.release_all()
