"""What does exact energy counting add to a run of a converted ResNet-20?"""

from __future__ import annotations

from timing import arguments, interleaved, mnist5k_resnet20, show

import adacal
from adacal.core.energy import EnergyMeter


def main() -> None:
    """Times predictions with and without a meter, binary neurons and bursts."""
    options = arguments(__doc__ or "")
    samples, T = (4, 2) if options.smoke else (100, 4)
    ann, inputs = mnist5k_resnet20(samples)
    meter = EnergyMeter()
    functions = {}
    gap = 0.0
    for max_spikes in (4, 1):
        network = adacal.convert(ann, inputs[:2], T=T, max_spikes=max_spikes)
        network.calibrate([inputs[:32]])
        plain, counted = network.predict(inputs), network.predict(inputs, meter)
        gap = max(gap, float((plain.output - counted.output).abs().max()))
        name = f"max_spikes={max_spikes}"
        functions[f"{name}, not counted"] = lambda network=network: network.predict(inputs)
        functions[f"{name}, counted"] = lambda network=network: network.predict(inputs, meter)
    found = interleaved(functions, 1 if options.smoke else options.repeats, options.clock)
    added = {
        f"added_percent_{name}": round(100 * (counted.median_s / plain.median_s - 1), 1)
        for name, plain, counted in (
            ("bursts", found[0], found[1]),
            ("binary", found[2], found[3]),
        )
    }
    show(
        found,
        options.json,
        "GPUs, stepwise runs, parts kept analogue",
        case=f"ResNet-20 (width 16), MNIST-5k, {samples} samples, T={T}",
        largest_gap_of_outputs=gap,
        **added,
    )


if __name__ == "__main__":
    main()
