"""Differential coding: neurons of several thresholds that send changes of their rate only.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: signed,
        one of n sizes a step
Source: Huang et al., "Differential coding for training-free ANN-to-SNN conversion" (DCGS, ICML
        2025), from the paper's public code as a fork keeps it: a silent neuron counts as going on
        at its rate, potentials start at 0, a level fires at 3/4 of its size, a negative one only
        what was sent before. The largest threshold is the 99.9 % quantile of the channel, which
        that code offers; as published is threshold="iterated", see `multi_threshold`;
        threshold="mmse" fits it to the activations as they are. Spikes cost as in
        `multi_threshold`. Not charged: keeping the rates, a division by t a neuron and step, and
        the paper's extra step without input that finds the biases. Differs: the default threshold;
        statistics as in `multi_threshold`. The code moves a max pool before its ReLU, so one neuron
        a window fires; here all fire and every spike of the window is charged, unless the network
        itself pools before it activates, which is converted as it stands.
        Guessed: as in `multi_threshold`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.methods.base import METHODS, Calibration
from adacal.methods.multi_threshold import MultiThreshold


@METHODS.register_module(name="dcgs")
@dataclass(frozen=True, kw_only=True)
class Dcgs(MultiThreshold):
    """Multi-threshold neurons with differential coding; options as of `MultiThreshold`."""

    name: ClassVar[str] = "dcgs"

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds as without differential coding."""
        return self.converted(ann, example_input, calibration, "changes")
