"""Writes the table of docs/when-spikes-pay.md from the records.

python docs/when_spikes_pay_page.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from marked import filled

from adacal.suite.families import base_of
from adacal.suite.leaderboard import has_levels_of_spikes
from adacal.suite.records import RunRecord
from adacal.suite.store import RecordStore, write_replacing

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "when-spikes-pay.md"
LEVELS = (4, 8, 16)
"""φT of the quantised ANNs that rows are held against."""
LEAST_ROWS = 12
NEURONS = ("burst", "capped")
EXITS = "adaptive_calibration"


def spikes_a_neuron(record: RunRecord) -> float:
    """Returns the spikes of a sample over all steps for each neuron."""
    neurons = sum(prod(site.shape) for site in record.sites if site.kind in NEURONS)
    return record.energy.spikes / neurons if neurons else float("nan")


def fitted(records: Sequence[RunRecord], reading: str) -> tuple[float, np.ndarray]:
    """Fits energy = a + b·(spikes a neuron) + c·T over spiking rows.

    Returns the coefficient of determination and (a, b, c), pJ.
    """
    spikes = np.array([spikes_a_neuron(record) for record in records])
    steps = np.array([record.timesteps.mean for record in records])
    energy = np.array([record.energy.energy_pj[reading] for record in records])
    columns = np.stack([np.ones_like(spikes), spikes, steps], axis=1)
    line = np.linalg.lstsq(columns, energy, rcond=None)[0]
    left = ((columns @ line - energy) ** 2).sum() / ((energy - energy.mean()) ** 2).sum()
    return 1 - float(left), line


def even(line: np.ndarray, price: float, T: int = 4) -> str:
    """Returns the spikes a neuron at which the line reaches a price."""
    found = (price - line[0] - line[2] * T) / line[1]
    return f"{found:.2f}" if found > 0 else "none"


def table() -> str:
    """Returns a row a network whose neurons stand one a place (points are folded: left out).

    Retrained networks have a page of their own.
    """
    groups: dict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for record in RecordStore(CHECKOUT / "results").read_all()[0]:
        if base_of(record) is None:
            groups[record.task, record.dataset, record.model].append(record)
    lines = [
        "| set, network | rows | spikes a neuron | = ANN, per spike | = ANN, memory "
        + "".join(f"| = {levels + 1} levels " for levels in LEVELS)
        + "| fit |",
        "|---|--:|--:|--:|--:|" + "--:|" * len(LEVELS) + "--:|",
    ]
    for (task, dataset, model), records in sorted(groups.items()):
        spiking = [r for r in records if _plain(r)]
        anns = [r for r in records if r.strictness == "none"]
        if "3d" in task or len(spiking) < LEAST_ROWS or not anns:
            continue
        found = [spikes_a_neuron(record) for record in spiking]
        sure, line = fitted(spiking, "per_spike")
        _, memory = fitted(spiking, "memory")
        cells = [
            f"{dataset}, {model}", str(len(spiking)), f"{min(found):.2f} to {max(found):.2f}",
            even(line, anns[0].energy.ann_energy_pj["per_spike"]),
            even(memory, anns[0].energy.ann_energy_pj["memory"]),
            *(_against(records, levels, line) for levels in LEVELS),
            f"{sure:.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _plain(record: RunRecord) -> bool:
    """Says whether each of a row's spikes costs one accumulate a synapse, over whole steps."""
    whole = record.timesteps.mean == record.T
    return record.strictness in ("binary", "burst") and record.method != EXITS and whole


def _against(records: Sequence[RunRecord], levels: int, line: np.ndarray) -> str:
    """Returns the spikes a neuron at which a spiking network costs what a quantised ANN does."""
    costs = [
        record.energy.energy_pj["per_spike"]
        for record in records
        if has_levels_of_spikes(record) and record.T * (record.mean_max_spikes or 0) == levels
    ]
    return even(line, float(np.mean(costs))) if costs else "–"


def written(text: str) -> str:
    """Returns the page with its table made anew."""
    return filled(text, {"when spikes pay": table()})


if __name__ == "__main__":
    write_replacing(PAGE, written(PAGE.read_text(encoding="utf-8")))
