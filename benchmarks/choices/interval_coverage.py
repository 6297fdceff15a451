"""Simulates how often the interval of a drop on redrawn test sets holds the true drop.

A world is made of the test images that a shipped dense network and its conversion have been run on:
its drop is the true one. Test sets are drawn from it, each gets its interval as a run would give
it, and the share of intervals that hold the true drop should be 95 %.

    python benchmarks/choices/interval_coverage.py [--task detection|segmentation] [--threads 1]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adacal.suite import config as configs
from adacal.suite.intervals import redrawn_interval
from adacal.suite.redraws import REDRAWS, sample_counts
from adacal.suite.runner import convert
from adacal.suite.session import Session
from adacal.suite.task import Redraw

WORLDS = {
    "detection": "detection/digit_scenes_digit_atss_burst",
    "segmentation": "segmentation/digit_masks_digit_fcn_burst",
}
IMAGES, SETS = 200, 600
SEED = 5  # none of the tables' seeds


@dataclass(frozen=True)
class World:
    """The main metric of both networks as a function of how often each of the images occurs."""

    ann: Redraw
    snn: Redraw
    images: int

    def drops(self, counts: np.ndarray) -> np.ndarray:
        return np.asarray(self.ann(counts)) - np.asarray(self.snn(counts))


def build(name: str) -> World:
    config = configs.load(name)
    session = Session()
    prepared = session.prepare(config)
    ann = session.evaluate_ann(prepared)
    network, _ = convert(config, prepared, session.device)
    seen: list[int] = []

    def predict(inputs: torch.Tensor) -> object:
        prediction = network.predict(inputs)
        seen.append(len(prediction.timesteps))
        return prediction.output

    with torch.no_grad():
        snn = prepared.task.evaluate(predict, config.evaluation.batch_size)
    assert ann.redraw is not None and snn.redraw is not None
    return World(ann.redraw, snn.redraw, sum(seen))


def simulate(world: World) -> dict[str, float]:
    """Returns the coverage and what else tells whether the intervals are right, in points."""
    truth = float(world.drops(np.ones((1, world.images), np.int64))[0])
    chance = np.random.default_rng(SEED)
    within = sample_counts("coverage", IMAGES)
    drops, lows, highs, centres = [], [], [], []
    for _ in track(range(SETS), console=Console(stderr=True)):
        members = chance.integers(world.images, size=IMAGES)
        own = np.zeros((REDRAWS + 1, world.images), np.int64)
        counts = np.concatenate([np.ones((1, IMAGES), np.int64), within])
        for place, image in enumerate(members):  # an image may be drawn twice
            own[:, image] += counts[:, place]
        values = world.drops(own)
        low, high = redrawn_interval(values[1:])
        drops.append(values[0])
        lows.append(low)
        highs.append(high)
        centres.append(float(np.nanmean(values[1:])))
    low, high, drop = np.array(lows), np.array(highs), np.array(drops)
    return {
        "true drop": truth,
        "coverage %": 100 * float(((low <= truth) & (truth <= high)).mean()),
        "truth below %": 100 * float((truth < low).mean()),
        "truth above %": 100 * float((truth > high).mean()),
        "width": float((high - low).mean()),
        "3.92 deviations": 3.92 * float(drop.std()),
        "drop - truth": float(drop.mean()) - truth,
        "redraws - drop": float((np.array(centres) - drop).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--task", choices=sorted(WORLDS), default="detection")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    world = build(WORLDS[options.task])
    table = Table("", *(numbers := simulate(world)))
    table.add_row(options.task, *(f"{value:.3f}" for value in numbers.values()))
    Console(width=160).print(table)
    print(f"{SETS} sets of {IMAGES} of {world.images} images, {REDRAWS} redraws each, seed {SEED}")


if __name__ == "__main__":
    main()
