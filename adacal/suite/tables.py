"""Leaderboards as terminal tables, Markdown and CSV; the committed files and their check."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adacal.suite.leaderboard import CONTROLS, Board, Ranking, boards
from adacal.suite.records import RunRecord
from adacal.suite.store import write_replacing

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]
ORDER_TITLES = {
    "accuracy": "by accuracy",
    "energy": "by energy at equal accuracy",
    "pareto": "Pareto front of accuracy and energy",
}

HIDDEN_BELOW = {
    10**6: {"calibration (s)", "spikes", "front"},
    204: {"mean steps", "recording seen (ms)", "ms/sample", "seeds"},
    170: {"SOPs", "MACs", "× quantised"},
    138: {"spikes are", "mean φ"},
    116: {"drop (points) [95 %]"},
    92: {"record"},
}
"""Width in characters to the columns that a narrower terminal does without."""


@dataclass(frozen=True)
class Column:
    """A column of the printed tables: its title and what it shows of a row."""

    title: str
    show: Callable[[Row], str]
    left: bool = False


def columns(board: Board) -> list[Column]:
    """Returns the columns of a board's tables."""
    unit = board.unit
    points = "points" if unit == "%" else unit
    found = [
        Column("#", _rank),
        Column("method", lambda row: str(row["label"]), left=True),
        Column("spikes are", lambda row: str(row["strictness"]), left=True),
        Column("T", lambda row: str(row["T"]) if row["T"] else "–"),
        Column("mean φ", lambda row: _number(row["mean_max_spikes"], 2)),
        Column("mean steps", lambda row: _steps(row)),
        Column(f"{_words(board.metric)} ({unit})", _score),
        Column(f"drop ({points}) [95 %]", _drop),
        Column("spikes", lambda row: _count(row["spikes"])),
        Column("SOPs", lambda row: _count(row["sops"])),
        Column("MACs", lambda row: _count(row["macs"])),
        Column("energy (µJ)", lambda row: _number(row["energy_uj"], 3)),
        Column("× ANN", lambda row: _number(row["energy_to_ann"], 2)),
        Column("× quantised", lambda row: _number(row["energy_to_quantised"], 2)),
        Column("calibration (s)", lambda row: _number(row["calibration_s"], 1)),
        Column("ms/sample", lambda row: _number(row["snn_ms"], 2)),
        Column("seeds", lambda row: str(row["seeds"])),
        Column("front", lambda row: "●" if row["pareto"] else ""),
        Column("record", lambda row: str(row["record"]), left=True),
    ]
    if board.rows["recording_ms"].notna().any():
        seen = Column("recording seen (ms)", lambda row: _number(row["recording_ms"], 0))
        found.insert([column.title for column in found].index("mean steps") + 1, seen)
    return found


def caption(board: Board) -> str:
    """Returns what is measured and how rows are ordered, in words."""
    ranking = board.ranking
    limits = []
    if ranking.by == "energy":
        limits.append(f"ranked are rows that lose at most {ranking.max_drop:g} against the ANN")
    if ranking.max_energy_uj is not None:
        limits.append(f"and cost at most {ranking.max_energy_uj:g} µJ")
    text = (
        f"Ranked {ORDER_TITLES[ranking.by]}, energy model `{ranking.energy_model}`, "
        f"{board.n_test:,} test samples, numbers per sample, mean ± std over calibration seeds. "
    )
    if limits:
        text += f"Of all rows, {' '.join(limits)}; the others follow unranked. "
    if ranking.by == "energy":
        text += "Rows whose range over seeds overlaps share a rank. "
    elif ranking.by == "accuracy":
        text += "Rows whose interval (paired bootstrap over samples) overlaps share a rank. "
    return text + (
        "Rows without a number in # are controls or out of the limits. "
        "● marks the Pareto front of all rows; `× quantised` compares with the quantised ANN of "
        "the same T·φ, or else the same number of bits."
    )


def reproduce(board: Board, results: str = "results") -> str:
    """Returns the command that runs a row again."""
    ranked = board.rows[board.rows["rank"] > 0]
    first = (ranked if len(ranked) else board.rows).iloc[0]
    option = "" if results == "results" else f" --results {results}"
    return f"adacal verify {first['record']}{option}"


def markdown(board: Board, results: str = "results") -> str:
    """Returns a board as a Markdown table with its caption and command."""
    cols = columns(board)
    lines = [
        "| " + " | ".join(column.title for column in cols) + " |",
        "|" + "|".join(":--" if column.left else "--:" for column in cols) + "|",
    ]
    lines += [
        "| " + " | ".join(_escape(column.show(row)) for column in cols) + " |"
        for row in _rows(board)
    ]
    return (
        "\n".join(lines) + f"\n\n{caption(board)}\n\n"
        f"Run a row again and compare: `{reproduce(board, results)}` "
        "(the row's name is in the last column).\n"
    )


