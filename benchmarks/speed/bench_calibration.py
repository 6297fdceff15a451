"""What does light calibration of a ResNet-20 cost, in forwards of its own two-stream batch?"""

from __future__ import annotations

import torch
from timing import arguments, interleaved, mnist5k_resnet20, show

import adacal


def main() -> None:
    """Times the calibration against plain forwards of (T+1)*B rows and the layer-by-layer way."""
    options = arguments(__doc__ or "")
    samples, T = (8, 2) if options.smoke else (128, 4)
    ann, inputs = mnist5k_resnet20(samples)
    network = adacal.convert(ann, inputs[:2], T=T)
    rows = inputs.repeat(T + 1, 1, 1, 1)

    def forward() -> None:
        with torch.no_grad():
            ann(rows)

    functions = {
        f"one forward of the two-stream batch, {len(rows)} rows": forward,
        "light, matched thresholds": lambda: network.calibrate([inputs], "light"),
        "light, MMSE thresholds": lambda: network.calibrate([inputs], "light", threshold="mmse"),
        "light as in the paper, 1 round": lambda: network.calibrate(
            [inputs], "light", threshold="mmse", repeats=1
        ),
        "thresholds only": lambda: network.calibrate([inputs], "none"),
    }
    found = interleaved(functions, 1 if options.smoke else options.repeats)
    show(
        found,
        options.json,
        "GPUs, deeper networks, the peers' layer-by-layer calibration",
        case=f"ResNet-20 (width 16), MNIST-5k, {samples} samples, T={T}, max_spikes=1",
    )


if __name__ == "__main__":
    main()
