"""Neurons of several thresholds, each half of the one before: one spike a step, of the best size.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: signed,
        one of n sizes a step
Source: Huang et al., "Differential coding for training-free ANN-to-SNN conversion" (DCGS, ICML
        2025), its rate-coded multi-threshold neuron with negative spikes, from the paper's public
        code as a fork keeps it: a level fires at 3/4 of its size, a negative one only what was sent
        before, potentials start at 0. The largest threshold is the 99.9 % quantile of the channel,
        which that code offers; threshold="iterated" is the paper's, which its ResNet configs set:
        an iteration towards the least squared error of T * 2**n levels under a normal distribution,
        100 rounds from 1. A spike costs one accumulate a synapse whatever its size (a shift of the
        weight comes free), the credit that a set bit has in the quantised control; the φ̄ of a row
        is the largest size in units of the smallest. H-MT (AAAI 2026) names the same idea; its
        public text does not define the neuron, so no row here claims to be it. Differs: no
        differential coding; the default threshold is not the paper's; quantile and moments are of
        calibration samples together, the code averages those of batches; rounds are in double
        precision, where the code sets what single precision cannot tell to 1. The code moves a max
        pool before its ReLU, so one neuron a window fires; here all of the window fire and what the
        pool lets pass is paid, unless the network itself pools before it activates, which is
        converted as it stands.
        Guessed: what a spike costs in the paper, whose counter the fork lacks; that the T in T *
        2**n is the row's, where the code reads all steps off one run of 32; that moments behind a
        pool may be taken of neighbours in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.converted import Converted
from adacal.core.inputs import joined_inputs
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import Dynamics
from adacal.core.normal_threshold import normal_threshold, pre_activation_moments
from adacal.core.phases import set_dynamics
from adacal.methods.base import METHODS, Calibration, Method, calibrate, note_divergence, start


@METHODS.register_module(name="multi_threshold")
@dataclass(frozen=True, kw_only=True)
class MultiThreshold(Method):
    """Training-free neurons of several thresholds.

    Attributes:
        levels: number of thresholds n.
        threshold: of the largest: `percentile`, `max`, `mmse`, or `iterated`, fitted to a normal
            distribution (`adacal.core.normal_threshold`).
        level: quantile for `percentile`, in (0, 1].
        per_channel: one set of thresholds a channel, else one a layer.
    """

    levels: int = 4
    threshold: Literal["percentile", "max", "mmse", "iterated"] = "percentile"
    level: float = 0.999
    per_channel: bool = True

    name: ClassVar[str] = "multi_threshold"

    def __post_init__(self) -> None:
        check_whole(f"{self.name}.levels", self.levels, example=4)
        known = ("percentile", "max", "mmse", "iterated")
        check_choice(f"{self.name}.threshold", self.threshold, known)
        check_number(f"{self.name}.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets the largest threshold and halves it n - 1 times."""
        return self.converted(ann, example_input, calibration, "levels")

    def converted(
        self, ann: nn.Module, example_input: Tensor, calibration: Calibration, dynamics: Dynamics
    ) -> SpikingNetwork:
        """Converts, sets thresholds and then the dynamics, `levels` or `changes`."""
        network = start(ann, example_input, calibration, max_spikes=2 ** (self.levels - 1))
        if self.threshold == "iterated":
            self._iterate(network, calibration)
        else:
            options = {"level": self.level, "per_channel": self.per_channel}
            calibrate(network, calibration, "none", threshold=self.threshold, **options)
        set_dynamics(network, dynamics, levels=self.levels)
        for neuron in network.neurons.values():
            neuron.initial_potential = 0.0
        note_divergence(network, calibration)
        return network

    def _iterate(self, network: SpikingNetwork, calibration: Calibration) -> None:
        inputs = joined_inputs(calibration.batches, network)
        frames = inputs.mean(0) if calibration.stream else inputs
        steps = network.T * 2**self.levels
        moments = pre_activation_moments(network, frames, per_channel=self.per_channel)
        for name, (mean, variance) in moments.items():
            largest = normal_threshold(mean, variance, steps)
            network.neurons[name].threshold = largest / 2 ** (self.levels - 1)
