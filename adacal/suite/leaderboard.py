"""Records to ranked tables: one table a (task, dataset, model), one row a (method, T)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adacal.core.checks import check_number
from adacal.core.errors import ConfigError, DataError, unknown_name
from adacal.suite.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

ENERGY_MODELS = ("per_spike", "per_event", "memory", "reference")
ORDERS = ("accuracy", "energy", "pareto")
BOOTSTRAP_DRAWS = 2000
BOOTSTRAP_SEED = 0
CONTROLS = ("none", "quantised")
"""Strictness classes of the rows that stand beside the ranking: the ANN, quantised ANNs."""

DEFAULT_SAMPLES = 128

Order = Literal["accuracy", "energy", "pareto"]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which records enter; empty means all. Names may be given in any number."""

    task: Sequence[str] = ()
    dataset: Sequence[str] = ()
    model: Sequence[str] = ()
    method: Sequence[str] = ()
    T: Sequence[int] = ()

    def keep(self, record: RunRecord) -> bool:
        """Says whether a record passes. ANNs pass any method and T: they are the reference."""
        method = record.strictness == "none" or not self.method
        steps = not record.uses_T or not self.T
        return (
            (not self.task or record.task in self.task)
            and (not self.dataset or record.dataset in self.dataset)
            and (not self.model or record.model in self.model)
            and (method or record.method in self.method or record.label in self.method)
            and (steps or record.T in self.T)
        )

    def require_known(self, records: Sequence[RunRecord]) -> None:
        """Raises DataError for a name that no record has; offers the nearest."""
        for kind in ("task", "dataset", "model", "method", "T") if records else ():
            known = {str(getattr(record, kind)) for record in records}
            if kind == "method":
                known |= {record.label for record in records}
            for name in map(str, getattr(self, kind)):
                if name not in known:
                    raise DataError(unknown_name(f"{kind} among the records", name, known))


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How a table is ordered.

    Attributes:
        by: `accuracy` ranks by accuracy (within `max_energy_uj`, if given), `energy` by energy
            among rows that lose at most `max_drop` against the ANN, `pareto` puts the rows
            that no other beats in both first.
        energy_model: which reading of the energy counts.
        max_energy_uj: energy budget a sample, microjoules.
        max_drop: largest allowed drop against the ANN, in units of the metric.
    """

    by: Order = "accuracy"
    energy_model: str = "per_spike"
    max_energy_uj: float | None = None
    max_drop: float = 0.5

    def __post_init__(self) -> None:
        """Checks names and numbers."""
        if self.by not in ORDERS:
            raise ConfigError(unknown_name("order", self.by, ORDERS))
        if self.energy_model not in ENERGY_MODELS:
            raise ConfigError(unknown_name("energy model", self.energy_model, ENERGY_MODELS))
        if self.max_energy_uj is not None:
            check_number("the largest energy", self.max_energy_uj, 0, above=True, example=1.5)
        check_number("the largest drop", self.max_drop, example=0.5)


@dataclass(frozen=True)
class Board:
    """One ranked table with what it is about."""

    task: str
    dataset: str
    model: str
    metric: str
    unit: str
    checkpoint: str
    n_test: int
    ranking: Ranking
    rows: pd.DataFrame

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
        DataError: no record passes the filters.
    """
    filters = filters or Filters()
    filters.require_known(records)
    chosen = [record for record in records if filters.keep(record)]
    if not chosen:
        raise DataError(
            "no record to show; run `adacal matrix embedded` first, or loosen the filters"
        )
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in chosen:
        where = (record.task, record.dataset, record.model)
        key = (*where, record.data_fingerprint, record.checkpoint_sha256)
        groups.setdefault(key, []).append(record)
    return [_board(groups[key], ranking) for key in sorted(groups)]


def summarise(records: Sequence[RunRecord], energy_model: str = "per_spike") -> pd.DataFrame:
    """Returns one row a (method, options, T, calibration samples), unranked; seeds are averaged.

    Columns end in their unit. `drop`, `drop_low`, `drop_high` are the loss against the ANN in
    units of the metric, positive is worse, with its 95 % paired bootstrap interval over test
    samples.

    Raises:
        DataError: a record has no such energy model.
    """
    import pandas as pd

    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        samples = record.calibration.samples if record.strictness != "none" else 0
        key = (record.label, record.T if record.uses_T else 0, samples, record.strictness)
        groups.setdefault(key, []).append(record)
    rows = [_row(sorted(group, key=lambda r: r.seed), energy_model) for group in groups.values()]
    table = pd.DataFrame(rows)
    quantised = table[table["strictness"] == "quantised"]
    table["energy_to_quantised"] = [_to_quantised(row, quantised) for _, row in table.iterrows()]
    table["pareto"] = pareto_front(
        table["energy_uj"].to_numpy(), table["drop"].to_numpy(), ~_is_control(table)
    )
    return table


