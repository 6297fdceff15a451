"""Says where QCFS errs on a ResNet-20 and a plain background, without a look at any test sample.

Each case converts a network trained with quantised activations as `qcfs` does: its ceilings are the
thresholds, spikes are binary, nothing is calibrated. On training samples (the digits as they are,
no augmentation) it measures how often ANN and spiking network are right at several T; at T = 4 and
for each activation the root mean square of the spiking error over that of the activation, and the
share of the squared error that is the mean of a channel, over samples and places; and how often the
network is right when the shifts of light calibration have taken such means away, thresholds as
they were. Shifts are set on half of 400 samples, all else is measured on the other half, errors on
the first 50 of it.

Nothing is chosen: the page on retrained networks quotes the numbers.

    python benchmarks/choices/qcfs_errors.py measure CASES.jsonl   # resumes
    python benchmarks/choices/qcfs_errors.py show CASES.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from adacal.core.conversion import convert
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import by_channel, per_channel
from adacal.core.sites import Site
from adacal.core.traces import Trace
from adacal.suite import config as configs
from adacal.suite.session import build_task
from tasks.classification import ClassificationTask

NETWORKS = (
    "mnist5k_resnet20_qcfs4", "mnist5k_resnet20_qcfs8", "mnist5k_lenet_qcfs4",
    "mnist_photos_resnet20_qcfs4",
)  # fmt: skip
STEPS = (1, 2, 4, 8, 16)
LOOKED_AT = 4
SAMPLES = 400
PART = 50
SEED = 5  # none of the tables' seeds


def converted(ann: torch.nn.Module, example: Tensor, T: int) -> SpikingNetwork:
    """Returns the network as method `qcfs` converts it."""
    network = convert(ann, example, T=T)
    for neuron in network.neurons.values():
        assert neuron.cap is not None
        neuron.threshold, neuron.initial_potential = neuron.cap, None
    return network


def errors(network: SpikingNetwork, inputs: Tensor) -> list[dict[str, Any]]:
    """Returns size and constant share of the error of each activation, in calling order."""
    found: list[dict[str, Any]] = []

    def look(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        neuron = network.neurons[site.name]
        both = rows.unflatten(0, (network.T + 1, -1))
        activation = neuron.activation(both[0])
        counts, theta = neuron.scan(both[1:].clone(), network.T)
        sent = counts * theta
        error = sent.mean(0) - activation
        mean = by_channel(error, neuron.channel_dim).mean(1)
        constant = per_channel(mean, error.dim(), neuron.channel_dim).expand_as(error)
        squared = float(error.square().mean())
        found.append(
            {
                "site": site.name,
                "relative_error": (squared / max(float(activation.square().mean()), 1e-12)) ** 0.5,
                "constant_share": float(constant.square().mean()) / max(squared, 1e-12),
            }
        )
        return torch.cat([activation[None], sent]).flatten(0, 1), None

    with torch.no_grad():
        network.two_stream_pass(inputs, look)
    return found


def right_pct(outputs: list[Tensor], labels: Tensor) -> float:
    """Returns the percentage of logits [n, K] whose largest is that of the label."""
    return 100 * float((torch.cat(outputs).argmax(1) == labels).double().mean())


def measure(name: str, checkpoint: str | None) -> dict[str, Any]:
    """Measures one network."""
    own = [] if checkpoint is None else [f"model.checkpoint={checkpoint}"]
    task = build_task(configs.load(f"classification2d/{name}", own))
    assert isinstance(task, ClassificationTask)
    batches = task.calibration_batches(SAMPLES, SEED)
    inputs = torch.cat([batch.inputs for batch in batches])
    labels = torch.cat([task.dataset.split("train").labels[batch.indices] for batch in batches])
    half = SAMPLES // 2
    shifted, judged, labels = inputs[:half], inputs[half:], labels[half:]
    parts, ann = judged.split(PART), task.build_ann()
    found: dict[str, Any] = {"ann_pct": right_pct([ann(part) for part in parts], labels)}
    found["snn_pct"], found["shifted_pct"] = {}, {}
    for T in STEPS:
        network = converted(ann, inputs[:2], T)
        found["snn_pct"][T] = right_pct([network(part) for part in parts], labels)
        if T == LOOKED_AT:
            found["errors"] = errors(network, judged[:PART])
        if T <= 2 * LOOKED_AT:
            network.calibrate([shifted], "light", threshold="keep")
            found["shifted_pct"][T] = right_pct([network(part) for part in parts], labels)
    return found


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the cases measured so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def show(cases: list[dict[str, Any]]) -> None:
    """Prints a row a network."""
    table = Table("network", "ANN, %", "SNN, % at T", "means taken away, % at T", "error, constant")
    for case in cases:
        means, plain = (
            " ".join(f"{T}: {pct:.1f}" for T, pct in case[key].items())
            for key in ("shifted_pct", "snn_pct")
        )
        sites = " ".join(
            f"{row['relative_error']:.2f}/{row['constant_share']:.2f}" for row in case["errors"]
        )
        table.add_row(case["network"], f"{case['ann_pct']:.1f}", plain, means, sites)
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("measure", "show"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--checkpoint", help="of the one network named, in place of the shipped")
    parser.add_argument("--note", default="", help="goes into the case, to tell networks apart")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.action == "measure":
        done = {case["network"] for case in read(options.path)}
        for name in options.networks:
            title = f"{name}, {options.note}" if options.note else name
            if title not in done:
                row = {"network": title, **measure(name, options.checkpoint)}
                with options.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    show(read(options.path))


if __name__ == "__main__":
    main()
