"""One run: config in, record out."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.errors import DataError
from adacal.suite import environment
from adacal.suite.config import RunConfig, digest
from adacal.suite.foreign import plug_ins
from adacal.suite.labels import plain_value
from adacal.suite.records import (
    CalibrationCost,
    EnergyNumbers,
    Latency,
    LayerCost,
    MetricInfo,
    RunRecord,
    Site,
    Timesteps,
    WallTime,
    pack,
    record_id,
)
from adacal.suite.session import (
    Prepared,
    Progress,
    Session,
    ann_output,
    computing,
    draw,
    no_progress,
    redraw_both,
    to_cpu,
)
from adacal.suite.store import RecordStore
from adacal.suite.task import Batch, Evaluation, Task

if TYPE_CHECKING:
    from adacal.core.converted import Converted
    from adacal.core.energy import EnergyReport
    from adacal.methods.stages import Stages


def run(
    config: RunConfig,
    store: RecordStore,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = no_progress,
    session: Session | None = None,
) -> RunRecord:
    """Runs a config and stores its record.

    Args:
        config: what to run, from `adacal.suite.config`.
        store: where the record goes.
        device: torch device.
        threads: torch threads; None leaves them as they are.
        progress: called with (stage, samples done, samples in all).
        session: shares tasks and ANNs between runs; a new one by default.

    Raises:
        DataError: the store cannot be written (said before any computing), or data is missing.
    """
    store.prepare()
    with computing(threads):
        record = measure(config, session or Session(device=device), progress)
    store.add(record)
    return record


def identify(config: RunConfig, prepared: Prepared) -> str:
    """Returns the id the config's record will have."""
    return identity(config, prepared.task, prepared.fingerprint, prepared.checkpoint_sha256)


def identity(config: RunConfig, task: Task, fingerprint: str, checkpoint_sha256: str) -> str:
    """Returns the id of a config's record on data and weights of these hashes."""
    return record_id(
        task=task.name,
        data_fingerprint=fingerprint,
        model=task.model_name,
        checkpoint_sha256=checkpoint_sha256 or digest(config.model),
        method=config.method_name,
        method_options=config.method_options(),
        T=config.conversion.T,
        seed=config.seed,
        n_samples=config.calibration.n_samples,
    )


def measure(config: RunConfig, session: Session, progress: Progress = no_progress) -> RunRecord:
    """Converts, calibrates and measures one config; returns its record without storing it.

    What an earlier run of the session had computed is taken from there and named in the record's
    `shared`: "dataset and ANN", "ANN evaluation", "calibration samples", and the steps of methods
    (`adacal.methods.stages`), whose seconds the cost of the calibration contains all the same.
    """
    from adacal.core.energy import EnergyMeter

    prepared = session.prepare(config)
    task = prepared.task
    shared = _shared(config, prepared)
    clock = _Clock()
    ann_evaluation = session.evaluate_ann(prepared, progress)
    clock.lap("ann_s")
    converted, cost = convert(config, prepared, session.device, progress)
    shared += _stages(config, prepared).taken
    clock.lap("convert_s")
    meter = EnergyMeter()
    watch = _Watch(prepared, converted, session.device, meter)
    snn_evaluation = task.evaluate(
        watch.predict,
        config.evaluation.batch_size,
        lambda done, total: progress(config.label(), done, total),
    )
    steps = np.concatenate(watch.timesteps)
    redraws = redraw_both(prepared, snn_evaluation, steps.size)
    clock.lap("evaluate_s")
    latency = time_both(config, prepared, converted, session.device, progress)
    clock.lap("latency_s")
    prepared.runs += 1
    ann_correct, snn_correct = ann_evaluation.correct, snn_evaluation.correct
    return RunRecord(
        id=identify(config, prepared),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        task=task.name,
        dataset=task.dataset_name,
        data_fingerprint=prepared.fingerprint,
        model=task.model_name,
        checkpoint_sha256=prepared.checkpoint_sha256,
        method=config.method_name,
        method_options=config.method_options(),
        label=config.label(),
        strictness=converted.strictness(),
        T=config.conversion.T,
        uses_T=config.uses_T,
        seed=config.seed,
        metric=MetricInfo(**asdict(task.metric)),
        n_test=int(steps.size),
        ann=_floats(ann_evaluation),
        snn=_floats(snn_evaluation),
        ann_correct=None if ann_correct is None else pack(ann_correct),
        snn_correct=None if snn_correct is None else pack(snn_correct),
        redraws=redraws,
        divergence=float(np.mean(np.concatenate(watch.divergences))),
        energy=_energy(meter.report()),
        timesteps=Timesteps(
            mean=float(steps.mean()),
            histogram=[int(n) for n in np.bincount(steps.astype(np.int64))],
            warmup=converted.warmup,
            metric_by_step=watch.metric_by_step(),
            ms_per_step=task.ms_per_step if config.uses_T else None,
        ),
        mean_max_spikes=_optional(converted.mean_max_spikes()),
        latency=latency,
        calibration=cost,
        sites=[Site(**asdict(site)) for site in converted.report()],
        layers=_layers(meter.report()),
        search_log=dict(plain_value(dict(converted.search_log), "search_log")),
        wall=clock.wall(0.0 if "dataset and ANN" in shared else prepared.build_seconds),
        shared=shared,
        plug_ins=plug_ins(config),
        environment=environment.capture(session.device),
        config=config.plain(),
    )


def _shared(config: RunConfig, prepared: Prepared) -> list[str]:
    """Names what the session holds already of what a run needs."""
    held = {
        "dataset and ANN": prepared.runs > 0,
        "ANN evaluation": prepared.evaluation is not None,
        "calibration samples": (config.calibration.n_samples, config.seed) in prepared.draws,
    }
    return [name for name, is_held in held.items() if is_held]


