"""How many probes does a sensitivity table need, with 10 classes and with 1,000?

The network of 1,000 classes is the shipped ResNet-20 with another head, made without training: its
logits are negative squared distances of the features to those of 1,000 training digits, so each
class is "most like this digit", and the scale makes it as unsure as classifiers are.
"""

from __future__ import annotations

import copy

import torch
from timing import arguments, interleaved, mnist5k_resnet20, show
from torch import Tensor, nn

import adacal
from adacal.core.allocation import allocate
from adacal.core.divergence import symmetric_kl
from adacal.core.search import threshold_candidates
from adacal.core.sensitivity import Tables, measure_tables

SURE = 0.6
"""Mean largest probability that the scale of the 1,000 classes is chosen for."""


@torch.no_grad()
def with_prototypes(ann: nn.Module, prototypes: Tensor, inputs: Tensor) -> nn.Module:
    """Returns the network with a linear layer that finds the nearest of some samples."""
    found = copy.deepcopy(ann)
    name, last = [(n, m) for n, m in found.named_modules() if isinstance(m, nn.Linear)][-1]
    features: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    for part in (*prototypes.split(100), inputs):
        found(part)
    handle.remove()
    known, own = torch.cat(features[:-1]), features[-1]
    head = nn.Linear(known.shape[1], len(known))
    distances = own @ known.T - known.square().sum(1) / 2
    low, high = 1e-4, 1e4
    for _ in range(40):
        scale = (low * high) ** 0.5
        sure = float((scale * distances).softmax(1).amax(1).mean())
        low, high = (scale, high) if sure < SURE else (low, scale)
    head.weight.copy_(scale * known)
    head.bias.copy_(-scale * known.square().sum(1) / 2)
    parent, _, own_name = name.rpartition(".")
    setattr(found.get_submodule(parent), own_name, head)
    return found


def judged(exact: Tables, found: Tables, uniform: int) -> dict[str, float]:
    """Compares a table with the exact one: by entries, and by what its choice costs."""
    budget = float(exact.cost[:, uniform].sum())
    layers = torch.arange(len(exact.sites))

    def harm(table: Tables) -> float:
        choice = torch.tensor(allocate(table.sensitivity, table.cost, budget).choice)
        return float(exact.sensitivity[layers, choice].sum())

    logs = torch.stack([table.sensitivity.flatten().log() for table in (exact, found)])
    return {
        "correlation_of_logs": round(float(torch.corrcoef(logs)[0, 1]), 4),
        "harm_of_uniform": round(float(exact.sensitivity[:, uniform].sum()) / harm(exact), 3),
        "harm_of_its_choice": round(harm(found) / harm(exact), 3),
    }


def main() -> None:
    """Prints, for each number of probes a sample, the time and how good the table is."""
    options = arguments(__doc__ or "")
    samples, classes = (8, 20) if options.smoke else (64, 1000)
    tried, numbers = (
        ([1, 2], (1, 4)) if options.smoke else (list(range(1, 9)), (1, 2, 4, 8, 16, 32))
    )
    ann, drawn = mnist5k_resnet20(samples + classes, options.device)
    inputs = drawn[:samples]
    functions, facts = {}, {}
    for net, width in ((ann, 10), (with_prototypes(ann, drawn[samples:], inputs), classes)):
        network = adacal.convert(net, inputs[:2], T=4, max_spikes=2)
        candidates = threshold_candidates(network, inputs, tried)

        def table(kind: str, most: int, network=network, candidates=candidates) -> Tables:
            return measure_tables(
                network,
                inputs,
                candidates,
                sensitivity=kind,
                cost="spikes",
                divergence=symmetric_kl,
                probes=most,
            )

        exact = table("exact", 1)
        for most in numbers:
            name = f"{width} classes, at most {most} probes a sample"
            facts[name] = judged(exact, table("probe", most), tried.index(2))
            functions[name] = lambda most=most, table=table: table("probe", most)
    found = interleaved(functions, 1 if options.smoke else min(3, options.repeats), options.clock)
    show(
        found,
        options.json,
        "trained networks of 1,000 classes, GPUs",
        case=f"ResNet-20, MNIST-5k, {samples} samples, T=4, {len(tried)} candidates of max_spikes; "
        "harm: sum of exact sensitivities, 1 is that of the exact table's choice",
        **facts,
    )


if __name__ == "__main__":
    main()
