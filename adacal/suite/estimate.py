"""How long a matrix will take, from the wall times of cells like its own that are recorded.

A cell is like another if only the seed differs, or the seed and T; of those with another T the
nearest count, and their seconds are scaled by T, as the time of a run nearly is. Only records of
the same processor and device are used. What cells share (dataset, ANN, its evaluation) is added
once for each set of cells that share it. Where nothing like a cell is recorded, the time of the
cell is unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from adacal.suite.config import RunConfig, digest
from adacal.suite.environment import Environment
from adacal.suite.matrix import Cell
from adacal.suite.records import RunRecord
from adacal.suite.runner import identity
from adacal.suite.session import build_task, share_key
from adacal.suite.task import Task


@dataclass(frozen=True)
class Estimate:
    """What a set of cells is likely to take.

    Attributes:
        cells: seconds of each cell, in order; None where nothing like it is recorded.
        shared_s: seconds of what the cells share.
        records: how many records the estimate rests on.
    """

    cells: list[float | None]
    shared_s: float
    records: int

    @property
    def known_s(self) -> float:
        """Seconds of the cells that are known, and of what they share."""
        return sum(seconds for seconds in self.cells if seconds is not None) + self.shared_s

    @property
    def unknown(self) -> int:
        """How many cells are like none recorded."""
        return self.cells.count(None)

    def sentence(self, workers: int = 1) -> str:
        """Says it for people; several workers are taken to divide the time evenly."""
        if not self.cells:
            return "nothing is left to compute"
        if self.unknown == len(self.cells):
            return "time: unknown; no cell like these has its wall time recorded here"
        text = f"time: about {duration(self.known_s / workers)}"
        if workers > 1:
            text += f" with {workers} workers"
        if self.unknown:
            text += f" for {len(self.cells) - self.unknown} cells, unknown for {self.unknown}"
        return (
            f"{text} (medians of {self.records} records of the same cells with another seed, "
            "or with another T and scaled by it, on this processor)"
        )


def estimate(cells: Sequence[Cell], records: Iterable[RunRecord], here: Environment) -> Estimate:
    """Estimates cells that are still to run.

    Args:
        cells: the cells.
        records: what the results folder holds.
        here: the environment that the cells will run in.
    """
    book = _Book()
    for record in records:
        if record.wall is not None and _same_machine(record.environment, here):
            book.add(record)
    seconds = [book.seconds(cell.config) for cell in cells]
    groups: dict[str, RunConfig] = {}
    for cell in cells:
        groups.setdefault(share_key(cell.config), cell.config)
    return Estimate(seconds, sum(map(book.shared_seconds, groups.values())), len(book.used))


def not_recorded(cells: Sequence[Cell], records: Iterable[RunRecord]) -> list[Cell]:
    """Returns the cells whose record is not there, by its id, as a run decides; reads no dataset.

    Weights are hashed, and data are taken to be what they were when a record of the same task and
    model was made. A cell whose task cannot be built counts as not recorded: the run will say why.
    """
    ids = set()
    data: dict[str, set[str]] = defaultdict(set)
    for record in records:
        ids.add(record.id)
        data[_network(record.config)].add(record.data_fingerprint)
    tasks: dict[str, tuple[Task, str] | None] = {}
    left = []
    for cell in cells:
        config = cell.config
        key = share_key(config)
        if key not in tasks:
            tasks[key] = _task_with_weights(config)
        built = tasks[key]
        known = data.get(_network(config.plain()), set()) if built else set()
        if not built or ids.isdisjoint(identity(config, built[0], it, built[1]) for it in known):
            left.append(cell)
    return left


def _task_with_weights(config: RunConfig) -> tuple[Task, str] | None:
    try:
        task = build_task(config)
        return task, task.checkpoint_sha256()
    except Exception:  # whatever it is, the run says it of the cell
        return None


def _network(plain: Mapping[str, Any]) -> str:
    return digest([plain.get("task"), plain.get("model")])


@dataclass
class _Book:
    """Recorded seconds by what a cell is, by T; and those of what cells share."""

    own: dict[str, dict[int, dict[str, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    shared: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    used: set[str] = field(default_factory=set)

    def add(self, record: RunRecord) -> None:
        wall = record.wall
        assert wall is not None
        own = wall.total_s - wall.prepare_s - wall.ann_s
        self.own[_likeness(record.config)][record.T][record.id] = own
        if record.shared == []:  # it paid for everything itself
            self.shared[_pair(record.config)][record.id] = wall.prepare_s + wall.ann_s

    def seconds(self, config: RunConfig) -> float | None:
        by_T = self.own.get(_likeness(config.plain()))
        if not by_T:
            return None
        T = config.conversion.T
        nearest = min(by_T, key=lambda other: (max(other / T, T / other), other))
        self.used.update(by_T[nearest])
        return median(by_T[nearest].values()) * T / nearest

    def shared_seconds(self, config: RunConfig) -> float:
        found = self.shared.get(_pair(config.plain()), {})
        self.used.update(found)
        return median(found.values()) if found else 0.0


def _same_machine(one: Environment, other: Environment) -> bool:
    keys = ("device", "processor", "accelerator")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _likeness(plain: Mapping[str, Any]) -> str:
    """Returns what two cells have in common that differ in T and seed only."""
    return digest({key: plain[key] for key in plain if key not in ("seed", "conversion")})


def _pair(plain: Mapping[str, Any]) -> str:
    keys = ("task", "model", "schedule", "evaluation")
    return digest({key: plain.get(key) for key in keys})


def duration(seconds: float) -> str:
    """Returns seconds in words.

    >>> duration(0.4), duration(75), duration(4000), duration(200000)
    ('1 s', '75 s', '67 min', '55.6 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
