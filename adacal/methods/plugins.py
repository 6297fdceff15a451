"""Plug-ins: installed packages that register methods, models, datasets or tasks of their own.

A package names a module in its metadata, under the entry-point group `adacal.plugins`; importing
the module registers what it holds. Packages are code: installing one is trusting it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from adacal.core.errors import ConfigError

GROUP = "adacal.plugins"

_outcomes: dict[str, str] = {}
"""Plug-ins already imported: module to what went wrong, an empty text if nothing did."""


@cache
def installed() -> tuple[EntryPoint, ...]:
    """Returns the entry points of all installed plug-ins, by name; looked up once a process."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)))


def load_plugins() -> None:
    """Imports every installed plug-in that is not imported yet.

    Raises:
        ConfigError: one fails to import; the sentence names it, its package and the reason.
    """
    for point in installed():
        if point.value not in _outcomes:
            _outcomes[point.value] = ""  # before importing: a plug-in may ask for the registries
            _outcomes[point.value] = _import(point)
        if _outcomes[point.value]:
            raise ConfigError(_outcomes[point.value])


def _import(point: EntryPoint) -> str:
    """Imports a plug-in and returns what went wrong."""
    try:
        point.load()
    except (Exception, SystemExit) as error:
        package = "an unknown package" if point.dist is None else point.dist.name
        version = "" if point.dist is None else f" {point.dist.version}"
        reason = " ".join(str(error).split()) or "no message"
        return (
            f"the plug-in '{point.name}' of {package}{version} fails to import "
            f"({type(error).__name__}: {reason}); mend it, or leave it out: "
            f"pip uninstall {package}"
        )
    return ""
