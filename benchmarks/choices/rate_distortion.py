"""Chooses the constants of rate-distortion thresholds without a look at any test sample.

Each case converts a shipped network with uniform φ and light calibration, takes its cost as the
budget, and chooses thresholds within it under the defaults and with one of them changed. The result
is judged on 500 other training samples, augmented as in training (an epoch that training never
reached), by the mean of d / (1 + d), d the divergence from the ANN, and by how often it answers as
the ANN does.

The criterion, fixed before the first run: a setting other than the default is taken only if the
geometric mean of its divergence over the default's, over all cases, is below 0.98.

    python benchmarks/choices/rate_distortion.py measure CASES.jsonl --models lenet   # resumes
    python benchmarks/choices/rate_distortion.py choose CASES.jsonl
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
from ssc_limits import DRAWS, MODELS, held_out_samples
from torch import Tensor

from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork
from adacal.core.trials import spending
from adacal.suite.registry import TASKS, build, load_tasks
from tasks.classification import ClassificationTask

SAMPLES = 128
GAIN_NEEDED = 0.98
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},  # and φ = 8
    "noise=0": {"noise": 0.0},
    "noise=0.5": {"noise": 0.5},
    "noise=2": {"noise": 2.0},
    "max_spikes=16": {"max_spikes": 16},
    "grid=1/2 octave": {"grid": tuple(range(-20, 7, 2))},
    "grid=1/8 octave": {"grid": tuple(step / 2 for step in range(-40, 13))},
    "check=0": {"check": 0.0},
    "check=0.5": {"check": 0.5},
    "64 samples": {"given": 64},
    "256 samples": {"given": 256, "samples": 256},
}


class Case:
    """One network, T, draw and uniform φ, whose cost is the budget of all settings."""

    def __init__(self, dataset: str, model: str, T: int, draw: int, phi: int) -> None:
        """Converts and calibrates the uniform network and judges it."""
        load_tasks()
        task: ClassificationTask = build(
            TASKS,
            "task",
            {"type": "classification2d", "dataset": {"type": dataset}},
            model={"name": model, **MODELS[model]},
        )
        self.task, self.ann = task, task.build_ann()
        self.T, self.draw, self.phi = T, draw, phi
        most = task.calibration_batches(256, draw)
        used = torch.cat([batch.indices for batch in most + task.calibration_batches(128, draw)])
        self.held_out = held_out_samples(task, used, draw)[::2]
        with torch.no_grad():
            self.answers = torch.cat([self.ann(part) for part in self.held_out.split(100)])
        network, inputs = self.uniform(SAMPLES)
        self.budget = spending(network, inputs, "pj")
        self.before = self.judge(network)

    def uniform(self, samples: int) -> tuple[SpikingNetwork, Tensor]:
        """Returns the network with uniform φ and the samples it was calibrated on."""
        batches = self.task.calibration_batches(samples, self.draw)
        inputs = torch.cat([batch.inputs for batch in batches])
        network = convert(self.ann, inputs[:2], T=self.T, max_spikes=self.phi)
        network.calibrate([inputs], generator=torch.Generator().manual_seed(self.draw))
        return network, inputs

    def judge(self, network: SpikingNetwork) -> dict[str, float]:
        """Returns bounded divergence, agreement in percent and cost in pJ a held-out sample."""
        meter = EnergyMeter()
        parts = [network.predict(part, meter).output for part in self.held_out.split(100)]
        output = torch.cat(parts)
        apart = symmetric_kl(self.answers, output)
        same = output.argmax(1) == self.answers.argmax(1)
        return {
            "divergence": float((apart / (1 + apart)).mean()),
            "agreement_pct": 100 * float(same.double().mean()),
            "sops": meter.report().sops,
        }

    def under(self, setting: dict[str, Any]) -> dict[str, Any]:
        """Chooses thresholds under a setting and judges them."""
        options = {"max_spikes": 8, **setting}
        network, inputs = self.uniform(options.pop("given", SAMPLES))
        notes = network.rate_distortion([inputs], budget=self.budget, **options)
        return {
            **self.judge(network),
            "kept": notes["kept_as_it_was"],
            "nearer_by": notes["nearer_by"],
        }


def cases(sets: list[str], models: list[str], steps: list[int]) -> Iterator[dict[str, Any]]:
    """Yields every case asked for; of deep networks one draw at the middle budget."""
    for dataset, model, T in product(sets, models, steps):
        shallow = model == "lenet"
        for draw, phi in product(DRAWS if shallow else DRAWS[:1], (1, 2, 4) if shallow else (2,)):
            yield {"dataset": dataset, "model": model, "T": T, "draw": draw, "phi": phi}


def measure(path: Path, found: list[dict[str, Any]], names: list[str]) -> None:
    """Measures the cases that the file lacks, under some settings; appends a line each."""
    lines = path.read_text().splitlines() if path.is_file() else []
    done = [json.loads(line)["case"] for line in lines]
    for case in track([c for c in found if c not in done], "cases"):
        of = Case(**case)
        rows = {name: of.under(SETTINGS[name]) for name in ["default", *names]}
        with path.open("a") as file:
            file.write(json.dumps({"case": case, "uniform": of.before, "rows": rows}) + "\n")


def choose(path: Path) -> None:
    """Prints every setting beside the default, by model, and the settings that are better."""
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    agreed: dict[str, list[float]] = defaultdict(list)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        model, base = line["case"]["model"], line["rows"]["default"]
        for name, row in {"uniform": line["uniform"], **line["rows"]}.items():
            ratio = math.log((row["divergence"] + 1e-6) / (base["divergence"] + 1e-6))
            for group in (model, "all"):
                ratios[name][group].append(ratio)
            agreed[name].append(row["agreement_pct"])
    groups = sorted(ratios["default"])
    print(f"{'setting':>16}" + "".join(f"{group:>10}" for group in groups) + f"{'agree %':>10}")
    for name, by_group in ratios.items():
        means = [
            math.exp(sum(by_group[g]) / len(by_group[g])) if by_group[g] else math.nan
            for g in groups
        ]
        agreement = sum(agreed[name]) / len(agreed[name])
        print(f"{name:>16}" + "".join(f"{mean:>10.3f}" for mean in means) + f"{agreement:>10.2f}")
        if name not in {"uniform", "default"} and means[groups.index("all")] < GAIN_NEEDED:
            print(f"{'':>16}  better than the default by the criterion")
    print(f"{len(lines)} cases; divergence over the default's, geometric means")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["measure", "choose"])
    parser.add_argument("path", type=Path, help="JSON lines, one a case")
    parser.add_argument("--sets", nargs="+", default=["mnist5k", "mnist_photos"])
    parser.add_argument("--models", nargs="+", default=["lenet", "resnet20"], choices=list(MODELS))
    others = [name for name in SETTINGS if name != "default"]
    parser.add_argument("--settings", nargs="+", default=others, choices=others)
    parser.add_argument("--T", nargs="+", type=int, default=[1, 2, 4])
    options = parser.parse_args()
    if options.what == "measure":
        measure(
            options.path, list(cases(options.sets, options.models, options.T)), options.settings
        )
    else:
        choose(options.path)


if __name__ == "__main__":
    main()