def _stages(config: RunConfig, prepared: Prepared) -> Stages:
    """Returns what methods have computed on the calibration samples of a config."""
    from adacal.methods.stages import Stages

    found: Stages = prepared.stages.setdefault(
        (config.calibration.n_samples, config.seed), Stages()
    )
    return found


class _Clock:
    """Wall seconds of the stages of a run."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now

    def wall(self, prepare_s: float) -> WallTime:
        total_s = prepare_s + sum(self.laps.values())
        return WallTime(total_s=total_s, prepare_s=prepare_s, **self.laps)


def convert(
    config: RunConfig, prepared: Prepared, device: str, progress: Progress = no_progress
) -> tuple[Converted, CalibrationCost]:
    """Draws the calibration samples and builds the method's network, timed."""
    from adacal.methods.base import Calibration

    task = prepared.task
    n_samples = config.calibration.n_samples
    progress("convert", 0, 1)
    batches = draw(prepared, n_samples, config.seed, device)
    calibration = Calibration(
        T=config.conversion.T,
        batches=[(batch.inputs, batch.targets) for batch in batches],
        forward=task.spiking_forward,
        divergence=task.divergence,
        generator=torch.Generator().manual_seed(config.seed),
        stream=task.stream,
        event_input=task.event_input,
        stages=_stages(config, prepared),
    )
    calibration.stages.begin()
    example = task.example_input().to(device)
    _synchronise(device)
    start = time.perf_counter()
    converted = config.build_method().build(prepared.ann, example, calibration)
    converted.memory_mb = config.evaluation.memory_mb
    _synchronise(device)
    seconds = time.perf_counter() - start + calibration.stages.seconds
    progress("convert", 1, 1)
    indices = _indices(batches)
    return converted, CalibrationCost(
        seconds=seconds,
        samples=int(indices.size),
        indices_sha256=hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest(),
    )


def time_both(
    config: RunConfig,
    prepared: Prepared,
    converted: Converted,
    device: str,
    progress: Progress = no_progress,
) -> Latency | None:
    """Times ANN and SNN in turns on the first test batch, without energy counting.

    An untimed call of the ANN goes first; the SNN has just been run on the whole test set. Medians
    are over `evaluation.latency_repeats` calls.
    """
    repeats = config.evaluation.latency_repeats
    if repeats == 0:
        return None
    batch = next(iter(prepared.task.test_batches(config.evaluation.batch_size)))
    inputs = batch.inputs.to(device)
    size = int(batch.indices.numel())
    calls: tuple[Callable[[], Any], Callable[[], Any]] = (
        lambda: ann_output(prepared, inputs),
        lambda: _predict(converted, inputs),
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    calls[0]()
    for repeat in range(repeats):
        progress("latency", repeat, repeats)
        for call, times in zip(calls, seconds, strict=True):
            _synchronise(device)
            start = time.perf_counter()
            call()
            _synchronise(device)
            times.append(time.perf_counter() - start)
    ann_ms, snn_ms = (1e3 * statistics.median(times) / size for times in seconds)
    return Latency(
        ann_ms=ann_ms,
        snn_ms=snn_ms,
        batch=size,
        repeats=repeats,
        threads=torch.get_num_threads(),
        device=device,
    )


@dataclass
class _Watch:
    """Predicts for `Task.evaluate` and notes timesteps and divergence batch by batch."""

    prepared: Prepared
    converted: Converted
    device: str
    meter: Any
    timesteps: list[np.ndarray] = field(default_factory=list)
    divergences: list[np.ndarray] = field(default_factory=list)
    by_step: list[Tensor] = field(default_factory=list)

    def predict(self, inputs: Tensor) -> Any:
        moved = inputs.to(self.device)
        prediction = _predict(self.converted, moved, self.meter)
        output = to_cpu(prediction.output)
        position = len(self.timesteps)
        kept = self.prepared.outputs
        ann = kept[position] if kept is not None else to_cpu(ann_output(self.prepared, moved))
        self.timesteps.append(prediction.timesteps.detach().cpu().numpy())
        self.divergences.append(self.prepared.task.divergence(ann, output).detach().numpy())
        if prediction.by_step is not None:
            self.by_step.append(prediction.by_step.detach().cpu())
        return output

    def metric_by_step(self) -> list[float] | None:
        if len(self.by_step) < len(self.timesteps):
            return None
        return self.prepared.task.metric_by_step(self.by_step)


@torch.no_grad()
def _predict(converted: Converted, inputs: Tensor, meter: Any = None) -> Any:
    return converted.predict(inputs, meter)


def _energy(report: EnergyReport) -> EnergyNumbers:
    return EnergyNumbers(
        spikes=report.spikes,
        events=report.events,
        sops=report.sops,
        macs=report.macs,
        ann_macs=report.ann_macs,
        energy_pj=report.energy_pj,
        ann_energy_pj=report.ann_energy_pj,
    )


def _layers(report: EnergyReport) -> list[LayerCost]:
    return [
        LayerCost(name=layer.name, spikes=layer.spikes, sops=layer.sops, macs=layer.macs)
        for layer in report.layers
    ]


def _floats(evaluation: Evaluation) -> dict[str, float]:
    return {name: float(value) for name, value in evaluation.metrics.items()}


def _optional(value: float | None) -> float | None:
    return None if value is None else float(value)


def _indices(batches: list[Batch]) -> np.ndarray:
    if not batches:
        raise DataError("the task gave no calibration batches; check calibration.n_samples")
    return np.concatenate([np.asarray(batch.indices.cpu()).reshape(-1) for batch in batches])


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
