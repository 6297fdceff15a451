"""The trained network itself: the reference every drop is measured against.

Card:   data: none | weights: untouched | passes: 0 | spikes: none
Source: the network as trained; 4.6 pJ a multiply-accumulate (Horowitz, ISSCC 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.core.quantised import AnnNetwork
from adacal.methods.base import METHODS, Calibration, Method, start


@METHODS.register_module(name="ann")
@dataclass(frozen=True, kw_only=True)
class Ann(Method):
    """Runs the ANN as it is; has no options."""

    name: ClassVar[str] = "ann"
    uses_T: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Returns the ANN behind the common interface."""
        return AnnNetwork(start(ann, example_input, calibration, max_spikes=1))
