"""Signed neurons with memory: a spike sent too early is taken back by a negative one.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: signed, at
        most one a step
Source: Wang et al., "Signed neuron with memory" (IJCAI 2022), and its code: thresholds at the
        largest activation, potentials start at 0. Differs: one threshold a channel; the paper's
        neuron-wise normalisation has one a place, from all training images, which calibration
        samples cannot give; where the network has max pools they are taken by the running maximum
        (the paper's networks average). threshold="mmse" with half_threshold=True is the stronger
        reading.
        Guessed: that a negative spike costs what a positive one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_number
from adacal.core.converted import Converted
from adacal.core.phases import set_dynamics
from adacal.methods.base import METHODS, Calibration, Method, calibrate, note_divergence, start


@METHODS.register_module(name="snm")
@dataclass(frozen=True, kw_only=True)
class Snm(Method):
    """Signed neurons with memory.

    Attributes:
        threshold: `max`, `percentile` or `mmse`.
        level: quantile for `percentile`, in (0, 1].
        per_channel: one threshold a channel, else one a layer.
        half_threshold: start at half a threshold instead of 0.
    """

    threshold: Literal["max", "percentile", "mmse"] = "max"
    level: float = 0.999
    per_channel: bool = True
    half_threshold: bool = False

    name: ClassVar[str] = "snm"

    def __post_init__(self) -> None:
        check_choice("snm.threshold", self.threshold, ("max", "percentile", "mmse"))
        check_number("snm.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds, then the signs and memories."""
        network = start(ann, example_input, calibration, max_spikes=1)
        options = {"level": self.level, "per_channel": self.per_channel}
        calibrate(network, calibration, "none", threshold=self.threshold, **options)
        set_dynamics(network, "memory")
        if not self.half_threshold:
            for neuron in network.neurons.values():
                neuron.initial_potential = 0.0
        note_divergence(network, calibration)
        return network
