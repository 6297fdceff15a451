"""The columns that tables of a leaderboard can show: titles, what they say of a row, widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adacal.core.errors import ConfigError, unknown_name
from adacal.suite.leaderboard import CONTROLS, Board
from adacal.suite.records import metric_words

Row = Mapping[str, Any]

NEVER = 10**6
"""A width no terminal has: such a column is shown there only when asked for."""


@dataclass(frozen=True)
class Column:
    """A column of the printed tables.

    Attributes:
        key: what `--columns` calls it.
        title: its head.
        show: what it says of a row.
        fields: the row's numbers behind it, as CSV has them.
        left: whether it is text.
        above: how wide a terminal must be, in characters, to show it unasked.
    """

    key: str
    title: str
    show: Callable[[Row], str]
    fields: tuple[str, ...]
    left: bool = False
    above: int = 0


OPTIONAL = ("divergence", "events_ratio", "reference", "ann_wall")
"""Columns that Markdown tables show only when asked for."""

PAPER = (
    "rank", "method", "strictness", "T", "phi", "steps", "score", "drop",
    "energy", "ann_ratio", "memory_ratio", "quantised_ratio", "front",
)  # fmt: skip
"""Columns of LaTeX tables: what fits on a page across, 465 pt."""


def all_columns(board: Board) -> list[Column]:
    """Returns every column there is for a board, in the order of the tables."""
    model = board.ranking.energy_model
    return [
        Column("rank", "#", _rank, ("rank",)),
        Column("method", "method", lambda row: str(row["label"]), ("label",), left=True),
        Column("strictness", "spikes are", lambda row: str(row["strictness"]), ("strictness",),
               left=True, above=138),
        Column("T", "T", lambda row: str(row["T"]) if row["T"] else "–", ("T",)),
        _numbers("phi", "mean φ", "mean_max_spikes", 2, above=138),
        Column("steps", "mean steps", _steps, ("mean_timesteps",), above=230),
        _numbers("seen", "recording seen (ms)", "recording_ms", 0, above=230),
        Column("score", f"{metric_words(board.metric)}{_unit(board.unit)}", _score,
               ("score", "score_std")),
        Column("drop", _drop_title(board), _drop_of(board),
               ("drop", "drop_low", "drop_high", "interval"), above=116),
        _numbers("divergence", "divergence", "divergence", 4, above=NEVER),
        _counts("spikes", "spikes", above=NEVER),
        _counts("sops", "SOPs", above=185),
        _counts("macs", "MACs", above=185),
        _energy("energy", "energy (µJ)", "energy_uj"),
        *_readings(model),
        _numbers("ann_ratio", "× ANN", "energy_to_ann", 2),
        *_ratios(model),
        _numbers("quantised_ratio", "× quantised", "energy_to_quantised", 2, above=170),
        Column("calibration", "calibration (s)", _calibration, ("calibration_s",), above=NEVER),
        _numbers("wall", "ms/sample", "snn_ms", 2, above=NEVER),
        _numbers("wall_ratio", "× ANN, time", "time_to_ann", 2, above=204),
        _numbers("ann_wall", "ANN ms/sample", "ann_ms", 2, above=NEVER),
        Column("seeds", "seeds", lambda row: str(row["seeds"]), ("seeds",), above=214),
        Column("front", "front", _front, ("pareto", "beaten_by_quantised"), above=NEVER),
        Column("record", "record", lambda row: str(row["record"]), ("record", "records"),
               left=True, above=92),
    ]  # fmt: skip


def choose(board: Board, wanted: Sequence[str] = ()) -> list[Column]:
    """Returns the columns of those keys in that order; `all` stands for every one.

    Without a wish: all but the optional ones and those with nothing to say on this board.

    Raises:
        ConfigError: a key that no column has.
    """
    known = {column.key: column for column in all_columns(board)}
    if list(wanted) == ["all"]:
        return list(known.values())
    for key in wanted:
        if key not in known:
            raise ConfigError(unknown_name("column", key, [*known, "all"]))
    if wanted:
        return [known[key] for key in dict.fromkeys(wanted)]
    silent = set() if board.rows["recording_ms"].notna().any() else {"seen"}
    return [column for key, column in known.items() if key not in silent.union(OPTIONAL)]


def points(board: Board) -> str:
    """Returns the word for a difference of the metric."""
    return "points" if board.unit == "%" else (board.unit or "units")


def _unit(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _drop_title(board: Board) -> str:
    kinds = set(board.rows["interval"])
    if "bootstrap" in kinds:
        return f"drop ({points(board)}) [95 %]"
    return f"drop ({points(board)})" + (" [range of seeds]" if "range" in kinds else "")


def _readings(model: str) -> list[Column]:
    """The other readings of the energy; `reference` is there to compare with its paper's tables."""
    titles = {
        "per_spike": "energy, per spike (µJ)",
        "per_event": "energy, per event (µJ)",
        "memory": "energy, with memory (µJ)",
        "reference": "energy, reference (µJ)",
    }
    return [
        _energy(key, title, f"energy_{key}_uj", above=NEVER)
        for key, title in titles.items()
        if key != model
    ]


