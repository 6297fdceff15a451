"""Small matrices of the toys, their numbers, and a listener that acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adacal.suite.dispatch import Silent
from adacal.suite.matrix import Cell, expand
from adacal.suite.session import Progress
from adacal.suite.store import RecordStore
from suite.suite_toys import write_base


def cells_of(folder: Path, **changes: Any) -> list[Cell]:
    matrix = {
        "tasks": ["toy_data"],
        "models": ["toy_net"],
        "methods": ["toy_ann", "toy_spiking"],
        "T": [2, 4],
        "seeds": [0, 1],
        "calibration": {"n_samples": 8},
        "evaluation": {"batch_size": 20, "latency_repeats": 0},
        "custom_imports": {"imports": ["suite.suite_toys"]},
    }
    return expand({**matrix, **changes}, base=write_base(folder / "_base_"))


def numbers(store: RecordStore) -> dict[str, Any]:
    return {record.id: record.numbers() for record in store.read_all()[0]}


class Listening(Silent):
    """Keeps what it hears, and acts on the first note that holds a word."""

    def __init__(self, word: str = "", act: Any = None) -> None:
        self.states: list[str] = []
        self.heard: list[tuple[str, str, int, int]] = []
        self.word, self.act = word, act

    def cell_started(self, cell: Cell) -> Progress:
        return lambda *words: self.heard.append((cell.name, *words))

    def cell_ended(self, cell: Cell, state: str, note: str) -> None:
        self.states.append(state)
        self._maybe(state)

    def note(self, sentence: str) -> None:
        self._maybe(sentence)

    def _maybe(self, text: str) -> None:
        if self.act is not None and self.word in text:
            act, self.act = self.act, None
            act()
