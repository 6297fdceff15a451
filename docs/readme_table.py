"""Writes the README's table of results from the records; `make tables` runs it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from adacal.suite.leaderboard import CONTROLS, summarise
from adacal.suite.store import RecordStore, write_replacing

CHECKOUT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- table: make tables -->", "<!-- end of table -->"
MODEL = "resnet20"
SETS = {"mnist5k": "MNIST-5k", "mnist_photos": "MNIST-Photos"}
PAPER_LIGHT = "snn_calibration_light(threshold=mmse, repeats=1)"
ROWS = (
    ("ANN", "ann", 0),
    ("quantised ANN, 5 levels (control of φT=4)", "quantized_ann(max_spikes=2)", 2),
    ("quantised ANN, 9 levels (control of φT=8)", "quantized_ann(max_spikes=4)", 2),
    ("SNN Calibration light, the paper's settings", PAPER_LIGHT, 2),
    ("SNN Calibration light, matched thresholds", "snn_calibration_light", 2),
    ("SNN Calibration light, the paper's settings", PAPER_LIGHT, 4),
    ("SNN Calibration light, matched thresholds", "snn_calibration_light", 4),
    ("SNN Calibration light, matched thresholds", "snn_calibration_light", 8),
    ("burst, uniform φ=2", "burst(max_spikes=2)", 2),
    ("AdaFire at the energy of φ=2", "adafire(budget=2)", 2),
    ("burst, uniform φ=4", "burst(max_spikes=4)", 2),
    ("AdaFire at the energy of φ=4", "adafire", 2),
    ("AdaFire + SSC, as in the paper", "adafire_ssc(ssc={max_growth=None})", 2),
    ("AdaFire + SSC, measured", "adafire_ssc", 2),
    ("Adaptive Calibration (+ IAT, the paper's exit rule)", "adaptive_calibration", 2),
    ("Adaptive Calibration, exit by agreement", "adaptive_calibration(iat={rule=agreement})", 2),
)


def table(results: Path) -> str:
    """Returns the table in Markdown: accuracy with its spread over seeds, energy, mean steps."""
    records = [r for r in RecordStore(results).read_all()[0] if r.model == MODEL]
    found = {
        key: summarise([r for r in records if r.dataset == key]).set_index(["label", "T"])
        for key in SETS
    }
    names = [f"{name}: {what}" for name in SETS.values() for what in ("accuracy", "µJ", "steps")]
    lines = [
        "| | T | " + " | ".join(names) + " |",
        "|:--|--:|" + "--:|" * len(names),
    ]
    for title, label, T in ROWS:
        cells = [cell for key in SETS for cell in _cells(found[key], label, T)]
        lines.append(f"| {title} | {T or '–'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(rows: pd.DataFrame, label: str, T: int) -> list[str]:
    row = rows.loc[(label, T)]
    spread = "" if row["seeds"] == 1 else f" ± {row['score_std']:.1f}"
    steps = "–" if row["strictness"] in CONTROLS else f"{row['mean_timesteps']:.2f}"
    return [f"{row['score']:.1f}{spread} %", f"{row['energy_uj']:.1f}", steps]


def main() -> None:
    """Replaces what stands between the two marks in the README."""
    path = CHECKOUT / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    text = f"{before}{BEGIN}\n{table(CHECKOUT / 'results')}\n{END}{after}"
    write_replacing(path, text)


if __name__ == "__main__":
    main()
