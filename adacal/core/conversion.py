"""convert: checks a trained network and its options, finds its sites, gives each its neurons."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from adacal.core import folding, storage
from adacal.core.checks import check_choice, check_whole
from adacal.core.errors import UnsupportedModelError
from adacal.core.hidden import WatchfulMode
from adacal.core.inputs import check_batch, frozen_copy, refuse_unusable
from adacal.core.interception import MaxPool
from adacal.core.layout import Layout
from adacal.core.network import Forward, SpikingNetwork, call_module
from adacal.core.neuron import BurstNeuron, by_channel
from adacal.core.sites import Site
from adacal.core.traces import Trace, outside_inference_mode

HalfThreshold = Literal["initial", "spread"]


def convert(
    ann: nn.Module,
    example_input: Tensor,
    *,
    T: int,
    max_spikes: int = 1,
    strict: bool = False,
    max_pool: MaxPool = "running_max",
    stream: bool = False,
    event_input: bool = False,
    half_threshold: HalfThreshold = "initial",
    fold_batch_norm: bool = False,
    forward: Forward = call_module,
) -> SpikingNetwork:
    """Converts a trained network; `ann` is left untouched. Calibrate the result next.

    Args:
        ann: any torch module whose activations are of the ReLU family; runs in eval mode.
        example_input: shape [B, ...], or [T, B, ...] with `stream`; used to find the sites and a
            first guess of thresholds.
        T: number of timesteps, at least 1.
        max_spikes: φ, most spikes a neuron may fire in one step.
        strict: refuse operations that spikes cannot compute instead of keeping them analogue.
        max_pool: `running_max` (exact at T), `step_max` or `average`.
        stream: inputs are [T, B, ...], another frame each step.
        event_input: inputs are event counts, so the first layer accumulates instead of multiplying.
        half_threshold: start at θ/2, or `spread` it over the steps (SNN Calibration's code).
        fold_batch_norm: compute batch norms within the layers before them, which saves time; the
            function is the same up to rounding, which may tip single spikes.
        forward: how to call the module for its raw outputs.
    Raises:
        ConfigError: T or max_spikes out of range, an unknown max_pool or half_threshold.
        InputError: the example is no batch that the network can take.
        UnsupportedModelError: nothing to convert, NaN weights, training mode left on, or an
            operation that cannot be converted as asked.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> network = convert(net, torch.ones(1, 2), T=4)
    >>> [site.name for site in network.report()], tuple(network(torch.ones(5, 2)).shape)
    (['1'], (5, 2))
    """
    check_whole("T", T, example=8)
    check_whole("max_spikes", max_spikes)
    check_choice("half_threshold option", half_threshold, get_args(HalfThreshold))
    refuse_unusable(ann)
    check_batch(example_input, stream=stream)
    module = frozen_copy(ann)
    network = SpikingNetwork(
        module,
        T=T,
        forward=forward,
        strict=strict,
        max_pool=max_pool,
        stream=stream,
        event_input=event_input,
        sample_shape=tuple(example_input.shape[1 + int(stream) :]),
    )
    if fold_batch_norm:
        network.unfolded_weights = storage.weights_digest(module)
        example = example_input[0] if stream else example_input
        network.folded = folding.fold_batch_norms(module, forward, example)
    _find_sites(network, example_input, max_spikes, spread=half_threshold == "spread")
    return network


@outside_inference_mode()
@torch.no_grad()
def _find_sites(
    network: SpikingNetwork, example_input: Tensor, max_spikes: int, *, spread: bool
) -> None:
    """Finds the sites by one pass in which every activation acts as in the ANN."""
    neurons: dict[str, BurstNeuron] = {}

    def look(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        neuron = BurstNeuron(
            max_spikes=max_spikes,
            channel_dim=site.channel_dim,
            kind=site.kind,  # type: ignore[arg-type]
            cap=site.cap,
            slope=site.slope,
            ann_levels=site.ann_levels,
            spread_half_threshold=spread,
        )
        output = neuron.activation(rows)
        peak = by_channel(output, site.channel_dim).abs().amax()
        if not bool(torch.isfinite(peak)):
            raise UnsupportedModelError(
                f"activations at '{site.name}' are NaN or infinite on the example input; check "
                "the weights, the running statistics and the input normalisation"
            )
        neuron.threshold = torch.clamp_min(peak / max_spikes, 1e-6).detach()
        neurons[site.name] = neuron
        return output, None

    example = example_input[0] if network.stream else example_input
    layout = Layout(steps=1, reference=True, batch=example.shape[0], T=network.T)
    mode = WatchfulMode(
        network.module, layout, look, strict=network.strict, max_pool=network.max_pool
    )
    mode.run(network.forward, torch.cat([example, example]), static=not network.stream)
    if not mode.sites:
        raise UnsupportedModelError(
            "the network calls no activation function that spikes could compute "
            "(relu, relu6, clamp at 0, leaky relu, prelu); there is nothing to convert"
        )
    network.sites, network.neurons = mode.sites, neurons
    network.synaptic_calls = dict(mode.synaptic_calls)
    for name, window in mode.pooled.items():
        if name not in mode.read_otherwise:
            network.windows[name] = window
