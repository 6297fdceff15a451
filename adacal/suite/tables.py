"""Leaderboards as terminal tables, Markdown, CSV, LaTeX and HTML; committed files, their check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adacal.suite import markup
from adacal.suite.columns import PAPER, Column, Row, choose, points
from adacal.suite.leaderboard import Board, Ranking, boards, file_keys
from adacal.suite.provenance import measured_on
from adacal.suite.reading import READING
from adacal.suite.records import RunRecord, metric_words
from adacal.suite.store import write_replacing

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

SUFFIXES = (".md", ".csv", ".tex")
"""What `write_files` writes and `check_files` looks after; pictures are drawn, not checked."""


def order_title(board: Board) -> str:
    """Returns how the rows are ordered, in words."""
    metric, ranking = metric_words(board.metric), board.ranking
    if ranking.by == "energy":
        return f"by energy, at a loss of at most {ranking.max_drop:g} {points(board)}"
    return f"Pareto front of {metric} and energy" if ranking.by == "pareto" else f"by {metric}"


def caption(board: Board, wanted: Sequence[str] = ()) -> str:
    """Returns what is measured and how rows are ordered, in words, for those columns."""
    ranking, keys = board.ranking, {column.key for column in choose(board, wanted)}
    limits = []
    if ranking.by == "energy":
        limits.append(
            f"lose at most {ranking.max_drop:g} {points(board)} against the ANN in the mean"
        )
    if ranking.max_energy_uj is not None:
        limits.append(f"cost at most {ranking.max_energy_uj:g} µJ")
    text = (
        f"Ranked {order_title(board)}, energy model `{ranking.energy_model}`, "
        f"{board.n_test:,} test samples, numbers per sample, mean ± std over calibration seeds. "
    )
    text += board.retraining
    if limits:
        text += f"Ranked are rows that {' and '.join(limits)}; the others follow unranked. "
    if "rank" in keys:
        text += _ties(board) + "Rows without a number in # are controls or out of the limits. "
    if "front" in keys:
        text += (
            "● and ○ mark the Pareto front of the rows that spike, by means: no other of them "
            "equals or beats it in both energy and the metric; ○ if a quantised ANN does. "
        )
    if "quantised_ratio" in keys:
        text += (
            "`× quantised` compares with the quantised ANN of the same T·φ, or else the same "
            "number of bits."
        )
    return text.strip()


def _ties(board: Board) -> str:
    if board.ranking.by == "pareto":
        return ""
    ranked = board.rows[board.rows["rank"] > 0]
    if board.ranking.by == "energy":
        text = "Rows whose range of energy over seeds overlaps share a rank. "
        return text + _NO_TIES * bool((ranked["seeds"] == 1).any())
    kinds = set(board.rows["interval"])
    single = _NO_TIES * bool((ranked["interval"] == "none").any())
    if "bootstrap" in kinds:
        older = "; [… seeds] is the range over seeds of older records" * ("range" in kinds)
        return (
            f"Rows whose interval (paired bootstrap over samples and seeds{older}) overlaps share "
            f"a rank. {single}"
        )
    return (
        "No interval over test samples: the metric is no mean over right and wrong ones. Rows "
        f"whose range over seeds overlaps share a rank. {single}"
    )


_NO_TIES = "Rows of one seed have no range: no ties among them, and noise may order them. "


def reproduce(board: Board, results: str = "results") -> str:
    """Returns the command that runs a row again."""
    ranked = board.rows[board.rows["rank"] > 0]
    first = (ranked if len(ranked) else board.rows).iloc[0]
    option = "" if results == "results" else f" --results {results}"
    return f"adacal verify {first['record']}{option}"


def grid(board: Board, wanted: Sequence[str] = (), notes: Sequence[str] = ()) -> markup.Grid:
    """Returns the board's table, ready to print in any form.

    Args:
        board: the board.
        wanted: keys of columns; all but the optional ones by default.
        notes: what stands below.
    """
    columns = choose(board, wanted)
    return markup.Grid(
        heads=[column.title for column in columns],
        left=[column.left for column in columns],
        cells=[[column.show(row) for column in columns] for row in _rows(board)],
        notes=notes,
        long=[i for i, column in enumerate(columns) if column.key == "method"],
    )


def markdown(board: Board, results: str = "results", wanted: Sequence[str] = ()) -> str:
    """Returns a board as a Markdown table with its caption and command."""
    again = (
        f"Run a row again and compare: `{reproduce(board, results)}` "
        "(the record of each row's first seed; the CSV names all)."
    )
    return markup.markdown(grid(board, wanted, [caption(board, wanted), board.measured, again]))


def latex(board: Board, wanted: Sequence[str] = ()) -> str:
    r"""Returns a board as a LaTeX table for `\usepackage{booktabs}`."""
    title = f"{board.title}, {order_title(board)}"
    by = board.ranking.by if board.ranking.by != "accuracy" else board.metric
    label = f"tab:{board.key}_{by}"
    wanted = wanted or PAPER
    return markup.latex(grid(board, wanted, [caption(board, wanted)]), title, label)


def html(board: Board, wanted: Sequence[str] = ()) -> str:
    """Returns a board as a plain HTML table, without a page around it."""
    table = grid(board, wanted, [caption(board, wanted), board.measured])
    return markup.html(table, f"{board.title}, {order_title(board)}")


def csv(board: Board, wanted: Sequence[str] = ()) -> str:
    """Returns a board's rows, numbers as they are, units in the names; all columns by default."""
    return one_csv([board], wanted)


