"""What a run leaves behind: one JSON record, its schema and its identity."""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adacal.core.errors import DataError
from adacal.suite.config import digest
from adacal.suite.environment import Environment
from adacal.suite.foreign import PlugIn
from adacal.suite.migrations import SCHEMA_VERSION, NewerSchema, migrate
from adacal.suite.redraws import Redraws


class DamagedRecord(DataError):
    """A file holds no record: it was cut short, changed by hand, or comes from elsewhere."""


class _Part(BaseModel):
    # NaN and infinity are kept as strings: plain JSON has no word for them.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class MetricInfo(_Part):
    """The task's main metric; `name` is a key of `RunRecord.ann` and `RunRecord.snn`."""

    name: str
    unit: str
    higher_is_better: bool = True

    @property
    def words(self) -> str:
        """Returns the name as people write it."""
        return metric_words(self.name)


_METRIC_WORDS = {"miou": "mIoU", "iou": "IoU", "map": "mAP", "ap": "AP", "map50": "mAP50"}


def metric_words(name: str) -> str:
    """Returns a metric's name as people write it, without its unit.

    >>> metric_words("instance_miou_pct"), metric_words("map_50_95_pct")
    ('instance mIoU', 'mAP 50 95')
    """
    return " ".join(_METRIC_WORDS.get(word, word) for word in name.removesuffix("_pct").split("_"))


class EnergyNumbers(_Part):
    """Operations and energy per test sample.

    Attributes:
        spikes: spikes; each of the k spikes of a burst counts.
        events: non-zero outputs; a burst counts once.
        sops: accumulates, one a spike and synapse.
        macs: multiply-accumulates of the converted network (analogue inputs).
        ann_macs: multiply-accumulates of the ANN.
        energy_pj: energy model to picojoules of the converted network.
        ann_energy_pj: energy model to picojoules of the ANN.
    """

    spikes: float
    events: float
    sops: float
    macs: float
    ann_macs: float
    energy_pj: dict[str, float]
    ann_energy_pj: dict[str, float]


class Timesteps(_Part):
    """Steps used; `histogram[t]` counts the test samples that stopped after t steps.

    `warmup`: steps before the T whose output is used; they are among those used and paid for.
    """

    mean: float
    histogram: list[int]
    warmup: int = 0
    metric_by_step: list[float] | None = None
    ms_per_step: float | None = None

    def recording_ms(self) -> float | None:
        """Returns how much of a recording was seen before the answer, in ms; None if unknown."""
        known = self.ms_per_step is not None and self.mean > 0  # controls run no steps
        return self.mean * (self.ms_per_step or 0.0) if known else None


class Latency(_Part):
    """Wall clock, medians over `repeats` interleaved calls without energy counting."""

    ann_ms: float
    snn_ms: float
    batch: int
    repeats: int
    threads: int
    device: str


class CalibrationCost(_Part):
    """What the conversion took: wall seconds, and which training samples it saw."""

    seconds: float
    samples: int
    indices_sha256: str


class Site(_Part):
    """One call of an activation and what became of it."""

    name: str
    kind: str
    function: str
    shape: list[int]
    threshold_mean: float | None = None
    threshold_min: float | None = None
    threshold_max: float | None = None
    max_spikes: int | None = None
    ratio: float = 1.0
    rate: float | None = None


class LayerCost(_Part):
    """Operations of one layer, per test sample."""

    name: str
    spikes: float
    sops: float
    macs: float


class WallTime(_Part):
    """Wall seconds of a run. What an earlier run of the process had done counts as 0.

    Attributes:
        total_s: of everything.
        prepare_s: of reading the dataset and building the ANN.
        ann_s: of evaluating the ANN on the test set.
        convert_s: of drawing calibration samples, converting and calibrating.
        evaluate_s: of running the test set through the converted network, energy counted.
        latency_s: of the timed calls.
    """

    total_s: float
    prepare_s: float
    ann_s: float
    convert_s: float
    evaluate_s: float
    latency_s: float


