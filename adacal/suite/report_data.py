"""Records as the page of `adacal report` wants them: boards, their rows, and every run in short."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adacal.core.energy import ACCUMULATE_PJ, MAC_PJ
from adacal.suite.leaderboard import Board, boards, rank
from adacal.suite.ranking import ENERGY_MODELS, Ranking
from adacal.suite.records import RunRecord, metric_words
from adacal.suite.report_published import NOTHING, Published, published_data

DIGITS = 5
"""Significant digits of the page's numbers; records have them all."""

MAX_DROP = 0.5
"""What the page's order by energy calls equal accuracy, in units of the metric."""

COLUMNS = (
    "label", "method", "strictness", "T", "mean_max_spikes", "mean_timesteps", "recording_ms",
    "score", "score_std", "drop", "drop_low", "drop_high", "interval", "spikes", "sops", "macs",
    "calibration_s", "snn_ms", "time_to_ann", "seeds",
)  # fmt: skip
"""What the page takes of a leaderboard's rows besides ranks and energies."""


class Shared:
    """Values that many runs have in common, each kept once and referred to by its position."""

    def __init__(self) -> None:
        """Starts empty."""
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Returns where a value stands, adding it if it is new."""
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def page_data(
    records: Sequence[RunRecord], *, every_layer: bool = True, published: Published = NOTHING
) -> dict[str, Any]:
    """Returns all that the page shows, JSON-able: numbers with their unit in the key.

    Args:
        records: valid records, at least one.
        every_layer: give the layers of every run; else those of each row's first seed only.
        published: the literature's numbers, which stand apart.

    Raises:
        DataError: there is no record, or one lacks an energy model.
    """
    shared = Shared()
    by_model = {
        model: boards(records, Ranking(by="accuracy", energy_model=model))
        for model in ENERGY_MODELS
    }
    known = {record.id: record for record in records}
    found = []
    for position, board in enumerate(by_model[ENERGY_MODELS[0]]):
        readings = {model: _readings(by_model[model][position], model) for model in ENERGY_MODELS}
        found.append(_board(board, known, readings))
    first = {row["runs"][0] for board in found for row in board["rows"]}
    return {
        "energy_models": list(ENERGY_MODELS),
        "max_drop": MAX_DROP,
        "boards": found,
        "runs": {
            record.id: run_data(record, shared, layers=every_layer or record.id in first)
            for record in records
        },
        "shared": shared.values,
        "published": published_data(published, by_model[ENERGY_MODELS[0]]),
    }


def run_data(record: RunRecord, shared: Shared, *, layers: bool = True) -> dict[str, Any]:
    """Returns one run in short: what it measured, layer by layer, and where it comes from."""
    metric = record.metric.name
    data: dict[str, Any] = {
        "created": record.created,
        "seed": record.seed,
        "score": _short(record.snn[metric]),
        "ann": _short(record.ann[metric]),
        "data": shared.place(record.data_fingerprint),
        "checkpoint": shared.place(record.checkpoint_sha256),
        "environment": shared.place(record.environment.model_dump()),
        "plug_ins": None
        if record.plug_ins is None
        else shared.place([plug_in.words() for plug_in in record.plug_ins]),
        "config": {key: shared.place(value) for key, value in record.config.items()},
        "calibration": {
            "samples": record.calibration.samples,
            "seconds": _short(record.calibration.seconds),
            "indices_sha256": shared.place(record.calibration.indices_sha256),
        },
        "histogram": record.timesteps.histogram,
        "metric_by_step": _shorts(record.timesteps.metric_by_step or ()),
    }
    if record.latency is not None:
        about = record.latency.model_dump(exclude={"ann_ms", "snn_ms"})
        data["latency"] = shared.place(about)
    if not layers:
        return data
    data["sites"] = {
        "names": shared.place([site.name for site in record.sites]),
        "max_spikes": [site.max_spikes for site in record.sites],
        "ratio": _shorts(site.ratio for site in record.sites),
        "rate": _shorts(site.rate for site in record.sites),
        "threshold": _shorts(site.threshold_mean for site in record.sites),
    }
    priced = [layer for layer in record.layers if layer.sops or layer.macs]
    data["layers"] = {
        "names": shared.place([layer.name for layer in priced]),
        "energy_nj": _shorts(
            (layer.macs * MAC_PJ + layer.sops * ACCUMULATE_PJ) / 1e3 for layer in priced
        ),
    }
    return data


def _readings(board: Board, energy_model: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Returns what one energy model says of a board's rows, by what tells the rows apart."""
    by_energy = Ranking(by="energy", energy_model=energy_model, max_drop=MAX_DROP)
    again = rank(board.rows.drop(columns="rank"), by_energy).to_dict("records")
    second = {_key(row): int(row["rank"]) for row in again}
    return {
        _key(row): {
            "rank": int(row["rank"]),
            "rank_by_energy": second[_key(row)],
            "uj": _plain(row["energy_uj"]),
            "low_uj": _plain(row["energy_low_uj"]),
            "high_uj": _plain(row["energy_high_uj"]),
            "to_ann": _plain(row["energy_to_ann"]),
            "to_quantised": _plain(row["energy_to_quantised"]),
            "front": bool(row["pareto"]),
            "beaten": bool(row["beaten_by_quantised"]),
        }
        for row in board.rows.to_dict("records")
    }


def _key(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return row["label"], row["T"], row["strictness"]


def _board(
    board: Board,
    known: Mapping[str, RunRecord],
    readings: Mapping[str, Mapping[tuple[Any, ...], dict[str, Any]]],
) -> dict[str, Any]:
    rows = []
    for row in board.rows.to_dict("records"):
        values = {name: _plain(row[name]) for name in COLUMNS}
        values["runs"] = str(row["records"]).split()
        values["energy"] = {model: reading[_key(row)] for model, reading in readings.items()}
        rows.append(values)
    return {
        "task": board.task,
        "dataset": board.dataset,
        "model": board.model,
        "metric": metric_words(board.metric),
        "unit": board.unit,
        "higher_is_better": known[rows[0]["runs"][0]].metric.higher_is_better,
        "n_test": board.n_test,
        "measured": board.measured,
        "rows": rows,
    }


def _plain(value: Any) -> Any:
    """Returns a cell of a table as JSON has it; what is not known is None."""
    if isinstance(value, str):
        return value
    number = float(value)
    if math.isnan(number):
        return None
    return int(number) if number == int(number) else _short(number)


def _short(value: float) -> float | None:
    # Means of equal numbers differ from them in the sixteenth digit, which would look measured.
    return float(f"{round(value, 9):.{DIGITS}g}") + 0.0 if math.isfinite(value) else None


def _shorts(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else _short(value) for value in values]
