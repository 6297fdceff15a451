"""Thresholds of all channels chosen under an energy budget, as a codec spends bits.

Card:   data: calibration inputs, no labels | weights: untouched (shifts of the current) | passes:
        4 to 7 and a few backwards | spikes: burst
Source: ours; docs/rate-distortion.md. From AdaFire (AAAI 2025, arXiv 2412.16219) it has the idea of
        a budget, from codecs the Lagrangian; what it chooses is θ by channel, not φ by layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_number
from adacal.core.converted import Converted
from adacal.core.inputs import joined_inputs
from adacal.core.network import SpikingNetwork
from adacal.core.rate_distortion import check_options, spending
from adacal.methods.base import (
    METHODS,
    Calibration,
    Method,
    calibrate,
    check_calibration,
    check_max_spikes,
    start,
)


@dataclass(frozen=True, kw_only=True)
class RateDistortionOptions:
    """Options of the choice of thresholds.

    Attributes:
        budget: the uniform φ, calibrated alike, whose cost is the budget; the network to beat.
        ratio: factor on that budget.
        max_spikes: φ of every site; high, so that it hardly clips.
        unit: `pj` (accumulates with fan-out) or `spikes`.
        samples: calibration samples that the tables are measured on, at most.
        check: share of the calibration samples kept from the tables, for the comparison.
    """

    budget: int = 4
    ratio: float = 1.0
    max_spikes: int = 8
    unit: Literal["pj", "spikes"] = "pj"
    samples: int = 128
    check: float = 0.25

    def __post_init__(self) -> None:
        check_options(self.budget, self.unit, self.max_spikes, self.samples, self.check)
        check_number("ratio", self.ratio, 0, above=True, example=1)


@METHODS.register_module(name="rate_distortion")
@dataclass(frozen=True, kw_only=True)
class RateDistortion(RateDistortionOptions, Method):
    """Rate-distortion thresholds; see `RateDistortionOptions`.

    Attributes:
        calibration: none, light or advanced.
    """

    calibration: Literal["none", "light", "advanced"] = "light"

    name: ClassVar[str] = "rate_distortion"

    def __post_init__(self) -> None:
        RateDistortionOptions.__post_init__(self)
        check_max_spikes(self, self.budget)
        check_calibration(self, self.calibration)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Calibrates the uniform network, measures its cost, and chooses within it."""
        network = start(ann, example_input, calibration, self.budget)
        calibrate(network, calibration, self.calibration)
        run_rate_distortion(network, calibration, self, self.calibration)
        return network


def run_rate_distortion(
    network: SpikingNetwork, calibration: Calibration, options: RateDistortionOptions, mode: str
) -> None:
    """Chooses thresholds within the cost of the network as it is and notes what was chosen."""
    inputs = joined_inputs(calibration.batches, network)
    seen = inputs[:, : options.samples] if network.stream else inputs[: options.samples]
    uniform = spending(network, seen, options.unit)
    notes: dict[str, Any] = network.rate_distortion(
        calibration.batches,
        budget=options.ratio * uniform,
        unit=options.unit,
        max_spikes=options.max_spikes,
        mode=mode,
        samples=options.samples,
        check=options.check,
        divergence=calibration.divergence,
        generator=calibration.generator,
    )
    network.search_log["rate_distortion"] = notes
