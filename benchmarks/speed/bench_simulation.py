"""What does a step of the spiking network cost, in forwards of the ANN with the same optimisations?

Every row is the time of one run of T steps, divided by T and by the time of one forward of the ANN
(batch norms folded, inference mode, channels-last where that is faster) on the same batch. `as
recorded` is what `adacal run` does, to the bit; `folded` has folded batch norms and the layout of
memory that is faster for it, `bfloat16` and `int8` also run their layers in that precision, `int8`
in channels-last memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from simulation_cases import BATCHES, Case, build
from timing import Row, interleaved

import adacal
from adacal.core.network import SpikingNetwork
from adacal.core.precision import has_bfloat16, has_int8
from adacal.suite.session import computing


def main() -> None:
    """Measures each case at each T, all variants of a case in turns."""
    options = _options()
    found = []
    with computing(options.threads):  # as a run: a GPU does not round float32 either
        for name in options.cases:
            case = build(name, 1 if options.smoke else options.batch or BATCHES[name])
            found.append(_measure(case.to(options.device), options))
            if not options.json:
                _show(found[-1])
    if options.json:
        print(json.dumps(found))
        return
    print(f"threads {options.threads}, torch {torch.__version__}, clock {options.clock}")
    print("Not measured: trained weights (rates are those of noise), early exit, counting")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 8], help="values of T")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--batch", type=int, help="samples a batch; by default that of the case")
    parser.add_argument("--repeats", type=int, default=7, help="counted runs of each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=["wall", "process"],
        default="wall",
        help="`process` counts CPU time, for a machine that others use; with one thread only",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--smoke", action="store_true", help="seconds only: checks that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.cases, options.steps, options.repeats = ["vgg16"], [2], 1
    if options.clock == "process" and options.threads != 1:
        parser.error("--clock process adds up the time of all threads; give --threads 1 with it")
    return options


def _measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    plain, last = case.optimised(channels_last=False), case.optimised(channels_last=True)
    functions: dict[str, Callable[[], Any]] = {"ANN": plain, "ANN, channels-last": last}
    if has_bfloat16(case.inputs.device):
        functions["ANN, bfloat16"] = case.in_bfloat16().optimised(channels_last=True)
    faster = _faster(case, max(options.steps), options.clock)
    steps: dict[str, int] = {}
    gaps = {"folded": 0.0, "bfloat16": 0.0, "int8": 0.0}
    for T in options.steps:
        networks = {"as recorded": _network(case, T), "folded": _network(faster, T, fold=True)}
        if has_bfloat16(case.inputs.device):
            networks["bfloat16"] = _network(faster, T, fold=True)
            networks["bfloat16"].precision = "bfloat16"
        if has_int8(case.inputs.device):
            networks["int8"] = _network(case.channels_last(), T, fold=True)  # as oneDNN gives them
            networks["int8"].precision = "int8"
        found = {name: network(case.inputs) for name, network in networks.items()}
        for name, network in networks.items():
            functions[f"T={T}, {name}"] = lambda network=network: network(case.inputs)
            steps[f"T={T}, {name}"] = T
            if name in gaps:
                gaps[name] = max(gaps[name], _gap(found["as recorded"], found[name]))
    rows = interleaved(functions, options.repeats, clock=options.clock)
    ann = min(row.median_s for row in rows[:2])
    return {
        "case": case.name,
        "batch": len(case.inputs),
        "threads": options.threads,
        "pixels": case.inputs.shape[-1],
        "channels-last": faster is not case,
        "largest gap": gaps,
        "rows": [{**vars(row), "ratio": _ratio(row, steps, ann)} for row in rows],
    }


def _faster(case: Case, T: int, clock: str) -> Case:
    """The case in the layout of memory that its spiking network is clearly faster in."""
    last = case.channels_last()
    networks = {name: _network(c, T, fold=True) for name, c in (("plain", case), ("last", last))}
    runs = {
        name: lambda network=network: network(case.inputs) for name, network in networks.items()
    }
    plain_s, last_s = (row.median_s for row in interleaved(runs, 3, clock=clock))
    return last if last_s < 0.97 * plain_s else case


def _network(case: Case, T: int, *, fold: bool = False) -> SpikingNetwork:
    network = adacal.convert(
        case.ann,
        case.inputs[:1],
        T=T,
        max_spikes=4,
        forward=case.forward,
        fold_batch_norm=fold,
    )
    network.calibrate([case.inputs[:2]], "none", divergence=_not_asked)
    return network


def _not_asked(ann: Any, snn: Any) -> torch.Tensor:
    """Stands for the divergence, which has no part in thresholds of mode `none`."""
    return torch.zeros(1)


def _gap(first: Any, second: Any) -> float:
    """Largest distance of two outputs, as a share of the largest value: single spikes may tip."""
    if isinstance(first, torch.Tensor):
        return float((first - second).abs().max() / first.abs().max().clamp_min(1e-12))
    return max(_gap(a, b) for a, b in zip(first, second, strict=True))


def _ratio(row: Row, steps: dict[str, int], ann_s: float) -> float:
    return row.median_s / ann_s / steps.get(row.name, 1)


def _show(found: dict[str, Any]) -> None:
    print(f"{found['case']}, batch {found['batch']}, {found['pixels']} px, max_spikes=4", end="")
    print("; folded and bfloat16 in channels-last" if found["channels-last"] else "")
    gaps = ", ".join(f"{name} {gap:.1e}" for name, gap in found["largest gap"].items())
    print(f"  largest gap to the outputs as recorded, as a share of the largest: {gaps}")
    print(f"  {'what':<32}{'median s':>10}{'min':>9}{'max':>9}{'/ (T ANN)':>11}")
    for row in found["rows"]:
        times = f"{row['median_s']:>10.3f}{row['min_s']:>9.3f}{row['max_s']:>9.3f}"
        print(f"  {row['name']:<32}{times}{row['ratio']:>11.2f}")


if __name__ == "__main__":
    main()
