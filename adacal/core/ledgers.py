"""Ledgers: those of passes that make the same calls, and which passes may go by one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from adacal.core.counting import SynapseCounter
from adacal.core.ledger import Ledger
from adacal.core.prepared import Prepared

_LEDGERS = 32
"""That are kept, of inputs of other shapes and numbers."""


class Ledgers:
    """Those of passes that make the same calls, by what else the counts depend on."""

    def __init__(self) -> None:
        self._kept: dict[Any, dict[int, Ledger | None]] = {}
        self._general: dict[Any, Ledger] = {}
        self._last: dict[str, Prepared] = {}

    def find(self, key: Any, batch: int, prepared: dict[str, Prepared]) -> Ledger | None:
        """Returns the ledger of a pass, if there is one.

        Args:
            key: what the counts depend on, besides the calls and the number of samples.
            batch: samples.
            prepared: the neurons.
        """
        if self._last and not same(self._last, prepared):
            self._kept.clear()
            self._general.clear()
            return None
        return self._general.get(key) or self._kept.get(key, {}).get(batch)

    def wanted(self, key: Any, batch: int, prepared: dict[str, Prepared]) -> bool:
        """Whether one is to be recorded: not while neurons change from pass to pass."""
        settled = not self._last or same(self._last, prepared)
        self._last = prepared
        return settled and batch not in self._kept.get(key, {})

    def keep(self, key: Any, batch: int, ledger: Ledger | None) -> None:
        """Keeps a ledger; None where there cannot be one.

        Where those of two numbers of samples say the same of each sample, one will do for all.
        """
        if sum(map(len, self._kept.values())) >= _LEDGERS:
            self._kept.clear()
            self._general.clear()
        others = self._kept.setdefault(key, {})
        if ledger is not None and any(other and ledger.agrees(other) for other in others.values()):
            self._general[key] = ledger
        others[batch] = ledger


def same(ours: dict[str, Prepared], theirs: dict[str, Prepared]) -> bool:
    """Whether neurons are as they were."""
    return ours.keys() == theirs.keys() and all(ours[name] is theirs[name] for name in ours)


def counts_as_written(meter: SynapseCounter) -> bool:
    """Whether a meter counts as `SynapseCounter` says, with nothing put in place of its methods."""
    kinds = type(meter).__mro__
    over = kinds[: kinds.index(SynapseCounter)]
    return vars(meter).keys() == _FIELDS and not any(vars(kind).keys() & _METHODS for kind in over)


_FIELDS = {each.name for each in fields(SynapseCounter)}
_METHODS = {name for name in vars(SynapseCounter) if not name.startswith("__")} - _FIELDS
