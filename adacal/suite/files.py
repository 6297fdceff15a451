"""Files that are whole or absent: written aside, synced, then given their name in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adacal.core.errors import DataError

PART_SUFFIX = ".part"
STALE_S = 24 * 3600.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageError(DataError):
    """A file could not be written: what comes after it could not be either."""


def write_once(path: Path, text: str) -> bool:
    """Creates a file whole or not at all; returns False, changing nothing, where one exists.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with _one_sentence(path), _part(path, text) as part:
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:
            # No hard links on this file system: check, then rename. Of two processes that pass the
            # check together the second replaces the first's file, by one of equal content.
            if path.exists():
                return False
            os.replace(part, path)
        _sync_folder(path.parent)
    return True


def write_replacing(path: Path, text: str) -> None:
    """Writes a file whole or not at all, in place of an older one.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with _one_sentence(path), _part(path, text) as part:
        os.replace(part, path)
        _sync_folder(path.parent)


def move_aside(path: Path, folder: Path) -> Path | None:
    """Moves a file into a folder, under a name that is free there; nothing is overwritten.

    Returns:
        Where it lies now, or None where another process was quicker.

    Raises:
        StorageError: it cannot be moved.
    """
    with _one_sentence(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 10_000):
            suffix = "" if attempt == 1 else f".{attempt}"
            target = folder / f"{path.name}{suffix}"
            try:
                # An empty file of our own reserves the name, so that the move overwrites nothing.
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            try:
                os.replace(path, target)
            except OSError as error:
                target.unlink(missing_ok=True)
                if isinstance(error, FileNotFoundError):
                    return None
                raise
            _sync_folder(folder)
            _sync_folder(path.parent)
            return target
    raise StorageError(f"ten thousand files named {path.name} lie in {folder}; clear it")


def sweep_parts(folder: Path) -> None:
    """Removes half-written files of processes that were killed; those of the last day stay."""
    oldest = time.time() - STALE_S
    for path in folder.glob(f".*{PART_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


@contextmanager
def _part(path: Path, text: str) -> Iterator[Path]:
    """Writes the text to a temporary file beside `path`, which is gone after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PART_SUFFIX)
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = (
            "free space and run the same command again, what is finished is recorded"
            if error.errno in FULL
            else "check the rights of the folder"
        )
        raise StorageError(f"{path} cannot be written ({error.strerror}); {what}") from error


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
