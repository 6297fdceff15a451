"""Thresholds and levels learned in training: the ANN's own ceilings, binary spikes, any T.

Card:   data: none (the network was trained for it) | weights: untouched, but trained or fine-tuned
        with quantised activations beforehand | passes: 0 | spikes: binary
Source: Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking
        neural networks" (QCFS, ICLR 2022), and its code: thresholds are the trained ceilings λ of
        the activations, one a layer, neurons start at λ/2. The ANN that drops are counted against
        is the network with its L levels, not the ReLU network it was fine-tuned from. At constant
        current T = L steps give exactly its activations; what is left is that spikes arrive
        unevenly. Training passes gradients from 0 to λ, as the authors' training code does, which
        clips and then rounds; their earlier code, and that of SRP and COS, rounds and then clips,
        as the paper writes the formula, and passes them from -λ/2L to λ + λ/2L. Differs: fine-tuned
        for a few epochs from ceilings of least squared error, where the authors train 300 from
        ceilings of 8.
        Guessed: nothing of the conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.methods.base import METHODS, Calibration, Method, start
from adacal.methods.trained_thresholds import use_trained_thresholds


@METHODS.register_module(name="qcfs")
@dataclass(frozen=True, kw_only=True)
class Qcfs(Method):
    """Quantisation-clip-floor-shift; has no options."""

    name: ClassVar[str] = "qcfs"
    deterministic: ClassVar[bool] = True

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Takes the thresholds from the network; looks at no sample."""
        network = start(ann, example_input, calibration, max_spikes=1)
        network.search_log["ann_levels"] = use_trained_thresholds(network, self)
        return network
