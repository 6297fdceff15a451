"""What a leaderboard is asked: which records enter, and what ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adacal.core.checks import check_number
from adacal.core.errors import ConfigError, DataError, unknown_name
from adacal.suite.records import RunRecord

ENERGY_MODELS = ("per_spike", "per_event", "memory", "reference")
ORDERS = ("accuracy", "energy", "pareto")

Order = Literal["accuracy", "energy", "pareto"]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which records enter; empty means all. Names may be given in any number."""

    task: Sequence[str] = ()
    dataset: Sequence[str] = ()
    model: Sequence[str] = ()
    method: Sequence[str] = ()
    T: Sequence[int] = ()

    def keep(self, record: RunRecord) -> bool:
        """Says whether a record passes. ANNs pass any method and T: they are the reference."""
        method = record.strictness == "none" or not self.method
        steps = not record.uses_T or not self.T
        return (
            (not self.task or record.task in self.task)
            and (not self.dataset or record.dataset in self.dataset)
            and (not self.model or record.model in self.model)
            and (method or record.method in self.method or record.label in self.method)
            and (steps or record.T in self.T)
        )

    def require_known(self, records: Sequence[RunRecord]) -> None:
        """Raises DataError for a name that no record has; offers the nearest."""
        for kind in ("task", "dataset", "model", "method", "T") if records else ():
            known = {str(getattr(record, kind)) for record in records}
            if kind == "method":
                known |= {record.label for record in records}
            for name in map(str, getattr(self, kind)):
                if name not in known:
                    raise DataError(unknown_name(f"{kind} among the records", name, known))


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How a table is ordered.

    Attributes:
        by: `accuracy` ranks by the metric (within `max_energy_uj`, if given), `energy` by energy
            among rows that lose at most `max_drop` against the ANN, `pareto` puts the rows
            that no other beats in both first.
        metric: which of the recorded metrics counts; the task's main one by default.
        energy_model: which reading of the energy counts.
        max_energy_uj: energy budget a sample, microjoules.
        max_drop: largest allowed drop against the ANN, in units of the metric.
    """

    by: Order = "accuracy"
    metric: str | None = None
    energy_model: str = "per_spike"
    max_energy_uj: float | None = None
    max_drop: float = 0.5

    def __post_init__(self) -> None:
        """Checks names and numbers."""
        if self.by not in ORDERS:
            raise ConfigError(unknown_name("order", self.by, ORDERS))
        if self.energy_model not in ENERGY_MODELS:
            raise ConfigError(unknown_name("energy model", self.energy_model, ENERGY_MODELS))
        if self.max_energy_uj is not None:
            check_number("the largest energy", self.max_energy_uj, 0, above=True, example=1.5)
        check_number("the largest drop", self.max_drop, example=0.5)
