"""Why rows of a contest are beaten: by how much, and what the records can tell of the cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adacal.suite.columns import number, three_digits
from adacal.suite.fronts import Verdict
from adacal.suite.intervals import bootstrap_interval, redrawn_interval
from adacal.suite.leaderboard import ONE_SAMPLE, Board, metric_of
from adacal.suite.records import MetricInfo, RunRecord

if TYPE_CHECKING:
    import pandas as pd

Records = Mapping[str, RunRecord]

KINDS = {
    "chance": "the difference in drop may be chance: its 95 % interval holds 0",
    "sizes": "the rival's spikes have sizes, and each counts once",
    "exit": "the rival stops early",
    "nearer": "ours is nearer to the ANN's outputs and loses more all the same",
    "options": "another row of ours needs and loses no more than the rival",
    "own": "another row of ours is better in both, too",
}
"""Kinds of causes, in words."""

WITHOUT_EXIT = {"adaptive_calibration": "adafire_ssc"}
"""Methods with an early exit, each with the method that is the same but for it."""


@dataclass(frozen=True)
class Cause:
    """What the records say of one reason; `kind` is one of `KINDS`, `text` has the numbers."""

    kind: str
    text: str


@dataclass(frozen=True)
class Defeat:
    """A row of ours that needs more energy and loses more than a rival's.

    Attributes:
        ours, rival: the rows.
        stricter: whether the rival is of a stricter class.
        interval: 95 % interval of what ours loses more, paired over samples and seeds, units of
            the metric; None where the records do not tell samples.
        causes: what the records support; empty if nothing.
    """

    ours: Any
    rival: Any
    stricter: bool
    interval: tuple[float, float] | None
    causes: list[Cause]

    @property
    def loss(self) -> float:
        """Returns what ours loses more than the rival, by means, units of the metric."""
        return float(self.ours["drop"] - self.rival["drop"])


def defeats(board: Board, verdict: Verdict, records: Records) -> list[Defeat]:
    """Returns the beaten rows of a verdict with their causes.

    Args:
        board: with all its rows.
        verdict: on that board.
        records: by id; at least those of the board's rows.
    """
    found = []
    for stricter, pairs in ((False, verdict.beaten), (True, verdict.stricter)):
        for ours, rival in pairs:
            interval = paired_loss(ours, rival, records, board.metric)
            causes = [
                *_chance(interval),
                *_sizes(ours, rival, board.ranking.energy_model),
                *_exit(ours, rival, board.rows, records),
                *_nearer(ours, rival),
                *_own(ours, rival, board.rows),
            ]
            found.append(Defeat(ours, rival, stricter, interval, causes))
    return found


def paired_loss(ours: Any, rival: Any, records: Records, metric: str) -> tuple[float, float] | None:
    """Returns the 95 % interval of what one row loses more than another, units of the metric.

    Both met the same test samples, so each sample is compared with itself; seeds that both have
    are paired. A row whose method looks at no sample has a single seed, which stands for all.

    Args:
        ours: the row that loses.
        rival: the other.
        records: by id.
        metric: its name.
    """
    own, other = _by_seed(ours, records), _by_seed(rival, records)
    seeds = sorted(_seeds(own, other) & _seeds(other, own))
    if not seeds:
        return None
    info = metric_of(next(iter(own.values())), metric)
    mine = [_answers(own.get(seed) or own[min(own)], info) for seed in seeds]
    theirs = [_answers(other.get(seed) or other[min(other)], info) for seed in seeds]
    values = [value for value in (*mine, *theirs) if value is not None]
    if len(values) < 2 * len(seeds) or len({value.size for value in values}) != 1:
        return None
    gap = np.stack(values[len(seeds) :]) - np.stack(values[: len(seeds)])
    low, high = (bootstrap_interval if _tells_samples(info) else redrawn_interval)(gap)
    return low, high


def _by_seed(row: Any, records: Records) -> dict[int, RunRecord]:
    return {records[id].seed: records[id] for id in row["records"].split()}


def _seeds(own: Mapping[int, RunRecord], other: Mapping[int, RunRecord]) -> set[int]:
    alone = all(record.calibration.samples == ONE_SAMPLE for record in own.values())
    return set(own) | set(other) if alone else set(own)


def _tells_samples(metric: MetricInfo) -> bool:
    return metric.name == "accuracy_pct"


def _answers(record: RunRecord, metric: MetricInfo) -> np.ndarray | None:
    """Returns 100 for each right answer, [N], or the metric on redrawn sets, [R], more is better.

    None where the record has neither.
    """
    if _tells_samples(metric):
        pair = record.correct()
        return None if pair is None else 100.0 * pair[1].astype(float)
    pair = record.redrawn() if record.metric.name == metric.name else None
    return None if pair is None else (1.0 if metric.higher_is_better else -1.0) * pair[1]


# causes ---------------------------------------------------------------------------------------


def _chance(interval: tuple[float, float] | None) -> Sequence[Cause]:
    if interval is None or not interval[0] <= 0 <= interval[1]:
        return []
    return [Cause("chance", "the difference in drop may be chance")]


def _sizes(ours: Any, rival: Any, reading: str) -> Sequence[Cause]:
    """Where bursts are counted once, a burst of ours has the same credit as a spike of a size."""
    sizes = rival["strictness"] == "signed" and rival["mean_max_spikes"] > 1
    if not sizes or reading == "per_event":
        return []
    mine, theirs = ours["energy_per_event_uj"], rival["energy_per_event_uj"]
    return [
        Cause(
            "sizes",
            f"the rival's spikes of up to {rival['mean_max_spikes']:g} thresholds count once; were "
            f"bursts counted once, too (per_event), {three_digits(mine)} against "
            f"{three_digits(theirs)} µJ: {_ahead(theirs < mine)}",
        )
    ]


def _exit(ours: Any, rival: Any, rows: pd.DataFrame, records: Records) -> Sequence[Cause]:
    if not rival["mean_timesteps"] < rival["T"]:
        return []
    mean = number(rival["mean_timesteps"], 2)
    text = f"the rival stops after {mean} of {rival['T']} steps in the mean"
    whole = _without_exit(rival, rows, records)
    if whole is not None:
        ahead = whole["energy_uj"] < ours["energy_uj"] and whole["drop"] < ours["drop"]
        text += (
            f"; without that exit ({_name(whole)}) {three_digits(whole['energy_uj'])} µJ, drop "
            f"{number(whole['drop'], 2)}: {_ahead(ahead)}"
        )
    return [Cause("exit", text)]


def _ahead(still: bool) -> str:
    return "beaten all the same" if still else "not beaten"


def _without_exit(rival: Any, rows: pd.DataFrame, records: Records) -> Any | None:
    """Returns the row of the same network without early exit, None if there is none."""
    options = _first(rival, records).method_options
    wanted = {**options.get("adafire", {}), "calibration": options.get("calibration"),
              "ssc": options.get("ssc")}  # fmt: skip
    same = (rows["method"] == WITHOUT_EXIT.get(rival["method"])) & (rows["T"] == rival["T"])
    for _, row in rows[same].iterrows():
        if _first(row, records).method_options == wanted:
            return row
    return None


def _first(row: Any, records: Records) -> RunRecord:
    return records[row["records"].split()[0]]


def _nearer(ours: Any, rival: Any) -> Sequence[Cause]:
    if not ours["divergence"] < rival["divergence"]:  # NaN where a task has none
        return []
    mine, theirs = (number(row["divergence"], 4) for row in (ours, rival))
    text = f"ours is nearer to the ANN's outputs (divergence {mine} against {theirs})"
    return [Cause("nearer", text)]


def _own(ours: Any, rival: Any, rows: pd.DataFrame) -> Sequence[Cause]:
    """Says whether these options are at fault: whether ours has a better row."""
    own = rows[rows["method"] == ours["method"]]
    as_good = (own["energy_uj"] <= rival["energy_uj"]) & (own["drop"] <= rival["drop"])
    if as_good.any():
        name = _name(own[as_good].sort_values("drop").iloc[0])
        return [Cause("options", f"{name} needs and loses no more than the rival")]
    better = (own["energy_uj"] < ours["energy_uj"]) & (own["drop"] < ours["drop"])
    if better.any():
        name = _name(own[better].sort_values("drop").iloc[0])
        return [Cause("own", f"{name} is better in both, too")]
    return []


def _name(row: Any) -> str:
    return f"{row['label']} T={row['T']}"
