"""Writes the table of docs/when-spikes-pay.md and what follows from it, from the records.

python docs/when_spikes_pay_page.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from textwrap import fill

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
WIDTH = 110


@dataclass(frozen=True)
class Network:
    """At how many spikes a neuron a network costs what others cost, at T=4.

    Attributes:
        name: set and network.
        spikes: spikes a neuron of each of its spiking rows.
        fit: coefficient of determination of the line through energies of accumulates.
        ann: where the line meets the ANN; None where it does at no number above 0.
        ann_memory: the same with memory.
        levels: by φT, where it meets the quantised ANN; without those that were not run.
        levels_memory: the same with memory.
    """

    name: str
    spikes: list[float]
    fit: float
    ann: float | None
    ann_memory: float | None
    levels: Mapping[int, float | None]
    levels_memory: Mapping[int, float | None]


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


def meets(line: np.ndarray, price: float, T: int = 4) -> float | None:
    """Returns the spikes a neuron at which the line reaches a price; None if at none above 0."""
    found = float((price - line[0] - line[2] * T) / line[1])
    return found if found > 0 else None


@cache
def networks() -> list[Network]:
    """Returns the networks whose neurons stand one a place (points are folded: left out).

    Retrained networks have a page of their own.
    """
    groups: dict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for record in RecordStore(CHECKOUT / "results").read_all()[0]:
        if base_of(record) is None:
            groups[record.task, record.dataset, record.model].append(record)
    found = []
    for (task, dataset, model), records in sorted(groups.items()):
        spiking = [r for r in records if _plain(r)]
        anns = [r for r in records if r.strictness == "none"]
        if "3d" in task or len(spiking) < LEAST_ROWS or not anns:
            continue
        fit, line = fitted(spiking, "per_spike")
        _, memory = fitted(spiking, "memory")
        price = anns[0].energy.ann_energy_pj
        found.append(
            Network(
                name=f"{dataset}, {model}",
                spikes=[spikes_a_neuron(record) for record in spiking],
                fit=fit,
                ann=meets(line, price["per_spike"]),
                ann_memory=meets(memory, price["memory"]),
                levels=_against(records, line, "per_spike"),
                levels_memory=_against(records, memory, "memory"),
            )
        )
    return found


def table(found: Sequence[Network]) -> str:
    """Returns a row a network."""
    lines = [
        "| set, network | rows | spikes a neuron | = ANN, per spike | = ANN, memory "
        + "".join(f"| = {levels + 1} levels " for levels in LEVELS)
        + "| fit |",
        "|---|--:|--:|--:|--:|" + "--:|" * len(LEVELS) + "--:|",
    ]
    for network in found:
        cells = [
            network.name, str(len(network.spikes)),
            f"{min(network.spikes):.2f} to {max(network.spikes):.2f}",
            _cell(network.ann), _cell(network.ann_memory),
            *(_cell(network.levels[n]) if n in network.levels else "–" for n in LEVELS),
            f"{network.fit:.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def conclusion(found: Sequence[Network]) -> str:
    """Returns below how many spikes a neuron each of the others is beaten, with the networks."""
    levels = ", ".join(
        f"{_span({net.name: net.levels.get(n) for net in found})} against one of {n + 1} levels"
        for n in LEVELS
    )
    text = (
        "So: **a converted network needs less arithmetic than its ANN below "
        f"{_span({net.name: net.ann for net in found})} spikes a neuron, and less energy with "
        f"memory counted below {_span({net.name: net.ann_memory for net in found})}. Against an "
        f"ANN with quantised activations the bound is {levels}.** All that only if it is as "
        "accurate there. The bounds differ by network: look yours up above."
    )
    return _wrapped(text)


def memory_counts(found: Sequence[Network]) -> str:
    """Returns how far memory moves the bound against quantised ANNs."""
    n = LEVELS[0]
    both = [net for net in found if net.levels.get(n) and net.levels_memory.get(n)]
    moved = max(abs((net.levels_memory[n] or 0) - (net.levels[n] or 0)) for net in both)
    before = _span({net.name: net.levels[n] for net in both})
    after = _span({net.name: net.levels_memory[n] for net in both})
    text = (
        f"Measured at T=4 against {n + 1} levels the bound is {before} without memory and {after} "
        f"with it, no network's moving by more than {moved:.2f}."
    )
    return _wrapped(text)


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _span(values: Mapping[str, float | None]) -> str:
    """Returns the smallest and largest number, each with its network."""
    known = {name: value for name, value in values.items() if value is not None}
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return f"{known[low]:.2f} ({low}) to {known[high]:.2f} ({high})"


def _plain(record: RunRecord) -> bool:
    """Says whether each of a row's spikes costs one accumulate a synapse, over whole steps."""
    whole = record.timesteps.mean == record.T
    return record.strictness in ("binary", "burst") and record.method != EXITS and whole


def _against(
    records: Sequence[RunRecord], line: np.ndarray, reading: str
) -> dict[int, float | None]:
    """Returns by φT where a spiking network costs what the quantised ANN of those levels does."""
    found = {}
    for levels in LEVELS:
        costs = [
            record.energy.energy_pj[reading]
            for record in records
            if has_levels_of_spikes(record) and record.T * (record.mean_max_spikes or 0) == levels
        ]
        if costs:
            found[levels] = meets(line, float(np.mean(costs)))
    return found


def written(text: str) -> str:
    """Returns the page with its table and sentences made anew."""
    found = networks()
    made = {
        "when spikes pay": table(found),
        "memory counts": memory_counts(found),
        "conclusion": conclusion(found),
    }
    return filled(text, made)


if __name__ == "__main__":
    write_replacing(PAGE, written(PAGE.read_text(encoding="utf-8")))
