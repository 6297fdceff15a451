"""Draws what rate-distortion thresholds buy, and writes the page's tables, from the records.

python docs/rate_distortion_page.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import rate_distortion_predicted as prediction
from marked import filled
from rate_distortion_rows import CHECKOUT, OURS, UNIFORM, of, saved, side_by_side, with_exit

from adacal.suite.records import RunRecord
from adacal.suite.store import write_replacing

PAGE = CHECKOUT / "docs" / "rate-distortion.md"
PICTURE = CHECKOUT / "docs" / "pictures" / "rate_distortion.png"
PREDICTED = CHECKOUT / "docs" / "pictures" / "rate_distortion_predicted.png"
DROPS = CHECKOUT / "results" / "choices" / "max_drop.jsonl"
DRAWN = ("mnist_photos", "resnet20")
DRAWN_STEPS = (2, 4)
FAMILIES = {
    "uniform φ": tuple(UNIFORM.values()),
    "AdaFire": ("adafire(budget=2)", "adafire"),
    "rate-distortion": tuple(OURS.values()),
    "quantised ANN": tuple(f"quantized_ann(max_spikes={phi})" for phi in OURS),
}


def written(text: str) -> str:
    """Returns the page with its tables made anew."""
    return filled(
        text,
        {
            "resnet20": side_by_side("resnet20"),
            "lenet": side_by_side("lenet"),
            "exit": with_exit("resnet20"),
            "saved": saved(),
            "predicted": prediction.table(),
            "drops": drops(),
        },
    )


def drops() -> str:
    """Returns the table of `benchmarks/choices/max_drop.py`."""
    sys.path.insert(0, str(CHECKOUT / "benchmarks" / "choices"))
    try:
        import max_drop
    finally:
        sys.path.pop(0)
    return max_drop.table(max_drop.read(DROPS))


def means(records: Sequence[RunRecord]) -> tuple[float, float, float]:
    """Returns the whole energy in µJ, accuracy in percent and divergence, means of the seeds."""
    energy = fmean(record.energy.energy_pj["per_spike"] for record in records) / 1e6
    correct = fmean(record.snn["accuracy_pct"] for record in records)
    return energy, correct, fmean(record.divergence for record in records)


def draw(path: Path) -> None:
    """Writes the picture: accuracy above, divergence below, a column for each T."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(2, len(DRAWN_STEPS), sharey="row")
    for T, (accuracy, divergence) in zip(DRAWN_STEPS, all_axes.T, strict=True):
        rows = of(*DRAWN, T)
        for (family, labels), mark in zip(FAMILIES.items(), "os^x", strict=True):
            shown = sorted(means(list(rows[label].values())) for label in labels if label in rows)
            if shown:
                energies, correct, apart = zip(*shown, strict=True)
                accuracy.plot(energies, correct, marker=mark, label=family)
                divergence.plot(energies, apart, marker=mark, label=family)
        accuracy.set_title(f"T={T}", fontsize=10)
        divergence.set_yscale("log")
        divergence.set_xlabel("whole energy, one accumulate a spike\nand synapse, µJ an image")
        for axes in (accuracy, divergence):
            axes.grid(alpha=0.3)
    all_axes[0, 0].set_ylabel("accuracy, %")
    all_axes[1, 0].set_ylabel("divergence, nats")
    all_axes[0, 0].legend(fontsize=8)
    figure.suptitle(f"{DRAWN[1]} on {DRAWN[0]}", fontsize=10)
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    draw(PICTURE)
    prediction.draw(PREDICTED)
    write_replacing(PAGE, written(PAGE.read_text(encoding="utf-8")))
