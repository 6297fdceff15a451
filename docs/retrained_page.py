"""Writes the tables and draws the picture of networks retrained for conversion, from the records.

python docs/retrained_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from marked import filled

from adacal.suite.families import family_of
from adacal.suite.joint import joint
from adacal.suite.records import RunRecord
from adacal.suite.store import RecordStore, write_replacing

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "retrained-networks.md"
PICTURE = CHECKOUT / "docs" / "pictures" / "retrained.png"
PLACES = [("mnist_photos", "resnet20"), ("mnist5k", "resnet20"), ("mnist_photos", "lenet"),
          ("mnist5k", "lenet")]  # fmt: skip
VERSIONS = ("qcfs4", "qcfs8", "qcfs4_scratch", "qcfs8_scratch")
STEPS = (1, 2, 4, 8, 16, 32)
OURS = tuple(
    f"rate_distortion({budget}max_spikes=16)" for budget in ("budget=1, ", "budget=2, ", "")
)
PLAIN = (
    "snn_calibration_light", "burst(max_spikes=4)", *OURS,
    "quantized_ann(max_spikes=1)", "quantized_ann(max_spikes=4)",
)  # fmt: skip
RETRAINED = (
    "qcfs", "srp(threshold=trained)", "cos(threshold=trained)", "snn_calibration_light",
    "burst(max_spikes=4)", *OURS, "quantized_ann(max_spikes=1)",
)  # fmt: skip
DRAWN = {
    "snn_calibration_light": "C0", "burst(max_spikes=4)": "C1", "qcfs": "C3",
    "srp(threshold=trained)": "C4", "cos(threshold=trained)": "C2",
}  # fmt: skip
# lines and stars of a base and those of its versions that are drawn
STYLES = {"": ("-", "*"), "qcfs4": ("--", "P"), "qcfs8": (":", "X"), "qcfs4_scratch": ("-.", "p")}


@cache
def records() -> list[RunRecord]:
    """Returns all records."""
    return RecordStore(CHECKOUT / "results").read_all()[0]


@cache
def rows_of(dataset: str, base: str) -> Any:
    """Returns the joint table of a family, or None where nothing is recorded."""
    family = [r for r in records() if (r.dataset, family_of(r)) == (dataset, base)]
    return joint(family) if family else None


def networks(base: str) -> list[str]:
    """Names a base and its versions trained for conversion."""
    return [base, *(f"{base}_{version}" for version in VERSIONS)]


def training_table() -> str:
    """Returns what each retrained network took and what it lost before any conversion."""
    lines = [
        "| set, network | epochs of samples | s | base, % | itself, % | itself, µJ bit by bit |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for dataset, base in PLACES:
        before = log_of(dataset, base)
        for name in networks(base)[1:]:
            log, table = log_of(dataset, name), rows_of(dataset, base)
            if not log:
                continue
            own = table[(table["model"] == name) & (table["label"] == "qcfs_ann")]
            energy = f"{own['energy_uj'].iloc[0]:.3g}" if len(own) else "–"
            itself = f"{own['score'].iloc[0]:.1f}" if len(own) else "–"
            where = "" if log["device"] == "cpu" else " (GPU)"
            lines.append(
                f"| {dataset}, {name} | {log['schedule']['epochs']} of {log['train_samples']:,} "
                f"| {log['seconds']:.0f}{where} | {before['test_accuracy_pct']:.1f} "
                f"| {itself} | {energy} |"
            )
    return "\n".join(lines) + "\n"


def log_of(dataset: str, model: str) -> dict[str, Any]:
    """Returns the training log of a network, empty if none is shipped."""
    path = CHECKOUT / "results" / "checkpoints" / f"{dataset}_{model}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def joint_table() -> str:
    """Returns accuracy and energy of each network and method over T, the joint fronts marked."""
    lines = [
        "| set, network | method | " + " | ".join(f"T={T}" for T in STEPS) + " |",
        "|---|---|" + "--:|" * len(STEPS),
    ]
    for dataset, base in PLACES:
        for name, label, cells in shown_rows(dataset, base):
            lines.append(f"| {dataset}, {name} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown_rows(dataset: str, base: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yields network, method and the cells of its line, where anything was run."""
    table = rows_of(dataset, base)
    if table is None:
        return
    for name in networks(base):
        for label in PLAIN if name == base else RETRAINED:
            own = table[(table["model"] == name) & (table["label"] == label)]
            if len(own):
                by_T = {int(row["T"]): row for _, row in own.iterrows()}
                yield name, label, [cell(by_T.get(T)) for T in STEPS]


def cell(row: Any) -> str:
    """Returns accuracy and energy of a row, ● or ○ where it is on the joint front."""
    if row is None:
        return "–"
    mark = (" ○" if row["beaten_by_quantised"] else " ●") if row["pareto"] else ""
    return f"{row['score']:.1f} % {row['energy_uj']:.3g} µJ{mark}"


def written(text: str) -> str:
    """Returns the page with its tables made anew."""
    return filled(text, {"training": training_table(), "joint": joint_table()})


def draw(path: Path) -> None:
    """Writes the picture: accuracy over energy, a colour a method, a line a network."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 7.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    drawn: dict[str, Any] = {}
    for (dataset, base), axes in zip(PLACES, figure.subplots(2, 2).flat, strict=True):
        draw_family(axes, rows_of(dataset, base), base)
        axes.set_title(f"{base} on {dataset}", fontsize=9)
        handles, labels = axes.get_legend_handles_labels()
        drawn.update(zip(labels, handles, strict=True))
    # one for all, below: inside, so many entries would cover points
    names = sorted(drawn)
    figure.legend(
        [drawn[name] for name in names], names, loc="outside lower center", ncols=4, fontsize=7
    )
    figure.savefig(path, metadata={"Software": None})


def draw_family(axes: Any, table: Any, base: str) -> None:
    """Draws a base and its retrained versions."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    lowest = float(table["score"].max()) - 15
    seen = table[table["score"] >= lowest]
    for version, (style, star) in STYLES.items():
        name = f"{base}_{version}" if version else base
        own = table[(table["model"] == name) & table["T"].isin(STEPS)].sort_values("T")
        on = name.removeprefix(base).replace("_qcfs", " on qcfs").replace("_scratch", ", scratch")
        for label, colour in DRAWN.items():
            rows = own[(own["label"] == label) & ((name == base) == (label in PLAIN))]
            if len(rows) and rows["score"].max() >= lowest:
                word = label.partition("(")[0] + on
                look = {"color": colour, "ls": style, "marker": ".", "label": word}
                axes.plot(rows["energy_uj"], rows["score"], **look)
        rows = own[own["method"] == "rate_distortion"]
        if len(rows):
            look = {"color": "C5", "ls": "", "marker": star, "label": f"rate_distortion{on}"}
            axes.plot(rows["energy_uj"], rows["score"], **look)
    itself = table[table["label"] == "qcfs_ann"]
    axes.plot(itself["energy_uj"], itself["score"], "kD", ms=4, label="qcfs_ann (control)")
    axes.set_xscale("log")
    axes.set_xlim(0.9 * seen["energy_uj"].min(), 1.1 * seen[seen["T"] > 0]["energy_uj"].max())
    axes.set_ylim(lowest, lowest + 15.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("µJ an image")
    axes.set_ylabel("accuracy, %")
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    draw(PICTURE)
    write_replacing(PAGE, written(PAGE.read_text(encoding="utf-8")))
