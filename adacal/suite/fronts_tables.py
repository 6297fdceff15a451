"""Fronts as Markdown, LaTeX, HTML and pictures, with the verdict of a contest in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError, unknown_name
from adacal.suite import markup
from adacal.suite.columns import points
from adacal.suite.files import write_replacing
from adacal.suite.fronts import READINGS, Contest, front_boards, judge
from adacal.suite.fronts_causes import defeats
from adacal.suite.fronts_words import (
    Fronts,
    aim_grid,
    cause_lines,
    defeat_grid,
    summary,
    verdict_lines,
)
from adacal.suite.leaderboard import CONTROLS, Board, file_keys
from adacal.suite.provenance import measured_on
from adacal.suite.ranking import Filters
from adacal.suite.records import RunRecord
from adacal.suite.tables import grid

COLUMNS = ("method", "strictness", "T", "phi", "steps", "score", "drop", "energy", "ann_ratio",
           "front", "record")  # fmt: skip
WORDS = {"per_spike": "each spike of a burst counted", "per_event": "a burst counted once",
         "memory": "memory accesses added"}  # fmt: skip
WHY = (
    "The page of each network names the cause of each case. No record counts spikes that have "
    "sizes by their size; [decision 0012](../../docs/decisions/"
    "0012-extra-steps-and-sizes-of-spikes-are-charged.md) has that for LeNets. At how many spikes "
    "a neuron a converted network stops paying at all: [when spikes pay]"
    "(../../docs/when-spikes-pay.md)."
)
WIDE = 4.0
"""Energies that differ by more get a logarithmic axis."""


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
    by_id = {record.id: record for record in records}
    found = []
    for place in range(len(by_reading[READINGS[0]])):
        boards = {reading: by_reading[reading][place] for reading in READINGS}
        verdicts = {}
        for reading, board in boards.items():
            try:
                verdicts[reading] = judge(board.rows, contest)
            except DataError:
                continue
        found.append(
            Fronts(
                boards={reading: _front_only(board) for reading, board in boards.items()},
                all_boards=boards,
                verdicts=verdicts,
                defeats={
                    reading: defeats(boards[reading], verdict, by_id)
                    for reading, verdict in verdicts.items()
                },
            )
        )
    return found


def _front_only(board: Board) -> Board:
    keep = board.rows["pareto"] | board.rows["strictness"].isin(CONTROLS)
    return replace(board, rows=board.rows[keep].reset_index(drop=True))


def _texts(
    found: Mapping[str, Fronts], records: Sequence[RunRecord], contest: Contest
) -> dict[str, str]:
    """Returns the files of the fronts: name to content, of networks with a verdict."""
    contested = {key: fronts for key, fronts in found.items() if fronts.verdicts}
    files: dict[str, str] = {}
    for key, fronts in contested.items():
        files[f"{key}.md"] = _markdown(key, fronts, contest)
        titled = [(f"{fronts.first.title}, {WORDS[name]}", name) for name in fronts.boards]
        files[f"{key}.tex"] = "\n".join(
            markup.latex(_grid(fronts.boards[name]), title, f"tab:front_{key}_{name}")
            for title, name in titled
        )
        files[f"{key}.html"] = "\n".join(
            [
                _verdict_html(fronts, contest),
                *(markup.html(_grid(fronts.boards[name]), title) for title, name in titled),
            ]
        )
    others = [fronts.name for fronts in found.values() if not fronts.verdicts]
    files["README.md"] = _index(contested, others, records, contest)
    return files


def _index(
    found: Mapping[str, Fronts],
    others: Sequence[str],
    records: Sequence[RunRecord],
    contest: Contest,
) -> str:
    """Returns the page above the networks; `others` are those that `ours` was not run on."""
    every = list(found.values())
    lines = [
        "# Fronts of energy and accuracy", "",
        f"Made from `results/records` by `adacal fronts --write`. Rows of at most "
        f"{contest.max_steps} steps, measured with as many seeds as any other of their network.",
        "",
        "## Who leads", "", markup.markdown(summary(every, contest)), "",
        "## Whether the aim is reached", "", markup.markdown(aim_grid(every, contest)),
    ]  # fmt: skip
    if others:
        lines += [f"{contest.ours} has no such row on {', '.join(others)}."]
        lines += [""]
    lines += ["## Why rows are beaten", "", *cause_lines(every), "", WHY, "", "## Networks", ""]
    for key, fronts in found.items():
        lines.append(
            f"- [{fronts.first.title}]({key}.md) ([LaTeX]({key}.tex), [HTML]({key}.html), "
            f"[picture]({key}.png)){'. ' * bool(fronts.first.retraining)}{fronts.first.retraining}"
        )
    return "\n".join([*(line.rstrip() for line in lines), "", measured_on(records), ""])


def _keyed(records: Sequence[RunRecord], contest: Contest) -> dict[str, Fronts]:
    """Returns the fronts of all networks by name of files."""
    found = all_fronts(records, contest)
    return dict(zip(file_keys([fronts.first for fronts in found]), found, strict=True))


def _markdown(key: str, fronts: Fronts, contest: Contest) -> str:
    board, beaten = fronts.first, defeat_grid(fronts, contest)
    parts = [f"# {board.title}: front at T ≤ {contest.max_steps}", "", f"![]({key}.png)", ""]
    parts += ["## Verdict", "", *(f"- {line}" for line in verdict_lines(fronts, contest)), ""]
    if beaten is not None:
        parts.append(markup.markdown(beaten))
    for reading, short in fronts.boards.items():
        parts += [f"## Energy `{reading}`: {WORDS[reading]}", "", markup.markdown(_grid(short))]
    return "\n".join([*parts, board.measured, ""])


def _verdict_html(fronts: Fronts, contest: Contest) -> str:
    lines = [line.replace("`", "") for line in verdict_lines(fronts, contest)]
    text = "".join(f"<p>{escape(line)}</p>\n" for line in lines)
    beaten = defeat_grid(fronts, contest)
    if beaten is None:
        return text
    return text + markup.html(beaten, f"{fronts.first.title}: who beats {contest.ours}")


def _grid(board: Board) -> markup.Grid:
    note = (
        f"{board.n_test:,} test samples, mean ± std over seeds. {board.retraining}Rows of the "
        "front by means, ○ where a quantised ANN needs no more energy and loses no more; the ANN "
        "and quantised ANNs are controls. Mean φ is the number of spikes a neuron may fire in a "
        "step, the largest size where spikes have sizes. Drops in "
        f"{points(board)}."
    )
    return grid(board, COLUMNS, [note])


def write_files(records: Sequence[RunRecord], contest: Contest, folder: Path) -> list[Path]:
    """Writes all files and pictures and returns their paths."""
    paths = []
    found = _keyed(records, contest)
    for name, text in _texts(found, records, contest).items():
        write_replacing(folder / name, text)
        paths.append(folder / name)
    for key, fronts in found.items():
        if fronts.verdicts:
            paths.append(folder / f"{key}.png")
            draw(fronts, contest, paths[-1])
    return paths


def check_files(records: Sequence[RunRecord], contest: Contest, folder: Path) -> list[str]:
    """Returns a sentence for each file that is not what the records give, pictures aside."""
    wrong = []
    for name, text in _texts(_keyed(records, contest), records, contest).items():
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
