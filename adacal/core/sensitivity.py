"""Tables layer x candidate: how much each choice hurts the output, and what it costs.

The exact table runs the network once for each entry. The probe table needs a few backward passes
in all (DESIGN section 3): to second order half the symmetric KL divergence is `1/2 dz^T F dz` with
`F = diag(p) - p p^T = sum_k v_k v_k^T`, `v_k = sqrt(p_k) (e_k - p)`, and one backward pass gives
`J_l^T v_k` at all layers l at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from adacal.core.energy import ACCUMULATE_PJ, EnergyMeter
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.kernels import quantise
from adacal.core.neuron import BurstNeuron, by_channel, per_channel
from adacal.core.sites import Site
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

Method = Literal["probe", "exact"]
Cost = Literal["pj", "spikes"]
MAX_EXACT_PROBES = 16


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting of a site: θ per channel and φ."""

    threshold: Tensor
    max_spikes: int


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
    probes: int = MAX_EXACT_PROBES,
    generator: torch.Generator | None = None,
) -> Tables:
    """Measures both tables on calibration samples.

    Args:
        network: calibrated or not; only its ANN, T and fan-out are used.
        inputs: calibration samples, shape [B, ...].
        candidates: settings by site, the same number for each.
        sensitivity: `exact` (one forward for each entry) or `probe` (a few backward passes).
        cost: `pj` (accumulates with fan-out) or `spikes`, per sample over T steps.
        divergence: how far two raw outputs are apart (exact table).
        remove_mean: leave out each channel's mean error, which light calibration corrects.
        probes: backward passes when there are more classes than this.
        generator: draws random probes.
    Raises:
        ConfigError: an unknown sensitivity or cost.
    """
    if sensitivity not in {"probe", "exact"}:
        raise ConfigError(f"sensitivity must be 'probe' or 'exact'; got {sensitivity!r}")
    if cost not in {"pj", "spikes"}:
        raise ConfigError(f"cost must be 'pj' or 'spikes'; got {cost!r}")
    reference = inputs.mean(0) if network.stream else inputs
    names = list(candidates)
    if sensitivity == "exact":
        table = _exact(network, reference, candidates, divergence, remove_mean)
    else:
        table = _probe(network, reference, candidates, remove_mean, probes, generator)
    costs = _costs(network, inputs, reference, candidates, cost)
    return Tables(sites=names, sensitivity=table, cost=costs)


