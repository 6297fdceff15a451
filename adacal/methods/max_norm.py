"""Threshold = the largest activation seen, layer by layer (data-based normalisation).

Card:   data: calibration inputs, no labels | weights: untouched | passes: 1 | spikes: binary
Source: Diehl et al. 2015, section III; Rueckauer et al. 2017. Differs: thresholds instead of
        scaled weights, start at half a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.methods.base import METHODS, Calibration, Method, calibrate, check_max_spikes, start


@METHODS.register_module(name="max_norm")
@dataclass(frozen=True, kw_only=True)
class MaxNorm(Method):
    """Max normalisation.

    Attributes:
        max_spikes: φ; the threshold is max/φ.
        per_channel: one threshold a channel, else one a layer.
    """

    max_spikes: int = 1
    per_channel: bool = False

    name: ClassVar[str] = "max_norm"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds; nothing is corrected."""
        network = start(ann, example_input, calibration, self.max_spikes)
        calibrate(network, calibration, "none", threshold="max", per_channel=self.per_channel)
        return network
