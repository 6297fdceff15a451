"""Tables layer x candidate: how much each choice hurts the output, and what it costs.

The exact table runs the network once for each entry; the probe table of `adacal.core.probes` needs
about as much as a few forwards and backwards in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core.candidates import (
    Candidate,
    layer_error,
    mean_by_channel,
    reference_activations,
)
from adacal.core.checks import check_choice
from adacal.core.energy import ACCUMULATE_PJ, EnergyMeter
from adacal.core.kernels import count_spikes
from adacal.core.neuron import per_channel
from adacal.core.probes import MOST_PROBES, probe_sensitivities
from adacal.core.sites import Site
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

Method = Literal["probe", "exact"]
Cost = Literal["pj", "spikes"]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Sensitivity and cost of every candidate, shape [L, K]; rows in calling order of the sites."""

    sites: list[str]
    sensitivity: Tensor
    cost: Tensor


def measure_tables(
    network: SpikingNetwork,
    inputs: Tensor,
    candidates: Mapping[str, Sequence[Candidate]],
    *,
    sensitivity: Method,
    cost: Cost,
    divergence: Callable[[Any, Any], Tensor],
    remove_mean: bool = True,
    probes: int = MOST_PROBES,
    generator: torch.Generator | None = None,
) -> Tables:
    """Measures both tables on calibration samples.

    Args:
        network: calibrated or not; only its ANN, T and fan-out are used.
        inputs: calibration samples, shape [B, ...].
        candidates: settings by site, the same number for each.
        sensitivity: `exact` (one forward for each entry) or `probe` (a few backward passes).
        cost: `pj` (accumulates with fan-out) or `spikes`, per sample over T steps.
        divergence: how far two raw outputs are apart; see `adacal.core.probes` for nests.
        remove_mean: leave out each channel's mean error, which light calibration corrects.
        probes: most backward passes a sample; see `adacal.core.probes`.
        generator: draws random probes, for outputs with a class a place.
    Raises:
        ConfigError: an unknown sensitivity or cost.
    """
    check_choice("sensitivity", sensitivity, get_args(Method))
    check_choice("cost", cost, get_args(Cost))
    reference = inputs.mean(0) if network.stream else inputs
    plain, after = reference_activations(network, reference)
    if sensitivity == "exact":
        table = _exact(network, reference, plain, candidates, divergence, remove_mean)
    else:
        table = probe_sensitivities(
            network,
            reference,
            plain,
            after,
            candidates,
            remove_mean=remove_mean,
            divergence=divergence,
            most=probes,
            generator=generator,
        )
    costs = _costs(network, inputs, after, candidates, cost)
    return Tables(sites=list(candidates), sensitivity=table, cost=costs)


def fan_out(network: SpikingNetwork, inputs: Tensor) -> dict[str, Tensor]:
    """Returns the mean number of synapses behind each neuron, by site, shape [m, C, *].

    There is one row (m = 1), or as many as a sample has rows at the site.

    The exact counter is linear in the spikes of each site, so its gradient is the fan-out; behind
    a max pool, where only some spikes pass, it is the mean over these samples.
    """
    meter = EnergyMeter(keep_graph=True)
    network.exit_rule, rule = None, network.exit_rule
    try:
        network.predict(inputs, meter)
    finally:
        network.exit_rule = rule
    leaves = meter.leaves
    if meter.total is None:
        return {name: torch.zeros_like(leaf[:1]) for name, leaf in leaves.items()}
    found = torch.autograd.grad(meter.total, list(leaves.values()), allow_unused=True)
    maps = {}
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        values = torch.zeros_like(leaf) if gradient is None else gradient
        maps[name] = values.detach().unflatten(0, (network.T, -1)).mean(0)
    return maps


def _exact(
    network: SpikingNetwork,
    inputs: Tensor,
    plain: Any,
    candidates: Mapping[str, Sequence[Candidate]],
    divergence: Callable[[Any, Any], Tensor],
    remove_mean: bool,
) -> Tensor:
    rows = []
    for chosen, options in candidates.items():
        row = []
        for option in options:

            def quantised(
                site: Site, rows: Tensor, trace: Trace, here: str = chosen, o: Candidate = option
            ) -> tuple[Tensor, None]:
                neuron = network.neurons[site.name]
                output = neuron.activation(rows)
                if site.name == here:
                    error = layer_error(neuron, o, output, network.T)
                    if remove_mean:
                        error -= mean_by_channel(neuron, error)
                    output = output + error
                return output, None

            with torch.no_grad():
                out = network.reference_pass(inputs, quantised)
            row.append(float(divergence(plain, out).mean()))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def _costs(
    network: SpikingNetwork,
    inputs: Tensor,
    after: Mapping[str, Tensor],
    candidates: Mapping[str, Sequence[Candidate]],
    cost: Cost,
) -> Tensor:
    samples = inputs.shape[int(network.stream)]
    few = inputs[:, :16] if network.stream else inputs[:16]
    synapses = fan_out(network, few) if cost == "pj" else {}
    rows = []
    for name, options in candidates.items():
        neuron = network.neurons[name]
        activation = after[name].abs()
        row = []
        for option in options:
            theta = per_channel(option.threshold, activation.dim(), neuron.channel_dim)
            counts = count_spikes(activation, theta, option.max_spikes, network.T)
            if cost == "pj":
                behind = synapses[name]
                counts = ACCUMULATE_PJ * counts.unflatten(0, (-1, behind.shape[0])) * behind
            row.append(float(counts.sum()) / samples)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)
