"""Sensitivity Spike Compression: raise thresholds where the output hardly notices (METHOD 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from adacal.core import calibration
from adacal.core.allocation import Allocation, allocate, minimise_cost
from adacal.core.candidates import Candidate
from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError
from adacal.core.inputs import joined_inputs
from adacal.core.neuron import BurstNeuron
from adacal.core.sensitivity import Cost, Method, Tables, measure_tables
from adacal.core.trials import Snapshot, state_of

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

_OPTIONS = ("ratios", "tolerance", "max_growth", "sensitivity", "cost", "mode", "samples")
_MOST_RATIOS = 1000


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Choices of ρ, from none to the whole of the saving that the tables allow.

    Attributes:
        tables: sensitivity and cost by site and ρ.
        tried: the ρ tried; the first leaves the thresholds as they are.
        start: thresholds by site before, by channel.
        none: ρ = first at every site.
        most: the cheapest choice that is tolerated.
    """

    tables: Tables
    tried: list[float]
    start: Mapping[str, Tensor]
    none: Allocation
    most: Allocation

    def at(self, share: float) -> Allocation:
        """Returns the choice that takes this share of the saving and hurts least."""
        budget = self.none.cost - share * (self.none.cost - self.most.cost)
        return allocate(self.tables.sensitivity, self.tables.cost, budget)

    def ratios(self, chosen: Allocation) -> dict[str, float]:
        """Returns ρ by site."""
        pairs = zip(self.tables.sites, chosen.choice, strict=True)
        return {name: self.tried[index] for name, index in pairs}

    def apply(self, network: SpikingNetwork, chosen: Allocation) -> None:
        """Sets the thresholds of a choice; shifts are to be calibrated again."""
        for name, ratio in self.ratios(chosen).items():
            network.neurons[name].threshold = self.start[name] * ratio


def compress(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    ratios: tuple[float, float, float] = (1.0, 10.0, 0.5),
    tolerance: float = 1.0,
    max_growth: float | None = 1.5,
    sensitivity: Method = "probe",
    cost: Cost = "pj",
    mode: Literal["none", "light", "advanced"] = "light",
    samples: int = 64,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
    generator: torch.Generator | None = None,
    **calibration_options: Any,
) -> dict[str, Any]:
    """Chooses a threshold ratio ρ per site: the cheapest whose summed sensitivity is tolerated.

    The table adds up errors of single layers; together they can do more harm. So the choice is
    measured, and while the divergence on the calibration samples grows too much, a choice with
    less of the saving is looked for.

    Args:
        network: a calibrated network, changed in place: thresholds, then recalibrated with them.
        batches: calibration inputs, or (inputs, targets) pairs.
        ratios: first, last and step of the ρ tried; the first should be 1.
        tolerance: allowed sum of sensitivities, in units of the sum at ρ = 1.
        max_growth: most growth of the measured divergence, as a factor (decision 0006); None
            trusts the table, as the paper does.
        sensitivity, cost, mode, samples, divergence, generator, calibration_options: as in
            `adacal.core.search.adafire`.
    Returns:
        JSON-able notes: ρ by site, predicted cost before and after, the share of the table's
        saving that was taken, divergence before and after.
    Raises:
        ConfigError: ratios that are not a rising range from at least 1, tolerance or max_growth
            below 1.
    """
    check_options(ratios, tolerance, max_growth)
    check_whole("samples", samples, example=64)
    check_choice("sensitivity", sensitivity, get_args(Method))
    check_choice("cost", cost, get_args(Cost))
    calibration.options_of(mode, calibration_options, also=_OPTIONS)
    if "threshold" in calibration_options:
        raise ConfigError("compress raises the thresholds that are set; leave out 'threshold'")
    inputs = joined_inputs(batches, network)
    few = inputs[:, :samples] if network.stream else inputs[:samples]
    savings = measure_savings(
        network,
        few,
        ratios=ratios,
        tolerance=tolerance,
        sensitivity=sensitivity,
        cost=cost,
        divergence=divergence,
        remove_mean=mode != "none",
        generator=generator,
    )
    options = {**calibration_options, "threshold": "keep", "divergence": divergence}
    seed = 0 if generator is None else int(torch.randint(2**31, (1,), generator=generator))

    known: dict[tuple[int, ...], _Measured] = {}
    reference = calibration.Reference()

    def measured(chosen: Allocation) -> float:
        """Calibrates on the same positions for every choice, or chance would choose."""
        key = tuple(chosen.choice)
        if key not in known:
            savings.apply(network, chosen)
            same = torch.Generator().manual_seed(seed)
            found = calibration.calibrate(
                network, [inputs], mode=mode, generator=same, reference=reference, **options
            )
            known[key] = _Measured(divergence=found, **state_of(network))
        else:
            known[key].restore(network)
        return known[key].divergence

    before = measured(savings.none)
    limit = math.inf if max_growth is None else max_growth * before
    share, chosen, after = most_that_holds(savings, limit, measured)
    ratio_of = savings.ratios(chosen)
    for name, ratio in ratio_of.items():
        network.neurons[name].ratio *= ratio
    return {
        "ratios": ratio_of,
        "tolerance": tolerance,
        "max_growth": max_growth,
        "share_of_saving": share,
        "predicted_cost_before": savings.none.cost,
        "predicted_cost": chosen.cost,
        "cost_unit": cost,
        "calibration_divergence_before": before,
        "calibration_divergence": after,
    }


