"""Light calibration, then initial potentials and the weights of each producing layer.

Card:   data: calibration inputs, no labels | weights: changed for the spiking network, layer by
        layer | passes: 1 | spikes: binary
Source: Li et al. 2021 (SNN Calibration, arXiv 2106.06984), advanced pipeline. Differs: thresholds
        and shifts as snn_calibration_light, 0.3 of the paper's change of potential, fewer
        iterations by default (5,000 in the paper), weights shared by several calls stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.advanced import WeightOptions
from adacal.core.calibration import CalibrationOptions
from adacal.core.converted import Converted
from adacal.methods.base import METHODS, Calibration, Method, calibrate, check_max_spikes, start


@METHODS.register_module(name="snn_calibration_advanced")
@dataclass(frozen=True, kw_only=True)
class SnnCalibrationAdvanced(Method):
    """Advanced calibration.

    Attributes:
        max_spikes: φ, 1 in the paper.
        iterations: Adam steps a layer.
        learning_rate: at the start; cosine to 0.
        potential, weights: which parts to run.
        potential_share: share of the error that the potential makes up for; 1 is the paper's.
    """

    max_spikes: int = 1
    iterations: int = 200
    learning_rate: float = 1e-4
    potential: bool = True
    potential_share: float = 0.3
    weights: bool = True

    name: ClassVar[str] = "snn_calibration_advanced"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)
        CalibrationOptions(potential_share=self.potential_share, weight_options=self._options())

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Calibrates in one forward, optimising at each layer."""
        network = start(ann, example_input, calibration, self.max_spikes)
        calibrate(
            network,
            calibration,
            "advanced",
            potential=self.potential,
            potential_share=self.potential_share,
            weights=self.weights,
            weight_options=self._options(),
        )
        return network

    def _options(self) -> WeightOptions:
        return WeightOptions(iterations=self.iterations, learning_rate=self.learning_rate)
