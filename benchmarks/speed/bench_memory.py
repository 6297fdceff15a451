"""How much memory does a spiking detector take, and does it stay within what it was allowed?

Each row is the peak of resident memory of a process of its own, above what the process held before
it ran. A run of T steps holds T times the activations of the ANN, unless it is cut into parts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch

MEGABYTE = 1 << 20


def main() -> None:
    """Measures the ANN, and the network with each limit, each in a process."""
    options = _options()
    if options.child is not None:
        print(json.dumps(_child(options)))
        return
    found = [_measured(options, "ann")]
    found += [_measured(options, f"{limit:g}") for limit in options.limits]
    activations = found[0]["activations_mb"] * options.T
    if options.json:
        print(json.dumps({"rows": found, "T": options.T, "time_batched_mb": activations}))
        return
    print(f"{options.case}, batch 1, {options.side} px, T={options.T}, max_spikes=4")
    print(f"T x the activations that the ANN holds at its peak: {activations:.0f} MB")
    print(f"{'what':<28}{'peak MB':>9}{'process MB':>12}{'steps at once':>15}{'s':>8}")
    for row in found:
        print(
            f"{row['what']:<28}{row['peak_mb']:>9.0f}{row['process_mb']:>12.0f}"
            f"{row['steps'] or '':>15}{row['median_s']:>8.1f}"
        )
    print("Not measured: GPUs; memory that calibration takes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="retinanet_r18")
    parser.add_argument("--side", type=int, default=512, help="height and width of the image")
    parser.add_argument("--T", type=int, default=32)
    parser.add_argument("--limits", type=float, nargs="+", default=[500, 2000], help="MB")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--smoke", action="store_true", help="seconds only: checks that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.case, options.side, options.T, options.limits = "vgg16", 32, 4, [20]
    return options


def _measured(options: argparse.Namespace, child: str) -> dict[str, Any]:
    if options.smoke:  # in this process: it is enough that it runs
        options.child = child
        return _child(options)
    command = [sys.executable, __file__, "--child", child, "--case", options.case]
    command += ["--side", str(options.side), "--T", str(options.T)]
    command += ["--threads", str(options.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(options: argparse.Namespace) -> dict[str, Any]:
    from simulation_cases import build

    import adacal
    from adacal.core.footprint import Footprint
    from adacal.core.parts import plan

    torch.set_num_threads(options.threads)
    case = build(options.case, 1)
    small, inputs = case.inputs, torch.randn(1, 3, options.side, options.side)
    steps = activations = None
    if options.child == "ann":
        with torch.no_grad(), Footprint() as held:
            case.forward(case.ann, small)
        activations = held.peak / MEGABYTE * (options.side / small.shape[-1]) ** 2
        run = torch.inference_mode()(lambda: case.forward(case.ann, inputs))
        before = _resident_mb()
    else:
        network = adacal.convert(
            case.ann, small, T=options.T, max_spikes=4, forward=case.forward, fold_batch_norm=True
        )
        network(small)  # loads the compiled scan, which is no activation
        before = _resident_mb()
        network.memory_mb = float(options.child)
        steps = plan(network, inputs).steps
        run = lambda: network(inputs)  # noqa: E731
    begin = time.perf_counter()
    run()
    return {
        "what": "ANN" if options.child == "ann" else f"memory_mb={options.child}",
        "peak_mb": _peak_mb() - before,
        "process_mb": _peak_mb(),
        "steps": steps,
        "activations_mb": activations,
        "median_s": time.perf_counter() - begin,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident_mb() -> float:
    """What the process holds now, Linux only; its peak so far elsewhere."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / MEGABYTE
    except OSError:
        return _peak_mb()


if __name__ == "__main__":
    main()