def fan_out(network: SpikingNetwork, inputs: Tensor) -> dict[str, Tensor]:
    """Returns the mean number of synapses behind each neuron, by site, shape [1, C, *].

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


def reference_activations(
    network: SpikingNetwork, inputs: Tensor
) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
    """Runs the ANN and returns its output, pre-activations and activations by site."""
    before: dict[str, Tensor] = {}
    after: dict[str, Tensor] = {}

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        output = network.neurons[site.name].activation(rows)
        before[site.name], after[site.name] = rows.detach().clone(), output.detach()
        return output, None

    with torch.no_grad():
        return network.reference_pass(inputs, record), before, after


def layer_error(
    neuron: BurstNeuron, candidate: Candidate, before: Tensor, after: Tensor, T: int, mean: bool
) -> Tensor:
    """What a site's own conversion changes: neuron's mean output minus activation, [B, C, *]."""
    error = _spiked(neuron, candidate, before, after, T) - after
    if mean:
        channel = by_channel(error, neuron.channel_dim).mean(1)
        error = error - per_channel(channel, error.dim(), neuron.channel_dim)
    return error


def _spiked(
    neuron: BurstNeuron, candidate: Candidate, before: Tensor, after: Tensor, T: int
) -> Tensor:
    theta = per_channel(candidate.threshold, before.dim(), neuron.channel_dim)
    if neuron.kind == "signed":
        magnitude = quantise(after.abs(), theta, candidate.max_spikes, T)
        return magnitude * after.sign()
    return quantise(after, theta, candidate.max_spikes, T)


def _exact(
    network: SpikingNetwork,
    inputs: Tensor,
    candidates: Mapping[str, Sequence[Candidate]],
    divergence: Callable[[Any, Any], Tensor],
    remove_mean: bool,
) -> Tensor:
    plain, _, _ = reference_activations(network, inputs)
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
                    output = output + layer_error(neuron, o, rows, output, network.T, remove_mean)
                return output, None

            with torch.no_grad():
                out = network.reference_pass(inputs, quantised)
            row.append(float(divergence(plain, out).mean()))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def _probe(
    network: SpikingNetwork,
    inputs: Tensor,
    candidates: Mapping[str, Sequence[Candidate]],
    remove_mean: bool,
    probes: int,
    generator: torch.Generator | None,
) -> Tensor:
    outputs: dict[str, Tensor] = {}
    errors: dict[str, Tensor] = {}

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        neuron = network.neurons[site.name]
        output = neuron.activation(rows.clone())  # an in-place activation overwrites `rows`
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        if site.name in candidates:
            with torch.no_grad():
                stack = [
                    layer_error(neuron, option, rows, output, network.T, remove_mean).flatten(1)
                    for option in candidates[site.name]
                ]
            errors[site.name] = torch.stack(stack, 1)
            outputs[site.name] = output
        return output, None

    with torch.enable_grad():
        logits = network.reference_pass(inputs, record)
        if not isinstance(logits, Tensor):
            raise UnsupportedModelError(
                "probe sensitivities need one tensor of logits [B, K, *]; got "
                f"{type(logits).__name__}; use sensitivity='exact'"
            )
        directions, weight = _directions(logits.detach(), probes, generator)
        found = {name: torch.zeros(len(candidates[name]), dtype=torch.float64) for name in outputs}
        for number, direction in enumerate(directions):
            gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
                logits,
                list(outputs.values()),
                grad_outputs=direction,
                retain_graph=number + 1 < len(directions),
                allow_unused=True,
            )
            for name, gradient in zip(outputs, gradients, strict=True):
                if gradient is None:  # the logits do not depend on this site
                    continue
                inner = torch.bmm(errors[name], gradient.flatten(1).unsqueeze(2)).squeeze(2)
                found[name] += weight * inner.square().mean(0).double().cpu()
    return torch.stack([found[name] for name in candidates])


def _directions(
    logits: Tensor, probes: int, generator: torch.Generator | None
) -> tuple[list[Tensor], float]:
    """Returns the vectors v, shape of the logits, and the weight of each squared product."""
    classes = logits.shape[1]
    p = logits.softmax(1)
    root = p.sqrt()
    places = logits[0, 0].numel()
    if classes <= probes and places == 1:
        vectors = []
        for k in range(classes):
            unit = torch.zeros_like(p)
            unit[:, k] = 1.0
            vectors.append(root[:, k : k + 1] * (unit - p))
        return vectors, 0.5
    # E over random signs r of (sum_k r_k v_k . x)^2 is the sum over k of (v_k . x)^2.
    vectors = []
    for _ in range(probes):
        signs = torch.randint(0, 2, p.shape, generator=generator).to(p) * 2 - 1
        signed = signs * root
        vectors.append(signed - p * signed.sum(1, keepdim=True))
    return vectors, 0.5 / (probes * places)


def _costs(
    network: SpikingNetwork,
    inputs: Tensor,
    reference: Tensor,
    candidates: Mapping[str, Sequence[Candidate]],
    cost: Cost,
) -> Tensor:
    few = inputs[:, :16] if network.stream else inputs[:16]
    synapses = fan_out(network, few) if cost == "pj" else {}
    _, before, after = reference_activations(network, reference)
    rows = []
    for name, options in candidates.items():
        neuron = network.neurons[name]
        weight = ACCUMULATE_PJ * synapses[name] if cost == "pj" else None
        row = []
        for option in options:
            theta = per_channel(option.threshold, before[name].dim(), neuron.channel_dim)
            mean = _spiked(neuron, option, before[name], after[name], network.T).abs()
            counts = mean * network.T / theta
            counts = counts * weight if weight is not None else counts
            row.append(float(counts.sum()) / reference.shape[0])
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)
