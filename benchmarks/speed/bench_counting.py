"""What does exact energy counting add to a run, of batches and of single images?"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from simulation_cases import BATCHES, Case, build
from timing import SETTLED, Row, arguments, interleaved, mnist5k_resnet20, show

import adacal
from adacal.core.energy import EnergyMeter
from adacal.core.network import SpikingNetwork

Runs = dict[str, Callable[[], Any]]


def main() -> None:
    """Times predictions with and without a meter, in turns, and shows that both are equal."""
    options = arguments(__doc__ or "")
    functions: Runs = {}
    gap = 0.0
    for name, network, inputs in _cases(options.device, smoke=options.smoke):
        meter = EnergyMeter()
        plain, counted = network.predict(inputs), network.predict(inputs, meter)
        gap = max(gap, _gap(plain.output, counted.output))
        functions[f"{name}, not counted"] = _run(network, inputs, None)
        functions[f"{name}, counted"] = _run(network, inputs, meter)
    repeats = 1 if options.smoke else options.repeats
    found = interleaved(functions, repeats, options.clock, warm_ups=SETTLED)
    added = {
        f"added_percent, {counted.name.removesuffix(', counted')}": _added(plain, counted)
        for plain, counted in zip(found[::2], found[1::2], strict=True)
    }
    show(
        found,
        options.json,
        "stepwise runs, parts kept analogue",
        largest_gap_of_outputs=gap,
        **added,
    )


def _cases(device: str, *, smoke: bool) -> Iterator[tuple[str, SpikingNetwork, torch.Tensor]]:
    """Names, networks and inputs: trained on MNIST-5k; untrained, of the size that users have."""
    ann, inputs = mnist5k_resnet20(4 if smoke else 100, device)
    for max_spikes in (4, 1):
        case = Case(name="resnet20", ann=ann, inputs=inputs)
        name = f"ResNet-20, batch {len(inputs)}, T=4, max_spikes={max_spikes}"
        yield name, _network(case, 4, max_spikes), inputs
    yield "ResNet-20, one digit, T=1", _network(case, 1, 4), inputs[:1]
    if smoke:
        return
    for name, batch, steps in (
        ("resnet18", BATCHES["resnet18"], (2, 8)),
        ("resnet18", 1, (1, 8)),
        ("mobilenet_v2", 1, (1, 8)),
        ("resnet50", 1, (1, 8)),
        ("retinanet_r18", 1, (8,)),
    ):
        case = build(name, batch).to(device)
        for T in steps:
            yield f"{name}, batch {batch}, T={T}", _network(case, T, 4), case.inputs


def _network(case: Case, T: int, max_spikes: int) -> SpikingNetwork:
    network = adacal.convert(
        case.ann, case.inputs[:1], T=T, max_spikes=max_spikes, forward=case.forward
    )
    network.calibrate([case.inputs[:2]], "none", divergence=lambda ann, snn: torch.zeros(1))
    return network


def _run(
    network: SpikingNetwork, inputs: torch.Tensor, meter: EnergyMeter | None
) -> Callable[[], Any]:
    return lambda: network.predict(inputs, meter)


def _added(plain: Row, counted: Row) -> float:
    """What counting adds, in percent: the median of all turns."""
    turns = zip(counted.seconds, plain.seconds, strict=True)
    return round(100 * (statistics.median(one / other for one, other in turns) - 1), 1)


def _gap(first: Any, second: Any) -> float:
    if isinstance(first, torch.Tensor):
        return float((first - second).abs().max())
    return max(_gap(a, b) for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    main()
