"""Code from elsewhere that a run used: which plug-in brought a part, and in which version.

A part is foreign if neither `adacal` nor `tasks` holds it: a plug-in registered it (entry-point
group `adacal.plugins`), a config's `custom_imports`, or the script that called us.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict

from adacal.methods.plugins import installed

if TYPE_CHECKING:
    from adacal.suite.config import RunConfig

OWN = ("adacal", "tasks")
LOCAL = "a folder of that machine"


class PlugIn(BaseModel):
    """A package or module from elsewhere that a run used.

    Attributes:
        name: of the installed distribution; of the module where none holds it.
        version: of the distribution; empty for a module without one.
        source: where pip took the distribution from if it was no registry: a repository with its
            commit, or `LOCAL`; empty otherwise.
        modules: the top-level modules the run used of it.
        parts: what it registered of the run, for example `method half_peak`.
        sha256: of these modules' Python files; empty where there are none (an interactive session).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    source: str
    modules: list[str]
    parts: list[str]
    sha256: str

    def words(self) -> str:
        """Returns name and version, or for a lone module its hash, and what came with it."""
        known = self.version or f"(no package; sha256 {self.sha256[:12] or 'unknown'})"
        parts = f": {', '.join(self.parts)}" if self.parts else ""
        return f"{self.name} {known}{parts}{f', from {self.source}' if self.source else ''}"


def plug_ins(config: RunConfig) -> list[PlugIn]:
    """Returns what a run uses of other packages, by name; its parts must be registered.

    Named are the modules of `custom_imports` and whatever brought the task, dataset, model or
    method of the config.
    """
    parts: dict[str, list[str]] = {module: [] for module in _imported(config)}
    for part, module in _parts(config):
        parts.setdefault(module, []).append(part)
    found: dict[str, list[str]] = defaultdict(list)
    for module in parts:
        found[_owner(module)[0]].append(module)
    return [_plug_in(modules, parts) for _, modules in sorted(found.items())]


def imported(config: dict[str, Any]) -> list[str]:
    """Returns the names of the modules that a record's config imports."""
    custom = config.get("custom_imports") or {}
    names = custom.get("imports") or []
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _plug_in(modules: list[str], parts: dict[str, list[str]]) -> PlugIn:
    name, version, source = _owner(modules[0])
    return PlugIn(
        name=name,
        version=version,
        source=source,
        modules=sorted(modules),
        parts=sorted(part for module in modules for part in parts[module]),
        sha256=_sha256(tuple(sorted(modules))),
    )


def _imported(config: RunConfig) -> list[str]:
    tops = [name.partition(".")[0] for name in imported({"custom_imports": config.custom_imports})]
    return [top for top in dict.fromkeys(tops) if top not in OWN]


def _parts(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yields each foreign part of the run and the top-level module that it comes from."""
    from adacal.methods.base import METHODS
    from adacal.suite.registry import DATASETS, MODELS, TASKS

    for kind, registry, options in (
        ("task", TASKS, config.task),
        ("dataset", DATASETS, config.task.get("dataset")),
        ("model", MODELS, config.model),
        ("method", METHODS, config.method),
    ):
        name = options.get("type") if isinstance(options, dict) else None
        part = registry.module_dict.get(name)  # no look into other libraries' registries
        top = str(getattr(part, "__module__", "")).partition(".")[0]
        if part is not None and top not in OWN:
            yield f"{kind} {name}", top


@cache  # of the code that runs, which is what was loaded, whatever is installed since
def _owner(module: str) -> tuple[str, str, str]:
    """Returns name, version and source of the distribution of a top-level module."""
    found = _distribution(module)
    if found is None:
        return module, "", ""
    return found.name, found.version or "", _source(found)


def _distribution(module: str) -> Distribution | None:
    for point in installed():
        if point.value.partition(":")[0].partition(".")[0] == module:
            return point.dist
    folder = _folder(module)
    if folder is None:
        return None
    for found in distributions(path=[str(folder)]):
        if module in (found.read_text("top_level.txt") or "").split() or _holds(found, module):
            return found
    for found in distributions():
        project = _editable(found)
        # A script that lies in our checkout is no part of adacal.
        if project is not None and found.name not in OWN and folder.is_relative_to(project):
            return found
    return None


def _holds(found: Distribution, module: str) -> bool:
    return any(path.parts[0] in (module, f"{module}.py") for path in found.files or ())


def _folder(module: str) -> Path | None:
    """Returns the folder that a loaded top-level module was found in."""
    loaded = sys.modules.get(module)
    for place in [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", ())]:
        if place is not None:
            path = Path(place).resolve()
            return path.parent.parent if path.name == "__init__.py" else path.parent
    return None


def _direct(found: Distribution) -> dict[str, Any]:
    """Returns what pip noted of a package that came from no registry (PEP 610)."""
    try:
        noted = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _source(found: Distribution) -> str:
    noted = _direct(found)
    url = str(noted.get("url", ""))
    if not url:
        return ""
    control = noted.get("vcs_info")
    if isinstance(control, dict) and not url.startswith("file:"):
        return f"{control.get('vcs')}+{_public(url)}@{control.get('commit_id')}"
    return LOCAL if url.startswith("file:") else _public(url)


def _public(url: str) -> str:
    """Returns the address without a user's name or password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _editable(found: Distribution) -> Path | None:
    noted = _direct(found)
    about, url = noted.get("dir_info"), str(noted.get("url", ""))
    if not isinstance(about, dict) or not about.get("editable") or not url.startswith("file:"):
        return None
    return Path(unquote(urlsplit(url).path)).resolve()


@cache
def _sha256(modules: tuple[str, ...]) -> str:
    """Returns the sha256 of all Python files of these modules, names in it; empty if none."""
    total = hashlib.sha256()
    found = False
    for module in modules:
        for name, path in _files(module):
            found = True
            total.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest() if found else ""


def _files(module: str) -> Iterator[tuple[str, Path]]:
    loaded = sys.modules.get(module)
    roots = [Path(root) for root in getattr(loaded, "__path__", ())]
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            yield f"{module}/{path.relative_to(root).as_posix()}", path
    file = getattr(loaded, "__file__", None)
    if not roots and file is not None and Path(file).is_file():
        yield f"{module}.py", Path(file)
