"""Fronts as Markdown, LaTeX, HTML and pictures, with the verdict of a contest in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError, unknown_name
from adacal.suite import markup
from adacal.suite.columns import number, points
from adacal.suite.files import write_replacing
from adacal.suite.fronts import READINGS, Contest, Verdict, front_boards, judge
from adacal.suite.leaderboard import CONTROLS, Board, file_keys
from adacal.suite.provenance import measured_on
from adacal.suite.ranking import Filters
from adacal.suite.records import RunRecord
from adacal.suite.tables import grid

COLUMNS = ("method", "strictness", "T", "steps", "score", "drop", "energy", "ann_ratio", "front",
           "record")  # fmt: skip
WORDS = {"per_spike": "each spike of a burst counted", "per_event": "a burst counted once",
         "memory": "memory accesses added"}  # fmt: skip
SHOWN = 3
"""Rivals that a summary names, at most."""
WIDE = 4.0
"""Energies that differ by more get a logarithmic axis."""


@dataclass(frozen=True)
class Fronts:
    """The boards of one network under every reading, rows of the front and controls only.

    Attributes:
        boards: by reading.
        all_boards: the same with every row.
        verdicts: by reading; empty if the method of the contest was not run here.
    """

    boards: dict[str, Board]
    all_boards: dict[str, Board]
    verdicts: dict[str, Verdict]

    @property
    def first(self) -> Board:
        """Returns the board under the first reading."""
        return next(iter(self.boards.values()))


def all_fronts(
    records: Sequence[RunRecord], contest: Contest, filters: Filters | None = None
) -> list[Fronts]:
    """Makes the fronts of all networks in the records.

    Raises:
        DataError: no record is left, or `ours` is no method among them.
    """
    methods = {record.method for record in records if record.strictness not in CONTROLS}
    if contest.ours not in methods:
        raise DataError(unknown_name("method among the records", contest.ours, methods))
    by_reading = {
        reading: front_boards(records, reading, contest.max_steps, filters) for reading in READINGS
    }
    found = []
    for place in range(len(by_reading[READINGS[0]])):
        boards = {reading: by_reading[reading][place] for reading in READINGS}
        verdicts = {}
        for reading, board in boards.items():
            try:
                verdicts[reading] = judge(board.rows, contest)
            except DataError:
                continue
        short = {reading: _front_only(board) for reading, board in boards.items()}
        found.append(Fronts(boards=short, all_boards=boards, verdicts=verdicts))
    return found


def _front_only(board: Board) -> Board:
    keep = board.rows["pareto"] | board.rows["strictness"].isin(CONTROLS)
    return replace(board, rows=board.rows[keep].reset_index(drop=True))


def summary(found: Sequence[Fronts], contest: Contest) -> markup.Grid:
    """Returns who beats whom, a line a network and reading."""
    cells = []
    for fronts in found:
        for reading, verdict in fronts.verdicts.items():
            rows = fronts.boards[reading].rows
            front = rows[rows["pareto"]]
            own = int((front["method"] == contest.ours).sum())
            cells.append(
                [
                    f"{fronts.first.dataset} / {fronts.first.model}",
                    reading,
                    f"{own} of {len(front)}",
                    _names(verdict.beaten),
                    _names(verdict.stricter),
                    _saved(verdict),
                ]
            )
    return markup.Grid(
        heads=[
            "set / network", "energy", "front rows", "beaten by", "beaten by a stricter class",
            f"energy at equal accuracy, × {contest.reference}",
        ],
        left=[True, True, False, True, True, True],
        cells=cells,
        notes=[
            f"Of {contest.ours} at T ≤ {contest.max_steps}: how many rows of the front are its "
            "own; how many of its rows lose more and need more energy than a rival's, by means "
            "over seeds; the energy of its cheapest row that loses at most "
            f"{contest.tolerance:g} points more than a row of {contest.reference}, over the energy "
            "of that row, for each T. Quantised ANNs are not among the rivals: the tables of each "
            "network have them."
        ],
        long=[3],
    )  # fmt: skip


def _names(pairs: Sequence[tuple[Any, Any]]) -> str:
    if not pairs:
        return "none"
    words = [f"{rival['label']} T={rival['T']}" for _, rival in pairs]
    different = list(dict.fromkeys(words))
    more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
    rows = "1 row" if len(pairs) == 1 else f"{len(pairs)} rows"
    return f"{rows}: {', '.join(different[:SHOWN])}{more}"


def _saved(verdict: Verdict) -> str:
    parts = [f"T={row['T']}: {number(ratio, 2)}" for row, ratio in verdict.saved]
    parts += [f"T={row['T']}: none as accurate" for row in verdict.unmatched]
    mean = "" if math.isnan(verdict.mean_saved) else f"; mean {number(verdict.mean_saved, 2)}"
    return ", ".join(parts) + mean if parts else "–"


def _texts(
    found: Mapping[str, Fronts], records: Sequence[RunRecord], contest: Contest
) -> dict[str, str]:
    """Returns the files of the fronts: name to content."""
    files: dict[str, str] = {}
    index = [
        "# Fronts of energy and accuracy", "",
        f"Made from `results/records` by `adacal fronts --write`. Rows of at most "
        f"{contest.max_steps} steps, measured with as many seeds as any other of their network.",
        "",
        markup.markdown(summary(list(found.values()), contest)),
    ]  # fmt: skip
    for key, fronts in found.items():
        files[f"{key}.md"] = _markdown(key, fronts, contest)
        titled = [(f"{fronts.first.title}, {WORDS[name]}", name) for name in fronts.boards]
        files[f"{key}.tex"] = "\n".join(
            markup.latex(_grid(fronts.boards[name]), title, f"tab:front_{key}_{name}")
            for title, name in titled
        )
        files[f"{key}.html"] = "\n".join(
            markup.html(_grid(fronts.boards[name]), title) for title, name in titled
        )
        index.append(
            f"- [{fronts.first.title}]({key}.md) ([LaTeX]({key}.tex), [HTML]({key}.html), "
            f"[picture]({key}.png))"
        )
    files["README.md"] = "\n".join([*index, "", measured_on(records), ""])
    return files


def _contested(records: Sequence[RunRecord], contest: Contest) -> dict[str, Fronts]:
    """Returns the fronts of networks on which the method of the contest ran, by name of files."""
    found = all_fronts(records, contest)
    keys = file_keys([fronts.first for fronts in found])
    return {key: fronts for key, fronts in zip(keys, found, strict=True) if fronts.verdicts}


def _markdown(key: str, fronts: Fronts, contest: Contest) -> str:
    board = fronts.first
    parts = [f"# {board.title}: front at T ≤ {contest.max_steps}", "", f"![]({key}.png)", ""]
    for reading, short in fronts.boards.items():
        parts += [f"## Energy `{reading}`: {WORDS[reading]}", "", markup.markdown(_grid(short))]
    return "\n".join([*parts, board.measured, ""])


def _grid(board: Board) -> markup.Grid:
    note = (
        f"{board.n_test:,} test samples, mean ± std over seeds. Rows of the front by means, ○ "
        "where a quantised ANN needs no more energy and loses no more; the ANN and quantised ANNs "
        f"are controls. Drops in {points(board)}."
    )
    return grid(board, COLUMNS, [note])


def write_files(records: Sequence[RunRecord], contest: Contest, folder: Path) -> list[Path]:
    """Writes all files and pictures and returns their paths."""
    paths = []
    found = _contested(records, contest)
    for name, text in _texts(found, records, contest).items():
        write_replacing(folder / name, text)
        paths.append(folder / name)
    for key, fronts in found.items():
        paths.append(folder / f"{key}.png")
        draw(fronts, contest, paths[-1])
    return paths


def check_files(records: Sequence[RunRecord], contest: Contest, folder: Path) -> list[str]:
    """Returns a sentence for each file that is not what the records give, pictures aside."""
    wrong = []
    for name, text in _texts(_contested(records, contest), records, contest).items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            wrong.append(f"{path} is not what the records give; run `adacal fronts --write`")
    return wrong


def draw(fronts: Fronts, contest: Contest, path: Path) -> None:
    """Draws the metric over energy, a panel a reading."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(fronts.all_boards), sharey=True)
    for axes, (reading, board) in zip(panels, fronts.all_boards.items(), strict=True):
        _panel(axes, board, contest)
        axes.set_xlabel(f"µJ a sample, {WORDS[reading]}")
    panels[0].set_ylabel(f"{fronts.first.metric.removesuffix('_pct')} ({fronts.first.unit})")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(f"{fronts.first.title}, T ≤ {contest.max_steps}", fontsize=10)
    figure.savefig(path, metadata={"Software": None})


