"""Whether a record's numbers agree with one another: what typing into a file would break."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from adacal.core.energy import ACCUMULATE_PJ, MAC_PJ
from adacal.suite.records import RunRecord

STRICTNESS = ("none", "quantised", "binary", "burst", "signed", "analogue parts")
RELATIVE = 1e-6


def complaints(record: RunRecord) -> Iterator[str]:
    """Yields a sentence for each number of a record that another one contradicts."""
    yield from _metrics(record)
    yield from _redraws(record)
    yield from _energy(record)
    yield from _steps(record)
    yield from _strictness(record)


def _metrics(record: RunRecord) -> Iterator[str]:
    for side, metrics in (("ann", record.ann), ("snn", record.snn)):
        for name, value in metrics.items():
            if name.endswith("_pct") and not 0.0 <= value <= 100.0:
                yield f"{side} {name} is {value:g}, not from 0 to 100"
    pair = record.correct()
    if pair is None or record.metric.name != "accuracy_pct":
        return
    for side, correct, metrics in zip(("ann", "snn"), pair, (record.ann, record.snn), strict=True):
        counted = 100.0 * float(correct.mean())
        if not math.isclose(counted, metrics["accuracy_pct"], rel_tol=RELATIVE, abs_tol=1e-9):
            yield (
                f"{side} accuracy is {metrics['accuracy_pct']:g}, but {counted:g} % of the samples "
                "are marked right"
            )


def _redraws(record: RunRecord) -> Iterator[str]:
    pair = record.redrawn()
    for side, values in zip(("ann", "snn"), pair or (), strict=False):
        metric = getattr(record, side)[record.metric.name]
        known = values[~np.isnan(values)]
        low, high = (known.min(), known.max()) if known.size else (math.nan, math.nan)
        # Redraws without the rarest classes lie a little higher, so their middle proves nothing.
        slack = high - low + RELATIVE * max(1.0, abs(metric))
        if not low - slack <= metric <= high + slack:
            yield f"{side} {record.metric.words} is {metric:g}, far from its redraws"


def _energy(record: RunRecord) -> Iterator[str]:
    energy = record.energy
    numbers = [energy.spikes, energy.events, energy.sops, energy.macs, energy.ann_macs]
    numbers += [*energy.energy_pj.values(), *energy.ann_energy_pj.values()]
    if not all(math.isfinite(number) and number >= 0.0 for number in numbers):
        yield "a count or an energy is negative or no number"
        return
    if energy.events > energy.spikes * (1 + RELATIVE) and record.strictness != "quantised":
        yield "more events than spikes"
    priced = {
        "per_spike": (energy.energy_pj, MAC_PJ * energy.macs + ACCUMULATE_PJ * energy.sops),
        "per_spike, ANN": (energy.ann_energy_pj, MAC_PJ * energy.ann_macs),
    }
    for name, (table, expected) in priced.items():
        found = table.get("per_spike")
        if found is None or not math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=1e-6):
            yield f"energy {name} is {found}, but the counts cost {expected:g} pJ"
    for name in ("spikes", "sops", "macs"):
        total, parts = getattr(energy, name), sum(getattr(layer, name) for layer in record.layers)
        if not math.isclose(total, parts, rel_tol=RELATIVE, abs_tol=1e-6):
            yield f"{name} are {total:g}, but those of the layers add up to {parts:g}"


def _steps(record: RunRecord) -> Iterator[str]:
    histogram = record.timesteps.histogram
    if sum(histogram) != record.n_test:
        yield f"{sum(histogram)} samples in the histogram of steps, {record.n_test} in the test"
        return
    mean = sum(steps * count for steps, count in enumerate(histogram)) / max(record.n_test, 1)
    if not math.isclose(mean, record.timesteps.mean, rel_tol=RELATIVE, abs_tol=1e-9):
        yield f"mean steps are {record.timesteps.mean:g}, but the histogram has {mean:g}"
    allowed = record.T + record.timesteps.warmup
    if len(histogram) - 1 > allowed:
        yield f"samples ran {len(histogram) - 1} steps of {allowed}"


def _strictness(record: RunRecord) -> Iterator[str]:
    if record.strictness not in STRICTNESS:
        yield f"strictness '{record.strictness}' is none of {', '.join(STRICTNESS)}"
    most = max((site.max_spikes or 0 for site in record.sites), default=0)
    if record.strictness == "binary" and most > 1:
        yield f"called binary, but a site may fire {most} spikes a step"
