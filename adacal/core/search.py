"""AdaFire: φ for each layer under a budget (METHOD section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core import calibration
from adacal.core.allocation import allocate
from adacal.core.candidates import Candidate, reference_activations
from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError
from adacal.core.inputs import joined_inputs
from adacal.core.neuron import by_channel
from adacal.core.sensitivity import Cost, Method, measure_tables
from adacal.core.thresholds import largest_of_runs, mmse_threshold, sample_columns

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

_OPTIONS = ("max_spikes", "budget", "ratio", "sensitivity", "cost", "mode", "samples")


def adafire(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    max_spikes: tuple[int, int] = (1, 8),
    budget: int = 4,
    ratio: float = 1.0,
    sensitivity: Method = "probe",
    cost: Cost = "pj",
    mode: Literal["none", "light", "advanced"] = "light",
    samples: int = 64,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
    generator: torch.Generator | None = None,
    **calibration_options: Any,
) -> dict[str, Any]:
    """Chooses φ per site so that the output changes least at the cost of a uniform φ.

    Args:
        network: changed in place: `max_spikes`, then recalibrated.
        batches: calibration inputs, or (inputs, targets) pairs.
        max_spikes: smallest and largest φ tried.
        budget: the uniform φ whose cost is the budget.
        ratio: factor on that budget.
        sensitivity: `probe` or `exact`.
        cost: `pj` or `spikes`.
        mode: calibration afterwards.
        samples: calibration samples that the tables are measured on.
        divergence, generator, calibration_options: as in `calibrate`.
    Returns:
        JSON-able notes: φ by site, predicted sensitivity and cost, the budget, the divergence on
        the calibration samples after recalibration.
    Raises:
        ConfigError: an empty range, a budget outside it, or a ratio that is not positive.
    """
    check_options(max_spikes, budget, ratio, samples, sensitivity, cost)
    calibration.options_of(mode, calibration_options, also=_OPTIONS)
    low, high = max_spikes
    inputs = joined_inputs(batches, network)
    few = inputs[:, :samples] if network.stream else inputs[:samples]
    for neuron in network.neurons.values():
        neuron.max_spikes = budget
    options = {"generator": generator, "divergence": divergence, **calibration_options}
    calibration.calibrate(network, [few], mode=mode, **options)
    tried = list(range(low, high + 1))
    candidates = threshold_candidates(network, few, tried, generator)
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
    allowed = ratio * float(tables.cost[:, tried.index(budget)].sum())
    chosen = allocate(tables.sensitivity, tables.cost, allowed)
    for name, index in zip(tables.sites, chosen.choice, strict=True):
        network.neurons[name].max_spikes = tried[index]
    after = calibration.calibrate(network, [inputs], mode=mode, **options)
    phi = {name: tried[i] for name, i in zip(tables.sites, chosen.choice, strict=True)}
    return {
        "max_spikes": phi,
        "sensitivity_table": sensitivity,
        "cost_unit": cost,
        "budget": allowed,
        "predicted_cost": chosen.cost,
        "predicted_sensitivity": chosen.sensitivity,
        "uniform_sensitivity": float(tables.sensitivity[:, tried.index(budget)].sum()),
        "calibration_divergence": after,
    }


def check_options(
    max_spikes: Any, budget: Any, ratio: Any, samples: Any, sensitivity: Any, cost: Any
) -> None:
    """Raises ConfigError for options of `adafire` that make no sense."""
    if not isinstance(max_spikes, tuple | list) or len(max_spikes) != 2:
        raise ConfigError(f"max_spikes must be a range (low, high); got {max_spikes!r}; try (1, 8)")
    for name, value in (("max_spikes", max_spikes[0]), ("max_spikes", max_spikes[1])):
        check_whole(name, value)
    check_whole("budget", budget, example=4)
    check_whole("samples", samples, example=64)
    if not max_spikes[0] <= budget <= max_spikes[1]:
        raise ConfigError(
            f"adafire needs 1 <= low <= budget <= high; got max_spikes={tuple(max_spikes)} and "
            f"budget={budget}; try max_spikes=(1, 8), budget=4"
        )
    check_number("ratio", ratio, 0, above=True, example=1)
    check_choice("sensitivity", sensitivity, get_args(Method))
    check_choice("cost", cost, get_args(Cost))


def threshold_candidates(
    network: SpikingNetwork,
    inputs: Tensor,
    tried: Sequence[int],
    generator: torch.Generator | None = None,
    limit: int = 1024,
) -> dict[str, list[Candidate]]:
    """Estimates MMSE thresholds for each φ tried at each site, from the ANN's activations."""
    reference = inputs.mean(0) if network.stream else inputs
    _, after = reference_activations(network, reference)
    random = generator if generator is not None else torch.Generator().manual_seed(0)
    found = {}
    for name, activation in after.items():
        columns = by_channel(activation, network.neurons[name].channel_dim).abs()
        values = sample_columns(columns, limit, random)
        if name in network.windows:
            values = largest_of_runs(columns, network.windows[name], limit)
        found[name] = [
            Candidate(threshold=mmse_threshold(values, network.T, phi), max_spikes=phi)
            for phi in tried
        ]
    return found
