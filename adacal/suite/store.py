"""A folder of records: written whole or not at all, never rewritten, read with patience."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import tempfile
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError
from adacal.suite.files import (
    PART_SUFFIX,
    StorageError,
    move_aside,
    sweep_parts,
    write_once,
    write_replacing,
)
from adacal.suite.migrations import NewerSchema
from adacal.suite.records import DamagedRecord, RunRecord, read_record


class RecordStore:
    """The `records/`, `failed/` and `quarantine/` folders below a results folder.

    Several processes may share one: a record's name ends with the hash of what was asked, a file
    is created in one step, and whoever comes second keeps the first one's.
    """

    def __init__(self, results: str | Path) -> None:
        """Names the folder; nothing is created before something is written."""
        self.results = Path(results)
        self.folder = self.results / "records"
        self.failed_folder = self.results / "failed"
        self.quarantine_folder = self.results / "quarantine"

    def prepare(self) -> None:
        """Creates the folders and proves that a file can be written, before any computing.

        Raises:
            StorageError: the folder cannot be created or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.failed_folder.is_file():
                raise FileExistsError(errno.EEXIST, f"{self.failed_folder} is a file")
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=PART_SUFFIX) as probe:
                probe.write(b"adacal")
                probe.flush()
        except OSError as error:
            raise StorageError(
                f"the results folder {self.results} cannot be written ({error.strerror}); "
                "name another with --results"
            ) from error
        sweep_parts(self.folder)

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

    def quarantine(self) -> list[str]:
        """Moves files that hold no record from `records/` to `quarantine/`; none is deleted.

        A file with `.reason.txt` beside each says why. Records of a newer adacal and files that
        cannot be read stay where they are.

        Returns:
            A sentence for each file that was moved or left.

        Raises:
            StorageError: the quarantine cannot be written.
        """
        sentences = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                read_record(path)
            except DamagedRecord as error:
                target = move_aside(path, self.quarantine_folder)
                if target is not None:
                    write_replacing(target.with_name(f"{target.name}.reason.txt"), f"{error}\n")
                    sentences.append(f"moved to {target}: {error}")
            except DataError as error:
                sentences.append(f"ignored: {error}")
        return sentences

    def has(self, record_id: str) -> bool:
        """Says whether a valid record of this id is there.

        Raises:
            NewerSchema: one is, of a schema that this adacal does not read.
        """
        for path in self.folder.glob(f"*-{record_id}*.json"):
            try:
                if read_record(path).id == record_id:
                    return True
            except NewerSchema:
                raise
            except DataError:
                continue
        return False

    def add(self, record: RunRecord) -> Path:
        """Writes a record atomically and durably, and returns its path.

        An equal id that is already there is kept, and its path returned. A damaged file that
        sits on the name is left alone; the record gets the name with `.2`, `.3`, …

        Raises:
            StorageError: the disk is full or the folder cannot be written.
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
