"""Interleaved timing of several functions: medians, spread and the ratio to the first."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adacal.core.allocator import keep_freed_memory
from adacal.suite.registry import MODELS, TASKS, build, load_tasks


@dataclass(frozen=True, kw_only=True)
class Row:
    """Seconds of one function: median, fastest and slowest run, and all of them, turn by turn."""

    name: str
    median_s: float
    min_s: float
    max_s: float
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, name: str, seconds: Sequence[float]) -> Row:
        """Returns the row of what was measured."""
        return cls(
            name=name,
            median_s=statistics.median(seconds),
            min_s=min(seconds),
            max_s=max(seconds),
            seconds=tuple(seconds),
        )


SETTLED = 4
"""Passes of a network after which it does without its module and all is laid out for it."""


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: str = "wall",
    *,
    warm_ups: int = 1,
) -> list[Row]:
    """Warms each function up, then runs them in turn `repeats` times, each turn from the next on.

    Args:
        functions: what to time, by name.
        repeats: counted runs of each.
        clock: `wall`, or `process` for the CPU time of all threads, others' work left out.
        warm_ups: runs of each before; `SETTLED` for a network that is run over and over.
    """
    now = time.process_time if clock == "process" else time.perf_counter
    for function in functions.values():
        for _ in range(warm_ups):
            function()
            finish()
    taken: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(repeats):
        first = turn % len(names)  # nobody follows the same one each time
        for name in names[first:] + names[:first]:
            begin = now()
            functions[name]()
            finish()
            taken[name].append(now() - begin)
    return [Row.of(name, seconds) for name, seconds in taken.items()]


def finish() -> None:
    """Waits for a GPU, if one is used, to do what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def show(rows: list[Row], as_json: bool, not_measured: str, **facts: Any) -> None:
    """Prints the rows with the ratio of the first row to each, the facts, and what is missing."""
    if as_json:
        print(json.dumps({"rows": [vars(row) for row in rows], **facts}))
        return
    for name, value in facts.items():
        print(f"{name}: {value}")
    print(f"{'what':<44}{'median s':>10}{'min':>9}{'max':>9}{'ratio':>9}")
    for row in rows:
        ratio = row.median_s / rows[0].median_s
        print(f"{row.name:<44}{row.median_s:>10.3f}{row.min_s:>9.3f}{row.max_s:>9.3f}{ratio:>9.2f}")
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}")
    print(f"Not measured: {not_measured}")


def arguments(description: str) -> argparse.Namespace:
    """Parses the options that all speed benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each")
    parser.add_argument(
        "--clock", choices=("wall", "process"), default="wall", help="process: processor time"
    )
    parser.add_argument("--device", default="cpu", help="where networks are: cpu, cuda")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--smoke", action="store_true", help="seconds only: checks that it runs")
    return parser.parse_args()


def random_resnet(depth: int, inputs: torch.Tensor) -> nn.Module:
    """Returns a ResNet of width 16 with random weights and the batch-norm statistics of `inputs`.

    Times do not depend on the weights; statistics of other inputs would let activations explode.
    """
    torch.manual_seed(0)
    model = {"type": "resnet_cifar", "depth": depth, "width": 16, "in_channels": inputs.shape[1]}
    load_tasks()
    ann: nn.Module = build(MODELS, "model", model).to(inputs.device)
    for layer in ann.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # running statistics become those of the whole
    with torch.no_grad():
        ann.train()(inputs)
    return ann.eval()


def mnist5k_resnet20(samples: int, device: str = "cpu") -> tuple[nn.Module, torch.Tensor]:
    """Returns the shipped ResNet-20 for MNIST-5k and calibration inputs from its training data."""
    keep_freed_memory()  # this and the next as in a run
    torch.backends.cudnn.allow_tf32 = False
    load_tasks()
    model = {"name": "resnet20", "type": "resnet_cifar", "depth": 20, "width": 16}
    task = build(
        TASKS, "task", {"type": "classification2d", "dataset": {"type": "mnist5k"}}, model=model
    )
    batches = task.calibration_batches(samples, seed=0)
    inputs = torch.cat([batch.inputs for batch in batches])
    return task.build_ann().to(device), inputs.to(device)
