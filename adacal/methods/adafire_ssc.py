"""AdaFire, then raised thresholds where the output hardly notices.

Card:   data: calibration inputs, no labels | weights: untouched (shifts of the current) | passes:
        4 to 9 and a few backwards | spikes: burst
Source: Adaptive Calibration (AAAI 2025, arXiv 2412.16219), AdaFire and Sensitivity Spike
        Compression. Differs: as adafire; ratios go to the layers in their order; the choice is
        measured on the calibration samples and part of it taken back where it hurts too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from adacal.core.compression import check_options
from adacal.core.converted import Converted
from adacal.core.network import SpikingNetwork
from adacal.methods.adafire import AdaFire, run_adafire
from adacal.methods.base import METHODS, Calibration, check_dict, start, take_step

SSC_DEFAULTS: Mapping[str, Any] = {
    "ratios": (1.0, 10.0, 0.5),
    "tolerance": 1.0,
    "max_growth": 1.5,
}


@METHODS.register_module(name="adafire_ssc")
@dataclass(frozen=True, kw_only=True)
class AdaFireSsc(AdaFire):
    """AdaFire with compression.

    Attributes:
        ssc: `ratios` (first, last, step), `tolerance` (allowed sum of sensitivities, in units of
            the sum without compression) and `max_growth` (of the measured divergence; None is the
            paper's).
    """

    ssc: Mapping[str, Any] = field(default_factory=lambda: dict(SSC_DEFAULTS))

    name: ClassVar[str] = "adafire_ssc"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ssc(self.ssc)
        object.__setattr__(self, "ssc", {**SSC_DEFAULTS, **self.ssc})

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Searches φ, then ρ."""
        network = start(ann, example_input, calibration, self.budget)
        run_adafire(network, calibration, self, self.calibration)
        run_ssc(network, calibration, self.ssc, self.calibration, self.sensitivity, self.cost)
        return network


def check_ssc(options: Mapping[str, Any]) -> None:
    """Raises ConfigError for an unknown or senseless option of SSC."""
    check_dict("ssc", options, SSC_DEFAULTS)
    setting = {**SSC_DEFAULTS, **options}
    check_options(setting["ratios"], setting["tolerance"], setting["max_growth"])


def run_ssc(
    network: SpikingNetwork,
    calibration: Calibration,
    options: Mapping[str, Any],
    mode: str,
    sensitivity: str,
    cost: str,
) -> None:
    """Compresses a calibrated network and notes what was chosen."""
    setting = {**SSC_DEFAULTS, **options}
    given = {
        "ratios": tuple(setting["ratios"]),
        "tolerance": setting["tolerance"],
        "max_growth": setting["max_growth"],
        "sensitivity": sensitivity,
        "cost": cost,
        "mode": mode,
    }
    network.search_log["ssc"] = take_step("SSC", network, calibration, network.compress, given)
