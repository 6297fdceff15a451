"""Records to ranked tables: one table a (task, dataset, model), one row a (method, T)."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adacal.core.errors import DataError, unknown_name
from adacal.suite.families import retraining
from adacal.suite.intervals import (
    beaten,
    bootstrap_interval,
    pareto_front,
    redrawn_interval,
    tied_ranks,
)
from adacal.suite.provenance import measured_on
from adacal.suite.ranking import ENERGY_MODELS, Filters, Ranking
from adacal.suite.records import MetricInfo, RunRecord

if TYPE_CHECKING:
    import pandas as pd

CONTROLS = ("none", "quantised")
"""Strictness classes of the rows that stand beside the ranking: the ANN, quantised ANNs."""

DEFAULT_SAMPLES = 128
ONE_SAMPLE = 1
"""What a method that looks at none is given (`adacal.suite.config.resolve`)."""


@dataclass(frozen=True)
class Board:
    """One ranked table with what it is about.

    Attributes:
        checkpoint: sha256 of the ANN's weights.
        n_test: test samples.
        rows: what `summarise` returns, ranked.
        measured: where the numbers come from: machine, versions, commits, in a sentence.
        retraining: what the network was retrained from, in a sentence; empty if it was not.
    """

    task: str
    dataset: str
    model: str
    metric: str
    unit: str
    checkpoint: str
    n_test: int
    ranking: Ranking
    rows: pd.DataFrame
    measured: str = ""
    retraining: str = ""

    @property
    def title(self) -> str:
        """Returns dataset, model and task in words."""
        return f"{self.dataset} / {self.model} ({self.task})"

    @property
    def key(self) -> str:
        """Returns a name for files."""
        return f"{self.dataset}_{self.model}"


def boards(
    records: Sequence[RunRecord], ranking: Ranking, filters: Filters | None = None
) -> list[Board]:
    """Makes the ranked tables of all records, sorted by task, dataset and model.

    Records of one task, dataset and model that used other data or weights get a table of their own.

    Raises:
        DataError: no record passes the filters, or none has the metric.
    """
    filters = filters or Filters()
    filters.require_known(records)
    having = _with_metric(records, ranking.metric)
    chosen = {record.id for record in having if filters.keep(record)}
    if not chosen:
        cure = "loosen the filters" if records else "run `adacal matrix embedded` first"
        raise DataError(f"no record to show; {cure}")
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in having:
        where = (record.task, record.dataset, record.model)
        key = (*where, record.data_fingerprint, record.checkpoint_sha256)
        groups.setdefault(key, []).append(record)
    return [
        _board(groups[key], ranking, chosen)
        for key in sorted(groups)
        if any(record.id in chosen for record in groups[key])
    ]


def file_keys(found: Sequence[Board]) -> list[str]:
    """Returns a name for the files of each board; weights tell those of one name apart."""
    names = [board.key for board in found]
    return [
        f"{board.key}_{board.checkpoint[:8]}" if names.count(board.key) > 1 else board.key
        for board in found
    ]


def summarise(
    records: Sequence[RunRecord],
    energy_model: str = "per_spike",
    metric: str | None = None,
    *,
    intervals: bool = True,
) -> pd.DataFrame:
    """Returns one row a (method, options, T, calibration samples), unranked; seeds are averaged.

    Columns end in their unit. `label` is what tables call a row, an unusual number of calibration
    samples included; `record_label` is the records' own, the same at any number. `drop`,
    `drop_low`, `drop_high` are the loss against the ANN in units of the metric, positive is worse.
    `interval` says what the last two are: `bootstrap`, the 95 % interval over samples and seeds,
    for accuracies, whose right and wrong samples are recorded, and for main metrics recorded on
    redrawn test sets; `range`, the smallest and largest of the seeds; `none`, a single number.
    `pareto` marks the rows, controls aside, that no other beats in energy and metric, and
    `beaten_by_quantised` those that a quantised ANN beats.

    Args:
        records: of one task, dataset and model.
        energy_model: what `energy_uj` and the ratios mean; all readings have columns, too.
        metric: which of the recorded metrics counts; the task's main one by default.
        intervals: whether to draw bootstrap intervals, which take most of the time; else ranges.

    Raises:
        DataError: a record has no such energy model.
    """
    import pandas as pd

    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        samples = record.calibration.samples if record.strictness != "none" else 0
        key = (record.label, record.T if record.uses_T else 0, samples, record.strictness)
        groups.setdefault(key, []).append(record)
    rows = [
        _row(sorted(group, key=_seed), energy_model, metric_of(group[0], metric), intervals)
        for group in groups.values()
    ]
    table = pd.DataFrame(rows)
    quantised = table[[has_levels_of_spikes(group[0]) for group in groups.values()]]
    table["energy_to_quantised"] = [_to_quantised(row, quantised) for _, row in table.iterrows()]
    table["pareto"] = _front(table)
    table["beaten_by_quantised"] = beaten(
        table["energy_uj"].to_numpy(),
        table["drop"].to_numpy(),
        (table["strictness"] == "quantised").to_numpy(),
    )
    return table


def has_levels_of_spikes(record: RunRecord) -> bool:
    """Says whether a row is a quantised ANN with as many levels as a neuron sends spikes.

    One whose thresholds a search has chosen has levels to spare, so φT says nothing of its codes.
    """
    return record.strictness == "quantised" and "thresholds" not in record.method_options


def metric_of(record: RunRecord, name: str | None = None) -> MetricInfo:
    """Returns the metric of that name, the main one by default.

    Of others the name tells the unit (`_pct`) and, with `error` or `loss` in it, the direction.
    """
    if name is None or name == record.metric.name:
        return record.metric
    falls = any(word in name.lower() for word in ("error", "loss", "divergence"))
    unit = "%" if name.endswith("_pct") else ""
    return MetricInfo(name=name, unit=unit, higher_is_better=not falls)


def _with_metric(records: Sequence[RunRecord], metric: str | None) -> list[RunRecord]:
    if metric is None:
        return list(records)
    having = [record for record in records if metric in record.ann and metric in record.snn]
    if records and not having:
        known = {name for record in records for name in record.snn}
        raise DataError(unknown_name("metric among the records", metric, known))
    return having


def _board(records: Sequence[RunRecord], ranking: Ranking, chosen: Set[str]) -> Board:
    """Compares a row with all controls there are, whether they pass the filters or not."""
    rows = summarise(records, ranking.energy_model, ranking.metric)
    kept = [record for record in records if record.id in chosen]
    shown = rows["records"].map(lambda ids: not chosen.isdisjoint(ids.split()))
    rows = rows[shown].reset_index(drop=True)
    rows["pareto"] = _front(rows)
    first = kept[0]
    metric = metric_of(first, ranking.metric)
    return Board(
        task=first.task,
        dataset=first.dataset,
        model=first.model,
        metric=metric.name,
        unit=metric.unit,
        checkpoint=first.checkpoint_sha256,
        n_test=first.n_test,
        ranking=ranking,
        rows=rank(rows, ranking),
        measured=measured_on(kept),
        retraining=retraining(first),
    )


def _front(table: pd.DataFrame) -> Any:
    cost, loss = table["energy_uj"].to_numpy(), table["drop"].to_numpy()
    return pareto_front(cost, loss, ~_is_control(table).to_numpy())


def rank(table: pd.DataFrame, ranking: Ranking) -> pd.DataFrame:
    """Sorts the rows and numbers them; `rank` is 0 for controls and rows out of the limits."""
    allowed = ~_is_control(table)
    by_energy = ranking.by == "energy"
    if by_energy:
        allowed &= table["drop"] <= ranking.max_drop
        keys = ["energy_uj", "drop", "label", "T"]
    else:
        keys = ["drop", "energy_uj", "label", "T"]
    if ranking.max_energy_uj is not None:
        allowed &= table["energy_uj"] <= ranking.max_energy_uj
    outside = ~allowed & ~_is_control(table)
    first = ~table["pareto"] if ranking.by == "pareto" else table["pareto"] & False
    order = table.assign(_outside=outside, _first=first)
    order = order.sort_values(["_outside", "_first", *keys], kind="stable")
    ranked = order[~order["_outside"] & ~_is_control(order)]
    ends = ("energy_low_uj", "energy_high_uj") if by_energy else ("drop_low", "drop_high")
    if ranking.by == "pareto":
        numbers = [1 if marked else 0 for marked in ranked["pareto"]]
    else:
        numbers = tied_ranks(list(ranked[ends[0]]), list(ranked[ends[1]]))
    order["rank"] = 0
    order.loc[ranked.index, "rank"] = numbers
    columns = ["rank", *(name for name in table.columns)]
    return order[columns].reset_index(drop=True)


def _seed(record: RunRecord) -> int:
    return record.seed


def _row(
    group: Sequence[RunRecord], energy_model: str, metric: MetricInfo, intervals: bool
) -> dict[str, Any]:
    first = group[0]
    sign = 1.0 if metric.higher_is_better else -1.0
    score = np.array([record.snn[metric.name] for record in group])
    # Rounded: 97.9 - 97.9 taken as a mean over seeds is not always nothing.
    drops = sign * np.array([r.ann[metric.name] - r.snn[metric.name] for r in group]).round(9)
    energy = np.array([_energy(record, energy_model) for record in group])
    low, high, interval = _drop_interval(group, drops, metric, intervals)
    label = first.label
    samples = first.calibration.samples
    if samples not in (ONE_SAMPLE, DEFAULT_SAMPLES) and first.strictness != "none":
        label += f" [{samples} samples]"
    latency = [record.latency for record in group if record.latency is not None]
    return {
        "label": label,
        "record_label": first.label,
        "method": first.method,
        "strictness": first.strictness,
        "T": first.T if first.uses_T else 0,
        "mean_max_spikes": _mean(record.mean_max_spikes for record in group),
        "mean_timesteps": _mean(record.timesteps.mean for record in group),
        "recording_ms": _mean(record.timesteps.recording_ms() for record in group),
        "score": float(score.mean()),
        "score_std": float(score.std(ddof=1)) if len(score) > 1 else math.nan,
        "drop": round(float(drops.mean()), 9),
        "drop_low": low,
        "drop_high": high,
        "interval": interval,
        "divergence": _mean(record.divergence for record in group),
        "spikes": _mean(record.energy.spikes for record in group),
        "sops": _mean(record.energy.sops for record in group),
        "macs": _mean(record.energy.macs for record in group),
        "energy_uj": float(energy.mean()),
        "energy_low_uj": float(energy.min()),
        "energy_high_uj": float(energy.max()),
        "energy_to_ann": _to_ann(group, energy_model),
        **{f"energy_{model}_uj": _reading(group, model) for model in ENERGY_MODELS},
        **{f"energy_{model}_to_ann": _to_ann(group, model) for model in ENERGY_MODELS},
        "calibration_s": _mean(record.calibration.seconds for record in group),
        "snn_ms": _mean(entry.snn_ms for entry in latency),
        "ann_ms": _mean(entry.ann_ms for entry in latency),
        "time_to_ann": _mean(entry.snn_ms / entry.ann_ms for entry in latency if entry.ann_ms),
        "seeds": len({record.seed for record in group}),
        "record": first.id[:8],
        "records": " ".join(record.id for record in group),
    }


def _drop_interval(
    group: Sequence[RunRecord], drops: np.ndarray, metric: MetricInfo, intervals: bool
) -> tuple[float, float, str]:
    """Paired over samples and drawn over seeds where the records tell samples, else over seeds."""
    ends = float(drops.min()), float(drops.max()), "range" if len(group) > 1 else "none"
    if not intervals:
        return ends
    if metric.name == "accuracy_pct":
        right = _losses([record.correct() for record in group])
        if right is not None:
            low, high = bootstrap_interval(right)
            return 100.0 * low, 100.0 * high, "bootstrap"
    redrawn = _losses([r.redrawn() if r.metric.name == metric.name else None for r in group])
    if redrawn is not None:
        sign = 1.0 if metric.higher_is_better else -1.0
        return *redrawn_interval(sign * redrawn), "bootstrap"
    return ends


def _losses(pairs: Sequence[tuple[np.ndarray, np.ndarray] | None]) -> np.ndarray | None:
    """Returns ANN minus SNN by seed, [S, N]; None where a pair is missing or sizes differ."""
    known = [
        (ann.astype(float), snn.astype(float)) for pair in pairs if pair for ann, snn in [pair]
    ]
    sizes = {ann.size for ann, _ in known}
    if len(known) < len(pairs) or len(sizes) != 1 or sizes == {0}:
        return None
    return np.stack([ann - snn for ann, snn in known])


def _energy(record: RunRecord, energy_model: str) -> float:
    value = record.energy.energy_pj.get(energy_model)
    if value is None:
        raise DataError(
            f"record {record.id} has no energy '{energy_model}'; it has: "
            f"{', '.join(sorted(record.energy.energy_pj))}"
        )
    return value / 1e6


def _reading(group: Sequence[RunRecord], energy_model: str) -> float:
    return 1e-6 * _mean(record.energy.energy_pj.get(energy_model) for record in group)


def _to_ann(group: Sequence[RunRecord], energy_model: str) -> float:
    own = _mean(record.energy.energy_pj.get(energy_model) for record in group)
    ann = _mean(record.energy.ann_energy_pj.get(energy_model) for record in group)
    return own / ann if ann else math.nan


def _to_quantised(row: Any, quantised: pd.DataFrame) -> float:
    """Energy over that of the quantised ANN with the same T·φ, or else the same number of bits."""
    if row["strictness"] in CONTROLS or not len(quantised) or not row["T"]:
        return math.nan
    product = row["T"] * row["mean_max_spikes"]
    if math.isnan(product):
        return math.nan
    products = quantised["T"] * quantised["mean_max_spikes"]
    for same in (np.isclose(products, product), _bits(products) == _bits(product)):
        if same.any():
            return float(row["energy_uj"] / quantised.loc[same, "energy_uj"].mean())
    return math.nan


def _bits(product: Any) -> Any:
    return np.ceil(np.log2(np.asarray(product, dtype=np.float64) + 1.0))


def _is_control(table: pd.DataFrame) -> Any:
    return table["strictness"].isin(CONTROLS)


def _mean(values: Any) -> float:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan
