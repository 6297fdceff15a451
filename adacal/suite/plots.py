"""Accuracy against energy, one picture a (dataset, model)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adacal.core.errors import DataError
from adacal.suite.leaderboard import Board, file_keys
from adacal.suite.records import metric_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Ten hues that stay apart for colour-blind readers, by Paul Tol (bright and muted sets).
HUES = (
    "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE",
    "#AA3377", "#EE7733", "#117733", "#882255", "#332288",
)  # fmt: skip
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "h")


def write_plots(tables: Sequence[Board], folder: Path) -> list[Path]:
    """Draws every board and returns the paths of the pictures.

    Raises:
        DataError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({error.strerror}); move what is there") from (
            error
        )
    paths = []
    for key, board in zip(file_keys(tables), tables, strict=True):
        path = folder / f"{key}.png"
        draw(board, path)
        paths.append(path)
    return paths


def draw(board: Board, path: Path) -> None:
    """Draws a board: a line a method over its T, the Pareto front, the ANN, quantised ANNs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = board.rows[np.isfinite(board.rows["score"]) & np.isfinite(board.rows["energy_uj"])]
    spiking = rows[~rows["strictness"].isin(["none", "quantised"])]
    for i, (label, group) in enumerate(spiking.groupby("label", sort=True)):
        _line(axes, group, str(label), *mark(i))
    quantised = rows[rows["strictness"] == "quantised"]
    for i, (label, group) in enumerate(quantised.groupby("label", sort=True)):
        _line(axes, group, f"{label} (control)", "#888888", MARKERS[i % len(MARKERS)], ":")
    front = spiking[spiking["pareto"]].sort_values("energy_uj")
    axes.plot(
        front["energy_uj"], front["score"], color="black", lw=5, alpha=0.13, zorder=1,
        solid_capstyle="round", label="Pareto front",
    )  # fmt: skip
    for _, ann in rows[rows["strictness"] == "none"].iterrows():
        axes.plot(ann["energy_uj"], ann["score"], "*", ms=15, color="black", label="ANN", zorder=4)
        axes.axhline(ann["score"], color="black", lw=0.8, ls="--", alpha=0.5, zorder=0)
    log_energies(axes)
    axes.set_xlabel(f"energy per sample (µJ, model {board.ranking.energy_model})")
    axes.set_ylabel(f"{metric_words(board.metric)} ({board.unit})")
    title = f"{board.title}: numbers at the points are T"  # wider than axes beside a long legend
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes.grid(visible=True, which="major", alpha=0.3)
    below = _crop(axes, rows)
    if below:
        axes.text(
            0.01, 0.015, below, transform=axes.transAxes, fontsize=7, color="#555555",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}, zorder=5,
        )  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    # No software version or date in the file: the same records give the same bytes.
    figure.savefig(path, metadata={"Software": None})


def _line(axes: Axes, group: Any, label: str, colour: str, marker: str, style: str = "-") -> None:
    group = group.sort_values("T")
    spread = group["score_std"].fillna(0.0)
    axes.errorbar(
        group["energy_uj"], group["score"], yerr=spread, color=colour, marker=marker, ls=style,
        ms=5, lw=1.1, elinewidth=0.8, capsize=2, label=label, zorder=3,
    )  # fmt: skip
    for _, row in group.iterrows():
        axes.annotate(
            str(row["T"]), (row["energy_uj"], row["score"]), xytext=(3, 4),
            textcoords="offset points", fontsize=7, color=colour, annotation_clip=True,
        )  # fmt: skip


def log_energies(axes: Axes) -> None:
    """Makes the axis of energies logarithmic, its numbers plain."""
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(_some_minor_ticks))


def mark(place: int) -> tuple[str, str]:
    """Returns a colour and a marker, another pair for each of the first hundred rows."""
    return HUES[place % len(HUES)], MARKERS[(place + place // len(HUES)) % len(MARKERS)]


def _some_minor_ticks(value: float, _: int) -> str:
    text = f"{value:g}"
    return text if text.lstrip("0.")[:1] in "2346" else ""


def _crop(axes: Axes, rows: Any) -> str:
    """Leaves the far losers below the picture so that the rest can be told apart; says so."""
    if rows.empty:
        return ""
    top, lower = rows["score"].max(), rows["score"].quantile(0.35)
    floor = max(rows["score"].min(), top - 2.5 * max(top - lower, 0.4))
    margin = 0.08 * max(top - floor, 0.5)
    axes.set_ylim(floor - margin, top + margin)
    shown = rows["score"] >= floor - margin
    energies = rows.loc[shown, "energy_uj"]
    if energies.min() > 0:
        axes.set_xlim(energies.min() / 1.3, energies.max() * 1.3)
    hidden = rows.loc[~shown, "score"]
    if hidden.empty:
        return ""
    points = "1 point lies" if len(hidden) == 1 else f"{len(hidden)} points lie"
    return f"{points} below the picture, down to {hidden.min():.1f}"
