"""The control of networks trained with quantised activations: the network itself, bit by bit.

Its activations have L levels, so they fit into ceil(log2(L+1)) bits without any time; a spiking
network made of it earns its place by beating this row.

Card:   data: none (the network was trained for it) | weights: untouched, but trained or fine-tuned
        with quantised activations beforehand | passes: 0 | spikes: quantised, no spikes
Source: Bu et al. (QCFS, ICLR 2022) for the activation; energy as of `quantized_ann`: each set bit
        of an activation code is one accumulate per synapse (bit-serial, zeros skipped).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.core.quantised import QuantisedNetwork
from adacal.methods.base import METHODS, Calibration, Method, start
from adacal.methods.trained_thresholds import use_trained_thresholds


@METHODS.register_module(name="qcfs_ann")
@dataclass(frozen=True, kw_only=True)
class QcfsAnn(Method):
    """The network as trained, its energy that of its codes; has no options."""

    name: ClassVar[str] = "qcfs_ann"
    uses_T: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Takes thresholds and levels from the network."""
        network = start(ann, example_input, calibration, max_spikes=1)
        network.T = use_trained_thresholds(network, self)
        return QuantisedNetwork(network, (), correct_mean=False)
