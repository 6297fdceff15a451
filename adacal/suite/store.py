"""A folder of records: written whole or not at all, never rewritten, read with patience."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError
from adacal.suite.records import RunRecord, read_record

PART_SUFFIX = ".part"


class RecordStore:
    """The `records/` and `failed/` folders below a results folder.

    Several processes may share one: a record's name ends with the hash of what was asked, a file
    is created in one step, and whoever comes second keeps the first one's.
    """

    def __init__(self, results: str | Path) -> None:
        """Names the folder; nothing is created before something is written."""
        self.results = Path(results)
        self.folder = self.results / "records"
        self.failed_folder = self.results / "failed"

    def prepare(self) -> None:
        """Creates the folders and proves that a file can be written, before any computing.

        Raises:
            DataError: the folder cannot be created or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.failed_folder.is_file():
                raise FileExistsError(errno.EEXIST, f"{self.failed_folder} is a file")
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=PART_SUFFIX) as probe:
                probe.write(b"adacal")
                probe.flush()
        except OSError as error:
            raise DataError(
                f"the results folder {self.results} cannot be written ({error.strerror}); "
                "name another with --results"
            ) from error

    def read_all(self) -> tuple[list[RunRecord], list[str]]:
        """Reads every record.

        Returns:
            The valid records, by file name and one an id, and a warning for every file that is
            none (damaged, foreign, newer schema). Such files are left as they are.
        """
        records: dict[str, RunRecord] = {}
        warnings = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                record = read_record(path)
            except DataError as error:
                warnings.append(f"ignored: {error}")
                continue
            records.setdefault(record.id, record)
        return list(records.values()), warnings

    def has(self, record_id: str) -> bool:
        """Says whether a valid record of this id is there."""
        for path in self.folder.glob(f"*-{record_id}*.json"):
            with contextlib.suppress(DataError):
                if read_record(path).id == record_id:
                    return True
        return False

    def add(self, record: RunRecord) -> Path:
        """Writes a record atomically and durably, and returns its path.

        An equal id that is already there is kept, and its path returned. A damaged file that
        sits on the name is left alone; the record gets the name with `.2`, `.3`, …

        Raises:
            DataError: the disk is full or the folder cannot be written.
        """
        name = record.filename()
        for attempt in range(1, 100):
            suffix = "" if attempt == 1 else f".{attempt}"
            path = self.folder / f"{name.removesuffix('.json')}{suffix}.json"
            if write_once(path, record.to_json()):
                return path
            with contextlib.suppress(DataError):
                if read_record(path).id == record.id:
                    return path
        raise DataError(f"a hundred damaged files sit on {name}; clear {self.folder}")

    def find(self, name: str) -> tuple[RunRecord, Path]:
        """Returns the record named by a path, a file name or the first digits of its id.

        Raises:
            DataError: none or several fit.
        """
        path = Path(name)
        for place in (path, self.folder / path.name):
            with contextlib.suppress(OSError, ValueError):  # no name a file could have
                if place.is_file():
                    return read_record(place), place
        known: list[str] = []
        found: dict[str, tuple[RunRecord, Path]] = {}
        for candidate in sorted(self.folder.glob("*.json")):
            if not candidate.is_file():
                continue
            identity = candidate.stem.split(".")[0].rpartition("-")[2]
            known += [identity, candidate.name]
            if identity.startswith(name):
                with contextlib.suppress(DataError):
                    record = read_record(candidate)
                    found.setdefault(record.id, (record, candidate))
        if len(found) == 1:
            return next(iter(found.values()))
        if not found:
            near = difflib.get_close_matches(name[:200], known, n=1, cutoff=0.8)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise DataError(
                f"no record '{name[:200]}' in {self.folder}; {hint}give a path or the first digits "
                "of an id"
            )
        raise DataError(f"'{name}' fits {len(found)} records: {', '.join(sorted(found))}; say more")

    def add_failure(self, key: str, reason: dict[str, Any]) -> Path:
        """Writes why a cell failed; the newest reason replaces an older one."""
        self.failed_folder.mkdir(parents=True, exist_ok=True)
        path = self.failed_folder / f"{key}.json"
        write_replacing(path, json.dumps(reason, indent=1, default=str) + "\n")
        return path

    def forget_failure(self, key: str) -> None:
        """Removes the note of a cell that failed before and now has its record."""
        with contextlib.suppress(OSError):
            (self.failed_folder / f"{key}.json").unlink()


def write_once(path: Path, text: str) -> bool:
    """Creates a file whole or not at all; returns False, changing nothing, where one exists."""
    part = _write_part(path, text)
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:
        # No hard links on this file system: check, then rename.
        if path.exists():
            return False
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def write_replacing(path: Path, text: str) -> None:
    """Writes a file whole or not at all, in place of an older one."""
    part = _write_part(path, text)
    os.replace(part, path)
    _sync_folder(path.parent)


def _write_part(path: Path, text: str) -> Path:
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PART_SUFFIX)
        part = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written ({error.strerror}); free space or rights") from (
            error
        )
    return part


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
