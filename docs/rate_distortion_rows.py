"""Rows of records side by side: uniform φ, rate-distortion at its cost, the quantised ANN of φT."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, stdev

from adacal.suite.fronts import READINGS, Contest, front_boards, judge
from adacal.suite.records import RunRecord
from adacal.suite.store import RecordStore

CHECKOUT = Path(__file__).resolve().parents[1]
SETS = ("mnist_photos", "mnist5k")
PHIS = (1, 2, 4)
UNIFORM = {1: "snn_calibration_light", 2: "burst(max_spikes=2)", 4: "burst(max_spikes=4)"}
"""Labels of uniform φ; φ = 1 is the binary class, with matched thresholds."""
OURS = {
    phi: f"rate_distortion({budget}max_spikes=16)"
    for phi, budget in ((1, "budget=1, "), (2, "budget=2, "), (4, ""))
}
WITH_EXIT = {phi: label[:-1] + ", iat={rule=agreement})" for phi, label in OURS.items()}
HALF = "rate_distortion(budget=1, ratio=0.5, max_spikes=16)"
Seeds = Mapping[int, RunRecord]


@cache
def records() -> list[RunRecord]:
    """Returns all records there are; read once."""
    return RecordStore(CHECKOUT / "results").read_all()[0]


@cache
def of(dataset: str, model: str, T: int) -> dict[str, dict[int, RunRecord]]:
    """Returns the records of one set, network and T, by label and seed."""
    found: dict[str, dict[int, RunRecord]] = defaultdict(dict)
    for record in records():
        if (record.dataset, record.model, record.T) == (dataset, model, T):
            found[record.label][record.seed] = record
    return dict(found)


@cache
def quantised(dataset: str, model: str, levels: int) -> dict[int, RunRecord]:
    """Returns the quantised ANNs with as many levels above 0, by seed, from whatever φ and T."""
    for T in (1, 2, 4, 8):
        phi = levels // T
        found = of(dataset, model, T).get(f"quantized_ann(max_spikes={phi})", {})
        if phi * T == levels and found:
            return found
    return {}


def accuracy(seeds: Seeds) -> str:
    """Returns mean and deviation of the seeds, test images, in percent."""
    values = [record.snn["accuracy_pct"] for record in seeds.values()]
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{spread}"


def energies(seeds: Seeds) -> str:
    """Returns the whole energy in all readings, µJ an image."""
    means = [fmean(r.energy.energy_pj[name] for r in seeds.values()) / 1e6 for name in READINGS]
    return " · ".join(f"{mean:.{2 if mean < 10 else 1 if mean < 100 else 0}f}" for mean in means)


def divergence(seeds: Seeds) -> str:
    """Returns the mean divergence from the ANN on test images, nats."""
    return f"{fmean(record.divergence for record in seeds.values()):.3f}"


def side_by_side(model: str, steps: Sequence[int] = (1, 2, 4)) -> str:
    """Returns a row for each set, T and φ, all of the same seeds."""
    lines = [
        "| set | T | φ | uniform φ: % | nats | µJ | rate-distortion: % | nats | µJ | burst "
        "| nearer, better | quantised ANN: % | nats | µJ |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for dataset in SETS:
        for T in steps:
            rows = of(dataset, model, T)
            for phi in PHIS:
                uniform, ours = rows.get(UNIFORM[phi], {}), rows.get(OURS[phi], {})
                shared = sorted(set(uniform) & set(ours))
                control = quantised(dataset, model, phi * T)
                if not shared or not set(shared) <= set(control):
                    continue
                parts = [{s: each[s] for s in shared} for each in (uniform, ours, control)]
                cells = [f"{accuracy(p)} | {divergence(p)} | {energies(p)}" for p in parts]
                cells[1] += f" | {burst(parts[1])} | {wins(parts[1], parts[0])}"
                lines.append(f"| {dataset} | {T} | {phi} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def burst(seeds: Seeds) -> str:
    """Returns the mean spikes of a burst: how much of φ = 16 is used."""
    return f"{fmean(r.energy.spikes / r.energy.events for r in seeds.values()):.2f}"


def wins(ours: Seeds, uniform: Seeds) -> str:
    """Returns in how many seeds ours is nearer to the ANN, and in how many more accurate."""
    nearer = sum(ours[seed].divergence < uniform[seed].divergence for seed in ours)
    better = sum(
        ours[seed].snn["accuracy_pct"] > uniform[seed].snn["accuracy_pct"] for seed in ours
    )
    return f"{nearer}, {better} of {len(ours)}"


def with_exit(model: str, steps: Sequence[int] = (2, 4)) -> str:
    """Returns the rows that stop by agreement."""
    lines = ["| set | T | φ | steps used | accuracy, % | µJ |", "|---|--:|--:|--:|--:|--:|"]
    for dataset in SETS:
        for T in steps:
            for phi in PHIS:
                seeds = of(dataset, model, T).get(WITH_EXIT[phi], {})
                if seeds:
                    used = fmean(record.timesteps.mean for record in seeds.values())
                    lines.append(
                        f"| {dataset} | {T} | {phi} | {used:.2f} | {accuracy(seeds)} "
                        f"| {energies(seeds)} |"
                    )
    return "\n".join(lines) + "\n"


def saved(models: Sequence[str] = ("resnet20", "lenet")) -> str:
    """Returns the energy at equal accuracy over that of light calibration, by reading and T."""
    contest = Contest()
    lines = ["| set, network | per spike | per event | memory |", "|---|--:|--:|--:|"]
    for model in models:
        for dataset in SETS:
            place = [r for r in records() if (r.dataset, r.model) == (dataset, model)]
            cells = []
            for reading in READINGS:
                (board,) = front_boards(place, reading, contest.max_steps)
                found = judge(board.rows, contest).saved
                cells.append(" · ".join(f"{ratio:.2f}" for _, ratio in found))
            lines.append(f"| {dataset}, {model} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
