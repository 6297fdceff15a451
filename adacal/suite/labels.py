"""What rows are called: the method and its options, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adacal.core.errors import ConfigError

if TYPE_CHECKING:
    from adacal.methods.base import Method


def method_label(name: str, options: Mapping[str, Any]) -> str:
    """Returns a row's name: the method, and in brackets the options that are not the default.

    A whole-number `max_spikes` above 1 is always shown: it is what readers compare by.
    """
    from adacal.methods.base import METHODS

    kind = METHODS.module_dict.get(name)
    defaults = {} if kind is None else plain_value(dataclasses.asdict(kind()), "method")
    shown = []
    for key, value in options.items():
        burst = key == "max_spikes" and isinstance(value, int) and value > 1
        if burst or key not in defaults or defaults[key] != value:
            shown.append(f"{key}={_short(value, _default(kind, key, value, defaults))}")
    return f"{name}({', '.join(shown)})" if shown else name


def _default(kind: type[Method] | None, key: str, value: Any, defaults: Mapping[str, Any]) -> Any:
    """Returns an option's default; of a dict that is off by default what an empty one becomes."""
    if kind is None or not isinstance(value, Mapping) or defaults.get(key) is not None:
        return defaults.get(key)
    try:
        options: dict[str, Any] = {key: {}}
        return plain_value(dataclasses.asdict(kind(**options)), "method").get(key)
    except (ConfigError, TypeError):  # it needs something inside
        return None


def plain_value(value: Any, where: str) -> Any:
    """Returns the value with lists for tuples; raises ConfigError for what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): plain_value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item, where) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"'{where}' holds a {type(value).__name__}; configs take numbers, strings, lists and dicts"
    )


def _short(value: Any, default: Any) -> str:
    if isinstance(value, Mapping):
        known = default if isinstance(default, Mapping) else {}
        items = [(k, v) for k, v in value.items() if k not in known or known[k] != v]
        return "{" + ", ".join(f"{k}={_short(v, known.get(k))}" for k, v in items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_short(item, None) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> counted(1, "cell"), counted(1200, "cell")
    ('1 cell', '1,200 cells')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
