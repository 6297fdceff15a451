"""Holds the predicted rate-distortion curve against what was measured on test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rate_distortion_rows import HALF, OURS, SETS, of

from adacal.suite.records import RunRecord

MODELS = ("resnet20", "lenet")
STEPS = (1, 2, 4)
BUDGETS = {"½": HALF, **{str(phi): label for phi, label in OURS.items()}}
"""Energies that may be spent, in those of uniform φ."""


def points(dataset: str, model: str, T: int) -> dict[str, tuple[float, float, float, int]]:
    """Returns cost in µJ, predicted and measured divergence, and the number of seeds, by budget.

    The cost is that of spikes on calibration samples, where the curve is predicted; measured are
    test images. Geometric means over the seeds whose choice was kept.
    """
    found = {}
    for name, label in BUDGETS.items():
        seeds = [r for r in of(dataset, model, T).get(label, {}).values() if kept(r)]
        if seeds:
            logs = [
                (np.log(cost(r) / 1e6), np.log(predicted(r)), np.log(r.divergence)) for r in seeds
            ]
            means = np.exp(np.mean(logs, axis=0))
            found[name] = (float(means[0]), float(means[1]), float(means[2]), len(seeds))
    return found


def kept(record: RunRecord) -> bool:
    """Returns whether a record is of the search's own choice: the prediction is of nothing else."""
    notes = record.search_log["rate_distortion"]
    return not notes["kept_as_it_was"] and not notes.get("halfway")


def cost(record: RunRecord) -> float:
    """Returns what the choice costs on calibration samples, pJ."""
    return float(record.search_log["rate_distortion"]["cost"])


def predicted(record: RunRecord) -> float:
    """Returns what the curve says at the cost of the choice, nats; straight between its points."""
    costs, divergences = curve(record)
    return float(np.exp(np.interp(np.log(cost(record)), np.log(costs), np.log(divergences))))


def curve(record: RunRecord) -> tuple[np.ndarray, np.ndarray]:
    """Returns costs in pJ, rising, and predicted divergences."""
    noted = record.search_log["rate_distortion"]["curve"]
    pairs = np.array([(p["cost"], p["divergence"]) for p in noted if p["cost"] > 0])[::-1]
    return pairs[:, 0], pairs[:, 1]


def table() -> str:
    """Returns predicted and measured divergence by budget, and how fast one grows with the other.

    The slope is that of a line through the logarithms: 1 where one is a constant times the other.
    """
    lines = [
        "| set, network | T | " + " | ".join(f"φ = {name}" for name in BUDGETS) + " | slope |",
        "|---|--:|" + "--:|" * (len(BUDGETS) + 1),
    ]
    for model in MODELS:
        for dataset in SETS:
            for T in STEPS:
                found = points(dataset, model, T)
                cells = [
                    f"{digits(found[b][1])} → {digits(found[b][2])}" if b in found else "–"
                    for b in BUDGETS
                ]
                logs = np.log([(p, m) for _, p, m, _ in found.values()])
                slope = np.polyfit(logs[:, 0], logs[:, 1], 1)[0]
                lines.append(f"| {dataset}, {model} | {T} | {' | '.join(cells)} | {slope:.2f} |")
    return "\n".join(lines) + "\n"


def digits(value: float) -> str:
    """Returns a divergence with two digits."""
    return f"{value:.{max(0, 1 - int(np.floor(np.log10(value))))}f}"


def draw(path: Path, dataset: str = SETS[0]) -> None:
    """Writes the picture: curves as predicted, points as measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, model in zip(figure.subplots(1, 2), MODELS, strict=True):
        for T, color in zip(STEPS, ("C0", "C1", "C2"), strict=True):
            curves = [curve(r) for r in of(dataset, model, T)[OURS[4]].values()]
            low = max(float(costs[0]) for costs, _ in curves)
            high = min(float(costs[-1]) for costs, _ in curves)
            at = np.geomspace(low, high, 60)
            each = [np.interp(np.log(at), np.log(x), np.log(y)) for x, y in curves]
            axes.plot(at / 1e6, np.exp(np.mean(each, axis=0)), color=color, label=f"T={T}")
            measured = points(dataset, model, T).values()
            axes.plot([p[0] for p in measured], [p[2] for p in measured], "o", color=color)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("cost of the spikes, µJ a calibration sample")
        axes.set_title(f"{model} on {dataset}", fontsize=10)
        axes.grid(alpha=0.3)
    first = figure.axes[0]
    first.set_ylabel("divergence from the ANN, nats")
    first.legend(fontsize=8, title="lines predicted,\npoints measured", title_fontsize=7)
    figure.savefig(path, metadata={"Software": None})
