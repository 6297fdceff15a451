"""Writes the README's tables of results from the records; `make tables` runs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from adacal.suite.leaderboard import CONTROLS, summarise
from adacal.suite.store import RecordStore, write_replacing

CHECKOUT = Path(__file__).resolve().parents[1]
PAPER_LIGHT = "snn_calibration_light(threshold=mmse, repeats=1)"
AGREEMENT = "adaptive_calibration(iat={rule=agreement})"


@dataclass(frozen=True)
class Block:
    """One table, between two marks of the README.

    Attributes:
        places: task, dataset and model of each group of columns, and its title.
        rows: title, label of the method, and T (0 if it has none).
        last: the third column of a group: `steps`, or `ms` of the recording seen; None for none.
        note: what labels end with if calibration took another number of samples than usual.
    """

    places: Mapping[tuple[str, str, str], str]
    rows: Sequence[tuple[str, str, int]]
    last: str | None = "steps"
    note: str = ""


BLOCKS = {
    "images": Block(
        places={
            ("classification2d", "mnist5k", "resnet20"): "MNIST-5k",
            ("classification2d", "mnist_photos", "resnet20"): "MNIST-Photos",
        },
        rows=(
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
            ("rate-distortion at the energy of φ=1", "rate_distortion(budget=1, max_spikes=16)", 2),
            ("rate-distortion at the energy of φ=2", "rate_distortion(budget=2, max_spikes=16)", 2),
            ("burst, uniform φ=4", "burst(max_spikes=4)", 2),
            ("AdaFire at the energy of φ=4", "adafire", 2),
            ("rate-distortion at the energy of φ=4", "rate_distortion(max_spikes=16)", 2),
            ("AdaFire + SSC, as in the paper", "adafire_ssc(ssc={max_growth=None})", 2),
            ("AdaFire + SSC, measured", "adafire_ssc", 2),
            ("Adaptive Calibration (+ IAT, the paper's exit rule)", "adaptive_calibration", 2),
            ("Adaptive Calibration (+ IAT, the paper's exit rule)", "adaptive_calibration", 4),
            ("Adaptive Calibration, exit by agreement", AGREEMENT, 2),
        ),
    ),
    "events": Block(
        places={
            ("events", "dvs_mnist_stream", "vgg_small"): "stream",
            ("events", "dvs_mnist_static", "vgg_small"): "one image",
        },
        rows=(
            ("ANN", "ann", 0),
            ("quantised ANN, 33 levels (control of φT=32)", "quantized_ann(max_spikes=4)", 8),
            *(("light, binary", "snn_calibration_light", T) for T in (1, 2, 4, 8)),
            *(("advanced, binary", "snn_calibration_advanced", T) for T in (4, 8)),
            *(("light, bursts of 4", "burst(max_spikes=4)", T) for T in (1, 2, 4, 8)),
            ("AdaFire at the energy of φ=4", "adafire", 4),
            ("Adaptive Calibration", "adaptive_calibration", 4),
            ("Adaptive Calibration", "adaptive_calibration", 8),
            ("Adaptive Calibration, exit by agreement", AGREEMENT, 8),
        ),
        last="ms",
    ),
    "points": Block(
        places={
            ("classification3d", "mnist_points", "pointnet_small"): "maximum",
            ("classification3d", "mnist_points", "pointnet_small_mean"): "average",
            ("part_segmentation3d", "mnist_points", "pointnet_parts_small"): "parts",
        },
        rows=(
            ("ANN", "ann", 0),
            ("quantised ANN, 33 levels (control of φT=32)", "quantized_ann(max_spikes=4)", 8),
            *(("light, binary", "snn_calibration_light", T) for T in (1, 2, 4, 8)),
            *(("advanced, binary", "snn_calibration_advanced", T) for T in (4, 8)),
            *(("light, bursts of 4", "burst(max_spikes=4)", T) for T in (1, 2, 4, 8)),
            ("AdaFire at the energy of φ=4", "adafire", 4),
            ("Adaptive Calibration", "adaptive_calibration", 4),
            ("Adaptive Calibration, exit by agreement", AGREEMENT, 4),
        ),
        note=" [64 samples]",
    ),
    "aligned": Block(
        places={
            ("classification3d", "mnist_points", "pointnet_small"): "without a T-Net",
            ("classification3d", "mnist_points", "pointnet_small_tnet"): "with a T-Net",
        },
        rows=(
            ("ANN", "ann", 0),
            ("quantised ANN, 33 levels (control of φT=32)", "quantized_ann(max_spikes=4)", 8),
            *(("light, binary", "snn_calibration_light", T) for T in (2, 4, 8)),
            *(("light, bursts of 4", "burst(max_spikes=4)", T) for T in (1, 2, 4, 8)),
        ),
        last=None,
        note=" [64 samples]",
    ),
    "dense": Block(
        places={
            ("detection", "digit_scenes", "digit_atss"): "boxes, whole",
            ("detection", "digit_scenes", "digit_atss_backbone_only"): "boxes, backbone only",
            ("segmentation", "digit_masks", "digit_fcn"): "masks, whole",
        },
        rows=(
            ("ANN", "ann", 0),
            ("quantised ANN, 33 levels (control of φT=32)", "quantized_ann(max_spikes=4)", 8),
            *(("light, binary", "snn_calibration_light", T) for T in (2, 4, 8, 16)),
            *(("light, bursts of 4", "burst(max_spikes=4)", T) for T in (2, 4, 8, 16)),
            ("AdaFire at the energy of φ=4", "adafire", 4),
            ("AdaFire at the energy of φ=4", "adafire", 8),
            ("AdaFire + SSC, measured", "adafire_ssc", 8),
            *(
                (
                    "rate-distortion at the energy of φ=1",
                    "rate_distortion(budget=1, max_spikes=16)",
                    T,
                )
                for T in (2, 4, 8)
            ),
            *(
                ("rate-distortion at the energy of φ=4", "rate_distortion(max_spikes=16)", T)
                for T in (2, 4, 8)
            ),
        ),
        last=None,
        note=" [64 samples]",
    ),
}


def marks(name: str) -> tuple[str, str]:
    """Returns what stands before and after a table in the README."""
    return f"<!-- table {name}: make tables -->", "<!-- end of table -->"


def table(name: str, results: Path) -> str:
    """Returns a table in Markdown: the metric with its spread over seeds, energy, and latency."""
    block = BLOCKS[name]
    records = RecordStore(results).read_all()[0]
    found, units = [], []
    for place in block.places:
        own = [r for r in records if (r.task, r.dataset, r.model) == place]
        found.append(summarise(own).set_index(["label", "T"]))
        units.append(
            own[0]
            .metric.name.removesuffix("_pct")
            .replace("_", " ")
            .replace("miou", "mIoU")
            .replace("map", "mAP")
        )
    heads = [
        f"{title}: {what}"
        for title, metric in zip(block.places.values(), units, strict=True)
        for what in (metric, "µJ", *([block.last] if block.last else []))
    ]
    lines = ["| | T | " + " | ".join(heads) + " |", "|:--|--:|" + "--:|" * len(heads)]
    for title, label, T in block.rows:
        noted = label if label == "ann" else label + block.note
        cells = [cell for rows in found for cell in _cells(rows, noted, T, block.last)]
        lines.append(f"| {title} | {T or '–'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(rows: pd.DataFrame, label: str, T: int, last: str | None) -> list[str]:
    width = 3 if last else 2
    if (label, T) not in rows.index:
        return ["–"] * width
    row = rows.loc[(label, T)]
    spread = "" if row["seeds"] == 1 else f" ± {row['score_std']:.1f}"
    latency = row["mean_timesteps"] if last == "steps" else row["recording_ms"]
    digits = 2 if last == "steps" else 0
    unknown = row["strictness"] in CONTROLS or pd.isna(latency)
    shown = "–" if unknown else f"{latency:.{digits}f}"
    return [f"{row['score']:.1f}{spread} %", f"{row['energy_uj']:.1f}", shown][:width]


def main() -> None:
    """Replaces what stands between each pair of marks in the README."""
    path = CHECKOUT / "README.md"
    text = path.read_text(encoding="utf-8")
    for name in BLOCKS:
        begin, end = marks(name)
        made = f"{begin}\n{table(name, CHECKOUT / 'results')}\n{end}"
        pattern = re.escape(begin) + r".*?" + re.escape(end)
        text, count = re.subn(pattern, lambda _, made=made: made, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(
                f"README.md must hold '{begin}' and '{end}' once; it does {count} times"
            )
    write_replacing(path, text)


if __name__ == "__main__":
    main()
