"""Thresholds that training has found: the ceilings of quantised activations (QCFS)."""

from __future__ import annotations

from adacal.core.errors import UnsupportedModelError
from adacal.core.network import SpikingNetwork
from adacal.methods.base import Method


def use_trained_thresholds(network: SpikingNetwork, method: Method) -> int:
    """Sets every threshold to the ceiling λ of the activation it stands for.

    Args:
        network: changed in place; its neurons start at half a threshold.
        method: for whose sake, for the sentence about a network without such activations.
    Returns:
        Levels above 0 of its activations, the most of any.
    Raises:
        UnsupportedModelError: an activation has no trained ceiling, or one that is not positive.
    """
    most = 0
    for name, neuron in network.neurons.items():
        if neuron.ann_levels is None or neuron.cap is None:
            raise UnsupportedModelError(
                f"{method.name} takes thresholds from training, and '{name}' is no quantised "
                "activation; take a network trained with them, resnet20_qcfs4 say, or another "
                "threshold or method"
            )
        if not neuron.cap > 0:
            raise UnsupportedModelError(
                f"the trained ceiling of '{name}' is {neuron.cap:g} and must be positive; train "
                "the network again, with a smaller learning rate"
            )
        neuron.threshold, neuron.initial_potential = neuron.cap, None
        most = max(most, neuron.ann_levels)
    return most
