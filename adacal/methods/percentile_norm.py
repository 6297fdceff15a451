"""Threshold = a high quantile of the activation (robust normalisation).

Card:   data: calibration inputs, no labels | weights: untouched | passes: 1 | spikes: binary
Source: Rueckauer et al. 2017, section 2.2.2; with its reset by subtraction this is also RMP-SNN
        (Han et al., CVPR 2020: soft reset, threshold from activations). Differs: quantile of a
        bounded sample of positions, start at half a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.checks import check_number
from adacal.core.converted import Converted
from adacal.methods.base import METHODS, Calibration, Method, calibrate, check_max_spikes, start


@METHODS.register_module(name="percentile_norm")
@dataclass(frozen=True, kw_only=True)
class PercentileNorm(Method):
    """Robust normalisation.

    Attributes:
        level: quantile of the activation, in (0, 1].
        per_channel: one threshold a channel, else one a layer.
        max_spikes: φ; the threshold is quantile/φ.
    """

    level: float = 0.999
    per_channel: bool = False
    max_spikes: int = 1

    name: ClassVar[str] = "percentile_norm"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)
        check_number("percentile_norm.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds; nothing is corrected."""
        network = start(ann, example_input, calibration, self.max_spikes)
        calibrate(
            network,
            calibration,
            "none",
            threshold="percentile",
            level=self.level,
            per_channel=self.per_channel,
        )
        return network
