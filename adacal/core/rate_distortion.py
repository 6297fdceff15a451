"""Rate-distortion thresholds: θ of every channel chosen as a codec spends bits (METHOD section 11).

What costs spikes is θ, not φ: a neuron fires about T·a/θ of them, and a small φ only clips. So φ is
high and fixed, and each channel takes the θ that minimises `S(θ) + λ E(θ)`: S the divergence of the
output that its error causes, E what its spikes cost (`adacal.core.channel_tables`). Both add up
over channels, so one λ, found by bisection, spends a budget best on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core import calibration
from adacal.core.channel_tables import ChannelTables, measure_channels
from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import ACCUMULATE_PJ, EnergyMeter
from adacal.core.errors import ConfigError
from adacal.core.inputs import joined_inputs
from adacal.core.neuron import BurstNeuron
from adacal.core.sensitivity import Cost

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

_OPTIONS = ("budget", "unit", "max_spikes", "mode", "samples", "check")
CLOSE = 0.01
"""How near the measured cost must come to the budget, as a fraction of it."""
ROUNDS = 4
"""Most choices that are calibrated and measured to come so near."""
POINTS = 16
"""Points of the curve that is noted."""


def rate_distortion(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    budget: float,
    unit: Cost = "pj",
    max_spikes: int = 8,
    mode: Literal["none", "light", "advanced"] = "light",
    samples: int = 128,
    check: float = 0.25,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
    generator: torch.Generator | None = None,
    **calibration_options: Any,
) -> dict[str, Any]:
    """Chooses θ per channel so that the output changes least at a given cost.

    The tables know the ANN's activations; what the converted network really spends is measured
    after each choice, and the next aims nearer. At last the network is compared with what it was
    before, on samples the tables have not seen: if that cost no more and was nearer to the ANN, it
    is put back.

    Args:
        network: changed in place: thresholds and `max_spikes`, then recalibrated. What it was
            calibrated to before is what the result must beat.
        batches: calibration inputs, or (inputs, targets) pairs.
        budget: what the spikes of a sample may cost over T steps, in `unit`; analogue operations
            (the first layer) are not counted.
        unit: `pj` (accumulates with fan-out) or `spikes`.
        max_spikes: φ of every site; high, so that it hardly clips.
        mode: calibration afterwards.
        samples: calibration samples that the tables are measured on, at most.
        check: share of the calibration samples kept from the tables for the comparison.
        divergence, generator, calibration_options: as in `calibrate`.
    Returns:
        JSON-able notes: the budget, what was spent, whether the network was kept as it was, both
        divergences (mean of d / (1 + d)) on the samples kept back, mean θ by site, and the
        predicted curve.
    Raises:
        ConfigError: a budget that is not positive, or another option that makes no sense.
    """
    check_options(budget, unit, max_spikes, samples, check)
    calibration.options_of(mode, calibration_options, also=_OPTIONS)
    if "threshold" in calibration_options:
        raise ConfigError("rate_distortion chooses the thresholds; leave out 'threshold'")
    inputs = joined_inputs(batches, network)
    dim = int(network.stream)
    total = inputs.shape[dim]
    kept_back = round(check * total)
    seen = inputs.narrow(dim, 0, min(samples, total - kept_back))
    unseen = inputs.narrow(dim, total - kept_back, kept_back) if kept_back else seen
    before = _Trial.of(network, seen, unseen, unit, divergence)
    seed = 0 if generator is None else int(torch.randint(2**31, (1,), generator=generator))
    tables = measure_channels(
        network,
        seen,
        max_spikes=max_spikes,
        cost=unit,
        divergence=divergence,
        remove_mean=mode != "none",
        generator=torch.Generator().manual_seed(seed),
    )
    options = {**calibration_options, "threshold": "keep", "divergence": divergence}

    def tried(aim: float) -> _Trial:
        for name, threshold in tables.thresholds(tables.within(aim)).items():
            neuron = network.neurons[name]
            neuron.threshold, neuron.max_spikes, neuron.ratio = threshold, max_spikes, 1.0
        same = torch.Generator().manual_seed(seed)
        calibration.calibrate(network, [inputs], mode=mode, generator=same, **options)
        return _Trial.of(network, seen, unseen, unit, divergence)

    after = _spent_within(budget, tried)
    worse = after.divergence > before.divergence and before.cost <= (1 + CLOSE) * budget
    if worse:
        before.restore(network)
    return {
        "budget": budget,
        "cost_unit": unit,
        "cost": after.cost,
        "cost_before": before.cost,
        "kept_as_it_was": worse,
        "check_samples": kept_back or total,
        "divergence_before": before.divergence,
        "divergence": after.divergence,
        "mean_threshold": {
            name: float(torch.as_tensor(neuron.threshold).mean())
            for name, neuron in network.neurons.items()
        },
        "curve": curve(tables),
    }


def check_options(budget: Any, unit: Any, max_spikes: Any, samples: Any, check: Any) -> None:
    """Raises ConfigError for options of `rate_distortion` that make no sense."""
    check_number("budget", budget, 0, above=True, example=1e7)
    check_choice("unit", unit, get_args(Cost))
    check_whole("max_spikes", max_spikes, example=8)
    check_whole("samples", samples, example=128)
    check_number("check", check, 0, 0.9, example=0.25)


def spending(network: SpikingNetwork, inputs: Tensor, unit: Cost) -> float:
    """Returns what the spikes of a sample cost over T steps, in pJ or spikes.

    Args:
        network: calibrated.
        inputs: some samples.
        unit: `pj` (accumulates with fan-out) or `spikes`.
    """
    meter = EnergyMeter()
    network.predict(inputs, meter)
    report = meter.report()
    return report.sops * ACCUMULATE_PJ if unit == "pj" else report.spikes


def curve(tables: ChannelTables, points: int = POINTS) -> list[dict[str, float]]:
    """Returns predicted cost and divergence along the frontier, from dearest to cheapest."""
    found = []
    least = float(tables.cost.amin(1).sum())
    most = tables.totals(tables.sensitivity.argmin(1))[1]
    for share in torch.linspace(1, 0, points).tolist():
        harm, spent = tables.totals(tables.within(least + share * share * (most - least)))
        found.append({"cost": spent, "divergence": harm})
    return found


def _spent_within(budget: float, tried: Callable[[float], _Trial]) -> _Trial:
    """Returns the last trial, the first whose measured cost is near the budget and not above."""
    aim = budget
    for _ in range(ROUNDS):
        trial = tried(aim)
        if (1 - 2 * CLOSE) * budget <= trial.cost <= (1 + CLOSE) * budget:
            break
        aim *= (1 - CLOSE / 2) * budget / max(trial.cost, 1e-12)
    return trial


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A calibrated network's cost and divergence, and its neurons."""

    cost: float
    divergence: float
    neurons: Mapping[str, BurstNeuron]

    @classmethod
    def of(
        cls,
        network: SpikingNetwork,
        seen: Tensor,
        unseen: Tensor,
        unit: Cost,
        divergence: Callable[[Any, Any], Tensor],
    ) -> _Trial:
        network.exit_rule, rule = None, network.exit_rule
        try:
            cost = spending(network, seen, unit)
            mean = unseen.mean(0) if network.stream else unseen
            each = divergence(network.ann(mean), network(unseen))
            # bounded, or the few samples that either gets wrong would decide alone
            apart = float((each / (1 + each)).mean())
        finally:
            network.exit_rule = rule
        neurons = {name: replace(neuron) for name, neuron in network.neurons.items()}
        return cls(cost=cost, divergence=apart, neurons=neurons)

    def restore(self, network: SpikingNetwork) -> None:
        network.neurons.update(self.neurons)
