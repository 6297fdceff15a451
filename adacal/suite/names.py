"""Names of what is registered, a line each, kept on disk until a source file changes.

To register is to import torch, which takes longer than a list of names may.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError
from adacal.suite.files import write_replacing
from adacal.suite.places import PACKAGE, cache_folder

Named = list[tuple[str, str]]
KINDS = {"tasks": "TASKS", "datasets": "DATASETS", "models": "MODELS", "methods": "METHODS"}
"""What can be registered, and where."""
PLUGINS = "adacal.plugins"
"""As `adacal.methods.plugins` has it, which imports torch."""


def registered() -> dict[str, Named]:
    """Returns names and texts by kind.

    They are taken from disk where nothing that registers has changed since, no plug-in is
    installed, whose files are not known, and this process has not registered anything itself.

    Raises:
        ConfigError: a plug-in fails to import.
    """
    if "torch" in sys.modules or entry_points(group=PLUGINS):
        return _register()
    path = cache_folder() / "names.json"
    sources = _sources()
    kept = _read(path, sources)
    if kept is None:
        kept = _register()
        if sources is not None:
            with contextlib.suppress(DataError):  # the next call takes as long, that is all
                write_replacing(path, json.dumps({"sources": sources, "names": kept}))
    return kept


def _register() -> dict[str, Named]:
    from adacal.methods.base import METHODS, load_methods
    from adacal.suite import registry

    load_methods()
    registry.load_tasks()
    found = {"methods": [(name, _card(kind)) for name, kind in METHODS.module_dict.items()]}
    for title, where in KINDS.items():
        if title not in found:
            known = getattr(registry, where).module_dict
            found[title] = [(name, _first_line(kind)) for name, kind in known.items()]
    return found


def _sources() -> str | None:
    """A digest of the files whose classes are registered; None where they cannot be looked at."""
    tasks = find_spec("tasks")
    folders = [PACKAGE, *map(Path, (tasks and tasks.submodule_search_locations) or [])]
    try:
        found = sorted(path for folder in folders for path in folder.rglob("*.py"))
        stats = [(path.stat(), path) for path in found if not path.name.startswith(".")]
    except OSError:
        return None
    seen = [(str(path), stat.st_mtime_ns, stat.st_size) for stat, path in stats]
    return hashlib.sha256(json.dumps([sys.version, seen]).encode()).hexdigest()


def _read(path: Path, sources: str | None) -> dict[str, Named] | None:
    """What is kept at a path; None if it is of other sources, damaged or not there."""
    try:
        kept: Any = json.loads(path.read_text(encoding="utf-8"))
        if sources is None or kept["sources"] != sources:
            return None
        return {title: [_pair(pair) for pair in kept["names"][title]] for title in KINDS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _pair(kept: Any) -> tuple[str, str]:
    match kept:
        case [str(name), str(text)]:
            return name, text
    raise TypeError(f"a name and a text were expected; got {kept!r}")


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _card(kind: Any) -> str:
    card = kind.card()
    return f"{card.spikes}; {card.data}; {card.passes} passes; {card.source}"
