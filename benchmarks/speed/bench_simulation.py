"""What does a step of the spiking network cost, in forwards of the ANN with the same optimisations?

Every row is the time of one run of T steps, divided by T and by the time of one forward of the ANN
(batch norms folded, inference mode, in the layout of memory that is faster for it) on the same
batch. `as recorded` is what `adacal run` does, to the bit; `folded` has folded batch norms,
`bfloat16` and `int8` also run their layers in that precision. All take turns, and are run often
enough before to have nothing left to lay out; both layouts are measured wherever either may be
faster. A ratio is that to the ANN in the same turn: median and quartiles over the turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from simulation_cases import BATCHES, Case, build
from timing import SETTLED, Row, interleaved

import adacal
from adacal.core.network import SpikingNetwork
from adacal.core.precision import has_bfloat16, has_int8
from adacal.suite.session import computing

_LAST = ", channels-last"


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
    functions: dict[str, Callable[[], Any]] = {"ANN": plain, f"ANN{_LAST}": last}
    if has_bfloat16(case.inputs.device):
        functions["ANN, bfloat16"] = case.in_bfloat16().optimised(channels_last=True)
    steps: dict[str, int] = {}
    gaps: dict[str, float] = {}
    for T in options.steps:
        recorded: Any = None
        for name, (network, inputs) in _variants(case, T).items():
            outputs = network(inputs)
            if recorded is None:
                recorded = outputs
            else:
                kind = name.removesuffix(_LAST)
                gaps[kind] = max(gaps.get(kind, 0.0), _gap(recorded, outputs))
            run = partial(network, inputs)
            functions[f"T={T}, {name}"], steps[f"T={T}, {name}"] = run, T
    rows = interleaved(functions, options.repeats, options.clock, warm_ups=SETTLED)
    ann = min(rows[:2], key=lambda row: row.median_s)
    return {
        "case": case.name,
        "batch": len(case.inputs),
        "threads": options.threads,
        "pixels": case.inputs.shape[-1],
        "largest gap": gaps,
        "rows": [{**vars(row), **_ratios(row, steps.get(row.name, 1), ann)} for row in rows],
    }


def _variants(case: Case, T: int) -> dict[str, tuple[SpikingNetwork, torch.Tensor]]:
    """Spiking networks of the case with their inputs, by name; the first is as recorded."""
    last, device = case.channels_last(), case.inputs.device
    found = {"as recorded": (_network(case, T), case.inputs)}
    for precision in ("float32", "bfloat16", "int8"):
        if precision == "bfloat16" and not has_bfloat16(device):
            continue
        if precision == "int8" and not has_int8(device):
            continue
        name = "folded" if precision == "float32" else precision
        for layout, one in (("", case), (_LAST, last)):
            if precision == "int8" and one is case:  # oneDNN gives channels-last
                continue
            network = _network(one, T, fold=True)
            network.precision = precision
            found[name + layout] = network, one.inputs
    return found


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


def _ratios(row: Row, T: int, ann: Row) -> dict[str, Any]:
    """The ratio to T runs of the ANN in the same turn: median and quartiles over the turns."""
    each = [seconds / T / of_ann for seconds, of_ann in zip(row.seconds, ann.seconds, strict=True)]
    low, ratio, high = (
        statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    )
    return {"ratio": ratio, "quartiles": (low, high)}


def _show(found: dict[str, Any]) -> None:
    print(f"{found['case']}, batch {found['batch']}, {found['pixels']} px, max_spikes=4")
    gaps = ", ".join(f"{name} {gap:.1e}" for name, gap in found["largest gap"].items())
    print(f"  largest gap to the outputs as recorded, as a share of the largest: {gaps}")
    print(f"  {'what':<32}{'median s':>10}{'min':>9}{'max':>9}{'/ (T ANN)':>11}  quartiles")
    for row in found["rows"]:
        times = f"{row['median_s']:>10.3f}{row['min_s']:>9.3f}{row['max_s']:>9.3f}"
        low, high = row["quartiles"]
        print(f"  {row['name']:<32}{times}{row['ratio']:>11.2f}  {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
