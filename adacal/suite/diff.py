"""Two records side by side: what was not the same, and what that did to the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adacal.suite.intervals import bootstrap_interval, redrawn_interval
from adacal.suite.records import RunRecord

KINDS = ("config", "code", "plug-ins", "data", "checkpoint", "machine", "versions")
OTHER_VERSIONS = "versions of other libraries"
MOST_LAYERS = 5


@dataclass(frozen=True)
class Cause:
    """Something that was not the same; `kind` is one of `KINDS`."""

    kind: str
    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Effect:
    """A number of both records; None where a record has none."""

    quantity: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """Returns second minus first."""
        if self.first is None or self.second is None:
            return None
        return self.second - self.first

    @property
    def ratio(self) -> float | None:
        """Returns second over first; None where that says nothing."""
        if self.first is None or self.second is None or not self.first:
            return None
        return self.second / self.first


@dataclass(frozen=True)
class RecordDiff:
    """What `diff` found.

    Attributes:
        causes: what was not the same about the runs.
        effects: the numbers of both.
        layers: SOPs of the layers that moved most.
        notes: sentences: what is the same, which samples moved, where φ moved.
    """

    causes: list[Cause]
    effects: list[Effect]
    layers: list[Effect]
    notes: list[str]


def diff(first: RunRecord, second: RunRecord) -> RecordDiff:
    """Compares two records; nothing is run."""
    causes = list(_causes(first, second))
    notes = [
        _same(causes, _unknown(first, second)),
        *_samples(first, second),
        *_sites(first, second),
    ]
    if first.environment.dirty and second.environment.dirty:
        notes.append(
            "Both were made with changes that were not committed, so the code may differ where the "
            "commits agree."
        )
    return RecordDiff(causes, list(_effects(first, second)), _layers(first, second), notes)


def _causes(first: RunRecord, second: RunRecord) -> Iterator[Cause]:
    groups: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "config": (_config(first), _config(second)),
        "code": (_environment(first, "commit", "dirty", "adacal"),
                 _environment(second, "commit", "dirty", "adacal")),
        "plug-ins": _plug_ins(first, second),
        "data": (_data(first), _data(second)),
        "checkpoint": ({"sha256": first.checkpoint_sha256}, {"sha256": second.checkpoint_sha256}),
        "machine": (_machine(first), _machine(second)),
        "versions": _versions(first, second),
    }  # fmt: skip
    for kind in KINDS:
        own, other = groups[kind]
        for key in sorted({*own, *other}):
            if own.get(key) != other.get(key):
                yield Cause(kind, key, _word(own.get(key)), _word(other.get(key)))


def _config(record: RunRecord) -> dict[str, Any]:
    """Every setting by its dotted name, the method's defaults written out."""
    method = {"type": record.method, **record.method_options}
    return dict(_flat({**record.config, "method": method}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _environment(record: RunRecord, *keys: str) -> dict[str, Any]:
    return {key: getattr(record.environment, key) for key in keys}


def _plug_ins(first: RunRecord, second: RunRecord) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the plug-ins of both by name; nothing where a record is from before they were."""
    if first.plug_ins is None or second.plug_ins is None:
        return {}, {}
    own, other = (
        {it.name: f"{it.version or 'no package'} ({it.sha256[:12] or 'no file'})" for it in found}
        for found in (first.plug_ins, second.plug_ins)
    )
    return own, other


def _versions(first: RunRecord, second: RunRecord) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the versions of both; of Python, torch and NumPy alone where one knows no others."""
    keys = ("python", "torch", "numpy")
    if first.environment.libraries is None or second.environment.libraries is None:
        return _environment(first, *keys), _environment(second, *keys)
    return first.environment.versions(), second.environment.versions()


def _unknown(first: RunRecord, second: RunRecord) -> list[str]:
    """Names what cannot be compared, since a record is from before it was noted."""
    both = (first, second)
    unknown = ["plug-ins"] if any(it.plug_ins is None for it in both) else []
    if any(it.environment.libraries is None for it in both):
        unknown.append(OTHER_VERSIONS)
    return unknown


def _machine(record: RunRecord) -> dict[str, Any]:
    keys = ("processor", "instructions", "accelerator", "device", "threads", "platform")
    return _environment(record, *keys)


def _data(record: RunRecord) -> dict[str, Any]:
    return {
        "fingerprint": record.data_fingerprint,
        "test samples": record.n_test,
        "calibration samples": record.calibration.samples,
        "which calibration samples": record.calibration.indices_sha256[:12],
    }


def _word(value: Any) -> str:
    if value is None:
        return "–"
    return str(value) if value != "" else "none"


def _same(causes: list[Cause], unknown: list[str]) -> str:
    differ = [kind for kind in KINDS if any(cause.kind == kind for cause in causes)]
    same = [kind for kind in KINDS if kind not in (*differ, *unknown)]
    parts = []
    if differ:
        parts.append(f"different: {', '.join(differ)}")
    if same:
        parts.append(f"the same: {', '.join(same)}")
    if unknown:
        parts.append(f"not recorded in both: {', '.join(unknown)}")
    return "; ".join(parts).capitalize() + "."


def _effects(first: RunRecord, second: RunRecord) -> Iterator[Effect]:
    for side in ("ann", "snn"):
        own, other = getattr(first, side), getattr(second, side)
        for name in dict.fromkeys([*own, *other]):
            who = "ANN" if side == "ann" else "converted"
            yield Effect(f"{name}, {who}", own.get(name), other.get(name))
    yield Effect("divergence from the ANN", first.divergence, second.divergence)
    for name in ("spikes", "events", "sops", "macs"):
        yield Effect(name, getattr(first.energy, name), getattr(second.energy, name))
    for title, field in (("energy", "energy_pj"), ("ANN's energy", "ann_energy_pj")):
        own, other = getattr(first.energy, field), getattr(second.energy, field)
        for model in dict.fromkeys([*own, *other]):
            pair = (own.get(model), other.get(model))
            values = [None if value is None else value / 1e6 for value in pair]
            yield Effect(f"{title}, {model} (µJ)", *values)
    yield Effect("mean timesteps", first.timesteps.mean, second.timesteps.mean)
    yield Effect("mean φ", first.mean_max_spikes, second.mean_max_spikes)
    yield Effect("calibration (s)", first.calibration.seconds, second.calibration.seconds)
    for title, field in (("wall time (ms/sample)", "snn_ms"), ("ANN's wall time", "ann_ms")):
        times = [getattr(record.latency, field, None) for record in (first, second)]
        yield Effect(title, *times)


def _layers(first: RunRecord, second: RunRecord) -> list[Effect]:
    own = {layer.name: layer.sops for layer in first.layers}
    other = {layer.name: layer.sops for layer in second.layers}
    effects = [Effect(name, own[name], other[name]) for name in own if name in other]
    moved = [effect for effect in effects if effect.difference]
    moved.sort(key=lambda effect: -abs(effect.difference or 0.0))
    return moved[:MOST_LAYERS]


def _samples(first: RunRecord, second: RunRecord) -> Iterator[str]:
    """Which test samples moved, where both saw the same ones."""
    own, other = first.correct(), second.correct()
    same = (first.data_fingerprint, first.n_test) == (second.data_fingerprint, second.n_test)
    if not same:
        return
    yield from _redraws(first, second)
    if own is None or other is None:
        return
    before, after = own[1], other[1]
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    mean = 100.0 * (float(after.mean()) - float(before.mean()))
    low, high = bootstrap_interval(after.astype(np.float64) - before)
    yield (
        f"Of {first.n_test:,} test samples {lost:,} are right in the first alone and {won:,} in "
        f"the second alone: {mean:+.2f} points, 95 % [{100 * low:.2f}, {100 * high:.2f}] over "
        "samples."
    )


def _redraws(first: RunRecord, second: RunRecord) -> Iterator[str]:
    """How much the main metric moved, where both have it on the same redrawn test sets."""
    own, other = first.redrawn(), second.redrawn()
    metric = first.metric
    if own is None or other is None or metric != second.metric or own[1].size != other[1].size:
        return
    moved = second.snn[metric.name] - first.snn[metric.name]
    low, high = redrawn_interval(other[1] - own[1])
    unit = "points" if metric.unit == "%" else metric.unit
    yield (
        f"On the same {first.n_test:,} test samples {metric.words} moves by {moved:+.2f} {unit}, "
        f"95 % [{low:.2f}, {high:.2f}] over {own[1].size} redraws of them."
    )


def _sites(first: RunRecord, second: RunRecord) -> Iterator[str]:
    own = {site.name: site for site in first.sites}
    pairs = [(own[site.name], site) for site in second.sites if site.name in own]
    if not pairs:
        return
    for title, field in (("φ", "max_spikes"), ("ρ", "ratio"), ("mean θ", "threshold_mean")):
        moved = sum(getattr(a, field) != getattr(b, field) for a, b in pairs)
        if moved:
            yield f"{title} differs at {moved} of {len(pairs)} sites."
