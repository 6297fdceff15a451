"""Clouds kept on disk, one small file each, where making one takes far longer than reading it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adacal.suite.places import cache_folder

Points = NDArray[np.float32]


def cached_points(place: str, num_points: int, make: Callable[[], Points]) -> Points:
    """Returns a cloud whose file is there and sound, or makes it and keeps it.

    A folder that cannot be written is no error: the cloud is made again next time.

    Args:
        place: path of the file within the cache folder; names all that the cloud depends on.
        num_points: points P that it must have.
        make: makes the cloud, shape [P, 3].

    Returns:
        Points, shape [P, 3], float32.
    """
    path = cache_folder() / place
    kept = _read(path)
    if kept is not None and kept.shape == (num_points, 3) and kept.dtype == np.float32:
        return kept
    points = make()
    _keep(path, points)
    return points


def _read(path: Path) -> Points | None:
    """Returns what a cache file holds; None if there is none or it is damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            points: Points = stored["points"]
            return points if str(stored["sha256"]) == _checksum(points) else None
    except Exception:  # a damaged archive raises whatever its bytes lead to; it is made again
        return None


def _keep(path: Path, points: Points) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, points=points, sha256=np.array(_checksum(points)))
        os.replace(temporary, path)  # whole or not at all, whoever else is writing it
    except OSError:
        pass


def _checksum(points: Points) -> str:
    return hashlib.sha256(np.ascontiguousarray(points).data).hexdigest()
