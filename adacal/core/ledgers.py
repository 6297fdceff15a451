"""Ledgers: those of passes that make the same calls, and which passes may go by one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from adacal.core.counting import SynapseCounter
from adacal.core.ledger import Ledger
from adacal.core.prepared import Prepared

_KINDS = 32
"""Kinds of passes that ledgers are kept of."""
_NUMBERS = 8
"""Numbers of samples that do not agree, after which passes of others are followed."""
_TRIALS = 3
"""Passes that a ledger failed in before none is tried any more."""


class Ledgers:
    """Those of passes that make the same calls, by what else the counts depend on."""

    def __init__(self) -> None:
        self._kept: dict[Any, _Kind] = {}
        self._last: dict[str, Prepared] = {}

    def find(self, key: Any, batch: int, prepared: dict[str, Prepared]) -> Ledger | None:
        """Returns the ledger of a pass, if there is one; lets all go where neurons have changed.

        Args:
            key: what the counts depend on, besides the calls and the number of samples.
            batch: samples.
            prepared: the neurons.
        """
        if self._last and not same(self._last, prepared):
            self._kept.clear()
        kind = self._kept.get(key)
        if kind is None or kind.failures >= _TRIALS:
            return None
        return kind.general or kind.ledgers.get(batch)

    def wanted(self, key: Any, batch: int, prepared: dict[str, Prepared]) -> bool:
        """Whether one is to be recorded: not while neurons change from pass to pass."""
        settled, kind = not self._last or same(self._last, prepared), self._kept.get(key)
        self._last = prepared
        if not settled or kind is None:
            return settled
        known = batch in kind.ledgers or len(kind.ledgers) >= _NUMBERS
        return not known and not kind.hopeless

    def keep(self, key: Any, batch: int, ledger: Ledger | None) -> None:
        """Keeps a ledger; None where there cannot be one.

        Where those of two numbers of samples say the same of each sample, one will do for all.
        """
        kind = self._kind(key)
        others = [other for other in kind.ledgers.values() if other is not None]
        if ledger is not None and any(map(ledger.agrees, others)):
            kind.general = ledger
        kind.ledgers[batch] = ledger

    def failed(self, key: Any) -> None:
        """Notes that a pass could not be counted by a ledger, or none be recorded."""
        self._kind(key).failures += 1

    def _kind(self, key: Any) -> _Kind:
        if key not in self._kept and len(self._kept) >= _KINDS:
            self._kept.clear()
        return self._kept.setdefault(key, _Kind())


@dataclass(slots=True)
class _Kind:
    """Ledgers of one kind of pass.

    Attributes:
        ledgers: by the number of samples; None where there cannot be one.
        general: one for all numbers, if two agree.
        failures: how often one failed.
    """

    ledgers: dict[int, Ledger | None] = field(default_factory=dict)
    general: Ledger | None = None
    failures: int = 0

    @property
    def hopeless(self) -> bool:
        """Whether no more are to be tried."""
        none = sum(ledger is None for ledger in self.ledgers.values())
        return none >= 2 or self.failures >= _TRIALS


def same(ours: dict[str, Prepared], theirs: dict[str, Prepared]) -> bool:
    """Whether neurons are as they were."""
    return ours.keys() == theirs.keys() and all(ours[name] is theirs[name] for name in ours)


def counts_as_written(meter: SynapseCounter) -> bool:
    """Whether a meter counts as `SynapseCounter` says, with nothing put in place of its methods."""
    kinds = type(meter).__mro__
    if SynapseCounter not in kinds or vars(meter).keys() != _FIELDS:
        return False
    now, over = vars(SynapseCounter), kinds[: kinds.index(SynapseCounter)]
    if any(now[name] is not method for name, method in _METHODS.items()):
        return False
    return not any(vars(kind).keys() & _METHODS.keys() for kind in over)


_FIELDS = {each.name for each in fields(SynapseCounter)}
_METHODS = {
    name: method
    for name, method in vars(SynapseCounter).items()
    if not (name.startswith("__") or name in _FIELDS)
}
