"""T as one more variable: the cheapest network over several numbers of steps that loses little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from torch import nn

from adacal.core.checks import check_number, check_whole
from adacal.core.conversion import convert
from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.inputs import joined_inputs, listed
from adacal.core.measure import measure_energy
from adacal.core.network import Forward, SpikingNetwork, call_module
from adacal.core.sensitivity import Cost


@dataclass(frozen=True, kw_only=True)
class StepsTried:
    """What the cheapest network found at one T costs and loses, on the calibration samples.

    Attributes:
        T: number of steps.
        energy_pj: of a sample, accumulates (one a spike and synapse) and analogue operations.
        spikes: of a sample, over T steps.
        drop: percent that changed, as `max_drop` counts it.
        within_limit: whether that is no more than `max_drop`.
    """

    T: int
    energy_pj: float
    spikes: float
    drop: float
    within_limit: bool


def cheapest(
    ann: nn.Module,
    batches: Sequence[Any],
    *,
    T: Sequence[int] = (1, 2, 4, 8),
    max_drop: float = 0.5,
    max_spikes: int = 16,
    forward: Forward = call_module,
    **options: Any,
) -> tuple[SpikingNetwork, list[StepsTried]]:
    """Converts a network at several T, each as cheaply as `max_drop` allows, and takes the best.

    A T takes a conversion and a `rate_distortion(max_drop=...)`, some eight calibrations. Compared
    is `energy_pj`, or with `unit="spikes"` the spikes. Neither counts what a chip spends on a step
    without spikes; at equal cost the fewer steps win.

    Args:
        ann, forward: as for `convert`.
        batches: calibration inputs [B, ...], or (inputs, targets) pairs; no streams, whose T is
            that of the data.
        T: numbers of steps to try.
        max_drop, max_spikes, options: of `rate_distortion`, but for its budget.
    Returns:
        The network (the cheapest within the limit, or else the one that drops least), and what
        each T gave, in rising order.
    Raises:
        ConfigError: an option that makes no sense.
        CalibrationError: no calibration samples.
    """
    if not isinstance(T, Sequence) or not T:
        raise ConfigError(f"T must list the numbers of steps to try; got {T!r}; try (1, 2, 4, 8)")
    for steps in T:
        check_whole("T", steps, example=8)
    check_number("max_drop", max_drop, 0, 100, example=0.5)
    if "budget" in options:
        raise ConfigError("the cheapest network is that of a max_drop; leave out 'budget'")
    given = listed(batches)
    if not given:
        raise CalibrationError("no calibration samples were given; pass at least one batch")
    first = given[0][0] if isinstance(given[0], tuple | list) else given[0]
    limit = {**options, "max_drop": max_drop, "max_spikes": max_spikes}
    networks, tried = [], []
    for steps in sorted(set(T)):
        network = convert(ann, first, T=steps, max_spikes=max_spikes, forward=forward)
        network.calibrate(given)
        notes = network.rate_distortion(given, **limit)
        report = measure_energy(network, joined_inputs(given, network))
        drop = notes["drop_before" if notes["kept_as_it_was"] else "drop"]
        networks.append(network)
        tried.append(
            StepsTried(
                T=steps,
                energy_pj=report.energy_pj["per_spike"],
                spikes=report.spikes,
                drop=drop,
                within_limit=drop <= max_drop,
            )
        )
    return networks[best_of(tried, options.get("unit", "pj"))], tried


def best_of(tried: Sequence[StepsTried], unit: Cost) -> int:
    """Returns the position of the cheapest within the limit, or else of the least drop.

    Of equals it is the first.
    """
    within = [row for row in tried if row.within_limit]
    if not within:
        return min(range(len(tried)), key=lambda i: tried[i].drop)
    cost = attrgetter("spikes" if unit == "spikes" else "energy_pj")
    return tried.index(min(within, key=cost))
