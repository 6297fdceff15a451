"""Runs the cells of a matrix on an executor and keeps their records; nothing else writes any.

For each cell a worker first says which record it would give. If that is there, the cell is skipped;
if another process has claimed it, the cell waits till the end; else it is claimed and measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from adacal.core.errors import DataError
from adacal.suite.claims import Claims
from adacal.suite.config import digest
from adacal.suite.executors import Executor, InProcess
from adacal.suite.labels import counted
from adacal.suite.matrix import Cell
from adacal.suite.migrations import NewerSchema
from adacal.suite.records import parse_record
from adacal.suite.runner import identify
from adacal.suite.schedule import Schedule
from adacal.suite.session import Progress, Session, no_progress, share_key
from adacal.suite.store import RecordStore
from adacal.suite.worker import Answer, Failed, reason_of

POLL_S = 0.2
ATTEMPTS = 3


@dataclass(frozen=True)
class Failure:
    """A cell that gave no record, and why."""

    cell: Cell
    reason: str


@dataclass
class Outcome:
    """What running a matrix did; `notes` are sentences about what else happened."""

    done: list[Cell] = field(default_factory=list)
    skipped: list[Cell] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Listener(Protocol):
    """Hears how a matrix goes; the command line draws bars from it."""

    def cell_started(self, cell: Cell) -> Progress:
        """Returns where the cell's own progress goes."""

    def cell_ended(self, cell: Cell, state: str, note: str) -> None:
        """Hears `done`, `skipped` or `failed`, with the reason; or `waits`: it will start again."""

    def note(self, sentence: str) -> None:
        """Hears what else happened."""


class Silent:
    """A listener that does nothing."""

    def cell_started(self, cell: Cell) -> Progress:
        """Ignores the cell."""
        return no_progress

    def cell_ended(self, cell: Cell, state: str, note: str) -> None:
        """Ignores the end."""

    def note(self, sentence: str) -> None:
        """Ignores the sentence."""


