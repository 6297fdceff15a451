"""Burst neurons as published: a quantile of the layer as threshold, bursts for what is left over.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 3 | spikes: burst
Source: Li & Zeng, "Efficient and accurate conversion of spiking neural network with burst spikes"
        (IJCAI 2022), and its code: φ = 5, potentials start at 0, the 99.9 % quantile of the layer
        as threshold, for which activations above 1 are divided by φ. Its LIPooling keeps of each
        window what has come in and takes off what was passed on, for all inputs alike; over time
        that passes on the largest sum, which is the running-max rule used here. `burst` has the
        same neuron with least squared error, half a threshold at the start and light calibration.
        Differs: the code divides in place while it takes the quantiles, after convolutions and
        batch norms, too, so its later layers see shrunken activations; here each layer's are those
        of the ANN. Ranks are rounded up (down there), values sampled from 4,096 places a channel.
        Guessed: that the paper's rows divided that way; φ = 5 (one script of theirs sets 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from adacal.core.candidates import reference_activations
from adacal.core.checks import check_number
from adacal.core.converted import Converted
from adacal.core.inputs import joined_inputs
from adacal.core.neuron import by_channel
from adacal.core.thresholds import percentile_threshold, sample_columns
from adacal.methods.base import (
    METHODS,
    Calibration,
    Method,
    check_max_spikes,
    note_divergence,
    start,
)

_SAMPLE = 4096
"""Positions of a channel that the quantile is taken of, as in calibration."""


@METHODS.register_module(name="burst_lipooling")
@dataclass(frozen=True, kw_only=True)
class BurstLiPooling(Method):
    """Bursts and lateral inhibition pooling, uncalibrated.

    Attributes:
        max_spikes: φ, the paper's Γ.
        level: quantile of the activation, in (0, 1].
        per_channel: one threshold a channel, else one a layer.
        shrink_above_one: divide activations above 1 by φ before the quantile, as the code does.
    """

    max_spikes: int = 5
    level: float = 0.999
    per_channel: bool = False
    shrink_above_one: bool = True

    name: ClassVar[str] = "burst_lipooling"

    def __post_init__(self) -> None:
        check_max_spikes(self, self.max_spikes)
        check_number("burst_lipooling.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds; nothing is corrected."""
        network = start(ann, example_input, calibration, self.max_spikes)
        inputs = joined_inputs(calibration.batches, network)
        frames = inputs.mean(0) if calibration.stream else inputs
        _, activations = reference_activations(network, frames)
        for name, activation in activations.items():
            neuron = network.neurons[name]
            columns = by_channel(activation, neuron.channel_dim).abs()
            neuron.threshold = self._threshold(columns, calibration.generator)
            neuron.initial_potential = 0.0
        note_divergence(network, calibration)
        return network

    def _threshold(self, columns: Tensor, generator: torch.Generator) -> Tensor:
        values = sample_columns(columns, _SAMPLE, generator)
        if self.shrink_above_one:
            values = torch.where(values > 1, values / self.max_spikes, values)
        return percentile_threshold(values, 100 * self.level, per_channel=self.per_channel)
