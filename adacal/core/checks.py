"""Checks of single settings; each raises one sentence: the setting, what was got, what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from adacal.core.errors import ConfigError, unknown_name


def check_whole(name: str, value: Any, least: int = 1, example: int | None = None) -> None:
    """Raises ConfigError unless the value is a whole number (no bool) of at least `least`.

    >>> check_whole("T", 2.5, example=8)
    Traceback (most recent call last):
    adacal.core.errors.ConfigError: T must be a whole number of at least 1; got 2.5; try 8
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        shown = least if example is None else example
        raise ConfigError(
            f"{name} must be a whole number of at least {least}; got {value!r}; try {shown}"
        )


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    example: float | None = None,
) -> None:
    """Raises ConfigError unless the value is a finite number from `low` to `high`.

    Args:
        name: what the sentence calls it.
        value: what was given.
        low, high: the range; infinite where there is no end.
        above: `low` itself is too small.
        example: a value that usually fits.

    >>> check_number("level", "half", 0, 1, above=True, example=0.999)
    Traceback (most recent call last):
    adacal.core.errors.ConfigError: level must be a number in (0, 1]; got 'half'; try 0.999
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and low <= value <= high and not (above and value == low):
        return
    hint = "" if example is None else f"; try {example:g}"
    raise ConfigError(f"{name} must be {_range(low, high, above)}; got {value!r}{hint}")


def check_choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Raises ConfigError unless the value is one of the known names; offers the nearest.

    >>> check_choice("unit", "pJ", ["pj", "mmse"])
    Traceback (most recent call last):
    adacal.core.errors.ConfigError: no unit named 'pJ'; did you mean 'pj'? known: mmse, pj
    """
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise ConfigError(unknown_name(name, str(value), names))


def check_names(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError for the first given name that is not known; offers the nearest."""
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigError(unknown_name(kind, str(name), names))


def _range(low: float, high: float, above: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"a number above {low:g}" if above else f"a number of at least {low:g}"
    return f"a number in {'(' if above else '['}{low:g}, {high:g}]"