def run_matrix(
    cells: Sequence[Cell],
    store: RecordStore,
    executor: Executor | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Runs the cells that have no record yet; one that fails is noted and the rest goes on.

    Interrupting or killing it loses nothing but the cells under way: run it again to go on. Files
    among the records that hold none are moved to the quarantine first.

    Args:
        cells: what `adacal.suite.matrix.load_matrix` or `expand` returned.
        store: where the records go.
        executor: where cells are computed; in this process by default.
        listener: hears how it goes.

    Raises:
        StorageError: the results folder cannot be written, or the disk is full.
        ConfigError: the executor cannot start.
    """
    store.prepare()
    executor = executor or InProcess()
    drive = _Drive(cells, store, executor, listener or Silent())
    for sentence in store.quarantine():
        drive.note(sentence)
    try:
        executor.open(drive.hear)
        drive.run()
    finally:
        executor.close()
        drive.claims.release_all()
    return drive.outcome


def plan(
    cells: Sequence[Cell], store: RecordStore, session: Session | None = None
) -> list[tuple[Cell, str]]:
    """Returns each cell with `recorded`, `to run`, or `cannot run: ` and why; measures nothing.

    Whatever a cell raises is its reason, as in a run, and the others are planned.
    """
    session = session or Session()
    planned = []
    for cell in cells:
        try:
            key = identify(cell.config, session.prepare(cell.config))
            planned.append((cell, "recorded" if store.has(key) else "to run"))
        except Exception as error:
            planned.append((cell, f"cannot run: {reason_of(error)}"))
    return planned


@dataclass
class _Task:
    """What a worker does: `record_id` is None while it works out which record that will be."""

    cell: Cell
    progress: Progress
    record_id: str | None = None


class _Drive:
    """The state of a matrix that runs."""

    def __init__(
        self, cells: Sequence[Cell], store: RecordStore, executor: Executor, listener: Listener
    ) -> None:
        self.store, self.executor, self.listener = store, executor, listener
        self.outcome = Outcome()
        self.claims = Claims(store.results / "locks")
        self._schedule = Schedule(cells, group=lambda cell: share_key(cell.config))
        self._tasks: dict[int, _Task] = {}
        self._elsewhere: list[tuple[Cell, str]] = []
        self._deaths: Counter[str] = Counter()
        self._says_waiting = False

    def run(self) -> None:
        while True:
            self._feed()
            if not (self._tasks or self._elsewhere):
                return
            for worker, answer in self.executor.receive(POLL_S):
                self._take(self._tasks.pop(worker), worker, answer)

    def hear(self, worker: int, stage: str, done: int, total: int) -> None:
        if worker in self._tasks:
            self._tasks[worker].progress(stage, done, total)

    def note(self, sentence: str) -> None:
        self.outcome.notes.append(sentence)
        self.listener.note(sentence)

    def _feed(self) -> None:
        """Gives idle workers the next cells; when none is left, those that waited for others."""
        idle = [w for w in range(self.executor.workers) if w not in self._tasks]
        for worker in idle:
            cell = self._schedule.take(worker)
            if cell is not None:
                self._tasks[worker] = _Task(cell, self.listener.cell_started(cell))
                self.executor.send(worker, "identify", cell.config)
        if self._elsewhere and not self._schedule:
            self._look_again([w for w in idle if w not in self._tasks])

    def _look_again(self, idle: list[int]) -> None:
        """Asks of each cell that another process had claimed whether it is recorded or free now."""
        if not self._says_waiting:
            self._says_waiting = True
            waiting = counted(len(self._elsewhere), "cell")
            self.note(f"waiting for {waiting} that another process computes")
        for cell, record_id in list(self._elsewhere):
            if self._settled(cell, record_id, "recorded by another process"):
                pass
            elif idle and self.claims.take(record_id):
                self._measure(idle.pop(), _Task(cell, self.listener.cell_started(cell)), record_id)
            else:
                continue
            self._elsewhere.remove((cell, record_id))

    def _take(self, task: _Task, worker: int, answer: Answer) -> None:
        if answer.kind == "identity":
            self._decide(task, worker, answer.value)
            return
        if answer.kind == "record":
            self._keep(task, answer.value)
            return
        self._release(task)
        if answer.kind == "died":
            self._mourn(task.cell, answer.value)
        else:
            self._end_failed(task.cell, answer.value)

    def _keep(self, task: _Task, text: str) -> None:
        try:
            record = parse_record(text, f"what a worker sent of {task.cell.name}")
        except DataError as error:  # a node of a cluster with another version of adacal
            self._release(task)
            self._end_failed(task.cell, Failed(str(error), ""))
            return
        self.store.add(record)
        self._release(task)
        self.store.forget_failure(_key(task.cell))
        self.outcome.done.append(task.cell)
        self.listener.cell_ended(task.cell, "done", "")

    def _decide(self, task: _Task, worker: int, record_id: str) -> None:
        """Skips, measures or leaves to another process the cell whose record would be this."""
        if self._settled(task.cell, record_id, "recorded already"):
            return
        if not self.claims.take(record_id):
            self._elsewhere.append((task.cell, record_id))
            self.listener.cell_ended(task.cell, "waits", "another process computes it")
        elif self._settled(task.cell, record_id, "recorded by another process"):
            self.claims.release(record_id)  # written and let go between our two looks
        else:
            self._measure(worker, task, record_id)

    def _settled(self, cell: Cell, record_id: str, why: str) -> bool:
        """Ends a cell whose record is there; one by a newer adacal is not touched."""
        try:
            recorded = self.store.has(record_id)
        except NewerSchema as error:
            self._end_failed(cell, Failed(str(error), ""))
            return True
        if recorded:
            self.outcome.skipped.append(cell)
            self.listener.cell_ended(cell, "skipped", why)
        return recorded

    def _measure(self, worker: int, task: _Task, record_id: str) -> None:
        task.record_id = record_id
        self._tasks[worker] = task
        self.executor.send(worker, "measure", task.cell.config)

    def _mourn(self, cell: Cell, how: str) -> None:
        """A worker died: its cell goes to another, unless it has cost several already."""
        self._deaths[cell.name] += 1
        if self._deaths[cell.name] < ATTEMPTS:
            self.note(f"a worker died ({how}) at {cell.name}; the cell is tried again")
            self.listener.cell_ended(cell, "waits", "its worker died")
            self._schedule.put_back(cell)
            return
        reason = (
            f"{ATTEMPTS} workers died of it, the last one with {how}; if memory ran out, lower "
            "evaluation.batch_size, calibration.n_samples or --workers"
        )
        self._end_failed(cell, Failed(reason, ""))

    def _release(self, task: _Task) -> None:
        if task.record_id is not None:
            self.claims.release(task.record_id)

    def _end_failed(self, cell: Cell, failed: Failed) -> None:
        self.outcome.failed.append(Failure(cell, failed.reason))
        self.store.add_failure(
            _key(cell),
            {
                "cell": cell.name,
                "reason": failed.reason,
                "traceback": failed.traceback,
                "config": cell.config.plain(),
            },
        )
        self.listener.cell_ended(cell, "failed", failed.reason)


def _key(cell: Cell) -> str:
    return digest(cell.config.plain())
