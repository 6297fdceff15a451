"""The control: the same ANN with activations quantised to the levels a spiking neuron has.

A neuron that may fire φ spikes in each of T steps has φT+1 levels; the same levels fit into
ceil(log2(φT+1)) bits without any time. A spiking network earns its place by beating this row.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 1 | spikes: quantised,
        no spikes
Source: METHOD of SNN Calibration (Li et al. 2021) section 3 read as a quantiser; energy: each set
        bit of an activation code is one accumulate per synapse (bit-serial, zeros skipped), the
        credit that spikes get.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.core.quantised import QuantisedNetwork
from adacal.methods.base import METHODS, Calibration, Method, calibrate, check_max_spikes, start


@METHODS.register_module(name="quantized_ann")
@dataclass(frozen=True, kw_only=True)
class QuantizedAnn(Method):
    """Quantised activations.

    Attributes:
        max_spikes: φ of the spiking network it is the control of; levels are φT+1.
        correct_mean: correct each channel's mean as light calibration does.
    """

    max_spikes: int = 4
    correct_mean: bool = True

    name: ClassVar[str] = "quantized_ann"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Estimates the steps by MMSE and returns the quantised network."""
        network = start(ann, example_input, calibration, self.max_spikes)
        calibrate(network, calibration, "none")
        return QuantisedNetwork(network, calibration.batches, correct_mean=self.correct_mean)
