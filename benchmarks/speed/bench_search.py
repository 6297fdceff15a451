"""What does a whole search cost, in forwards-and-backwards of the ANN on the calibration batch?"""

from __future__ import annotations

import torch
from timing import arguments, interleaved, mnist5k_resnet20, show

import adacal


def main() -> None:
    """Times AdaFire and SSC with all they contain: tables, allocation, recalibration."""
    options = arguments(__doc__ or "")
    samples, T, phi, rho = (
        (8, 2, (1, 3), (1.0, 3.0, 1.0)) if options.smoke else (128, 4, (1, 8), ())
    )
    ann, inputs = mnist5k_resnet20(samples, options.device)
    network = adacal.convert(ann, inputs[:2], T=T, max_spikes=2)
    notes = {}

    def unit() -> None:
        ann.zero_grad()
        ann(inputs).logsumexp(1).sum().backward()

    def adafire() -> None:
        notes["adafire"] = network.adafire([inputs], max_spikes=phi, budget=2)

    def compress() -> None:
        network.adafire([inputs], max_spikes=phi, budget=2)
        notes["ssc"] = network.compress([inputs], **({"ratios": rho} if rho else {}))

    found = interleaved(
        {
            f"forward and backward of {samples} samples": unit,
            "calibration, light": lambda: network.calibrate([inputs]),
            "AdaFire": adafire,
            "AdaFire, then SSC": compress,
        },
        1 if options.smoke else min(3, options.repeats),
        options.clock,
    )
    first = found[0].median_s
    adafire_units, both_units = found[2].median_s / first, found[3].median_s / first
    gap = max(abs(p.grad).max() for p in ann.parameters() if p.grad is not None)
    assert torch.isfinite(gap), "the unit must be a whole backward pass"
    show(
        found,
        options.json,
        "GPUs, more than 10 classes, other depths",
        case=f"ResNet-20 (width 16), MNIST-5k, {samples} samples, T={T}, max_spikes {phi}",
        units_calibration=round(found[1].median_s / first, 1),
        units_adafire=round(adafire_units, 1),
        units_ssc=round(both_units - adafire_units, 1),
        ssc_share_of_saving=notes["ssc"]["share_of_saving"],
    )


if __name__ == "__main__":
    main()
