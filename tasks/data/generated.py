"""Folders of generated files in the cache: made once, checked, made again when damaged.

For sets that other libraries read from disk. A folder is put in place whole or not at all; a list
in it holds the sha256 of every file, which is compared once in a process. The fingerprint is of the
content (pixels, say) and not of the files, which another version of an encoder may write otherwise.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from adacal.core.errors import DataError
from adacal.suite.places import cache_folder

LIST = "checksums.json"


Write = Callable[[Path], str]
"""Writes files into an empty folder and returns the fingerprint of what they hold."""


@dataclass(frozen=True)
class GeneratedFolder:
    """A folder whose files are all there and sound.

    Attributes:
        path: where it lies.
        fingerprint: of what its files hold.
    """

    path: Path
    fingerprint: str


def generated_folder(name: str, write: Write) -> GeneratedFolder:
    """Returns a folder of the cache, made if it is not there or damaged.

    Args:
        name: of the folder; names all that its files depend on.
        write: makes the files.

    Raises:
        DataError: the cache cannot be written.
    """
    cache = cache_folder()
    folder = cache / name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{name}.lock"):
            found = _found(folder)
            if found is None:
                _make(folder, write)
                found = _found(folder)
    except OSError as error:
        raise DataError(
            f"the generated dataset '{name}' cannot be kept in '{cache}' ({error}); make room, or "
            "set ADACAL_CACHE to a folder that can be written"
        ) from error
    if found is None:
        raise DataError(f"'{folder}' changes while it is read; let nothing else write there")
    return found


def _make(folder: Path, write: Write) -> None:
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.", suffix=".tmp"))
    try:
        fingerprint = write(made)
        listed = {"fingerprint": fingerprint, "files": _checksums(made)}
        (made / LIST).write_text(json.dumps(listed, indent=0))
        made.chmod(0o755)  # a temporary folder is its owner's alone
        if folder.exists():
            shutil.rmtree(folder)
        made.replace(folder)
        _checked.cache_clear()  # what was found damaged may have had the same list
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _found(folder: Path) -> GeneratedFolder | None:
    """Returns the folder if its list is there and its files are those of the list."""
    try:
        listed = (folder / LIST).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return _checked(folder, listed)


@lru_cache(maxsize=8)
def _checked(folder: Path, listed: str) -> GeneratedFolder | None:
    """Compares all files with a list; once in a process, for that takes a second."""
    try:
        content = json.loads(listed)
        if content["files"] != _checksums(folder):
            return None
        return GeneratedFolder(folder, str(content["fingerprint"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksums(folder: Path) -> dict[str, str]:
    """Returns the sha256 of every file below a folder by its path in it; the list is left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / LIST
    }
