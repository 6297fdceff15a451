"""Runs a record again and compares the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adacal.core.errors import DataError
from adacal.suite.config import resolve
from adacal.suite.environment import MISSING, Environment
from adacal.suite.records import RunRecord
from adacal.suite.runner import identify, measure
from adacal.suite.session import Progress, Session, computing, no_progress

SAME_MACHINE = 1e-6
OTHER_MACHINE = 0.02
OTHER_METRIC = 0.5
ROUNDED = 0.051
OTHER_DIVERGENCE = 0.1


@dataclass(frozen=True)
class Comparison:
    """One number, recorded and measured again; `allowed` says in words what may differ."""

    quantity: str
    recorded: float | str | None
    measured: float | str | None
    allowed: str
    ok: bool


@dataclass(frozen=True)
class Verification:
    """What verifying a record found.

    Attributes:
        comparisons: one a number.
        exact: whether machine and versions agree, so that nothing may differ.
        explanation: one sentence on the tolerances used.
    """

    comparisons: list[Comparison]
    exact: bool
    explanation: str

    @property
    def ok(self) -> bool:
        """Whether every number agrees."""
        return all(comparison.ok for comparison in self.comparisons)


def verify(
    record: RunRecord,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = no_progress,
    session: Session | None = None,
) -> Verification:
    """Runs a record's config again and compares.

    With the same processor and vector instructions, torch, device and threads, every sample must
    come out as recorded and counts agree to rounding (1e-6). Elsewhere, and where a record does not
    say, float additions may run in another order, which tips single spikes: the metric may differ
    by 0.5 units, counts and energy by 2 %, the divergence by 10 %. Wall times are never compared.
    The main metric of a record without redraws may be one that an evaluator rounded, as now it is
    not, and may differ by 0.051 everywhere.

    Raises:
        DataError: data or checkpoint are not those of the record.
    """
    session = session or Session(device=device)
    config = resolve(record.config, origin=f"record {record.id}")
    with computing(threads or record.environment.threads):
        prepared = session.prepare(config)
        require_same("dataset", record.data_fingerprint, prepared.fingerprint)
        require_same("checkpoint", record.checkpoint_sha256, prepared.checkpoint_sha256)
        now = measure(config, session, progress)
    identity = identify(config, prepared)
    exact = record.environment.computes_like(now.environment)
    comparisons = [
        _words("id", record.id, identity),
        _words("calibration samples", *_calibration(record, now)),
        *_numbers(record, now, exact),
    ]
    if exact:
        explanation = "same processor, torch, device and threads: counts must agree exactly"
    else:
        where = "another processor, torch, device or number of threads"
        if record.environment.instructions is None:
            where = "the record does not say which vector instructions it was computed with"
        explanation = (
            f"{where}: float additions may run in another order and tip single spikes, so the "
            f"metric may differ by {OTHER_METRIC}, counts by {OTHER_MACHINE:.0%}, the divergence "
            f"by {OTHER_DIVERGENCE:.0%}"
        )
    old, new = record.environment, now.environment
    if (old.commit, old.dirty) != (new.commit, new.dirty) or old.dirty:
        explanation += "; the code is another, or was changed, since: " + " and ".join(
            f"{when} {env.commit[:10] or 'no commit'}{' with changes' if env.dirty else ''}"
            for when, env in (("then", old), ("now", new))
        )
    explanation += _moved(old, new)
    return Verification(comparisons, exact, explanation)


def _moved(old: Environment, new: Environment) -> str:
    """Names the libraries that were of another version then, where the record knows them."""
    if old.libraries is None or new.libraries is None:
        return ""
    then, now = old.versions(), new.versions()
    moved = [
        f"{name} {then.get(name, MISSING)} then, {now.get(name, MISSING)} now"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return f"; other versions: {', '.join(moved)}" if moved else ""


def _numbers(record: RunRecord, now: RunRecord, exact: bool) -> Iterator[Comparison]:
    metric = 0.0 if exact else OTHER_METRIC
    relative = SAME_MACHINE if exact else OTHER_MACHINE
    for side, old, new in (("ann", record.ann, now.ann), ("snn", record.snn, now.snn)):
        for name, value in old.items():
            rounded = name == record.metric.name and not record.redraws and bool(now.redraws)
            allowed = max(metric, ROUNDED) if rounded else metric
            yield _absolute(f"{side} {name}", value, new.get(name, math.nan), allowed)
    yield from _redraws(record, now, exact)
    if exact and record.snn_correct is not None:
        same = "as recorded" if record.snn_correct == now.snn_correct else "others"
        yield _words("samples got right", "as recorded", same)
    for name in ("spikes", "events", "sops", "macs", "ann_macs"):
        yield _relative(name, getattr(record.energy, name), getattr(now.energy, name), relative)
    for model, value in record.energy.energy_pj.items():
        new_value = now.energy.energy_pj.get(model, math.nan)
        yield _relative(f"energy_pj {model}", value, new_value, relative)
    curve = now.timesteps.metric_by_step or []
    for step, value in enumerate(record.timesteps.metric_by_step or []):
        found = curve[step] if step < len(curve) else math.nan
        yield _absolute(f"metric after step {step + 1}", value, found, metric)
    yield _relative("mean timesteps", record.timesteps.mean, now.timesteps.mean, relative)
    if record.divergence is not None and now.divergence is not None:
        loose = SAME_MACHINE if exact else OTHER_DIVERGENCE
        yield _relative("divergence", record.divergence, now.divergence, loose)


def _redraws(record: RunRecord, now: RunRecord, exact: bool) -> Iterator[Comparison]:
    """Every redraw on the same machine, elsewhere where the middle 95 % of them end."""
    recorded, measured = record.redrawn(), now.redrawn()
    if recorded is None:
        return
    if measured is None:
        yield _words("redrawn samples", "as recorded", "none")
        return
    for side, old, new in zip(("ann", "snn"), recorded, measured, strict=True):
        if exact:
            same = old.shape == new.shape and np.allclose(old, new, SAME_MACHINE, equal_nan=True)
            word = "as recorded" if same else "others"
            yield _words(f"{side} on redrawn samples", "as recorded", word)
            continue
        for share in (2.5, 97.5):
            before, after = (float(np.nanpercentile(values, share)) for values in (old, new))
            name = f"{side} on redrawn samples, {share:g} % below"
            yield _absolute(name, before, after, OTHER_METRIC)


def _words(quantity: str, recorded: str, measured: str) -> Comparison:
    return Comparison(quantity, recorded, measured, "nothing", recorded == measured)


def _absolute(quantity: str, recorded: float, measured: float, allowed: float) -> Comparison:
    ok = recorded == measured or abs(recorded - measured) <= allowed
    return Comparison(quantity, recorded, measured, f"± {allowed:g}" if allowed else "nothing", ok)


def _relative(quantity: str, recorded: float, measured: float, allowed: float) -> Comparison:
    both_nan = math.isnan(recorded) and math.isnan(measured)
    ok = both_nan or math.isclose(recorded, measured, rel_tol=allowed, abs_tol=1e-9)
    return Comparison(quantity, recorded, measured, f"± {allowed:g} of it", ok)


def _calibration(record: RunRecord, now: RunRecord) -> tuple[str, str]:
    old, new = record.calibration, now.calibration
    return (
        f"{old.samples}:{old.indices_sha256[:12]}",
        f"{new.samples}:{new.indices_sha256[:12]}",
    )


def require_same(what: str, recorded: str, found: str) -> None:
    """Raises a DataError unless a fingerprint is the one recorded."""
    if recorded != found:
        raise DataError(
            f"the {what} here ({found or 'none'}) is not the record's ({recorded or 'none'}); "
            f"use the {what} the record was made with"
        )
