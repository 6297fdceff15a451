"""The control: the same ANN with activations quantised to the levels a spiking neuron has.

A neuron that may fire φ spikes in each of T steps has φT+1 levels; the same levels fit into
ceil(log2(φT+1)) bits without any time. A spiking network earns its place by beating this row.
Its steps are of least squared error, or chosen by the search that `rate_distortion` chooses its
thresholds by: what that search gives a spiking row, it gives its control as well.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 1; 6 to 18 and a few
        backwards for rate-distortion thresholds | spikes: quantised, no spikes
Source: METHOD of SNN Calibration (Li et al. 2021) section 3 read as a quantiser; energy: each set
        bit of an activation code is one accumulate per synapse (bit-serial, zeros skipped), the
        credit that spikes get.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_number
from adacal.core.converted import Converted
from adacal.core.errors import ConfigError
from adacal.core.network import SpikingNetwork
from adacal.core.quantised import QuantisedNetwork
from adacal.methods.base import (
    METHODS,
    Calibration,
    Method,
    calibrate,
    check_max_spikes,
    later,
    start,
)
from adacal.methods.rate_distortion import RateDistortion
from adacal.methods.stages import Stages

Thresholds = Literal["mmse", "rate_distortion"]


@METHODS.register_module(name="quantized_ann")
@dataclass(frozen=True, kw_only=True)
class QuantizedAnn(Method):
    """Quantised activations.

    Attributes:
        max_spikes: φ of the spiking network it is the control of; levels are φT+1.
        correct_mean: correct each channel's mean as light calibration does.
        thresholds: `mmse` (the φT+1 levels at the steps of least squared error), or
            `rate_distortion`: the steps that `rate_distortion` chooses for one time step under the
            budget of a uniform φT there, with T times as many levels as its neurons have. At T=1
            its outputs are those of `rate_distortion` with budget=φ, each count k paid by its set
            bits, which are never more than k.
        ratio: factor on that budget; of no use to `mmse`.
    """

    max_spikes: int = 4
    correct_mean: bool = True
    thresholds: Thresholds = later("mmse")
    ratio: float = later(1.0)

    name: ClassVar[str] = "quantized_ann"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)
        check_choice(f"{self.name}.thresholds", self.thresholds, get_args(Thresholds))
        check_number("ratio", self.ratio, 0, above=True, example=1)
        if self.ratio != 1 and self.thresholds == "mmse":
            raise ConfigError(
                f"{self.name}.ratio is a factor on the budget of rate-distortion thresholds; got "
                f"{self.ratio} with thresholds='mmse', which has none; leave it out"
            )

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Estimates or searches the steps and returns the quantised network."""
        if self.thresholds == "mmse":
            network = start(ann, example_input, calibration, self.max_spikes)
            calibrate(network, calibration, "none")
            return QuantisedNetwork(network, calibration.batches, correct_mean=self.correct_mean)
        network = self._searched(ann, example_input, calibration)
        quantised = QuantisedNetwork(network, calibration.batches, keep_shifts=True)
        quantised.search_log = network.search_log
        return quantised

    def _searched(
        self, ann: nn.Module, example_input: Tensor, calibration: Calibration
    ) -> SpikingNetwork:
        """Returns the spiking network of one step that has the levels; of a stream its mean frame.

        That frame is no event count, so the first layer multiplies, as it does in this control.
        """
        one_step = replace(calibration, T=1, event_input=False)
        if calibration.stream:
            example_input = example_input.mean(0, keepdim=True)
            frames = [(inputs.mean(0, keepdim=True), y) for inputs, y in calibration.batches]
            one_step = replace(one_step, batches=frames, stages=Stages())
        levels = RateDistortion.max_spikes * calibration.T
        search = RateDistortion(
            budget=self.max_spikes * calibration.T,
            ratio=self.ratio,
            max_spikes=levels,
            calibration="light" if self.correct_mean else "none",
        )
        network = search.build(ann, example_input, one_step)
        assert isinstance(network, SpikingNetwork)
        return network
