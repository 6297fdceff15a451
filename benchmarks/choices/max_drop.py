"""Says what `max_drop` keeps of its promise and which T is cheapest, without test samples.

Each case is one `adacal.cheapest` of a single T on 128 calibration samples. What it promises is the
percent of these whose answer changed; what is lost is that percent of the 500 held-out training
samples of `rate_distortion.py`. Of each set, draw and target the T of least energy on calibration
samples is the one that `adacal.cheapest` would take of all.

    python benchmarks/choices/max_drop.py measure CASES.jsonl   # resumes
    python benchmarks/choices/max_drop.py table CASES.jsonl
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rate_distortion import DRAWS, SAMPLES, prepared
from rich.progress import track

from adacal.core.cheapest import StepsTried, best_of, cheapest
from adacal.core.measure import measure_energy

STEPS = (1, 2, 4, 8)
TARGETS = (0.5, 1.0, 2.0)
MODEL = "lenet"
Line = dict[str, Any]


def measured(dataset: str, T: int, draw: int, max_drop: float) -> Line:
    """Returns what one T promises, and what it changes and costs on held-out samples."""
    task, ann, held_out, answers = prepared(dataset, MODEL)
    batches = [batch.inputs for batch in task.calibration_batches(SAMPLES, draw)]
    generator = torch.Generator().manual_seed(draw)
    network, (tried,) = cheapest(ann, batches, T=(T,), max_drop=max_drop, generator=generator)
    output = torch.cat([network.predict(part).output for part in held_out.split(100)])
    report = measure_energy(network, held_out)
    return {
        "promised": asdict(tried),
        "held_out_drop": 100 * float((output.argmax(1) != answers.argmax(1)).double().mean()),
        "held_out_energy_pj": report.energy_pj["per_spike"],
    }


def cases() -> Iterator[Line]:
    """Yields every case."""
    for dataset, draw, max_drop, T in product(("mnist5k", "mnist_photos"), DRAWS, TARGETS, STEPS):
        yield {"dataset": dataset, "T": T, "draw": draw, "max_drop": max_drop}


def measure(path: Path) -> None:
    """Measures the cases that the file lacks; appends a line each."""
    done = [line["case"] for line in read(path)]
    for case in track([each for each in cases() if each not in done], "cases"):
        line = {"case": case, **measured(**case)}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[Line]:
    """Returns what was measured, a case each."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(lines: list[Line]) -> str:
    """Returns a row a set, target and T: what was promised, what is lost, how often the cheapest.

    Means over the draws; the energy is that of held-out samples, whole, one accumulate a spike and
    synapse.
    """
    rows = [
        "| set | `max_drop`, % | T | within it | changed, calibration, % | changed, held out, % "
        "| µJ | cheapest in |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    groups: dict[tuple[str, float], dict[int, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        case = line["case"]
        groups[case["dataset"], case["max_drop"]][case["T"]].append(line)
    for (dataset, target), by_steps in sorted(groups.items()):
        best = winners(by_steps)
        for T, found in sorted(by_steps.items()):
            promised = [line["promised"] for line in found]
            within = sum(each["within_limit"] for each in promised)
            rows.append(
                f"| {dataset} | {target:g} | {T} | {within} of {len(found)} "
                f"| {fmean(each['drop'] for each in promised):.2f} "
                f"| {fmean(line['held_out_drop'] for line in found):.2f} "
                f"| {fmean(line['held_out_energy_pj'] for line in found) / 1e6:.2f} "
                f"| {best[T]} of {len(found)} |"
            )
    return "\n".join(rows) + "\n"


def winners(by_steps: dict[int, list[Line]]) -> Counter[int]:
    """Returns for how many draws each T is the one that `adacal.cheapest` takes."""
    best: Counter[int] = Counter()
    of_draw: dict[int, list[StepsTried]] = defaultdict(list)
    for _, found in sorted(by_steps.items()):
        for line in found:
            of_draw[line["case"]["draw"]].append(StepsTried(**line["promised"]))
    for tried in of_draw.values():
        best[tried[best_of(tried, "pj")].T] += 1
    return best


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["measure", "table"])
    parser.add_argument("path", type=Path, help="JSON lines, one a case")
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.path)
    else:
        print(table(read(options.path)))


if __name__ == "__main__":
    main()