def _panel(axes: Any, board: Board, contest: Contest) -> None:
    from adacal.suite.plots import log_energies, mark

    rows = board.rows
    rows = rows[rows["energy_uj"] > 0]
    controls = rows["strictness"].isin(CONTROLS)
    front = rows[rows["pareto"]].sort_values("energy_uj")
    axes.plot(front["energy_uj"], front["score"], color="black", lw=6, alpha=0.12, zorder=1)
    rivals = [
        name for name in sorted(set(rows["method"][~controls])) if name != contest.ours
    ]  # fmt: skip
    for i, name in enumerate(rivals):
        group = rows[rows["method"] == name]
        colour, marker = mark(i)
        axes.scatter(group["energy_uj"], group["score"], s=34, color=colour, marker=marker,
                     alpha=0.75, label=name, zorder=2)  # fmt: skip
    ours = rows[rows["method"] == contest.ours]
    axes.scatter(ours["energy_uj"], ours["score"], s=80, color="black", marker="*",
                 label=contest.ours, zorder=4)  # fmt: skip
    quantised = rows[rows["strictness"] == "quantised"]
    axes.scatter(quantised["energy_uj"], quantised["score"], s=30, facecolors="none",
                 edgecolors="#666666", label="quantised ANN (control)", zorder=3)  # fmt: skip
    for _, ann in rows[rows["strictness"] == "none"].iterrows():
        axes.axhline(ann["score"], color="black", lw=0.8, ls="--", alpha=0.5, label="ANN")
    axes.grid(alpha=0.3)
    top, low = rows["score"].max(), front["score"].min()
    axes.set_ylim(max(low, top - 30) - 1, top + 1)
    shown = rows.loc[rows["score"] >= max(low, top - 30) - 1, "energy_uj"]
    if shown.max() > WIDE * shown.min():
        log_energies(axes)
    axes.set_xlim(shown.min() / 1.05, shown.max() * 1.05)