def _ratios(model: str) -> list[Column]:
    if model == "memory":
        return []
    events = _numbers("events_ratio", "× ANN, per event", "energy_per_event_to_ann", 2, above=NEVER)
    memory = _numbers("memory_ratio", "× ANN, memory", "energy_memory_to_ann", 2, above=150)
    return [memory] if model == "per_event" else [memory, events]


def _numbers(key: str, title: str, field: str, digits: int, above: int = 0) -> Column:
    return Column(key, title, lambda row: number(row[field], digits), (field,), above=above)


def _energy(key: str, title: str, field: str, above: int = 0) -> Column:
    return Column(key, title, lambda row: three_digits(row[field]), (field,), above=above)


def _counts(key: str, title: str, above: int = 0) -> Column:
    return Column(key, title, lambda row: count(row[key]), (key,), above=above)


def _rank(row: Row) -> str:
    if row["rank"]:
        return str(row["rank"])
    return "control" if row["strictness"] in CONTROLS else "–"


def _front(row: Row) -> str:
    if not row["pareto"]:
        return ""
    return "○" if row["beaten_by_quantised"] else "●"


def _steps(row: Row) -> str:
    return number(row["mean_timesteps"], 2) if row["mean_timesteps"] else "–"


def _calibration(row: Row) -> str:
    return "–" if row["strictness"] == "none" else number(row["calibration_s"], 1)


def _score(row: Row) -> str:
    spread = "" if math.isnan(row["score_std"]) else f" ± {row['score_std']:.2f}"
    return f"{row['score']:.2f}{spread}"


def _drop_of(board: Board) -> Callable[[Row], str]:
    """Ranges over seeds are marked where intervals stand beside them."""
    mixed = "bootstrap" in set(board.rows["interval"])

    def drop(row: Row) -> str:
        if row["strictness"] == "none":
            return "–"
        mean, low, high = (
            f"{round(row[key], 2) + 0.0:.2f}" for key in ("drop", "drop_low", "drop_high")
        )
        if row["interval"] == "none":
            return mean
        mark = " seeds" if mixed and row["interval"] == "range" else ""
        return f"{mean} [{low}, {high}{mark}]"

    return drop


def number(value: float | None, digits: int) -> str:
    """Returns a number with so many digits, one digit where it is smaller than that."""
    if value is None or math.isnan(value):
        return "–"
    if value and abs(value) < 10**-digits:
        return f"{value:.1g}"
    return f"{value:,.{digits}f}"


def three_digits(value: float) -> str:
    """Returns a number with three digits, or all those before the point: seeds differ in the third.

    >>> [three_digits(value) for value in (1255.3649, 29.9936, 1.4678, 0.0421)]
    ['1,255', '30.0', '1.47', '0.0421']
    """
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def count(value: float) -> str:
    """Returns three digits and a letter: k, M, G.

    >>> count(32776345.0)
    '32.8M'
    """
    if math.isnan(value):
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
