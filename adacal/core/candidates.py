"""Settings a search may choose for a site, and what each changes in the site's own output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.kernels import quantise
from adacal.core.neuron import BurstNeuron, per_channel
from adacal.core.sites import Site
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting of a site: θ per channel and φ."""

    threshold: Tensor
    max_spikes: int


def reference_activations(network: SpikingNetwork, inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """Runs the ANN and returns its output and its activations by site."""
    after: dict[str, Tensor] = {}

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        output = network.neurons[site.name].activation(rows)
        after[site.name] = output.detach()
        return output, None

    with torch.no_grad():
        return network.reference_pass(inputs, record), after


def layer_error(neuron: BurstNeuron, candidate: Candidate, after: Tensor, T: int) -> Tensor:
    """What a site's own conversion changes: neuron's mean output minus activation, [B, C, *]."""
    theta = per_channel(candidate.threshold, after.dim(), neuron.channel_dim)
    if neuron.kind == "signed":
        magnitude = quantise(after.abs(), theta, candidate.max_spikes, T)
        return magnitude.mul_(after.sign()).sub_(after)
    return quantise(after, theta, candidate.max_spikes, T).sub_(after)


def mean_by_channel(neuron: BurstNeuron, error: Tensor) -> Tensor:
    """Returns each channel's mean over samples and places, broadcastable to `error`."""
    channel = neuron.channel_dim % error.dim()
    others = [dim for dim in range(error.dim()) if dim != channel]
    return error.mean(others, keepdim=True)
