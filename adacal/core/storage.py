"""A converted network on disk: tensors as safetensors, the rest as JSON in its header."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adacal.core.change_rule import ChangeRule
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import DataError
from adacal.core.exit_rules import ExitRule
from adacal.core.folding import fold
from adacal.core.inputs import frozen_copy, refuse_unusable
from adacal.core.neuron import BurstNeuron
from adacal.core.sites import Site

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

VERSION = 1
_TENSORS = ("threshold", "shift", "initial_potential", "slope")
_PLAIN = ("max_spikes", "channel_dim", "kind", "cap", "ratio", "spread_half_threshold",
          "dynamics", "warmup", "levels", "ann_levels")  # fmt: skip
_OPTIONS = ("T", "warmup", "strict", "max_pool", "stream", "event_input", "synaptic_calls")


def save(network: SpikingNetwork, path: str | Path) -> None:
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
    header = {
        "version": VERSION,
        "options": {key: getattr(network, key) for key in _OPTIONS},
        "neurons": neurons,
        "sites": sites,
        "windows": network.windows,
        "sample_shape": None if network.sample_shape is None else list(network.sample_shape),
        "weights": network.unfolded_weights or weights_digest(network.module),
        "folded": network.folded,
        "exit_rule": _plain_rule(network.exit_rule),
    }
    target = _path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        save_file(tensors, temporary, metadata={"adacal": json.dumps(header)})
        os.replace(temporary, target)
    except (SafetensorError, OSError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise DataError(f"'{target}' cannot be written: {error}; choose another folder") from error


def load(
    path: str | Path,
    ann: nn.Module,
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    divergence: Callable[[Any, Any], Tensor] | None = None,
) -> SpikingNetwork:
    """Reads a saved network back onto its ANN; nothing is unpickled.

    Args:
        path: what `SpikingNetwork.save` wrote.
        ann: the ANN it was converted from (with its weights).
        forward: how to call the module, where the network was converted with a `forward`.
        divergence: what its exit rule on changes was fitted with, if that was a function of yours.
    Raises:
        DataError: no such file, not of this format, of a newer version, or of another network.
        UnsupportedModelError: `ann` is no module, or holds NaN.
    """
    source = _path(path)
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
    refuse_unusable(ann)
    _require_same_network(source, header, ann)
    module = frozen_copy(ann)
    try:
        folded = [(layer, norm) for layer, norm in header.get("folded", [])]
        fold(module, folded)
        options = {} if forward is None else {"forward": forward}
        network = _assembled(header, tensors, module, options)
        if folded:
            network.folded, network.unfolded_weights = folded, header["weights"]
        network.exit_rule = _read_rule(source, header["exit_rule"], divergence)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"'{source}' is damaged: its header lacks or garbles {error}") from error
    for name, neuron in network.neurons.items():
        threshold = torch.as_tensor(neuron.threshold)
        if not bool((torch.isfinite(threshold) & (threshold > 0)).all()):
            raise DataError(
                f"'{source}' is damaged: a threshold of '{name}' is not a positive number; save "
                "the network again"
            )
    return network


def weights_digest(module: nn.Module) -> dict[str, str]:
    """Returns the shape and a hash of every parameter and buffer, by name, as text."""
    found = {}
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            found[name] = f"{list(value.shape)} {hashlib.sha256(raw.numpy().data).hexdigest()[:16]}"
    return found


def _require_same_network(source: Path, header: dict[str, Any], ann: nn.Module) -> None:
    """Thresholds fit the weights they were calibrated with and no others."""
    saved = header.get("weights")
    if not isinstance(saved, dict):
        return
    given = weights_digest(ann)
    for name in sorted({*saved, *given}):
        there, here = saved.get(name, "absent"), given.get(name, "absent")
        if there != here:
            raise DataError(
                f"'{source}' was saved with another network: '{name}' is {there} there and {here} "
                "here (shape, hash); load it with the network and weights that were converted"
            )


def _path(path: str | Path) -> Path:
    found = Path(path) if isinstance(path, str | os.PathLike) else None
    if found is None or not found.name:
        raise DataError(f"a saved network needs the path of a file; got {path!r}; name one")
    return found


def _assembled(
    header: dict[str, Any], tensors: dict[str, Tensor], module: nn.Module, options: dict[str, Any]
) -> SpikingNetwork:
    from adacal.core.network import SpikingNetwork

    stored = dict(header["options"])
    calls = stored.pop("synaptic_calls")
    sample = header.get("sample_shape")
    network = SpikingNetwork(module, **stored, **options, sample_shape=sample)
    network.synaptic_calls = calls
    network.windows = dict(header.get("windows", {}))
    for name, plain in header["neurons"].items():
        found: dict[str, Any] = dict(plain)
        for key in _TENSORS:
            if f"neuron/{name}/{key}" in tensors or key in ("threshold", "shift"):
                found[key] = tensors[f"neuron/{name}/{key}"]
        network.neurons[name] = BurstNeuron(**found)
    network.weight_changes = {
        key.removeprefix("weight/"): value
        for key, value in tensors.items()
        if key.startswith("weight/")
    }
    network.sites = [Site(**{**site, "shape": tuple(site["shape"])}) for site in header["sites"]]
    return network


def _plain_rule(rule: Any) -> dict[str, Any] | None:
    """Returns an exit rule as JSON; of its divergence there is only the name."""
    if rule is None:
        return None
    thresholds = list(rule.thresholds)
    if isinstance(rule, ChangeRule):
        name = _name_of(rule.divergence)
        return {"divergence": name, "allowed": rule.allowed, "thresholds": thresholds}
    return {"score": rule.score, "thresholds": thresholds}


def _read_rule(
    source: Path, plain: dict[str, Any] | None, divergence: Callable[[Any, Any], Tensor] | None
) -> ExitRule | ChangeRule | None:
    if plain is None:
        return None
    thresholds = tuple(plain["thresholds"])
    if "score" in plain:
        return ExitRule(score=plain["score"], thresholds=thresholds)
    if divergence is None and plain["divergence"] != _name_of(symmetric_kl):
        raise DataError(
            f"'{source}' has an exit rule on changes measured by '{plain['divergence']}', which is "
            "not in the file; pass it as divergence="
        )
    return ChangeRule(thresholds, divergence or symmetric_kl, plain["allowed"])


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
