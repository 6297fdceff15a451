"""What do bfloat16 and 8 bits change: accuracy and spikes of a trained, converted ResNet-20?"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

import adacal
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork
from adacal.core.precision import has_bfloat16, has_int8
from adacal.suite.registry import TASKS, build, load_tasks

Batches = list[tuple[Tensor, Tensor]]


def main() -> None:
    """Runs calibration and test samples in each precision at each T."""
    options = _options()
    torch.set_num_threads(options.threads)
    load_tasks()
    model = {"name": "resnet20", "type": "resnet_cifar", "depth": 20, "width": 16}
    dataset = {"type": "mnist_photos"}
    task = build(TASKS, "task", {"type": "classification2d", "dataset": dataset}, model=model)
    ann = task.build_ann()
    calibration = [(b.inputs, b.targets) for b in task.calibration_batches(128, seed=0)]
    few = -(-options.samples // 100)
    test = [(b.inputs, b.targets) for b in islice(task.test_batches(100), few)]
    found = list(_rows(ann, calibration, test, options.steps))
    if options.json:
        print(json.dumps({"rows": found}))
        return
    samples = sum(len(targets) for _, targets in test)
    print(f"mnist_photos, ResNet-20, light calibration on 128 samples (seed 0), max_spikes=4, "
          f"{samples} test samples")  # fmt: skip
    print(f"{'T':>3} {'precision':<10}{'calibration %':>14}{'test %':>9}{'spikes':>12}{'SOPs':>13}")
    for row in found:
        print(
            f"{row['T']:>3} {row['precision']:<10}{row['calibration']:>14.2f}{row['test']:>9.2f}"
            f"{row['spikes']:>12.0f}{row['sops']:>13.0f}"
        )
    print("Not measured: other networks and data")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000, help="test samples, by the hundred")
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--smoke", action="store_true", help="seconds only: checks that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.samples, options.steps = 100, [2]
    return options


def _rows(ann: Any, calibration: Batches, test: Batches, steps: list[int]) -> Iterator[Any]:
    for T in steps:
        network = adacal.convert(ann, calibration[0][0][:2], T=T, max_spikes=4)
        network.calibrate([inputs for inputs, _ in calibration], "light")
        for precision in _precisions():
            network.precision = precision  # type: ignore[assignment]
            meter = EnergyMeter()
            row = {"T": T, "precision": precision, "calibration": _accuracy(network, calibration)}
            begin = time.perf_counter()
            row["test"] = _accuracy(network, test, meter)
            row["median_s"] = time.perf_counter() - begin
            report = meter.report()
            yield {**row, "spikes": report.spikes, "sops": report.sops}


def _precisions() -> list[str]:
    cpu = torch.device("cpu")
    there = {"bfloat16": has_bfloat16(cpu), "int8": has_int8(cpu)}
    return ["float32", *(name for name, can in there.items() if can)]


def _accuracy(network: SpikingNetwork, batches: Batches, meter: EnergyMeter | None = None) -> float:
    right = total = 0
    for inputs, targets in batches:
        found = network.predict(inputs, meter).output.argmax(1)
        right += int((found == torch.as_tensor(targets)).sum())
        total += len(found)
    return 100 * right / total


if __name__ == "__main__":
    main()
