"""What computes cells: asks the config's record id, measures, answers in plain words.

A worker touches no results folder. It may run in another process or on another machine; what it
sends is text, and whoever drives it writes the records.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from adacal.core.errors import AdacalError
from adacal.suite.config import RunConfig, resolve
from adacal.suite.runner import identify, measure
from adacal.suite.session import Progress, Session, computing, no_progress, pick_device

Ask = Literal["identify", "measure"]
Kind = Literal["identity", "record", "failed", "died"]


class Failed(NamedTuple):
    """Why a cell gave no record: a sentence, and the traceback for who mends it."""

    reason: str
    traceback: str


class Answer(NamedTuple):
    """What came of a request: a record's id, its JSON text, or why there is none."""

    kind: Kind
    value: Any


@dataclass
class Worker:
    """Computes cells one after another, sharing what they share.

    Attributes:
        session: keeps datasets, ANNs and their evaluations.
        threads: torch threads; None leaves them as they are.
    """

    session: Session
    threads: int | None = None

    def answer(self, ask: Ask, config: RunConfig, progress: Progress = no_progress) -> Answer:
        """Answers a request; what goes wrong is an answer, too."""
        try:
            with computing(self.threads):
                if ask == "identify":
                    return Answer("identity", identify(config, self.session.prepare(config)))
                return Answer("record", measure(config, self.session, progress).to_json())
        except Exception as error:
            return Answer("failed", Failed(reason_of(error), traceback.format_exc()))

    def answer_plain(
        self, ask: Ask, plain: dict[str, Any], progress: Progress = no_progress
    ) -> Answer:
        """Answers a request whose config came as plain values from another process."""
        try:
            config = resolve(plain, origin="cell")  # imports what the config's custom_imports name
        except AdacalError as error:
            return Answer("failed", Failed(str(error), traceback.format_exc()))
        return self.answer(ask, config, progress)


def make_worker(device: str, threads: int | None) -> Worker:
    """Builds a worker for a device as the command line names it."""
    return Worker(Session(device=pick_device(device)), threads)


def reason_of(error: Exception) -> str:
    """Returns why a cell gave no record, in a sentence; of errors that are not ours with the kind.

    >>> reason_of(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    return str(error) if isinstance(error, AdacalError) else f"{type(error).__name__}: {error}"
