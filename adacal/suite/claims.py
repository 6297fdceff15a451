"""Who computes what: a lock a cell, so that two matrices on one results folder share the work.

A claim saves work, nothing more: records are named by what they are of and the first one written is
kept, so a file system without locks gives the same records, some of them computed twice. The system
lets go of the locks of a process that dies, however it dies.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from pathlib import Path
from typing import Any

from adacal.suite.files import StorageError

FCNTL: Any = importlib.import_module("fcntl") if os.name == "posix" else None
CONTENDED = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)


class Claims:
    """The claims one process holds on the cells of a results folder."""

    def __init__(self, folder: Path) -> None:
        """Names the folder of the lock files; it is made with the first claim."""
        self.folder = folder
        self._held: dict[str, int | None] = {}

    def take(self, key: str) -> bool:
        """Claims a cell; returns False where it is claimed already.

        Raises:
            StorageError: no lock file can be written, so neither could a record.
        """
        if key in self._held:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = _lock(self._path(key))
        except _Contended:
            return False
        except OSError as error:
            raise StorageError(
                f"{self._path(key)} cannot be written ({error.strerror}); free space or rights"
            ) from error
        self._held[key] = handle
        return True

    def release(self, key: str) -> None:
        """Gives a claim back, if it is held."""
        handle = self._held.pop(key, None)
        if handle is None:
            return
        # Removed before it is let go: whoever waits for this file sees that it is gone.
        self._path(key).unlink(missing_ok=True)
        os.close(handle)

    def release_all(self) -> None:
        """Gives every claim back."""
        for key in list(self._held):
            self.release(key)
        self._sweep()
        with contextlib.suppress(OSError):  # others hold claims, or there never was a folder
            self.folder.rmdir()

    def _sweep(self) -> None:
        """Removes the lock files of processes that were killed."""
        for path in self.folder.glob("*.lock"):
            with contextlib.suppress(OSError, _Contended):
                handle = _lock(path)
                if handle is not None:
                    path.unlink(missing_ok=True)
                    os.close(handle)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.lock"


class _Contended(Exception):
    """Another process holds the lock."""


def _lock(path: Path) -> int | None:
    """Opens and locks a file; returns its handle, or None on systems without locks."""
    if FCNTL is None:
        return None
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # another process has just removed the empty folder
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            FCNTL.flock(handle, FCNTL.LOCK_EX | FCNTL.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in CONTENDED:
                raise _Contended from error
            return None  # no locks on this file system
        if _names(path, handle):
            return handle
        os.close(handle)  # its holder removed it between our two calls


def _names(path: Path, handle: int) -> bool:
    """Says whether the path still leads to the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
