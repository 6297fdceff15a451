"""The history of the record's schema: an older record is brought up to date as it is read.

Its file stays as it is. To change the schema: raise `SCHEMA_VERSION`, say in `HISTORY` what is new,
and add the step from the version before to `STEPS`. A step never invents a measurement: what was
not recorded then is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adacal.core.errors import DataError

SCHEMA_VERSION = 5

HISTORY = {
    1: "the first; later ones of it also hold timesteps.metric_by_step and timesteps.ms_per_step",
    2: "wall (seconds of the run, stage by stage) and shared (what an earlier run had computed), "
    "timesteps.warmup (steps before the T whose output is used; before, there were none); later "
    "ones of it also hold redraws (the main metric on redrawn test sets)",
    3: "plug_ins (packages and modules from elsewhere that brought a part of the run)",
    4: "environment.libraries (versions of installed packages besides torch and NumPy)",
    5: "environment.instructions (vector instructions that torch computes with)",
}


class NewerSchema(DataError):
    """A record was written by a newer adacal."""


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "wall": None, "shared": None}


def _from_2(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "plug_ins": None}


def _from_3(values: dict[str, Any]) -> dict[str, Any]:
    return _with_unknown(values, "libraries")


def _from_4(values: dict[str, Any]) -> dict[str, Any]:
    return _with_unknown(values, "instructions")


def _with_unknown(values: dict[str, Any], name: str) -> dict[str, Any]:
    environment = values.get("environment")
    if not isinstance(environment, dict):  # reading it says what is wrong
        return values
    return {**values, "environment": {**environment, name: None}}


STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
}


def migrate(values: dict[str, Any], origin: str) -> dict[str, Any]:
    """Returns a record's plain values in the present schema.

    Args:
        values: as read from JSON, with a whole number as `schema_version`.
        origin: what error messages call the record.

    Raises:
        NewerSchema: this adacal does not know the version yet.
        DataError: there never was such a version.
    """
    version = values["schema_version"]
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{origin} has schema {version}; this adacal reads up to {SCHEMA_VERSION}; "
            "install a newer adacal"
        )
    if version not in HISTORY:
        raise DataError(
            f"{origin} has schema {version}, which never was; the first is {min(HISTORY)}"
        )
    while version < SCHEMA_VERSION:
        values = {**STEPS[version](values), "schema_version": version + 1}
        version += 1
    return values
