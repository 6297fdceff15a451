"""A threshold for each channel and a shift that restores its mean, layer after layer.

Card:   data: calibration inputs, no labels | weights: untouched (shifts of the current) | passes:
        1 | spikes: binary
Source: Li et al. 2021 (SNN Calibration, arXiv 2106.06984), light pipeline. Differs: one forward
        calibrates all layers; thresholds of binary neurons are matched on the arriving current
        and the correction is repeated on it. The paper's: threshold="mmse", repeats=1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_whole
from adacal.core.converted import Converted
from adacal.methods.base import METHODS, Calibration, Method, calibrate, check_max_spikes, start


@METHODS.register_module(name="snn_calibration_light")
@dataclass(frozen=True, kw_only=True)
class SnnCalibrationLight(Method):
    """Light calibration.

    Attributes:
        max_spikes: φ, 1 in the paper.
        threshold: `auto` (matched for φ = 1), `matched`, or `mmse`, the paper's; see
            `adacal.core.calibration.CalibrationOptions`.
        repeats: rounds of the correction; 1 is the paper's.
    """

    max_spikes: int = 1
    threshold: Literal["auto", "matched", "mmse"] = "auto"
    repeats: int = 6

    name: ClassVar[str] = "snn_calibration_light"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)
        check_whole(f"{self.name}.repeats", self.repeats, example=6)
        check_choice(f"{self.name}.threshold", self.threshold, ("auto", "matched", "mmse"))

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Calibrates in one forward."""
        network = start(ann, example_input, calibration, self.max_spikes)
        options = {"threshold": self.threshold, "repeats": self.repeats}
        calibrate(network, calibration, "light", **options)
        return network