def bootstrap_interval(
    differences: np.ndarray, draws: int = BOOTSTRAP_DRAWS, seed: int = BOOTSTRAP_SEED
) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of paired differences, resampling the samples.

    Few values occur (one a number of seeds that differ), so drawing how often each occurs is the
    same as drawing samples, and takes no time at any size of test set.

    Args:
        differences: one number a test sample, shape [N].
        draws: bootstrap draws.
        seed: of the draws.

    >>> bootstrap_interval(np.zeros(10))
    (0.0, 0.0)
    """
    values, counts = np.unique(np.asarray(differences, dtype=np.float64), return_counts=True)
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=draws)
    low, high = np.percentile(drawn @ values / total, [2.5, 97.5])
    return float(low), float(high)


def pareto_front(cost: np.ndarray, loss: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Marks the eligible rows that no other eligible row equals or beats in both and beats in one.

    >>> pareto_front(np.array([1., 2., 3.]), np.array([5., 1., 2.]), np.ones(3, bool)).tolist()
    [True, True, False]
    """
    front = np.zeros(len(cost), dtype=bool)
    for i in np.flatnonzero(eligible):
        as_good = (cost <= cost[i]) & (loss <= loss[i]) & eligible
        better = (cost < cost[i]) | (loss < loss[i])
        front[i] = not bool((as_good & better).any()) and bool(np.isfinite(cost[i] + loss[i]))
    return front


def tied_ranks(low: Sequence[float], high: Sequence[float]) -> list[int]:
    """Ranks rows that are in order, best first.

    A row shares the rank of the first row of a rank while their intervals overlap; the next rank
    counts all rows before it (1, 1, 3).

    >>> tied_ranks([0.0, 0.5, 2.0], [1.0, 1.5, 3.0])
    [1, 1, 3]
    """
    ranks: list[int] = []
    leader = 0
    for i in range(len(low)):
        if i and not (low[i] <= high[leader] and low[leader] <= high[i]):
            leader = i
        ranks.append(leader + 1)
    return ranks


def _board(records: Sequence[RunRecord], ranking: Ranking) -> Board:
    first = records[0]
    return Board(
        task=first.task,
        dataset=first.dataset,
        model=first.model,
        metric=first.metric.name,
        unit=first.metric.unit,
        checkpoint=first.checkpoint_sha256,
        n_test=first.n_test,
        ranking=ranking,
        rows=rank(summarise(records, ranking.energy_model), ranking),
    )


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


def _row(group: Sequence[RunRecord], energy_model: str) -> dict[str, Any]:
    first = group[0]
    metric, sign = first.metric.name, (1.0 if first.metric.higher_is_better else -1.0)
    score = np.array([record.snn[metric] for record in group])
    drops = np.array([sign * (record.ann[metric] - record.snn[metric]) for record in group])
    energy = np.array([_energy(record, energy_model) for record in group])
    ann_energy = float(np.mean([record.energy.ann_energy_pj[energy_model] for record in group]))
    low, high = _drop_interval(group, drops)
    label = first.label
    if first.calibration.samples != DEFAULT_SAMPLES and first.strictness != "none":
        label += f" [{first.calibration.samples} samples]"
    latency = [record.latency for record in group if record.latency is not None]
    return {
        "label": label,
        "method": first.method,
        "strictness": first.strictness,
        "T": first.T if first.uses_T else 0,
        "mean_max_spikes": _mean(record.mean_max_spikes for record in group),
        "mean_timesteps": _mean(record.timesteps.mean for record in group),
        "recording_ms": _mean(record.timesteps.recording_ms() for record in group),
        "score": float(score.mean()),
        "score_std": float(score.std(ddof=1)) if len(score) > 1 else math.nan,
        "drop": float(drops.mean()),
        "drop_low": low,
        "drop_high": high,
        "divergence": _mean(record.divergence for record in group),
        "spikes": _mean(record.energy.spikes for record in group),
        "sops": _mean(record.energy.sops for record in group),
        "macs": _mean(record.energy.macs for record in group),
        "energy_uj": float(energy.mean()),
        "energy_low_uj": float(energy.min()),
        "energy_high_uj": float(energy.max()),
        "energy_to_ann": float(energy.mean()) * 1e6 / ann_energy if ann_energy else math.nan,
        "calibration_s": _mean(record.calibration.seconds for record in group),
        "snn_ms": _mean(entry.snn_ms for entry in latency),
        "ann_ms": _mean(entry.ann_ms for entry in latency),
        "seeds": len({record.seed for record in group}),
        "record": first.id[:8],
    }


def _drop_interval(group: Sequence[RunRecord], drops: np.ndarray) -> tuple[float, float]:
    """Paired over samples (mean over seeds first) where correctness is known, else over seeds."""
    pairs = [pair for record in group if (pair := record.correct()) is not None]
    sizes = {ann.size for ann, _ in pairs}
    accuracy = group[0].metric.name == "accuracy_pct"
    if not accuracy or len(pairs) != len(group) or len(sizes) != 1 or sizes == {0}:
        return float(drops.min()), float(drops.max())
    differences = np.stack([ann.astype(float) - snn.astype(float) for ann, snn in pairs])
    low, high = bootstrap_interval(np.asarray(differences.mean(axis=0)).round(9))
    return 100.0 * low, 100.0 * high


def _energy(record: RunRecord, energy_model: str) -> float:
    value = record.energy.energy_pj.get(energy_model)
    if value is None:
        raise DataError(
            f"record {record.id} has no energy '{energy_model}'; it has: "
            f"{', '.join(sorted(record.energy.energy_pj))}"
        )
    return value / 1e6


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
