"""Thresholds of all channels chosen under an energy budget, as a codec spends bits.

Card:   data: calibration inputs, no labels (but for iat by rules paper, accuracy, agreement) |
        weights: untouched (shifts of the current) | passes: 6 to 32 and a few backwards | spikes:
        burst
Source: ours; docs/rate-distortion.md. From AdaFire (AAAI 2025, arXiv 2412.16219) it has the idea of
        a budget, from codecs the Lagrangian; what it chooses is θ by channel, not φ by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn

from adacal.core.channel_tables import Scales
from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.converted import Converted
from adacal.core.inputs import joined_inputs
from adacal.core.rate_distortion import check_options
from adacal.core.trials import spending
from adacal.methods.adaptive_calibration import completed_iat, require_output_for, run_iat
from adacal.methods.base import (
    METHODS,
    Calibration,
    Method,
    calibrate,
    check_calibration,
    later,
    start,
)


@METHODS.register_module(name="rate_distortion")
@dataclass(frozen=True, kw_only=True)
class RateDistortion(Method):
    """Rate-distortion thresholds.

    Attributes:
        budget: the uniform φ, calibrated alike, whose cost is the budget; the network to beat.
        ratio: factor on that budget.
        max_drop: instead of that budget, percent of the calibration samples whose class may differ
            from the ANN's: the cheapest network found that keeps to it.
        max_spikes: φ of every site; high, so that it hardly clips.
        unit: `pj` (accumulates with fan-out) or `spikes`.
        samples: calibration samples that the tables are measured on, at most.
        check: share of the calibration samples kept from the tables, for the comparison.
        scales: `channel` (θ of every channel by itself), `power_of_two` (one scale a layer times
            powers of two, for hardware that multiplies by layer and shifts by channel), `layer`.
        calibration: none, light or advanced.
        iat: options of an exit rule, as of adaptive_calibration; None for none.
    """

    budget: int = 4
    ratio: float = 1.0
    max_drop: float | None = None
    max_spikes: int = 16
    unit: Literal["pj", "spikes"] = "pj"
    samples: int = 128
    check: float = 0.25
    scales: Scales = later("channel")
    calibration: Literal["none", "light", "advanced"] = "light"
    iat: Mapping[str, Any] | None = None

    name: ClassVar[str] = "rate_distortion"

    def __post_init__(self) -> None:
        check_whole(f"{self.name}.budget", self.budget, example=4)
        check_number("ratio", self.ratio, 0, above=True, example=1)
        budget = 1.0 if self.max_drop is None else None  # the cost is known when it is measured
        check_options(budget, self.max_drop, self.unit, self.max_spikes, self.samples, self.check)
        check_choice("scales", self.scales, get_args(Scales))
        check_calibration(self, self.calibration)
        object.__setattr__(self, "iat", completed_iat(self.iat))

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Calibrates the uniform network, then chooses thresholds that must beat it."""
        network = start(ann, example_input, calibration, self.budget)
        require_output_for(self.iat, network, example_input)
        calibrate(network, calibration, self.calibration)
        budget = None
        if self.max_drop is None:
            inputs = joined_inputs(calibration.batches, network)
            few = inputs[:, : self.samples] if network.stream else inputs[: self.samples]
            budget = self.ratio * spending(network, few, self.unit)
        network.search_log["rate_distortion"] = network.rate_distortion(
            calibration.batches,
            budget=budget,
            max_drop=self.max_drop,
            unit=self.unit,
            max_spikes=self.max_spikes,
            mode=self.calibration,
            samples=self.samples,
            check=self.check,
            scales=self.scales,
            divergence=calibration.divergence,
            generator=calibration.generator,
        )
        run_iat(network, calibration, self.iat)
        return network
