"""How much faster is the probe table than the exact one, and are its allocations worse?"""

from __future__ import annotations

from typing import Any

import torch
from timing import Row, arguments, interleaved, mnist5k_resnet20, random_resnet, show
from torch import Tensor, nn

import adacal
from adacal.core.allocation import allocate
from adacal.core.divergence import symmetric_kl
from adacal.core.search import threshold_candidates
from adacal.core.sensitivity import Tables, measure_tables


def measured(
    ann: nn.Module, inputs: Tensor, tried: list[int], repeats: int, clock: str, depth: int
) -> tuple[list[Row], dict[str, Any]]:
    """Times both tables on the same candidates and allocates from both at the same budget."""
    network = adacal.convert(ann, inputs[:2], T=4, max_spikes=2)
    network.calibrate([inputs])
    candidates = threshold_candidates(network, inputs, tried)
    tables: dict[str, Tables] = {}

    def table(kind: str) -> None:
        tables[kind] = measure_tables(
            network,
            inputs,
            candidates,
            sensitivity="exact" if kind == "exact" else "probe",
            cost="spikes",
            divergence=symmetric_kl,
        )

    case = f"{depth}, {len(inputs)} samples"
    found = interleaved({f"{case}, probe": lambda: table("probe")}, repeats, clock)
    found += interleaved({f"{case}, exact": lambda: table("exact")}, 1, clock)
    exact, probe = tables["exact"], tables["probe"]
    budget = float(exact.cost[:, tried.index(2)].sum())
    by_exact = allocate(exact.sensitivity, exact.cost, budget)
    by_probe = allocate(probe.sensitivity, probe.cost, budget)
    layers = torch.arange(len(by_probe.choice))
    judged = float(exact.sensitivity[layers, torch.tensor(by_probe.choice)].sum())
    logs = torch.stack([table.sensitivity.flatten().log() for table in (exact, probe)])
    return found, {
        "times_faster": round(found[1].median_s / found[0].median_s, 1),
        "correlation_of_logs": round(float(torch.corrcoef(logs)[0, 1]), 4),
        "sum_of_exact_sensitivities_uniform": float(exact.sensitivity[:, tried.index(2)].sum()),
        "sum_by_exact_allocation": by_exact.sensitivity,
        "sum_by_probe_allocation": judged,
    }


def main() -> None:
    """Compares the tables at two depths; the deeper network has random weights."""
    options = arguments(__doc__ or "")
    tried = [1, 2] if options.smoke else list(range(1, 9))
    sizes = {20: 8} if options.smoke else {20: 64, 56: 16}
    ann, inputs = mnist5k_resnet20(max(sizes.values()), options.device)
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    for depth, samples in sizes.items():
        network = ann if depth == 20 else random_resnet(depth, inputs)
        repeats = 1 if options.smoke else min(3, options.repeats)
        found, facts[f"resnet{depth}"] = measured(
            network, inputs[:samples], tried, repeats, options.clock, depth
        )
        rows += found
    show(
        rows,
        options.json,
        "more than 10 classes (bench_probes.py), GPUs",
        case=f"ResNets of width 16, MNIST-5k, T=4, {len(tried)} candidates of max_spikes",
        **facts,
    )


if __name__ == "__main__":
    main()
