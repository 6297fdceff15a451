"""Chooses how the small PointNets are trained without a look at any test cloud.

Each case trains the network with a maximum over the points on 80 % of the training clouds of
MNIST-Points, on 256 points of each, drawn anew for each batch, and judges it on 256 points of each
of the other 800. (Whole clouds, which a real training takes in its last quarter, cost four times as
much.) The other small PointNets are trained as this one is.

The criterion, fixed before settings were compared: the one with the highest accuracy on those
clouds; of equals the earlier of `SETTINGS`.

    python benchmarks/choices/points_training.py measure CASES.jsonl   # resumes
    python benchmarks/choices/points_training.py choose CASES.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from tasks.data.mnist_points import MnistPoints
from tasks.data.point_clouds import (
    StoredClouds,
    random_jitter,
    random_rotation,
    random_scale_and_shift,
    random_slant,
)
from tasks.models.pointnet import PointNet
from tasks.training import Schedule, divide, train_classifier

POINTS = 256
SMALL: dict[str, Any] = {"local_widths": (64, 64), "widths": (256,), "hidden": (128, 64)}
SETTINGS: dict[str, dict[str, float]] = {
    "as first shipped": {"epochs": 24, "dropout": 0.3, "strength": 1.0},
    "no dropout": {"epochs": 24, "dropout": 0.0, "strength": 1.0},
    "no dropout, half the augmentation": {"epochs": 24, "dropout": 0.0, "strength": 0.5},
}


class TrainingClouds(MnistPoints):
    """The training clouds of MNIST-Points alone; what is tested on are the last 20 % of a class."""

    def __init__(self, strength: float) -> None:
        """Says how strong the augmentation is; 1 is what `MnistPoints` had when this was run."""
        super().__init__()
        self.strength = strength
        train = super().split("train")
        assert train.part_labels is not None
        parts = divide(train.labels, Schedule(holdout=0.2))
        self.splits = {
            name: StoredClouds(train.clouds[rows], train.labels[rows], train.part_labels[rows])
            for name, rows in zip(("train", "test"), parts, strict=True)
        }

    def split(self, part: str) -> StoredClouds:
        """Returns the clouds to train on, or those held out as `test`."""
        return self.splits[part]

    def augment(self, clouds: Tensor, generator: torch.Generator) -> Tensor:
        """Returns clouds changed by a share of what they were changed by."""
        share = self.strength
        slanted = random_slant(clouds, generator, slant=0.3 * share)
        turned = random_rotation(slanted, generator, degrees=10.0 * share)
        moved = random_scale_and_shift(turned, generator, scale=0.15 * share, shift=0.05 * share)
        return random_jitter(moved, generator, deviation=0.01 * share, limit=0.03 * share)


def measure_case(epochs: int, dropout: float, strength: float) -> dict[str, float]:
    """Trains one network; returns its accuracy on held-out clouds of 256 and of all points, %."""
    dataset = TrainingClouds(strength)
    train, held_out = dataset.split("train"), dataset.split("test")
    schedule = Schedule(epochs=epochs, batch_size=32, lr=0.1, weight_decay=1e-4)

    def some_points(
        indices: Tensor, epoch: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        clouds = dataset.training_batch(indices, epoch, generator)
        chosen = torch.randperm(clouds.shape[1], generator=generator)[:POINTS]
        return clouds[:, chosen], train.labels[indices]

    torch.manual_seed(0)
    network = PointNet(**SMALL, dropout=dropout)
    log = train_classifier(network, dataset, schedule, None, pairs=some_points)
    with torch.no_grad():
        right = network(held_out.clouds[:, :POINTS]).argmax(1) == held_out.labels
    return {
        "some_points_pct": 100.0 * float(right.double().mean()),
        "whole_clouds_pct": log["test_accuracy_pct"],
        "seconds": log["seconds"],
    }


def measure(path: Path) -> None:
    """Measures the settings that the file lacks; appends a line each."""
    lines = path.read_text().splitlines() if path.is_file() else []
    done = [json.loads(line)["setting"] for line in lines]
    for name in track([name for name in SETTINGS if name not in done], "settings"):
        chosen = SETTINGS[name]
        found = measure_case(int(chosen["epochs"]), chosen["dropout"], chosen["strength"])
        with path.open("a") as file:
            file.write(json.dumps({"setting": name, **found}) + "\n")


def choose(path: Path) -> None:
    """Prints the accuracies of every setting and the one that the criterion takes."""
    rows = {row["setting"]: row for row in map(json.loads, path.read_text().splitlines())}
    for name in SETTINGS:
        some, whole = rows[name]["some_points_pct"], rows[name]["whole_clouds_pct"]
        print(f"{name}: {some:.2f} % ({whole:.2f} % of whole clouds)")
    print("chosen:", max(SETTINGS, key=lambda name: rows[name]["some_points_pct"]))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["measure", "choose"])
    parser.add_argument("path", type=Path, help="JSON lines, one a setting")
    options = parser.parse_args()
    torch.set_num_threads(1)
    (measure if options.what == "measure" else choose)(options.path)


if __name__ == "__main__":
    main()
