"""Published rows as the page of `adacal report` wants them: apart, with the gap to ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError
from adacal.suite.leaderboard import Board
from adacal.suite.published import (
    Names,
    PublishedRow,
    address,
    published_folder,
    read_names,
    read_published,
)
from adacal.suite.published_tables import NOTE, Beside, beside
from adacal.suite.records import metric_words


@dataclass(frozen=True)
class Published:
    """The literature's numbers, and what they call things."""

    rows: Sequence[PublishedRow]
    names: Names


NOTHING = Published((), Names({}, {}, {}, {}))


def find_published(results: Path) -> tuple[Published, list[str]]:
    """Returns the published rows of a results folder, or the shipped ones, and what is wrong."""
    folder = published_folder(results)
    try:
        rows, wrong = read_published(folder)
        names = read_names(folder)
    except DataError as error:
        return NOTHING, [f"no published rows: {error}"]
    if wrong:
        wrong = [f"{len(wrong)} complaints about {folder}; `adacal published --check` lists them"]
    return Published(rows, names), wrong


def published_data(published: Published, boards: Sequence[Board]) -> dict[str, Any]:
    """Returns the published rows, JSON-able, each with our rows of the same place, method and T.

    Args:
        published: what is shown.
        boards: ours, in the page's order.
    """
    place = {row.place: number for number, row in enumerate(published.rows)}
    rows = [_row(row) for row in published.rows]
    for number, board in enumerate(boards):
        for entry in beside(board, published.rows, published.names):
            found = rows[place[entry.row.place]]
            found["boards"] = sorted({*found["boards"], number})
            if entry.ours is not None:
                found["ours"].append(_ours(entry, number))
    return {"note": NOTE, "rows": rows}


def _row(row: PublishedRow) -> dict[str, Any]:
    return {
        "paper": f"{row.paper}, {row.year}" if row.year else row.paper,
        "source": row.source,
        "address": address(row.source),
        "task": row.task,
        "dataset": row.dataset,
        "model": row.model,
        "method": row.method,
        "T": row.T,
        "steps": row.steps,
        "metric": metric_words(row.metric),
        "unit": "%" if row.metric.endswith("_pct") else "",
        "value": row.value,
        "ann": row.ann_value,
        "note": row.note,
        "secondary": row.secondary,
        "boards": [],
        "ours": [],
    }


def _ours(entry: Beside, board: int) -> dict[str, Any]:
    ours = entry.ours or {}
    return {
        "board": board,
        "label": ours["label"],
        "run": str(ours["records"]).split()[0],
        "score": round(float(ours["score"]), 4),
        "gap": round(entry.gap, 4),
    }
