"""Do the timesteps that early exit saves become saved time, in batches and one by one?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timing import SETTLED, arguments, interleaved, mnist5k_resnet20, show
from torch import nn
from torch.nn import functional as F

import adacal
from adacal.core.exit_rules import ExitRule, score
from adacal.core.timesteps import logits_by_step, steps_at_once


def rule_for_half(network: adacal.SpikingNetwork, inputs: torch.Tensor) -> ExitRule:
    """Returns the rule on confidence whose mean timesteps on these inputs are next to T/2."""
    T = network.T
    confidence = score(logits_by_step(network, inputs), "confidence")  # [T, B]
    levels = confidence.flatten().unique()
    best, distance = 1.0, float("inf")
    for level in levels[:: max(1, len(levels) // 200)].tolist():
        leaves = confidence > level
        leaves[-1] = True
        mean = float(leaves.int().argmax(0).float().mean()) + 1
        if abs(mean - T / 2) < distance:
            best, distance = level, abs(mean - T / 2)
    return ExitRule("confidence", (best,) * T)


@dataclass(frozen=True)
class Case:
    """A network with the samples it is given, `size` of them at a time.

    Attributes:
        rule: leaves after T/2 steps, in the mean over the samples.
        timesteps: that mean, as a share of T.
        gap: largest gap between outputs at exit and after the same steps of a full run.
    """

    name: str
    network: adacal.SpikingNetwork
    batches: tuple[torch.Tensor, ...]
    rule: ExitRule
    timesteps: float
    gap: float

    def all_steps(self) -> None:
        """Runs to the last step."""
        for batch in self.batches:
            self.network.predict(batch)

    def early_exit(self) -> None:
        """Drops what is done."""
        for batch in self.batches:
            self.network.run_until_confident(batch, self.rule)


def case(ann: nn.Module, inputs: torch.Tensor, T: int, size: int, name: str) -> Case:
    """Converts a network, fits the rule, and compares outputs."""
    network = adacal.convert(ann, inputs[:2], T=T)
    network.calibrate([inputs])
    rule = rule_for_half(network, inputs)
    batches = inputs.split(size)
    gap, taken = 0.0, []
    for batch in batches:
        found = network.run_until_confident(batch, rule)
        same = network.steps(batch)[found.timesteps - 1, torch.arange(len(batch))]
        gap = max(gap, float((found.output - same).abs().max()))
        taken.append(found.timesteps.float())
    mean = float(torch.cat(taken).mean()) / T
    return Case(name, network, batches, rule, mean, gap)


def main() -> None:
    """Times runs of all steps and runs that drop what is done; each output is the same."""
    options = arguments(__doc__ or "")
    T = 4 if options.smoke else 8
    ann, inputs = mnist5k_resnet20(8 if options.smoke else 64, options.device)
    few, side = (2, 56) if options.smoke else (8, 224)
    large = F.interpolate(inputs[:few], size=(side, side), mode="bilinear")
    cases = [
        case(ann, inputs, T, len(inputs), f"28 px, batch {len(inputs)}"),
        case(ann, inputs[: 4 * few], T, 1, "28 px, batch 1"),
        case(ann, large, T, 1, f"{side} px, batch 1"),
    ]
    functions = {}
    for one in cases:
        functions[f"{one.name}, all {T} steps"] = one.all_steps
        functions[f"{one.name}, early exit"] = one.early_exit
    repeats = 1 if options.smoke else options.repeats
    found = interleaved(functions, repeats, options.clock, warm_ups=SETTLED)
    shares = {
        one.name: {
            "share_of_timesteps": round(one.timesteps, 3),
            "share_of_time": round(exits.median_s / full.median_s, 3),
            "steps_in_a_pass": steps_at_once(one.network, one.batches[0]),
            "largest_gap": one.gap,
        }
        for one, full, exits in zip(cases, found[::2], found[1::2], strict=True)
    }
    show(
        found,
        options.json,
        "GPUs, deeper networks, outputs other than logits",
        case=f"ResNet-20 (width 16), MNIST-5k digits, T={T}, max_spikes=1, light calibration",
        **shares,
    )


if __name__ == "__main__":
    main()
