"""Do the timesteps that early exit saves become saved time, in batches and one by one?"""

from __future__ import annotations

from functools import partial

import torch
from timing import arguments, interleaved, mnist5k_resnet20, show

import adacal
from adacal.core.exit_rules import ExitRule, score
from adacal.core.timesteps import logits_by_step


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


def main() -> None:
    """Times runs of all steps and runs that drop what is done; each output is the same."""
    options = arguments(__doc__ or "")
    samples, T = (8, 4) if options.smoke else (64, 8)
    ann, inputs = mnist5k_resnet20(2 * samples)
    network = adacal.convert(ann, inputs[:2], T=T)
    network.calibrate([inputs[samples:]])
    inputs = inputs[:samples]
    rule = rule_for_half(network, inputs)
    singly = inputs[: 4 if options.smoke else 32].split(1)
    left = network.run_until_confident(inputs, rule)
    alone = [network.run_until_confident(one, rule) for one in singly]
    steps = network.steps(inputs)[left.timesteps - 1, torch.arange(samples)]
    gap_alone = max(
        float((one.output - network.steps(x)[int(one.timesteps) - 1]).abs().max())
        for one, x in zip(alone, singly, strict=True)
    )

    def one_by_one(run: object) -> None:
        for x in singly:
            run(x)  # type: ignore[operator]

    exits = partial(network.run_until_confident, rule=rule)
    found = interleaved(
        {
            f"batch {samples}, all {T} steps": lambda: network.predict(inputs),
            f"batch {samples}, early exit": lambda: exits(inputs),
            f"batch 1, all {T} steps, {len(singly)} samples": lambda: one_by_one(network.predict),
            f"batch 1, early exit, {len(singly)} samples": lambda: one_by_one(exits),
        },
        1 if options.smoke else options.repeats,
        options.clock,
    )
    show(
        found,
        options.json,
        "GPUs, deeper networks, outputs other than logits",
        case=f"ResNet-20 (width 16), MNIST-5k, T={T}, max_spikes=1, light calibration",
        largest_gap_to_the_same_steps=max(float((left.output - steps).abs().max()), gap_alone),
        share_of_timesteps_batch=round(float(left.timesteps.float().mean()) / T, 3),
        share_of_time_batch=round(found[1].median_s / found[0].median_s, 3),
        share_of_timesteps_single=round(
            sum(float(one.timesteps) for one in alone) / len(alone) / T, 3
        ),
        share_of_time_single=round(found[3].median_s / found[2].median_s, 3),
    )


if __name__ == "__main__":
    main()
