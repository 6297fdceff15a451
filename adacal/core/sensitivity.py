"""Tables layer x candidate: how much each choice hurts the output, and what it costs.

The exact table runs the network once for each entry. The probe table needs a few backward passes
in all (DESIGN section 3): to second order half the symmetric KL divergence is `1/2 dz^T F dz` with
`F = diag(p) - p p^T`. With the eigenvectors of F, `F = sum_i v_i v_i^T`, and one backward pass
gives `J_l^T v_i` at all layers l at once. Each sample has eigenvectors of its own, and the network
is sure of most samples, so a few of them hold nearly all of F.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core.checks import check_choice
from adacal.core.energy import ACCUMULATE_PJ, EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.kernels import count_spikes, quantise
from adacal.core.neuron import BurstNeuron, per_channel
from adacal.core.sites import Site
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

Method = Literal["probe", "exact"]
Cost = Literal["pj", "spikes"]
MOST_PROBES = 16
TRACE_SHARE = 0.99
"""Backward passes stop when the eigenvectors so far hold this share of the trace of F."""
_LIKELY = 32  # classes a sample's F is restricted to; the others have next to no probability


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
        divergence: how far two raw outputs are apart (exact table).
        remove_mean: leave out each channel's mean error, which light calibration corrects.
        probes: most backward passes; fewer where `TRACE_SHARE` is reached before.
        generator: draws random probes, for outputs with a class a place.
    Raises:
        ConfigError: an unknown sensitivity or cost.
    """
    check_choice("sensitivity", sensitivity, get_args(Method))
    check_choice("cost", cost, get_args(Cost))
    reference = inputs.mean(0) if network.stream else inputs
    names = list(candidates)
    if sensitivity == "exact":
        table = _exact(network, reference, candidates, divergence, remove_mean)
    else:
        table = _probe(network, reference, candidates, remove_mean, probes, generator)
    costs = _costs(network, inputs, reference, candidates, cost)
    return Tables(sites=names, sensitivity=table, cost=costs)


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


def reference_activations(network: SpikingNetwork, inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """Runs the ANN and returns its output and its activations by site."""
    after: dict[str, Tensor] = {}

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        output = network.neurons[site.name].activation(rows)
        after[site.name] = output.detach()
        return output, None

    with torch.no_grad():
        return network.reference_pass(inputs, record), after


def layer_error(
    neuron: BurstNeuron, candidate: Candidate, after: Tensor, T: int, mean: bool
) -> Tensor:
    """What a site's own conversion changes: neuron's mean output minus activation, [B, C, *]."""
    theta = per_channel(candidate.threshold, after.dim(), neuron.channel_dim)
    if neuron.kind == "signed":
        magnitude = quantise(after.abs(), theta, candidate.max_spikes, T)
        error = magnitude.mul_(after.sign()).sub_(after)
    else:
        error = quantise(after, theta, candidate.max_spikes, T).sub_(after)
    if mean:
        channel = neuron.channel_dim % error.dim()
        others = [dim for dim in range(error.dim()) if dim != channel]
        error -= error.mean(others, keepdim=True)
    return error


def _exact(
    network: SpikingNetwork,
    inputs: Tensor,
    candidates: Mapping[str, Sequence[Candidate]],
    divergence: Callable[[Any, Any], Tensor],
    remove_mean: bool,
) -> Tensor:
    plain, _ = reference_activations(network, inputs)
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
                    output = output + layer_error(neuron, o, output, network.T, remove_mean)
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
    samples = inputs.shape[0]

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        neuron = network.neurons[site.name]
        output = neuron.activation(rows.clone())  # an in-place activation overwrites `rows`
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        if site.name in candidates:
            with torch.no_grad():
                stack = [
                    layer_error(neuron, option, output, network.T, remove_mean)
                    for option in candidates[site.name]
                ]
                # a sample may have several rows, as the points of a cloud; its errors add up
                errors[site.name] = torch.stack([e.reshape(samples, -1) for e in stack], 1)
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
        gradients = _gradients(logits, outputs, directions)
    found = {}
    for name, options in candidates.items():
        found[name] = torch.zeros(len(options), dtype=torch.float64)
        if gradients.get(name):  # else the logits do not depend on this site
            stacked = torch.stack(gradients.pop(name), 2)
            inner = torch.bmm(errors.pop(name), stacked)
            found[name] += weight * inner.square().sum(2).mean(0).double().cpu()
    return torch.stack([found[name] for name in candidates])


def _gradients(
    logits: Tensor, outputs: Mapping[str, Tensor], directions: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """Returns `J_l^T v` of every direction v by site l, flattened to [B, n]."""
    gathered: dict[str, list[Tensor]] = {}
    for number, direction in enumerate(directions):
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            logits,
            list(outputs.values()),
            grad_outputs=direction,
            retain_graph=number + 1 < len(directions),
            allow_unused=True,
        )
        for name, gradient in zip(outputs, found, strict=True):
            if gradient is not None:
                rows = gradient.reshape(logits.shape[0], -1)
                gathered.setdefault(name, []).append(rows)
    return gathered


def _directions(
    logits: Tensor, probes: int, generator: torch.Generator | None
) -> tuple[list[Tensor], float]:
    """Returns the vectors v, shape of the logits, and the weight of each squared product."""
    if logits[0, 0].numel() == 1:
        flat = logits.flatten(1)
        return [v.view_as(logits) for v in _leading_eigenvectors(flat.softmax(1), probes)], 0.5
    # With v_k = sqrt(p_k) (e_k - p), F is the sum of v_k v_k^T, and the mean over random signs r
    # of (sum_k r_k v_k . x)^2 is the sum over k of (v_k . x)^2.
    p = logits.softmax(1)
    root = p.sqrt()
    vectors = []
    for _ in range(probes):
        signs = torch.randint(0, 2, p.shape, generator=generator).to(p) * 2 - 1
        signed = signs * root
        vectors.append(signed - p * signed.sum(1, keepdim=True))
    return vectors, 0.5 / (probes * logits[0, 0].numel())


def _leading_eigenvectors(p: Tensor, most: int) -> list[Tensor]:
    """Returns eigenvectors of `diag(p) - p p^T` by sample, times the roots of their eigenvalues.

    Args:
        p: probabilities, shape [B, K].
        most: of them; fewer where they hold `TRACE_SHARE` of the trace.
    """
    likely, classes = p.topk(min(p.shape[1], _LIKELY), dim=1)
    likely = likely.double()
    matrix = torch.diag_embed(likely) - likely.unsqueeze(2) * likely.unsqueeze(1)
    values, vectors = torch.linalg.eigh(matrix)  # eigenvalues rise
    values = values.clamp_min(0).flip(1)
    vectors = vectors.flip(2) * values.sqrt().unsqueeze(1)
    held = values.sum(0).cumsum(0) / values.sum().clamp_min(1e-300)
    enough = int((held < TRACE_SHARE).sum()) + 1
    found = []
    for number in range(min(enough, most, values.shape[1])):
        full = torch.zeros_like(p)
        found.append(full.scatter(1, classes, vectors[:, :, number].to(p.dtype)))
    return found


def _costs(
    network: SpikingNetwork,
    inputs: Tensor,
    reference: Tensor,
    candidates: Mapping[str, Sequence[Candidate]],
    cost: Cost,
) -> Tensor:
    few = inputs[:, :16] if network.stream else inputs[:16]
    synapses = fan_out(network, few) if cost == "pj" else {}
    _, after = reference_activations(network, reference)
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
            row.append(float(counts.sum()) / reference.shape[0])
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)
