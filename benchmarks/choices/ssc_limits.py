"""Chooses `max_growth` of SSC without a look at any test sample.

Each case converts a shipped network with AdaFire on calibration samples and compresses it under
every pair of `max_growth` and a floor below which growth counts as harmless. The result is judged
on 1,000 other training samples, augmented as in training (an epoch that training never reached),
by how often the spiking network answers as the ANN does.

The criterion, fixed before the first run: of the pairs that lose at most 0.2 points of agreement in
the mean over all cases, the one with the least energy (geometric mean of after / before).

    python benchmarks/choices/ssc_limits.py measure CASES.jsonl --sets mnist5k   # resumes
    python benchmarks/choices/ssc_limits.py choose CASES.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from adacal.core import calibration
from adacal.core.allocation import Allocation
from adacal.core.compression import Savings, measure_savings, most_that_holds
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork
from adacal.methods.adafire import AdaFire
from adacal.methods.base import Calibration
from adacal.suite.registry import TASKS, build, load_tasks
from tasks.classification import ClassificationTask, balanced_draw

GROWTHS = (1.1, 1.25, 1.5, 2.0, 3.0)
FLOORS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
LOSS_ALLOWED = 0.2  # points of agreement with the ANN
HELD_OUT = 1000
UNSEEN_EPOCH = 10_000
MODELS: dict[str, dict[str, Any]] = {
    "lenet": {"type": "lenet"},
    "vgg_small": {
        "type": "vgg",
        "layers": (32, 32, "P", 64, 64, "P", 128, 128, "P"),
        "global_pool": True,
    },
    "resnet20": {"type": "resnet_cifar", "depth": 20, "width": 16},
}
STEPS = (2, 4)
DRAWS = (100, 101)  # none of the tables' seeds


class Case:
    """One network, T and draw: what each share of the saving gives, measured once."""

    def __init__(self, dataset: str, model: str, T: int, draw: int) -> None:
        """Converts, calibrates and searches; nothing is compressed yet."""
        load_tasks()
        task: ClassificationTask = build(
            TASKS,
            "task",
            {"type": "classification2d", "dataset": {"type": dataset}},
            model={"name": model, **MODELS[model]},
        )
        batches = task.calibration_batches(128, draw)
        self.inputs = torch.cat([batch.inputs for batch in batches])
        used = torch.cat([batch.indices for batch in batches])
        self.held_out = held_out_samples(task, used, draw)
        ann = task.build_ann()
        with torch.no_grad():
            self.answers = torch.cat([ann(part).argmax(1) for part in self.held_out.split(100)])
        settings = Calibration(
            T=T,
            batches=[(batch.inputs, batch.targets) for batch in batches],
            forward=task.spiking_forward,
            divergence=task.divergence,
            generator=torch.Generator().manual_seed(draw),
            stream=False,
            event_input=False,
        )
        network = AdaFire().build(ann, task.example_input(), settings)
        assert isinstance(network, SpikingNetwork)
        self.network = network
        self.savings: Savings = measure_savings(
            network,
            self.inputs[:64],
            ratios=(1.0, 10.0, 0.5),
            tolerance=1.0,
            sensitivity="probe",
            cost="pj",
            divergence=symmetric_kl,
            remove_mean=True,
        )
        self.divergences: dict[tuple[int, ...], float] = {}
        self.judged: dict[tuple[int, ...], tuple[float, float]] = {}

    def divergence(self, chosen: Allocation) -> float:
        """Calibrates with a choice; returns the divergence on the calibration samples."""
        key = tuple(chosen.choice)
        if key not in self.divergences:
            self.divergences[key] = self._calibrate(chosen)
        return self.divergences[key]

    def judge(self, chosen: Allocation) -> tuple[float, float]:
        """Returns agreement with the ANN in percent and energy in pJ a held-out sample."""
        key = tuple(chosen.choice)
        if key not in self.judged:
            self._calibrate(chosen)
            meter = EnergyMeter()
            parts = [self.network.predict(part, meter).output for part in self.held_out.split(100)]
            same = torch.cat([part.argmax(1) for part in parts]) == self.answers
            energy = float(meter.report().energy_pj["per_spike"])
            self.judged[key] = (100 * float(same.double().mean()), energy)
        return self.judged[key]

    def under(self, growth: float, floor: float) -> dict[str, float]:
        """Compresses under a pair of limits and judges the result."""
        before = self.divergence(self.savings.none)
        limit = max(growth * before, floor)
        share, chosen, after = most_that_holds(self.savings, before, limit, self.divergence)
        agreement, energy = self.judge(chosen)
        return {
            "max_growth": growth,
            "harmless": floor,
            "share": share,
            "divergence": after,
            "agreement_pct": agreement,
            "energy_pj": energy,
        }

    def _calibrate(self, chosen: Allocation) -> float:
        self.savings.apply(self.network, chosen)
        return calibration.calibrate(
            self.network, [self.inputs], mode="light", divergence=symmetric_kl, threshold="keep"
        )


def held_out_samples(task: ClassificationTask, used: Tensor, draw: int) -> Tensor:
    """Returns augmented training samples that were not drawn for calibration, [1000, C, H, W]."""
    labels = task.dataset.split("train").labels
    free = torch.ones(labels.numel(), dtype=torch.bool)
    free[used] = False
    positions = torch.nonzero(free).flatten()
    generator = torch.Generator().manual_seed(draw)
    chosen = balanced_draw(labels[positions], task.dataset.num_classes, HELD_OUT, generator)
    return task.dataset.training_batch(positions[chosen], UNSEEN_EPOCH, generator)


def cases(sets: list[str], models: list[str]) -> Iterator[dict[str, Any]]:
    """Yields every case asked for."""
    for dataset, model, T, draw in product(sets, models, STEPS, DRAWS):
        yield {"dataset": dataset, "model": model, "T": T, "draw": draw}


def measure(path: Path, sets: list[str], models: list[str]) -> None:
    """Measures the cases that the file lacks; appends a line each."""
    lines = path.read_text().splitlines() if path.is_file() else []
    done = [json.loads(line)["case"] for line in lines]
    for case in track([c for c in cases(sets, models) if c not in done], "cases"):
        found = Case(**case)
        agreement, energy = found.judge(found.savings.none)
        line = {
            "case": case,
            "before": {
                "divergence": found.divergence(found.savings.none),
                "agreement_pct": agreement,
                "energy_pj": energy,
            },
            "after": [found.under(g, floor) for g, floor in product(GROWTHS, FLOORS)],
        }
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def choose(path: Path) -> None:
    """Prints mean loss and energy of every pair and the pair that the criterion takes."""
    losses, energies = defaultdict(list), defaultdict(list)
    for line in map(json.loads, path.read_text().splitlines()):
        before = line["before"]
        for row in line["after"]:
            pair = (row["max_growth"], row["harmless"])
            losses[pair].append(before["agreement_pct"] - row["agreement_pct"])
            energies[pair].append(math.log(row["energy_pj"] / before["energy_pj"]))
    table = {
        pair: (
            sum(found) / len(found),
            max(found),
            math.exp(sum(energies[pair]) / len(found)),
        )
        for pair, found in losses.items()
    }
    print(f"{'max_growth':>10} {'harmless':>9} {'loss':>7} {'worst':>7} {'energy':>7}")
    for pair, (loss, worst, energy) in table.items():
        print(f"{pair[0]:>10} {pair[1]:>9} {loss:>7.3f} {worst:>7.2f} {energy:>7.3f}")
    allowed = {pair: row for pair, row in table.items() if row[0] <= LOSS_ALLOWED}
    if allowed:
        growth, floor = min(allowed, key=lambda pair: (allowed[pair][2], pair))
        print(f"chosen: max_growth={growth}, floor={floor}")
    print(f"{len(losses[next(iter(losses))])} cases, loss in points of agreement with the ANN")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["measure", "choose"])
    parser.add_argument("path", type=Path, help="JSON lines, one a case")
    parser.add_argument("--sets", nargs="+", default=["mnist5k", "mnist_photos"])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.path, options.sets, options.models)
    else:
        choose(options.path)


if __name__ == "__main__":
    main()
