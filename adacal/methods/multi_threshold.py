"""Neurons of several thresholds, each half of the one before: one spike a step, of the best size.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: signed,
        one of n sizes a step
Source: Huang et al., "Differential coding for training-free ANN-to-SNN conversion" (DCGS, ICML
        2025), its rate-coded multi-threshold neuron with negative spikes, from the public code: a
        level fires at 3/4 of its size, a negative one only what was sent before, potentials start
        at 0, the largest threshold is the 99.9 % quantile of the channel. A spike costs one
        accumulate a synapse whatever its size (a shift of the weight comes free), the credit that
        a set bit has in the quantised control; the φ̄ of a row is the largest size in units of the
        smallest. Differs: no differential coding, no threshold iteration. H-MT (AAAI 2026) names
        the same idea; its public text does not define the neuron, so no row here claims to be it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.converted import Converted
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import Dynamics
from adacal.core.phases import set_dynamics
from adacal.methods.base import METHODS, Calibration, Method, calibrate, note_divergence, start


@METHODS.register_module(name="multi_threshold")
@dataclass(frozen=True, kw_only=True)
class MultiThreshold(Method):
    """Training-free neurons of several thresholds.

    Attributes:
        levels: number of thresholds n.
        threshold: of the largest: `percentile`, `max` or `mmse`.
        level: quantile for `percentile`, in (0, 1].
        per_channel: one set of thresholds a channel, else one a layer.
    """

    levels: int = 4
    threshold: Literal["percentile", "max", "mmse"] = "percentile"
    level: float = 0.999
    per_channel: bool = True

    name: ClassVar[str] = "multi_threshold"

    def __post_init__(self) -> None:
        check_whole(f"{self.name}.levels", self.levels, example=4)
        check_choice(f"{self.name}.threshold", self.threshold, ("percentile", "max", "mmse"))
        check_number(f"{self.name}.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets the largest threshold and halves it n - 1 times."""
        return self.converted(ann, example_input, calibration, "levels")

    def converted(
        self, ann: nn.Module, example_input: Tensor, calibration: Calibration, dynamics: Dynamics
    ) -> SpikingNetwork:
        """Converts, sets thresholds and then the dynamics, `levels` or `changes`."""
        network = start(ann, example_input, calibration, max_spikes=2 ** (self.levels - 1))
        options = {"level": self.level, "per_channel": self.per_channel}
        calibrate(network, calibration, "none", threshold=self.threshold, **options)
        set_dynamics(network, dynamics, levels=self.levels)
        for neuron in network.neurons.values():
            neuron.initial_potential = 0.0
        note_divergence(network, calibration)
        return network
