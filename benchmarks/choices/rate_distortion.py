"""Chooses the constants of rate-distortion thresholds without a look at any test sample.

Each case converts a shipped network with uniform φ and light calibration, takes its cost as the
budget, and chooses thresholds within it under the defaults and with one of them changed. The result
is judged on 500 other training samples, augmented as in training (an epoch that training never
reached), by the mean of d / (1 + d), d the divergence from the ANN, and by how often it answers as
the ANN does.

The criterion, fixed before the first run: a setting other than the default is taken only if the
geometric mean of its divergence over the default's, over all cases, is below 0.98.

The held-out samples are the same for all draws of calibration samples, so `spread` can say by how
much draws differ beside what the 500 samples leave open. Cases without a `start` were measured with
φ = 8 as the default (and held-out samples of each draw's own), those with one start from that φ.

    python benchmarks/choices/rate_distortion.py measure CASES.jsonl --models lenet   # resumes
    python benchmarks/choices/rate_distortion.py choose CASES.jsonl
    python benchmarks/choices/rate_distortion.py spread CASES.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from ssc_limits import MODELS, held_out_samples
from torch import Tensor, nn

from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork
from adacal.core.trials import spending
from adacal.suite.registry import TASKS, build, load_tasks
from tasks.classification import ClassificationTask

SAMPLES = 128
MOST_SAMPLES = 1024
START = 16  # φ of the default
DRAWS = (100, 101, 102)  # none of the tables' seeds
GAIN_NEEDED = 0.98
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "noise=0": {"noise": 0.0},
    "noise=0.5": {"noise": 0.5},
    "noise=2": {"noise": 2.0},
    "max_spikes=1": {"max_spikes": 1},
    "max_spikes=2": {"max_spikes": 2},
    "max_spikes=4": {"max_spikes": 4},
    "max_spikes=8": {"max_spikes": 8},
    "max_spikes=16": {"max_spikes": 16},
    "grid=1/2 octave": {"grid": tuple(range(-20, 7, 2))},
    "grid=1/8 octave": {"grid": tuple(step / 2 for step in range(-40, 13))},
    "check=0": {"check": 0.0},
    "check=0.5": {"check": 0.5},
    "64 samples": {"given": 64},
    "256 samples": {"given": 256, "samples": 256},
    "1024 samples": {"given": 1024, "samples": 1024},
    "repeats=1": {"repeats": 1},
    "repeats=3": {"repeats": 3},
    "repeats=12": {"repeats": 12},
    "potential 0.3": {"mode": "advanced", "weights": False},
    "power_of_two": {"scales": "power_of_two"},
    "layer": {"scales": "layer"},
    "potential 1": {"mode": "advanced", "weights": False, "potential_share": 1.0},
}


@cache
def prepared(dataset: str, model: str) -> tuple[ClassificationTask, nn.Module, Tensor, Tensor]:
    """Returns the task, its ANN, the held-out samples and the ANN's logits for them."""
    load_tasks()
    task: ClassificationTask = build(
        TASKS,
        "task",
        {"type": "classification2d", "dataset": {"type": dataset}},
        model={"name": model, **MODELS[model]},
    )
    ann = task.build_ann()
    drawn = [batch for draw in DRAWS for batch in task.calibration_batches(MOST_SAMPLES, draw)]
    used = torch.cat([batch.indices for batch in drawn])
    held_out = held_out_samples(task, used, DRAWS[0])[::2]
    with torch.no_grad():
        return task, ann, held_out, torch.cat([ann(part) for part in held_out.split(100)])


class Case:
    """One network, T, draw and uniform φ, whose cost is the budget of all settings."""

    def __init__(
        self, dataset: str, model: str, T: int, draw: int, phi: int, start: int = START
    ) -> None:
        """Converts and calibrates the uniform network and judges it."""
        self.task, self.ann, self.held_out, self.answers = prepared(dataset, model)
        self.T, self.draw, self.phi, self.start = T, draw, phi, start
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
        bounded = apart / (1 + apart)
        same = output.argmax(1) == self.answers.argmax(1)
        return {
            "divergence": float(bounded.mean()),
            "standard_error": float(bounded.std()) / len(bounded) ** 0.5,
            "agreement_pct": 100 * float(same.double().mean()),
            "sops": meter.report().sops,
        }

    def under(self, setting: dict[str, Any]) -> dict[str, Any]:
        """Chooses thresholds under a setting and judges them."""
        options = {"max_spikes": self.start, **setting}
        network, inputs = self.uniform(options.pop("given", SAMPLES))
        notes = network.rate_distortion([inputs], budget=self.budget, **options)
        return {
            **self.judge(network),
            "kept": notes["kept_as_it_was"],
            "nearer_by": notes["nearer_by"],
        }


