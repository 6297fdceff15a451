"""A converted network on disk: tensors as safetensors, the rest as JSON in its header."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adacal.core.errors import DataError
from adacal.core.exit_rules import ExitRule
from adacal.core.neuron import BurstNeuron
from adacal.core.sites import Site

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

VERSION = 1
_TENSORS = ("threshold", "shift", "initial_potential", "slope")
_PLAIN = ("max_spikes", "channel_dim", "kind", "cap", "ratio", "spread_half_threshold")
_OPTIONS = ("T", "strict", "max_pool", "stream", "event_input", "synaptic_calls")


def save(network: SpikingNetwork, path: Path) -> None:
    """Writes neurons and weight changes, atomically; the ANN's own weights are not in it.

    Raises:
        DataError: the file cannot be written there.
    """
    tensors: dict[str, Tensor] = {}
    neurons: dict[str, dict[str, Any]] = {}
    for name, neuron in network.neurons.items():
        neurons[name] = {key: getattr(neuron, key) for key in _PLAIN}
        for key in _TENSORS:
            value = getattr(neuron, key)
            if value is not None:
                tensor = torch.as_tensor(value, dtype=torch.float32)
                tensors[f"neuron/{name}/{key}"] = tensor.contiguous().clone()
    for name, change in network.weight_changes.items():
        tensors[f"weight/{name}"] = change.contiguous()
    sites = [
        {"name": s.name, "function": s.function, "kind": s.kind, "shape": list(s.shape)}
        for s in network.sites
    ]
    rule = network.exit_rule
    header = {
        "version": VERSION,
        "options": {key: getattr(network, key) for key in _OPTIONS},
        "neurons": neurons,
        "sites": sites,
        "exit_rule": {"score": rule.score, "thresholds": list(rule.thresholds)} if rule else None,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file(tensors, temporary, metadata={"adacal": json.dumps(header)})
        os.replace(temporary, path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"'{path}' cannot be written: {error}; choose another folder") from error


def load(path: str | Path, ann: nn.Module, **options: Any) -> SpikingNetwork:
    """Reads a saved network back onto its ANN; nothing is unpickled.

    Args:
        path: what `SpikingNetwork.save` wrote.
        ann: the ANN it was converted from (with its weights).
        options: `forward`, where the network was converted with one.
    Raises:
        DataError: no such file, not of this format, or of a newer version.
    """
    source = Path(path)
    if not source.is_file():
        raise DataError(f"no saved network at '{source}'; write one with network.save(path)")
    try:
        with safe_open(source, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("adacal", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"'{source}' is not a saved adacal network: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("version"), int):
        raise DataError(f"'{source}' is a safetensors file, but not one of a converted network")
    if header["version"] > VERSION:
        raise DataError(
            f"'{source}' has version {header['version']} and this adacal reads up to {VERSION}; "
            "update adacal"
        )
    module = copy.deepcopy(ann).eval().requires_grad_(False)
    try:
        network = _assembled(header, tensors, module, options)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"'{source}' is damaged: its header lacks {error}") from error
    return network


def _assembled(
    header: dict[str, Any], tensors: dict[str, Tensor], module: nn.Module, options: dict[str, Any]
) -> SpikingNetwork:
    from adacal.core.network import SpikingNetwork

    stored = dict(header["options"])
    calls = stored.pop("synaptic_calls")
    network = SpikingNetwork(module, **stored, **options)
    network.synaptic_calls = calls
    for name, plain in header["neurons"].items():
        found: dict[str, Any] = dict(plain)
        for key in _TENSORS:
            if f"neuron/{name}/{key}" in tensors:
                found[key] = tensors[f"neuron/{name}/{key}"]
        network.neurons[name] = BurstNeuron(**found)
    network.weight_changes = {
        key.removeprefix("weight/"): value
        for key, value in tensors.items()
        if key.startswith("weight/")
    }
    network.sites = [Site(**{**site, "shape": tuple(site["shape"])}) for site in header["sites"]]
    rule = header["exit_rule"]
    if rule is not None:
        network.exit_rule = ExitRule(score=rule["score"], thresholds=tuple(rule["thresholds"]))
    return network
