"""The errors a caller can act on; every message says the fact, what was got and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdacalError(Exception):
    """Base of all errors raised on purpose; the command line prints it as one sentence."""


class ConfigError(AdacalError):
    """A setting is unknown, out of range or of the wrong type."""


class UnsupportedModelError(AdacalError):
    """The network has an operation or structure that cannot be converted as asked."""


class InputError(AdacalError):
    """Inputs are no batch that the network can take (kind, shape, type, number of frames)."""


class CalibrationError(AdacalError):
    """Calibration data or statistics are unusable (empty, NaN, wrong shape)."""


class DataError(AdacalError):
    """A dataset, checkpoint or record is missing, damaged or of another kind."""


_MOST_LISTED = 12


def unknown_name(kind: str, got: str, known: Iterable[str]) -> str:
    """Says that a name is not known, offers the nearest one and lists all that is not too long.

    >>> unknown_name("method", "percentil", ["percentile", "ann"])
    "no method named 'percentil'; did you mean 'percentile'? known: ann, percentile"
    """
    names = sorted(known)
    plain = {name.lower(): name for name in names}
    near = [plain[name] for name in difflib.get_close_matches(got.lower(), plain, n=1)]
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    if near and len(names) > _MOST_LISTED:
        return f"no {kind} named '{got}'; did you mean '{near[0]}'?"
    listing = ", ".join(names) or "none"
    return f"no {kind} named '{got}'{hint} known: {listing}"
