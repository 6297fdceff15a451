"""Draws what rate-distortion thresholds buy, and writes the page's table, from the records.

python docs/rate_distortion_page.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from marked import filled

from adacal.core.energy import ACCUMULATE_PJ
from adacal.suite.store import RecordStore, write_replacing

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "rate-distortion.md"
PICTURE = CHECKOUT / "docs" / "pictures" / "rate_distortion.png"
T = 2
PLACES = [("mnist_photos", "resnet20"), ("mnist5k", "resnet20"), ("mnist_photos", "lenet"),
          ("mnist5k", "lenet")]  # fmt: skip
DRAWN = PLACES[0]
FAMILIES = {
    "uniform φ": ("snn_calibration_light", "burst(max_spikes=2)", "burst(max_spikes=4)"),
    "AdaFire": ("adafire(budget=2)", "adafire"),
    "rate-distortion": tuple(
        f"rate_distortion({budget}max_spikes=16)" for budget in ("budget=1, ", "budget=2, ", "")
    ),
}
OURS = FAMILIES["rate-distortion"]
Row = tuple[float, float, float]


def measured(dataset: str, model: str) -> dict[str, list[Row]]:
    """Returns (energy of accumulates in µJ, accuracy in %, divergence) of every seed by label.

    Only seeds that all rows have which are compared, so that each row is of the same samples.
    """
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for record in RecordStore(CHECKOUT / "results").read_all()[0]:
        if (record.dataset, record.model, record.T) == (dataset, model, T):
            energy = record.energy.sops * ACCUMULATE_PJ / 1e6
            row = (energy, record.snn["accuracy_pct"], record.divergence)
            found[record.label][record.seed] = row
    of_ours = [set(found[label]) for label in OURS]
    seeds = sorted(set.intersection(*of_ours))
    return {
        label: [rows[seed] for seed in seeds]
        for label, rows in found.items()
        if seeds and set(seeds) <= set(rows)
    }


def mean(rows: Sequence[Row]) -> Row:
    """Returns the mean of each column."""
    energy, accuracy, divergence = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return energy, accuracy, divergence


def table() -> str:
    """Returns the rows of ours beside those of the uniform φ whose cost they may spend."""
    lines = [
        "| set, network, calibration seeds | uniform φ | µJ | accuracy | divergence "
        "| rate-distortion, µJ | accuracy | divergence |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for dataset, model in PLACES:
        rows = measured(dataset, model)
        for phi, uniform, ours in zip((1, 2, 4), FAMILIES["uniform φ"], OURS, strict=True):
            if uniform in rows and ours in rows:
                cells = [
                    f"{energy:.{2 if energy < 10 else 1}f} | {accuracy:.1f} % | {apart:.3f}"
                    for energy, accuracy, apart in (mean(rows[uniform]), mean(rows[ours]))
                ]
                name = f"{dataset}, {model}, {len(rows[ours])}"
                lines.append(f"| {name} | {phi} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """Returns the page with its table made anew."""
    return filled(text, {"rate distortion": table()})


def draw(path: Path) -> None:
    """Writes the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, divergence = figure.subplots(1, 2)
    rows = measured(*DRAWN)
    for (family, labels), mark in zip(FAMILIES.items(), "os^", strict=True):
        shown = sorted(mean(rows[label]) for label in labels if label in rows)
        energies, correct, apart = zip(*shown, strict=True)
        accuracy.plot(energies, correct, marker=mark, label=family)
        divergence.plot(energies, apart, marker=mark, label=family)
    accuracy.set_ylabel("accuracy, %")
    divergence.set_ylabel("divergence from the ANN, nats")
    divergence.set_yscale("log")
    for axes in (accuracy, divergence):
        axes.set_xlabel("accumulates, µJ an image")
        axes.grid(alpha=0.3)
    accuracy.legend(fontsize=8)
    figure.suptitle(f"{DRAWN[1]} on {DRAWN[0]}, T={T}", fontsize=10)
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    draw(PICTURE)
    write_replacing(PAGE, written(PAGE.read_text(encoding="utf-8")))