def one_csv(found: Sequence[Board], wanted: Sequence[str] = ()) -> str:
    """Returns the rows of several boards below one head; what a board has not is empty."""
    import pandas as pd

    return csv_text(pd.concat([frame(board, wanted) for board in found], ignore_index=True))


def csv_text(rows: pd.DataFrame) -> str:
    """Returns rows as our CSV files have them."""
    return str(rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def frame(board: Board, wanted: Sequence[str] = ()) -> pd.DataFrame:
    """Returns a board's rows under the names that CSV has; all columns by default."""
    # A CSV names a row once: readers match it with the other tables by its label there.
    rows = board.rows.drop(columns="record_label").rename(columns=_csv_names(board))
    if wanted:
        fields = [field for column in choose(board, wanted) for field in column.fields]
        rows = rows[[_csv_names(board).get(field, field) for field in dict.fromkeys(fields)]]
    rows = rows.loc[:, ~rows.columns.duplicated()].copy()
    for position, name in enumerate(("task", "dataset", "model")):
        rows.insert(position, name, getattr(board, name))
    return rows


def _csv_names(board: Board) -> dict[str, str]:
    """The ranked reading has no columns of its own in a file: its name says which it is."""
    model = board.ranking.energy_model
    return {
        "score": board.metric,
        "score_std": f"{board.metric}_std",
        "energy_uj": f"energy_{model}_uj",
        "energy_low_uj": f"energy_{model}_low_uj",
        "energy_high_uj": f"energy_{model}_high_uj",
        "energy_to_ann": f"energy_{model}_to_ann",
        "energy_to_quantised": f"energy_{model}_to_quantised",
    }


def terminal(board: Board, width: int = 220, wanted: Sequence[str] = ()) -> Table:
    """Returns a board as a table for a terminal of so many characters.

    A narrow one gets the columns most looked at, unless columns are asked for.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{board.title}, {order_title(board)}", title_justify="left")
    columns: list[Column] = choose(board, wanted)
    if not wanted:
        columns = [column for column in columns if width >= column.above]
    for column in columns:
        table.add_column(
            escape(column.title),
            justify="left" if column.left else "right",
            overflow="fold",
            no_wrap=column.key != "method",
            min_width=28 if column.key == "method" else None,
        )
    for row in _rows(board):
        style = "bold" if row["rank"] == 1 else ("dim" if not row["rank"] else "")
        table.add_row(*(escape(column.show(row)) for column in columns), style=style)
    return table


def committed_files(records: Sequence[RunRecord]) -> dict[str, str]:
    """Returns the leaderboard files that belong to the records: file name to content.

    A (dataset, model) has one Markdown and one LaTeX file with the orders by its metric and by
    energy, and one CSV with all rows; there is an index.
    """
    by_metric = boards(records, Ranking(by="accuracy"))
    by_energy = boards(records, Ranking(by="energy"))
    files: dict[str, str] = {}
    index = ["# Leaderboards", "", "Made from `results/records` by `adacal leaderboard --write`."]
    for key, first, second in zip(file_keys(by_metric), by_metric, by_energy, strict=True):
        parts = [f"# {first.title}", ""]
        for board in (first, second):
            title = order_title(board)
            parts += [f"## {title[0].upper()}{title[1:]}", "", markdown(board)]
        files[f"{key}.md"] = "\n".join(parts)
        files[f"{key}.csv"] = csv(first)
        files[f"{key}.tex"] = f"{latex(first)}\n{latex(second)}"
        index += ["", f"- [{first.title}]({key}.md) ([csv]({key}.csv), [LaTeX]({key}.tex))"]
    index += ["", READING, "", measured_on(records), ""]
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
    for suffix in SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            if path.name not in expected:
                wrong.append(f"{path} belongs to no record; remove it")
    return wrong


def _rows(board: Board) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in board.rows.to_dict("records")]
