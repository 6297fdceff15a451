"""Sensitivity Spike Compression: raise thresholds where the output hardly notices (METHOD 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from adacal.core import calibration
from adacal.core.allocation import minimise_cost
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError
from adacal.core.neuron import BurstNeuron
from adacal.core.sensitivity import Candidate, Cost, Method, measure_tables

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


def compress(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    ratios: tuple[float, float, float] = (1.0, 10.0, 0.5),
    tolerance: float = 1.0,
    sensitivity: Method = "probe",
    cost: Cost = "pj",
    mode: Literal["none", "light", "advanced"] = "light",
    samples: int = 64,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
    generator: torch.Generator | None = None,
    **calibration_options: Any,
) -> dict[str, Any]:
    """Chooses a threshold ratio ρ per site: the cheapest whose summed sensitivity is tolerated.

    Args:
        network: a calibrated network, changed in place: thresholds, then recalibrated with them.
        batches: calibration inputs, or (inputs, targets) pairs.
        ratios: first, last and step of the ρ tried; the first should be 1.
        tolerance: allowed sum of sensitivities, in units of the sum at ρ = 1.
        sensitivity, cost, mode, samples, divergence, generator, calibration_options: as in
            `adacal.core.search.adafire`.
    Returns:
        JSON-able notes: ρ by site, predicted cost before and after, divergence after.
    Raises:
        ConfigError: ratios that are not a rising range from at least 1, or tolerance below 1.
    """
    check_options(ratios, tolerance)
    first, last, step = ratios
    tried = [float(r) for r in np.arange(first, last + step / 2, step)]
    inputs = calibration.joined_inputs(batches, stream=network.stream)
    few = inputs[:, :samples] if network.stream else inputs[:samples]
    candidates = {
        name: [
            Candidate(threshold=_by_channel(neuron) * ratio, max_spikes=neuron.max_spikes)
            for ratio in tried
        ]
        for name, neuron in network.neurons.items()
    }
    tables = measure_tables(
        network,
        few,
        candidates,
        sensitivity=sensitivity,
        cost=cost,
        divergence=divergence,
        remove_mean=mode != "none",
        generator=generator,
    )
    allowed = tolerance * float(tables.sensitivity[:, 0].sum())
    chosen = minimise_cost(tables.sensitivity, tables.cost, allowed)
    ratio_of = {name: tried[i] for name, i in zip(tables.sites, chosen.choice, strict=True)}
    for name, ratio in ratio_of.items():
        network.neurons[name].threshold = torch.as_tensor(network.neurons[name].threshold) * ratio
    options = {**calibration_options, "threshold": "keep", "generator": generator}
    after = calibration.calibrate(network, [inputs], mode=mode, divergence=divergence, **options)
    for name, ratio in ratio_of.items():
        network.neurons[name].ratio *= ratio
    return {
        "ratios": ratio_of,
        "tolerance": tolerance,
        "predicted_cost_before": float(tables.cost[:, 0].sum()),
        "predicted_cost": chosen.cost,
        "cost_unit": cost,
        "calibration_divergence": after,
    }


def check_options(ratios: Sequence[float], tolerance: float) -> None:
    """Raises ConfigError for ratios or a tolerance that make no sense."""
    if len(ratios) != 3 or not 1 <= ratios[0] <= ratios[1] or ratios[2] <= 0:
        raise ConfigError(f"ratios must be (first >= 1, last, step > 0); got {tuple(ratios)}")
    if not tolerance >= 1:
        raise ConfigError(f"tolerance must be at least 1 (no worse than now); got {tolerance}")


def _by_channel(neuron: BurstNeuron) -> Tensor:
    return torch.as_tensor(neuron.threshold).reshape(-1)
