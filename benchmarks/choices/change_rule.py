"""Chooses how many thresholds an exit rule on changes has, without a look at any test sample.

Shipped networks are converted on 100 training samples. On each of several draws of 100 others a
rule is fitted in two ways: one threshold for all steps from a first one on (`fit_change_rule`), and
one threshold for every step, each as large as the samples that are still in the run allow. Both are
judged on the remaining training samples: the mean divergence between the output at exit and after T
steps, as a share of what the rule was allowed, and the mean number of steps.

    python benchmarks/choices/change_rule.py [--threads 1]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from adacal.core.change_rule import NEVER, fit_change_rule
from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.suite import config as configs
from adacal.suite.session import build_task

SETS = ("mnist5k", "mnist_photos")
RUNS = ((8, 2), (16, 1))  # T, φ
SHARES = (0.03, 0.1, 0.3)
CALIBRATION, FITTED, DRAWN = 100, 100, 1100
DRAWS = 8
SEED = 5  # none of the tables' seeds


@dataclass(frozen=True)
class Runs:
    """Full runs of training samples: changes [T - 1, B], gaps [T, B], errors [B]."""

    changes: Tensor
    gaps: Tensor
    errors: Tensor

    def at(self, places: Tensor) -> Runs:
        return Runs(self.changes[:, places], self.gaps[:, places], self.errors[places])


def record(dataset: str, T: int, max_spikes: int) -> Runs:
    task = build_task(configs.load(f"classification2d/{dataset}_resnet20_light"))
    inputs = torch.cat([batch.inputs for batch in task.calibration_batches(DRAWN, SEED)])
    network = convert(task.build_ann(), inputs[:2], T=T, max_spikes=max_spikes)
    network.calibrate([inputs[:CALIBRATION]])
    outputs = torch.cat([network.steps(part) for part in inputs[CALIBRATION:].split(100)], 1)
    ann = torch.cat([network.ann(part) for part in inputs[CALIBRATION:].split(100)])
    return Runs(
        changes=torch.stack([symmetric_kl(b, a) for a, b in pairwise(outputs)]),
        gaps=torch.stack([symmetric_kl(outputs[-1], mean) for mean in outputs]),
        errors=symmetric_kl(ann, outputs[-1]),
    )


def fit_each_step(runs: Runs, allowed: float) -> tuple[float, ...]:
    """At every step as many of the samples left, least change first, as keep to `allowed`."""
    alive = torch.ones(runs.gaps.shape[1], dtype=torch.bool)
    thresholds = [NEVER]
    for changes, gaps in zip(runs.changes[:-1], runs.gaps[1:-1], strict=True):
        left, order = changes[alive].sort()
        mean = gaps[alive][order].cumsum(0) / torch.arange(1, len(left) + 1)
        good = (mean <= allowed).nonzero()
        last = int(good.max()) if len(good) else -1
        after = left[min(last + 1, len(left) - 1)] if last >= 0 else None
        thresholds.append(NEVER if after is None else float((left[last] + after) / 2))
        alive &= changes > thresholds[-1]
    return (*thresholds, NEVER)


def judge(runs: Runs, thresholds: tuple[float, ...]) -> tuple[float, float]:
    """Returns the mean gap at exit and the mean number of steps."""
    done = runs.changes <= torch.tensor(thresholds[1:])[:, None]
    done[-1] = True
    first = done.int().argmax(0) + 1
    gap = runs.gaps[first, torch.arange(len(first))]
    return float(gap.mean()), float((first + 1).double().mean())


def compare(runs: Runs, share: float) -> dict[str, tuple[float, float, float]]:
    """Returns, for each way, gap over allowed (mean and largest of the draws) and mean steps."""
    found: dict[str, list[tuple[float, float]]] = {"one threshold": [], "one a step": []}
    for draw in range(DRAWS):
        order = torch.randperm(
            runs.gaps.shape[1], generator=torch.Generator().manual_seed(SEED + draw)
        )
        fitted, held_out = runs.at(order[:FITTED]), runs.at(order[FITTED:])
        allowed = share * float(fitted.errors.mean())
        rule = fit_change_rule(fitted.changes, fitted.gaps, allowed)
        rules = {"one threshold": rule.thresholds, "one a step": fit_each_step(fitted, allowed)}
        for name, thresholds in rules.items():
            gap, steps = judge(held_out, thresholds)
            found[name].append((gap / allowed, steps))
    rows = {}
    for name, pairs in found.items():
        gaps, steps = zip(*pairs, strict=True)
        rows[name] = (sum(gaps) / len(gaps), max(gaps), sum(steps) / len(steps))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    table = Table("set", "T", "φ", "tolerance", "thresholds", "gap / allowed", "worst", "steps")
    for dataset, (T, phi) in track(list(product(SETS, RUNS)), console=Console(stderr=True)):
        runs = record(dataset, T, phi)
        for share in SHARES:
            for name, (gap, worst, steps) in compare(runs, share).items():
                numbers = (f"{gap:.2f}", f"{worst:.1f}", f"{steps:.2f}")
                table.add_row(dataset, str(T), str(phi), f"{share:g}", name, *numbers)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