@dataclass(frozen=True, kw_only=True)
class _Measured(Snapshot):
    """A network that was calibrated, and how far it is from the ANN."""

    divergence: float


def measure_savings(
    network: SpikingNetwork,
    inputs: Tensor,
    *,
    ratios: tuple[float, float, float],
    tolerance: float,
    sensitivity: Method,
    cost: Cost,
    divergence: Callable[[Any, Any], Tensor],
    remove_mean: bool,
    generator: torch.Generator | None = None,
) -> Savings:
    """Measures what each ρ of each site would hurt and save; arguments as in `compress`."""
    first, last, step = ratios
    tried = [float(r) for r in np.arange(first, last + step / 2, step)]
    start = {name: _by_channel(neuron) for name, neuron in network.neurons.items()}
    candidates = {
        name: [
            Candidate(threshold=start[name] * ratio, max_spikes=neuron.max_spikes)
            for ratio in tried
        ]
        for name, neuron in network.neurons.items()
    }
    tables = measure_tables(
        network,
        inputs,
        candidates,
        sensitivity=sensitivity,
        cost=cost,
        divergence=divergence,
        remove_mean=remove_mean,
        generator=generator,
    )
    sums = (float(table[:, 0].sum()) for table in (tables.sensitivity, tables.cost))
    none = Allocation([0] * len(tables.sites), *sums)
    most = minimise_cost(tables.sensitivity, tables.cost, tolerance * none.sensitivity)
    return Savings(tables=tables, tried=tried, start=start, none=none, most=most)


def most_that_holds(
    savings: Savings,
    limit: float,
    measured: Callable[[Allocation], float],
    halvings: int = 4,
) -> tuple[float, Allocation, float]:
    """Bisects the share of the saving; returns it, its choice, and the divergence in force."""
    share, chosen = 1.0, savings.most
    if measured(chosen) > limit:
        share, chosen = 0.0, savings.none
        low, high = 0.0, 1.0
        for _ in range(halvings):
            middle = (low + high) / 2
            choice = savings.at(middle)
            if measured(choice) <= limit:
                low, share, chosen = middle, middle, choice
            else:
                high = middle
    return share, chosen, measured(chosen)


def check_options(
    ratios: Sequence[float], tolerance: float, max_growth: float | None = None
) -> None:
    """Raises ConfigError for options of `compress` that make no sense."""
    if not isinstance(ratios, tuple | list) or len(ratios) != 3:
        raise ConfigError(f"ratios must be (first >= 1, last, step > 0); got {ratios!r}")
    for value in ratios:
        check_number("each of ratios", value)
    first, last, step = ratios
    if not 1 <= first <= last or step <= 0 or (last - first) / step > _MOST_RATIOS:
        raise ConfigError(
            f"ratios must be (first >= 1, last, step > 0), at most {_MOST_RATIOS} of them; got "
            f"{tuple(ratios)}; try (1.0, 10.0, 0.5)"
        )
    check_number("tolerance", tolerance, 1, example=1)
    if max_growth is not None:
        check_number("max_growth (or None)", max_growth, 1, example=1.5)


def _by_channel(neuron: BurstNeuron) -> Tensor:
    return torch.as_tensor(neuron.threshold).reshape(-1)
