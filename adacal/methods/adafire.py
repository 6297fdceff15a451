"""Burst neurons whose φ is chosen layer by layer under an energy budget.

Card:   data: calibration inputs, no labels | weights: untouched (shifts of the current) | passes:
        2 and a few backwards | spikes: burst
Source: Adaptive Calibration (AAAI 2025, arXiv 2412.16219), AdaFire. Differs: sensitivities from
        gradient probes by default, thresholds re-estimated for each φ, costs in pJ with fan-out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.core.network import SpikingNetwork
from adacal.core.search import check_options
from adacal.methods.base import METHODS, Calibration, Method, check_calibration, start, take_step


@dataclass(frozen=True, kw_only=True)
class AdaFireOptions:
    """Options of the φ search.

    Attributes:
        max_spikes: smallest and largest φ tried.
        budget: the uniform φ whose cost is the budget.
        ratio: factor on that budget.
        sensitivity: `probe` or `exact`.
        cost: `pj` or `spikes`.
        samples: calibration samples that the tables are measured on.
    """

    max_spikes: tuple[int, int] = (1, 8)
    budget: int = 4
    ratio: float = 1.0
    sensitivity: Literal["probe", "exact"] = "probe"
    cost: Literal["pj", "spikes"] = "pj"
    samples: int = 64

    def __post_init__(self) -> None:
        check_options(
            self.max_spikes, self.budget, self.ratio, self.samples, self.sensitivity, self.cost
        )
        low, high = self.max_spikes
        object.__setattr__(self, "max_spikes", (low, high))


@METHODS.register_module(name="adafire")
@dataclass(frozen=True, kw_only=True)
class AdaFire(AdaFireOptions, Method):
    """AdaFire alone; see `AdaFireOptions`.

    Attributes:
        calibration: none, light or advanced.
    """

    calibration: Literal["none", "light", "advanced"] = "light"

    name: ClassVar[str] = "adafire"

    def __post_init__(self) -> None:
        AdaFireOptions.__post_init__(self)
        check_calibration(self, self.calibration)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Searches φ, then recalibrates."""
        network = start(ann, example_input, calibration, self.budget)
        run_adafire(network, calibration, self, self.calibration)
        return network


def run_adafire(
    network: SpikingNetwork, calibration: Calibration, options: AdaFireOptions, mode: str
) -> None:
    """Runs the search on a network and notes what it chose."""
    names = [option.name for option in fields(AdaFireOptions)]
    given = {"mode": mode, **{name: getattr(options, name) for name in names}}
    network.search_log["adafire"] = take_step(
        "AdaFire", network, calibration, network.adafire, given
    )
