"""Published numbers as tables of their own, with the gap to ours where both exist."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adacal.suite.columns import points
from adacal.suite.leaderboard import Board
from adacal.suite.markup import Grid
from adacal.suite.published import Names, PublishedRow
from adacal.suite.records import metric_words
from adacal.suite.tables import csv_text, frame

NOTE = (
    "Published numbers, as their sources give them; none was measured here and none is ranked. "
    "ANNs, training, weights and test code differ from ours, so a gap is no verdict on the method. "
    "gap: ours minus published. * not read in the paper that measured it, but in the source named."
)


@dataclass(frozen=True)
class Beside:
    """A published row and our row of the same dataset, model, method and T, if there is one.

    Attributes:
        ours: a row of `Board.rows`, or None.
        our_ann: our ANN's metric; NaN if it is not recorded.
    """

    row: PublishedRow
    ours: dict[str, Any] | None
    our_ann: float

    @property
    def gap(self) -> float:
        """Returns our metric minus the published one; NaN without ours."""
        return math.nan if self.ours is None else float(self.ours["score"]) - self.row.value

    @property
    def published_drop(self) -> float:
        """Returns what the published row loses against its ANN; NaN if that is not given."""
        return math.nan if self.row.ann_value is None else self.row.ann_value - self.row.value


def beside(board: Board, rows: Sequence[PublishedRow], names: Names) -> list[Beside]:
    """Returns the published rows of a board's task, dataset, model and metric, by method and T."""
    found = []
    own = [{str(k): v for k, v in row.items()} for row in board.rows.to_dict("records")]
    ann = [float(row["score"]) for row in own if row["strictness"] == "none"]
    for row in rows:
        place = names.same_place(row, board.task, board.dataset, board.model)
        if not place or not names.same_metric(row, board.metric):
            continue
        fits = [
            mine
            for mine in own
            if names.same_method(row, mine["method"], mine["label"])
            and (mine["T"] == row.steps if mine["T"] else row.steps is None)
        ]
        partners: list[dict[str, Any] | None] = [*fits] or [None]
        for mine in partners:
            found.append(Beside(row, mine, ann[0] if ann else math.nan))
    return sorted(found, key=lambda it: (it.row.method, it.row.steps or math.inf, it.row.place))


def beside_grid(board: Board, found: Sequence[Beside]) -> Grid:
    """Returns the published rows of a board beside ours."""
    metric = f"{metric_words(board.metric)}{f' ({board.unit})' if board.unit else ''}"
    unit = points(board)
    heads = (
        "published method", "T", f"published {metric}", f"its ANN's {metric}", f"drop ({unit})",
        "our row", f"our {metric}", f"our ANN's {metric}", f"our drop ({unit})", f"gap ({unit})",
        "paper", "source",
    )  # fmt: skip
    text = {0, 5, 10, 11}
    return Grid(
        heads=heads,
        left=[i in text for i in range(len(heads))],
        cells=[_cells(entry) for entry in found],
        notes=[NOTE],
        long=(0, 5, 10, 11),
    )


ONLY_PUBLISHED = ("ann_value", "our_label", "gap", "secondary", "paper", "source")
"""CSV columns that measured rows leave empty."""


def joint_csv(tables: Sequence[tuple[Board, Sequence[Beside]]], wanted: Sequence[str] = ()) -> str:
    """Returns boards and published rows as one CSV, whose first column says which a row is.

    `origin` is `measured` or `published`. A published row stands once for each of our rows it is
    set beside (`our_label`), has no rank, and under the name of our metric the published number.

    Args:
        tables: boards with what is published beside them.
        wanted: keys of the boards' columns; all by default.
    """
    import pandas as pd

    measured = pd.concat([frame(board, wanted) for board, _ in tables], ignore_index=True)
    columns = [*measured.columns, *ONLY_PUBLISHED]
    rows = [_csv_row(board, entry) for board, entries in tables for entry in entries]
    published = pd.DataFrame(rows, columns=columns, dtype=object)
    both = pd.concat([measured.astype(object), published], ignore_index=True)
    both.insert(0, "origin", ["measured"] * len(measured) + ["published"] * len(published))
    return csv_text(both)


def _csv_row(board: Board, entry: Beside) -> dict[str, Any]:
    row, ours = entry.row, entry.ours
    return {
        "task": board.task,
        "dataset": board.dataset,
        "model": board.model,
        "label": row.method,
        "T": row.T,
        board.metric: row.value,
        "drop": entry.published_drop,
        "ann_value": row.ann_value,
        "our_label": "" if ours is None else ours["label"],
        "gap": entry.gap,
        "secondary": row.secondary,
        "paper": _paper(row),
        "source": row.source,
    }


def list_grid(rows: Sequence[PublishedRow]) -> Grid:
    """Returns published rows as they are."""
    heads = (
        "task", "dataset", "model", "method", "T", "metric", "value", "ANN", "paper", "source",
    )  # fmt: skip
    cells = [
        [
            row.task,
            row.dataset or "–",
            row.model or "–",
            row.method,
            row.T or "–",
            row.metric,
            f"{row.value:g}{'*' if row.secondary else ''}",
            _number(row.ann_value),
            _paper(row),
            row.source,
        ]
        for row in rows
    ]
    left = [i not in (4, 6, 7) for i in range(len(heads))]
    return Grid(heads=heads, left=left, cells=cells, notes=[NOTE], long=(3, 5, 8, 9))


def _cells(entry: Beside) -> list[str]:
    row, ours = entry.row, entry.ours
    mine = ["–"] * 4
    if ours is not None:
        mine = [ours["label"], *map(_number, (ours["score"], entry.our_ann, ours["drop"]))]
    return [
        row.method,
        row.T or "–",
        f"{row.value:.2f}{'*' if row.secondary else ''}",
        _number(row.ann_value),
        _number(entry.published_drop),
        *mine,
        "–" if ours is None else f"{entry.gap:+.2f}",
        _paper(row),
        row.source,
    ]


def _paper(row: PublishedRow) -> str:
    return f"{row.paper}, {row.year}" if row.year else row.paper


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value + 0.0:.2f}"