class RunRecord(_Part):
    """Everything one run measured, and everything needed to run it again.

    `ann` and `snn` map metric names to values; names carry the unit (`accuracy_pct`).
    `ann_correct` and `snn_correct` are packed bools, one a test sample, see `unpack`.
    `redraws` has the main metric on redrawn test sets, see `adacal.suite.redraws`.
    `divergence` is the task's divergence of SNN from ANN, mean over test samples.
    `shared` names what an earlier run of the same process had computed, see `runner.measure`.
    `plug_ins` names the code from elsewhere that brought a part of the run.
    `wall`, `shared` and `plug_ins` are None in records from before they were noted.
    """

    schema_version: int = SCHEMA_VERSION
    id: str
    status: Literal["complete"] = "complete"
    created: str
    task: str
    dataset: str
    data_fingerprint: str
    model: str
    checkpoint_sha256: str
    method: str
    method_options: dict[str, Any]
    label: str
    strictness: str
    T: int = Field(gt=0)
    uses_T: bool = True
    seed: int
    metric: MetricInfo
    n_test: int
    ann: dict[str, float]
    snn: dict[str, float]
    ann_correct: str | None = None
    snn_correct: str | None = None
    redraws: Redraws | None = None
    divergence: float | None
    energy: EnergyNumbers
    timesteps: Timesteps
    mean_max_spikes: float | None
    latency: Latency | None
    calibration: CalibrationCost
    sites: list[Site]
    layers: list[LayerCost]
    search_log: dict[str, Any]
    wall: WallTime | None
    shared: list[str] | None
    plug_ins: list[PlugIn] | None
    environment: Environment
    config: dict[str, Any]

    @model_validator(mode="after")
    def _metric_is_measured(self) -> RunRecord:
        for side, metrics in (("ann", self.ann), ("snn", self.snn)):
            if self.metric.name not in metrics:
                raise ValueError(f"{side} metrics lack '{self.metric.name}'")
        return self

    def correct(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns which test samples ANN and SNN got right, two bool arrays [n_test], or None."""
        if self.ann_correct is None or self.snn_correct is None:
            return None
        return unpack(self.ann_correct, self.n_test), unpack(self.snn_correct, self.n_test)

    def redrawn(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the metric of ANN and SNN on redrawn test sets, two arrays [draws], or None."""
        return None if self.redraws is None else self.redraws.values()

    def numbers(self) -> dict[str, Any]:
        """Returns what a second run must give again: all but times, machine and place."""
        place = {"created", "latency", "wall", "shared", "plug_ins", "environment"}
        values = self.model_dump(mode="json", exclude=place)
        values["calibration"].pop("seconds")
        return values

    def to_json(self) -> str:
        """Returns the record as indented JSON."""
        return self.model_dump_json(indent=1) + "\n"

    def filename(self) -> str:
        """Returns a readable file name that ends with the id."""
        words = [self.dataset, self.model, _file_word(self.label)]
        if self.uses_T:
            words.append(f"T{self.T}")
        words += [f"s{self.seed}", self.id]
        return "-".join(_file_word(word) for word in words) + ".json"


def _file_word(text: str) -> str:
    """Returns the text with what file names should not hold replaced, at most 60 characters.

    >>> _file_word("burst(max_spikes=4)")
    'burst_max_spikes=4'
    """
    return re.sub(r"[^\w.=-]+", "_", text, flags=re.ASCII)[:60].strip("_")


def record_id(
    *,
    task: str,
    data_fingerprint: str,
    model: str,
    checkpoint_sha256: str,
    method: str,
    method_options: dict[str, Any],
    T: int,
    seed: int,
    n_samples: int,
) -> str:
    """Returns the identity of a run, 16 hex digits: what was asked, of which data and weights."""
    return digest(
        {
            "task": task,
            "data": data_fingerprint,
            "model": model,
            "checkpoint": checkpoint_sha256,
            "method": method,
            "options": method_options,
            "T": T,
            "seed": seed,
            "calibration_samples": n_samples,
        }
    )


def pack(correct: np.ndarray) -> str:
    """Packs bools [N] into base64 text.

    >>> unpack(pack(np.array([True, False, True])), 3).tolist()
    [True, False, True]
    """
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode()


def unpack(text: str, count: int) -> np.ndarray:
    """Returns the bools [count] that `pack` packed.

    Raises:
        DataError: the text is damaged or of another length.
    """
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"per-sample results are not base64 ({error})") from error
    if bits.size != (count + 7) // 8:
        raise DataError(f"per-sample results hold {bits.size} bytes; {count} samples need another")
    return np.unpackbits(bits, count=count).astype(bool)


def read_record(path: Path) -> RunRecord:
    """Reads one record, of this schema or an older one.

    Raises:
        NewerSchema: a newer adacal wrote it.
        DamagedRecord: the file is cut short, changed or foreign.
        DataError: the file is missing or cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"the record {path} cannot be read ({error}); check the path") from error
    except UnicodeDecodeError as error:
        raise DamagedRecord(f"{path} is not a text file ({error}); it is no record") from error
    return parse_record(text, str(path))


def parse_record(text: str, origin: str) -> RunRecord:
    """Returns the record a JSON text holds; `origin` is what error messages call it.

    Raises:
        NewerSchema: a newer adacal wrote it.
        DamagedRecord: it is cut short, changed or foreign.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(f"{origin} is not JSON ({error}); it was damaged or cut short") from (
            error
        )
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise DamagedRecord(f"{origin} is JSON but not an adacal record (no schema_version)")
    try:
        record = RunRecord.model_validate(migrate(values, origin))
        record.correct()
        record.redrawn()
    except NewerSchema:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "record"
        raise DamagedRecord(f"{origin} is not a valid record ({where}: {first['msg']})") from error
    except DataError as error:
        raise DamagedRecord(f"{origin} is not a valid record ({error})") from error
    return record