def cases(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields every case asked for."""
    asked = product(options.sets, options.models, options.T, options.draws, options.phi)
    for dataset, model, T, draw, phi in asked:
        case = {"dataset": dataset, "model": model, "T": T, "draw": draw, "phi": phi}
        yield {**case, "start": START}


def read(path: Path) -> list[dict[str, Any]]:
    """Returns what was measured, a case each; a file may have several lines of one."""
    found: dict[str, dict[str, Any]] = {}
    for line in map(json.loads, path.read_text().splitlines() if path.is_file() else []):
        known = found.setdefault(json.dumps(line["case"], sort_keys=True), line)
        known["rows"].update(line["rows"])
    return list(found.values())


def measure(path: Path, found: list[dict[str, Any]], names: list[str]) -> None:
    """Measures what the file lacks of the cases under some settings; appends a line each."""
    rows = {json.dumps(line["case"], sort_keys=True): line["rows"] for line in read(path)}
    for case in track(found, "cases"):
        known = rows.get(json.dumps(case, sort_keys=True), {})
        missing = [name for name in ["default", *names] if name not in known]
        if missing:
            of = Case(**case)
            new = {name: of.under(SETTINGS[name]) for name in missing}
            with path.open("a") as file:
                file.write(json.dumps({"case": case, "uniform": of.before, "rows": new}) + "\n")


def choose(lines: list[dict[str, Any]]) -> None:
    """Prints every setting beside the default, by group, and the settings that are better."""
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    agreed: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        case, base = line["case"], line["rows"]["default"]
        group = f"{case['model']} T={case['T']}"
        for name, row in {"uniform": line["uniform"], **line["rows"]}.items():
            ratio = math.log((row["divergence"] + 1e-6) / (base["divergence"] + 1e-6))
            for each in (group, "all"):
                ratios[name][each].append(ratio)
            agreed[name].append(row["agreement_pct"] - base["agreement_pct"])
    groups = sorted(ratios["default"], key=lambda group: (group == "all", group))
    print(f"{'setting':>16}" + "".join(f"{group:>18}" for group in groups) + f"{'agree':>10}")
    for name, by_group in ratios.items():
        cells = [
            f"{math.exp(sum(by_group[g]) / len(by_group[g])):.3f} of {len(by_group[g])}"
            if by_group[g]
            else "-"
            for g in groups
        ]
        agreement = sum(agreed[name]) / len(agreed[name])
        print(f"{name:>16}" + "".join(f"{cell:>18}" for cell in cells) + f"{agreement:>+10.2f}")
        mean = math.exp(sum(by_group["all"]) / len(by_group["all"]))
        if name not in {"uniform", "default"} and mean < GAIN_NEEDED:
            print(f"{'':>16}  better than the default by the criterion")
    print(
        f"{len(lines)} cases; divergence over the default's, geometric means; points of agreement"
    )


def spread(lines: list[dict[str, Any]]) -> None:
    """Prints how far draws of calibration samples differ, on the same held-out samples."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        case = line["case"]
        groups[f"{case['dataset']} {case['model']} T={case['T']} φ={case['phi']}"].append(line)
    print(f"{'case':>34} {'':>9} {'mean':>8} {'draws':>8} {'samples':>8}")
    for group, several in groups.items():
        for name, rows in {
            "uniform": [line["uniform"] for line in several],
            "default": [line["rows"]["default"] for line in several],
        }.items():
            values = torch.tensor([row["divergence"] for row in rows])
            error = sum(row["standard_error"] for row in rows) / len(rows)
            if len(values) > 1:
                cells = f"{values.mean():>8.4f} {values.std():>8.4f} {error:>8.4f}"
                print(f"{group:>34} {name:>9} {cells}")
    print("divergence d/(1+d): mean over draws, standard deviation over draws, and standard error")
    print("of each draw's mean over the held-out samples")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["measure", "choose", "spread"])
    parser.add_argument("path", type=Path, help="JSON lines, one a case")
    parser.add_argument("--sets", nargs="+", default=["mnist5k", "mnist_photos"])
    parser.add_argument("--models", nargs="+", default=["lenet", "resnet20"], choices=list(MODELS))
    others = [name for name in SETTINGS if name != "default"]
    parser.add_argument("--settings", nargs="*", default=others, choices=others)
    parser.add_argument("--T", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--draws", nargs="+", type=int, default=list(DRAWS))
    parser.add_argument("--phi", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--start", type=int, default=START, help="φ of the default that lines had")
    options = parser.parse_args()
    if options.what == "measure":
        measure(options.path, list(cases(options)), options.settings)
        return
    lines = [line for line in read(options.path) if line["case"].get("start", 8) == options.start]
    asked = {"dataset": options.sets, "model": options.models, "T": options.T, "phi": options.phi}
    lines = [
        line for line in lines if all(line["case"][key] in kept for key, kept in asked.items())
    ]
    (choose if options.what == "choose" else spread)(lines)


if __name__ == "__main__":
    main()
