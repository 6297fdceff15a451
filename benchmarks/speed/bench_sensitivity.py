"""How much faster is the probe table than the exact one, and are its allocations worse?"""

from __future__ import annotations

import torch
from timing import arguments, interleaved, mnist5k_resnet20, show

import adacal
from adacal.core.allocation import allocate
from adacal.core.divergence import symmetric_kl
from adacal.core.search import threshold_candidates
from adacal.core.sensitivity import Tables, measure_tables


def main() -> None:
    """Times both tables on the same candidates and allocates from both at the same budget."""
    options = arguments(__doc__ or "")
    samples, tried = (8, [1, 2]) if options.smoke else (64, list(range(1, 9)))
    ann, inputs = mnist5k_resnet20(samples)
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

    found = interleaved(
        {"probe": lambda: table("probe"), "exact": lambda: table("exact")},
        1 if options.smoke else options.repeats,
    )
    exact, probe = tables["exact"], tables["probe"]
    budget = float(exact.cost[:, tried.index(2)].sum())
    by_exact = allocate(exact.sensitivity, exact.cost, budget)
    by_probe = allocate(probe.sensitivity, probe.cost, budget)
    layers = torch.arange(len(by_probe.choice))
    judged = float(exact.sensitivity[layers, torch.tensor(by_probe.choice)].sum())
    correlation = torch.corrcoef(
        torch.stack([exact.sensitivity.flatten().log(), probe.sensitivity.flatten().log()])
    )[0, 1]
    show(
        found,
        options.json,
        "more than 10 classes, other depths, GPUs",
        case=f"ResNet-20, MNIST-5k, {samples} samples, T=4, {len(tried)} candidates of max_spikes",
        correlation_of_logs=round(float(correlation), 4),
        sum_of_exact_sensitivities_uniform=float(exact.sensitivity[:, tried.index(2)].sum()),
        sum_by_exact_allocation=by_exact.sensitivity,
        sum_by_probe_allocation=judged,
    )


if __name__ == "__main__":
    main()
