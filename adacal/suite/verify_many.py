"""Verifies several records: collects them, takes a sample of many, runs each again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adacal.core.errors import AdacalError, ConfigError, DataError
from adacal.suite.records import RunRecord, read_record
from adacal.suite.session import Progress, Session, no_progress
from adacal.suite.store import RecordStore
from adacal.suite.verify import Verification, verify


@dataclass(frozen=True)
class Entry:
    """A file that should hold a record; `record` is None, with a reason, if it does not."""

    path: Path
    record: RunRecord | None
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """What verifying an entry gave; `outcome` is None, with a reason, if it could not be run."""

    entry: Entry
    outcome: Verification | None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ran again and every number agrees."""
        return self.outcome is not None and self.outcome.ok

    def sentence(self) -> str:
        """Says in a few words what came out."""
        if self.outcome is None:
            return f"not run: {self.reason}"
        differing = [entry.quantity for entry in self.outcome.comparisons if not entry.ok]
        if differing:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            return f"differs: {', '.join(differing[:3])}{more}"
        return "verified" if self.outcome.exact else "verified within the tolerances"


def collect(names: Sequence[str], store: RecordStore) -> list[Entry]:
    """Returns the records of paths, ids and folders (a results folder, or one of JSON files).

    Raises:
        DataError: a name fits no record, or a folder holds no JSON file.
    """
    entries: dict[Path, Entry] = {}
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            record, path = store.find(name)
            entries.setdefault(path.resolve(), Entry(path, record))
            continue
        inside = folder / "records"
        files = sorted((inside if inside.is_dir() else folder).glob("*.json"))
        if not files:
            raise DataError(f"no record in {folder}; name a folder that holds records")
        for path in files:
            entries.setdefault(path.resolve(), _entry(path))
    return list(entries.values())


def draw(entries: Sequence[Entry], count: int | None, seed: int = 0) -> list[Entry]:
    """Returns that many entries, the same for the same seed; all of them for None.

    Raises:
        ConfigError: fewer than one.
    """
    if count is None or count >= len(entries):
        return list(entries)
    if count < 1:
        raise ConfigError(f"a sample has at least one record; got {count}")
    ordered = sorted(entries, key=lambda entry: entry.path.name)
    return random.Random(seed).sample(ordered, count)


def verify_many(
    entries: Sequence[Entry],
    device: str = "cpu",
    threads: int | None = None,
    watch: Callable[[int, Entry], Progress] | None = None,
) -> Iterator[Verdict]:
    """Runs every record again, those of one network next to each other; none stops the rest.

    Yields a verdict as soon as it is known.

    Args:
        entries: from `collect`.
        device: torch device.
        threads: torch threads; those of each record by default.
        watch: told the position and the entry before each; returns where its progress goes.
    """
    session = Session(device=device)
    for position, entry in enumerate(sorted(entries, key=_together)):
        progress = watch(position, entry) if watch is not None else no_progress
        yield _verdict(entry, device, threads, progress, session)


def _verdict(
    entry: Entry, device: str, threads: int | None, progress: Progress, session: Session
) -> Verdict:
    if entry.record is None:
        return Verdict(entry, None, entry.reason)
    try:
        return Verdict(entry, verify(entry.record, device, threads, progress, session))
    except AdacalError as error:
        return Verdict(entry, None, str(error))
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        return Verdict(entry, None, f"{type(error).__name__}: {text}")


def _entry(path: Path) -> Entry:
    try:
        return Entry(path, read_record(path))
    except DataError as error:
        return Entry(path, None, str(error))


def _together(entry: Entry) -> tuple[str, ...]:
    record = entry.record
    if record is None:
        return ("", "", "", "", entry.path.name)
    return (record.task, record.dataset, record.model, f"{record.T:09d}", entry.path.name)
