"""Draws what rate-distortion thresholds buy, from the records; docs/rate-distortion.md shows it.

python docs/curve_picture.py --dataset mnist_photos --model resnet20 --T 2
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from adacal.core.energy import ACCUMULATE_PJ
from adacal.suite.store import RecordStore

CHECKOUT = Path(__file__).resolve().parents[1]
FAMILIES = {
    "uniform φ": ("snn_calibration_light", "burst(max_spikes=2)", "burst(max_spikes=4)", "burst"),
    "AdaFire": ("adafire(budget=2)", "adafire"),
    "rate-distortion": tuple(
        f"rate_distortion({budget}max_spikes=16)" for budget in ("budget=1, ", "budget=2, ", "")
    ),
}


def points(dataset: str, model: str, T: int) -> dict[str, list[tuple[float, float, float]]]:
    """Returns (energy of accumulates in µJ, accuracy in %, divergence) by family, seeds' means."""
    found = defaultdict(list)
    for record in RecordStore(CHECKOUT / "results").read_all()[0]:
        if (record.dataset, record.model, record.T) == (dataset, model, T):
            energy = record.energy.sops * ACCUMULATE_PJ / 1e6
            row = (energy, record.snn["accuracy_pct"], record.divergence)
            found[record.label].append(row)
    return {
        family: sorted(
            tuple(sum(column) / len(column) for column in zip(*found[label], strict=True))
            for label in labels
            if label in found
        )
        for family, labels in FAMILIES.items()
    }


def draw(dataset: str, model: str, T: int, path: Path) -> None:
    """Writes the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, divergence = figure.subplots(1, 2)
    for (family, rows), mark in zip(points(dataset, model, T).items(), "os^", strict=True):
        energies, correct, apart = zip(*rows, strict=True)
        accuracy.plot(energies, correct, marker=mark, label=family)
        divergence.plot(energies, apart, marker=mark, label=family)
    accuracy.set_ylabel("accuracy, %")
    divergence.set_ylabel("divergence from the ANN, nats")
    divergence.set_yscale("log")
    for axes in (accuracy, divergence):
        axes.set_xlabel("accumulates, µJ an image")
        axes.grid(alpha=0.3)
    accuracy.legend(fontsize=8)
    figure.suptitle(f"{model} on {dataset}, T={T}", fontsize=10)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="mnist_photos")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--T", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, default=CHECKOUT / "docs" / "pictures" / "rate_distortion.png"
    )
    options = parser.parse_args()
    draw(options.dataset, options.model, options.T, options.out)


if __name__ == "__main__":
    main()