def terminal(board: Board, width: int = 220) -> Table:
    """Returns a board as a table for a terminal of so many characters.

    A narrow one gets the columns most looked at; Markdown and CSV have them all.
    """
    from rich.markup import escape
    from rich.table import Table

    hidden: set[str] = set()
    for limit, titles in HIDDEN_BELOW.items():
        if width < limit:
            hidden |= titles
    table = Table(title=f"{board.title}, {ORDER_TITLES[board.ranking.by]}", title_justify="left")
    cols = [column for column in columns(board) if column.title not in hidden]
    for column in cols:
        table.add_column(
            escape(column.title),
            justify="left" if column.left else "right",
            overflow="fold",
            no_wrap=column.title != "method",
            min_width=28 if column.title == "method" else None,
        )
    for row in _rows(board):
        style = "bold" if row["rank"] == 1 else ("dim" if not row["rank"] else "")
        table.add_row(*(escape(column.show(row)) for column in cols), style=style)
    return table


def csv(board: Board) -> str:
    """Returns all columns of a board, numbers as they are, units in the names."""
    rows = board.rows.copy()
    rows.insert(0, "model", board.model)
    rows.insert(0, "dataset", board.dataset)
    rows.insert(0, "task", board.task)
    rows = rows.rename(
        columns={
            "score": board.metric,
            "score_std": f"{board.metric}_std",
            "energy_uj": f"energy_{board.ranking.energy_model}_uj",
        }
    )
    return str(rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def committed_files(records: Sequence[RunRecord]) -> dict[str, str]:
    """Returns the leaderboard files that belong to the records: file name to content.

    One Markdown file a (dataset, model) with the order by accuracy, by energy at equal accuracy
    and the Pareto front; one CSV with all rows; an index.
    """
    by_accuracy = boards(records, Ranking(by="accuracy"))
    by_energy = boards(records, Ranking(by="energy"))
    names = [board.key for board in by_accuracy]
    files: dict[str, str] = {}
    index = ["# Leaderboards", "", "Made from `results/records` by `adacal leaderboard --write`."]
    for accuracy, energy in zip(by_accuracy, by_energy, strict=True):
        key = accuracy.key
        if names.count(key) > 1:
            key += f"_{accuracy.checkpoint[:8]}"
        parts = [f"# {accuracy.title}", ""]
        for board in (accuracy, energy):
            title = ORDER_TITLES[board.ranking.by]
            parts += [f"## {title[0].upper()}{title[1:]}", "", markdown(board)]
        files[f"{key}.md"] = "\n".join(parts)
        files[f"{key}.csv"] = csv(accuracy)
        index += ["", f"- [{accuracy.title}]({key}.md) ([csv]({key}.csv))"]
    index += ["", *_measured_on(records), ""]
    files["README.md"] = "\n".join(index)
    return files


def write_files(records: Sequence[RunRecord], folder: Path) -> list[Path]:
    """Writes the leaderboard files and returns their paths."""
    paths = []
    for name, text in committed_files(records).items():
        write_replacing(folder / name, text)
        paths.append(folder / name)
    return paths


def check_files(records: Sequence[RunRecord], folder: Path) -> list[str]:
    """Returns one sentence for each file that is not what the records give; none if all is well."""
    expected = committed_files(records)
    wrong = []
    for name, text in expected.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{path} is missing; run `adacal leaderboard --write`")
        elif path.read_text(encoding="utf-8") != text:
            wrong.append(f"{path} is not what the records give; run `adacal leaderboard --write`")
    for path in sorted(folder.glob("*.md")) + sorted(folder.glob("*.csv")):
        if path.name not in expected:
            wrong.append(f"{path} belongs to no record; remove it")
    return wrong


def _measured_on(records: Sequence[RunRecord]) -> list[str]:
    places = sorted(
        {
            f"{r.environment.accelerator or r.environment.processor}, "
            f"{r.environment.threads} threads, torch {r.environment.torch}, "
            f"Python {r.environment.python}"
            for r in records
        }
    )
    return [f"Measured on {place}." for place in places]


def _rows(board: Board) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in board.rows.to_dict("records")]


def _rank(row: Row) -> str:
    if row["rank"]:
        return str(row["rank"])
    return "control" if row["strictness"] in CONTROLS else "–"


def _steps(row: Row) -> str:
    return _number(row["mean_timesteps"], 2) if row["mean_timesteps"] else "–"


def _score(row: Row) -> str:
    spread = "" if math.isnan(row["score_std"]) else f" ± {row['score_std']:.2f}"
    return f"{row['score']:.2f}{spread}"


def _drop(row: Row) -> str:
    if row["strictness"] == "none":
        return "–"
    mean, low, high = (
        f"{round(row[key], 2) + 0.0:.2f}" for key in ("drop", "drop_low", "drop_high")
    )
    return f"{mean} [{low}, {high}]"


def _number(value: float | None, digits: int) -> str:
    if value is None or math.isnan(value):
        return "–"
    if value and abs(value) < 10**-digits:
        return f"{value:.1g}"
    return f"{value:,.{digits}f}"


def _count(value: float) -> str:
    if math.isnan(value):
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _words(metric: str) -> str:
    name = metric.removesuffix("_pct")
    return name.replace("_", " ").replace("miou", "mIoU")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
