"""What does light calibration cost at any depth, and how much less than layer by layer?

SNN Calibration and Adaptive Calibration run the whole ANN and the whole SNN again for each layer
(METHOD sections 2 and 3). That way is written out here, with this project's own quick passes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from timing import Row, arguments, interleaved, mnist5k_resnet20, random_resnet, show
from torch import Tensor, nn

import adacal
from adacal.core.neuron import BurstNeuron, NeuronState, by_channel
from adacal.core.sites import Site
from adacal.core.tally import Tally
from adacal.core.thresholds import mmse_threshold
from adacal.core.traces import Trace

POSITIONS = 1024
"""Positions of a channel that both ways choose thresholds from."""
TIMED_LAYERS = 4
"""Layers of a deep network that the way layer by layer is timed on; every layer costs the same."""


@dataclass
class Heard(BurstNeuron):
    """Neurons that keep what reaches them."""

    heard: list[Tensor] = field(default_factory=list)

    def output(
        self,
        current: Tensor,
        T: int,
        state: NeuronState | None = None,
        out: Tensor | None = None,
        tally: Tally | None = None,
    ) -> Tensor:
        """As of any neuron."""
        self.heard.append(current.clone())
        return super().output(current, T, state, out, tally)


@torch.no_grad()
def layer_by_layer(
    network: adacal.SpikingNetwork, inputs: Tensor, names: Sequence[str], seed: int = 0
) -> None:
    """Light calibration with MMSE thresholds: both networks are run whole for each of the layers.

    The mean is corrected once, over all positions, as in the published code.
    """
    random = torch.Generator().manual_seed(seed)
    for name in names:
        neuron = network.neurons[name]
        found: list[Tensor] = []

        def record(
            site: Site, rows: Tensor, trace: Trace, name: str = name, found: list[Tensor] = found
        ) -> tuple[Tensor, None]:
            output = network.neurons[site.name].activation(rows)
            if site.name == name:
                found.append(output)
            return output, None

        network.reference_pass(inputs, record)
        columns = by_channel(found[0], neuron.channel_dim)
        drawn = torch.randperm(columns.shape[1], generator=random)[:POSITIONS]
        neuron.threshold = mmse_threshold(columns[:, drawn], network.T, neuron.max_spikes)
        neuron.shift = torch.zeros(len(columns))
        listening = network.neurons[name] = Heard(
            **{each.name: getattr(neuron, each.name) for each in fields(neuron) if each.init}
        )
        network(inputs)
        network.neurons[name] = neuron
        current = torch.cat(listening.heard, 1)
        counts, theta = neuron.scan(current, network.T)
        rates = by_channel((counts * theta).mean(0), neuron.channel_dim)
        neuron.shift = columns.mean(1) - rates.mean(1)


def largest_gap(ann: nn.Module, inputs: Tensor, T: int) -> dict[str, float]:
    """Returns how far the thresholds and shifts of both ways are apart, in thresholds."""
    ours, theirs = (adacal.convert(ann, inputs[:2], T=T) for _ in range(2))
    ours.calibrate([inputs], "light", threshold="mmse", repeats=1, sample_limit=1 << 30)
    layer_by_layer(theirs, inputs, list(theirs.neurons))
    gaps = {"threshold": 0.0, "shift": 0.0}
    for name, neuron in ours.neurons.items():
        other, theta = theirs.neurons[name], torch.as_tensor(neuron.threshold)
        for what in gaps:
            gap = (getattr(neuron, what) - getattr(other, what)).abs() / theta
            gaps[what] = max(gaps[what], float(gap.max()))
    return gaps


def measured(
    ann: nn.Module, inputs: Tensor, T: int, repeats: int, clock: str, depth: int
) -> tuple[list[Row], dict[str, Any]]:
    """Times all ways on one network; of a deep one the baseline on some layers, then scaled."""
    network = adacal.convert(ann, inputs[:2], T=T)
    names = list(network.neurons)
    timed = names if depth == 20 else names[:: max(1, len(names) // TIMED_LAYERS)]
    rows = inputs.repeat(T + 1, 1, 1, 1)

    def forward() -> None:
        with torch.no_grad():
            ann(rows)

    ours = {
        f"{depth}: one forward of {len(rows)} rows": forward,
        f"{depth}: light, matched thresholds": lambda: network.calibrate([inputs]),
        f"{depth}: light, MMSE thresholds": lambda: network.calibrate([inputs], threshold="mmse"),
        f"{depth}: light as in the paper, 1 round": lambda: network.calibrate(
            [inputs], threshold="mmse", repeats=1
        ),
    }
    found = interleaved(ours, repeats, clock)
    now = time.process_time if clock == "process" else time.perf_counter
    begin = now()
    layer_by_layer(network, inputs, timed)
    slow = (now() - begin) * len(names) / len(timed)
    name = f"{depth}: layer by layer, 1 round"
    found.append(Row.of(name, [slow]))
    facts = {
        f"resnet{depth}": {
            "sites": len(names),
            "sites_timed_layer_by_layer": len(timed),
            "forwards_light_matched": round(found[1].median_s / found[0].median_s, 2),
            "forwards_light_mmse": round(found[2].median_s / found[0].median_s, 2),
            "forwards_layer_by_layer": round(found[4].median_s / found[0].median_s, 1),
            "times_faster_matched": round(found[4].median_s / found[1].median_s, 1),
            "times_faster_mmse": round(found[4].median_s / found[2].median_s, 1),
            "times_faster_as_in_the_paper": round(found[4].median_s / found[3].median_s, 1),
        }
    }
    return found, facts


def main() -> None:
    """Shows that both ways agree, then times them at three depths."""
    options = arguments(__doc__ or "")
    samples, T, depths = (8, 2, (20,)) if options.smoke else (128, 4, (20, 56, 110))
    ann, inputs = mnist5k_resnet20(samples, options.device)
    facts: dict[str, Any] = {
        "case": f"ResNets of width 16, MNIST-5k, {samples} samples, T={T}, max_spikes=1; weights "
        "of depth 20 trained, of others random with fitted batch-norm statistics",
        "largest_gap_in_thresholds": largest_gap(ann, inputs[:4], T),
    }
    rows: list[Row] = []
    for depth in depths:
        network = ann if depth == 20 else random_resnet(depth, inputs)
        few = {20: options.repeats, 56: 2, 110: 2}[depth]
        found, told = measured(
            network, inputs, T, 1 if options.smoke else few, options.clock, depth
        )
        rows += found
        facts.update(told)
    show(rows, options.json, "GPUs, the peers' own code", **facts)


if __name__ == "__main__":
    main()
