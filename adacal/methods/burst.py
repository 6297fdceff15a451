"""Burst neurons with the same φ in every layer, MMSE thresholds, light calibration.

Card:   data: calibration inputs, no labels | weights: untouched (shifts of the current) | passes:
        1 | spikes: burst
Source: Li & Zeng 2022 (burst spikes) for the neuron; Li et al. 2021 for the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.methods.base import (
    METHODS,
    Calibration,
    Method,
    calibrate,
    check_calibration,
    check_max_spikes,
    start,
)


@METHODS.register_module(name="burst")
@dataclass(frozen=True, kw_only=True)
class Burst(Method):
    """Uniform bursts.

    Attributes:
        max_spikes: φ of every layer.
        calibration: none, light or advanced.
    """

    max_spikes: int = 4
    calibration: Literal["none", "light", "advanced"] = "light"

    name: ClassVar[str] = "burst"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)
        check_calibration(self, self.calibration)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Calibrates in one forward."""
        network = start(ann, example_input, calibration, self.max_spikes)
        calibrate(network, calibration, self.calibration)
        return network
