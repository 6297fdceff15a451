"""How long do SpikingJelly, sinabs and adacal take for the same spiking VGG-16?

Integrate-and-fire neurons of threshold 1 with reset by subtraction, starting at 1/2, one spike a
step (max_spikes=1). Weights and inputs are dyadic, so every sum is exact and all outputs must be
equal. The peers are read from a folder that benchmarks/speed/install_peers.sh fills, and left out
where they are not there.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from simulation_cases import build
from timing import SETTLED, interleaved
from torch import Tensor, nn

import adacal
from adacal.core.folding import fold_batch_norms
from adacal.core.network import call_module

STEP = 2.0**-7
"""Weights are multiples of it: 23 bits hold every sum."""


def main() -> None:
    """Shows that outputs are equal, then times all of them in turns."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.peers:
        sys.path.append(options.peers)
    net, inputs = _dyadic_vgg(options.batch)
    runs = {"adacal": _adacal(net, inputs, options.T)}
    missing = []
    for name, module, make in PEERS:
        try:
            runs[name] = make(importlib.import_module(module), net, inputs, options.T)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    wanted = runs["adacal"]()
    gaps = {name: float((run() - wanted).abs().max()) for name, run in runs.items()}
    functions: dict[str, Callable[[], Any]] = {"ANN": _ann(net, inputs), **runs}
    rows = interleaved(functions, options.repeats, options.clock, warm_ups=SETTLED)
    ratios = {row.name: row.median_s / rows[0].median_s / options.T for row in rows[1:]}
    if options.json:
        found = [{**vars(row), "ratio": ratios.get(row.name)} for row in rows]
        print(json.dumps({"rows": found, "gaps": gaps, "missing": missing, "T": options.T}))
        return
    print(f"VGG-16, batch {len(inputs)}, 32 px, T={options.T}, max_spikes=1, batch norms folded")
    print(
        f"largest gap to adacal's outputs: {gaps}; mean |output| {float(wanted.abs().mean()):.3g}"
    )
    print(f"{'what':<34}{'median s':>10}{'min':>9}{'max':>9}{'/ (T ANN)':>11}")
    for row in rows:
        ratio = f"{ratios[row.name]:>11.2f}" if row.name in ratios else ""
        print(f"{row.name:<34}{row.median_s:>10.3f}{row.min_s:>9.3f}{row.max_s:>9.3f}{ratio}")
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}, clock {options.clock}")
    print(f"Not measured: GPUs, training; not there: {', '.join(missing) or 'none'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="folder that install_peers.sh filled")
    parser.add_argument("--T", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "process"], default="wall")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--smoke", action="store_true", help="seconds only: checks that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.T, options.batch, options.repeats = 2, 1, 1
    return options


@torch.no_grad()
def _dyadic_vgg(batch: int) -> tuple[nn.Module, Tensor]:
    """A VGG-16 whose activations lie around 1, its weights and inputs rounded to dyadic numbers."""
    case = build("vgg16", batch)
    net, inputs = case.ann, (case.inputs * 4).round() / 4
    fold_batch_norms(net, call_module, inputs[:1])
    before = 1.0
    layers = [part for part in net.modules() if isinstance(part, nn.Conv2d)]
    relus = [part for part in net.modules() if isinstance(part, nn.ReLU)]
    peaks: list[float] = []
    handles = [
        relu.register_forward_hook(lambda _, __, out: peaks.append(float(out.max())))
        for relu in relus
    ]
    net(inputs)
    for handle in handles:
        handle.remove()
    for layer, peak in zip(layers, peaks, strict=True):
        power = 2.0 ** math.floor(math.log2(peak))
        layer.weight.mul_(before / power)
        assert layer.bias is not None
        layer.bias.div_(power)
        before = power
    for parameter in net.parameters():
        parameter.div_(STEP).round_().mul_(STEP)
    return net.requires_grad_(False), inputs


def _ann(net: nn.Module, inputs: Tensor) -> Callable[[], Tensor]:
    return torch.inference_mode()(lambda: net(inputs))


def _adacal(net: nn.Module, inputs: Tensor, T: int) -> Callable[[], Tensor]:
    network = adacal.convert(net, inputs[:1], T=T, max_spikes=1)
    for neuron in network.neurons.values():
        neuron.threshold = 1.0
    return lambda: network(inputs)


def _with_neurons(net: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    """A copy of a network with a neuron in the place of each ReLU."""
    copied = copy.deepcopy(net)
    for parent in list(copied.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.ReLU):
                setattr(parent, name, make())
    return copied.eval()


def _spikingjelly_loop(_: Any, net: nn.Module, inputs: Tensor, T: int) -> Callable[[], Tensor]:
    """One step after the other, as its ann2snn guide runs converted networks."""
    from spikingjelly.activation_based import functional, neuron

    spiking = _with_neurons(net, lambda: neuron.IFNode(v_reset=None))
    nodes = [part for part in spiking.modules() if isinstance(part, neuron.IFNode)]

    @torch.inference_mode()
    def run() -> Tensor:
        functional.reset_net(spiking)
        for node in nodes:
            node.v = 0.5
        return torch.stack([spiking(inputs) for _ in range(T)]).mean(0)

    return run


def _spikingjelly_multi(_: Any, net: nn.Module, inputs: Tensor, T: int) -> Callable[[], Tensor]:
    """All steps at once: layers see T*B rows, neurons are in its multi-step mode."""
    from spikingjelly.activation_based import functional, neuron

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = neuron.IFNode(v_reset=None, step_mode="m")

        def forward(self, rows: Tensor) -> Tensor:
            return self.node(rows.unflatten(0, (T, -1))).flatten(0, 1)

    spiking = _with_neurons(net, Steps)
    nodes = [part for part in spiking.modules() if isinstance(part, neuron.IFNode)]

    @torch.inference_mode()
    def run() -> Tensor:
        functional.reset_net(spiking)
        for node in nodes:
            node.v = 0.5
        return spiking(inputs.repeat(T, 1, 1, 1)).unflatten(0, (T, -1)).mean(0)

    return run


def _sinabs(_: Any, net: nn.Module, inputs: Tensor, T: int) -> Callable[[], Tensor]:
    """All steps at once, its neurons with the shape squeezed (samples outermost)."""
    from sinabs.activation import MembraneSubtract, SingleSpike
    from sinabs.layers import IAFSqueeze

    def make() -> nn.Module:
        return IAFSqueeze(batch_size=len(inputs), spike_fn=SingleSpike, reset_fn=MembraneSubtract())

    spiking = _with_neurons(net, make)
    nodes = [part for part in spiking.modules() if isinstance(part, IAFSqueeze)]
    rows = inputs.repeat_interleave(T, 0)
    with torch.no_grad():
        spiking(rows)  # makes the potentials

    @torch.no_grad()
    def run() -> Tensor:
        for node in nodes:
            node.v_mem = torch.full_like(node.v_mem, 0.5)
        return spiking(rows).unflatten(0, (-1, T)).mean(1)

    return run


PEERS: list[tuple[str, str, Callable[..., Callable[[], Tensor]]]] = [
    ("SpikingJelly, step by step", "spikingjelly.activation_based.neuron", _spikingjelly_loop),
    ("SpikingJelly, multi-step", "spikingjelly.activation_based.neuron", _spikingjelly_multi),
    ("sinabs", "sinabs.layers", _sinabs),
]

if __name__ == "__main__":
    main()
