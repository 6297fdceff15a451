"""The metric on redrawn test sets: drawn alike for all records, kept, compared, summed up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adacal.core.errors import DataError
from adacal.suite.config import resolve
from adacal.suite.diff import diff
from adacal.suite.intervals import bootstrap_interval, redrawn_interval
from adacal.suite.leaderboard import Ranking, boards
from adacal.suite.record_checks import complaints
from adacal.suite.records import DamagedRecord, RunRecord, read_record
from adacal.suite.redraws import REDRAWS, paired, sample_counts
from adacal.suite.registry import TASKS
from adacal.suite.runner import measure
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from adacal.suite.tables import caption, markdown
from adacal.suite.task import Evaluation, Metric
from adacal.suite.verify import verify
from suite.suite_toys import ANN_WRONG, N_TEST, ToyTask, raw_config

LOST = [19, 39]  # by the toy method: the last sample of each of two batches


@TASKS.register_module(name="toy_redrawn", force=True)
class ToyRedrawn(ToyTask):
    """The toy's accuracy as a metric that no sample has, `score_pct`."""

    metric = Metric(name="score_pct", unit="%")
    rows: int | None = None
    redraws = True

    def evaluate(self, predict: Any, batch_size: int = 100, progress: Any = None) -> Evaluation:
        correct = super().evaluate(predict, batch_size, progress).correct
        assert correct is not None
        return Evaluation(
            metrics={"score_pct": 100.0 * float(correct.mean())},
            redraw=(lambda counts: 100.0 * (counts[: self.rows] @ correct) / N_TEST)
            if self.redraws
            else None,
        )


def config_of(**changes: Any) -> Any:
    task = {"type": "toy_redrawn", "dataset": {"type": "toy_data"}}
    return resolve(
        raw_config(task=task, evaluation={"batch_size": 20, "latency_repeats": 0}, **changes)
    )


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return measure(config_of(), Session())


@pytest.fixture(scope="module")
def older(record: RunRecord) -> RunRecord:
    """As records were before they kept redraws."""
    return record.model_copy(update={"redraws": None})


def values(record: RunRecord) -> tuple[np.ndarray, np.ndarray]:
    pair = record.redrawn()
    assert pair is not None
    return pair


def moved(record: RunRecord, by: float, **more: Any) -> RunRecord:
    """The record as if its network had lost so much more on all samples alike."""
    ann, snn = values(record)
    score = {"score_pct": record.snn["score_pct"] - by}
    return record.model_copy(update={"snn": score, "redraws": paired(ann, snn - by), **more})


def test_the_samples_of_a_redraw_depend_on_the_data_alone() -> None:
    counts = sample_counts("digits:1", 7, 2)
    # Golden: records of all times and versions of NumPy must be drawn alike.
    assert counts.tolist() == [[2, 2, 0, 1, 1, 0, 1], [1, 0, 1, 1, 2, 0, 2]]
    assert (sample_counts("digits:1", 7, 5)[:2] == counts).all()
    assert (sample_counts("digits:2", 7, 2) != counts).any()


def test_redraws_are_plain_draws_with_replacement() -> None:
    counts = sample_counts("digits:1", 40, 5000)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(40), abs=0.06)
    assert counts.var(axis=0).mean() == pytest.approx(1 - 1 / 40, rel=0.02)
    assert np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 39, abs=0.05)


def test_a_record_keeps_the_metric_of_both_networks_on_the_same_redraws(
    record: RunRecord, tmp_path: Path
) -> None:
    ann, snn = values(record)
    counts = sample_counts(record.data_fingerprint, N_TEST)
    wrong = counts[:, :ANN_WRONG].sum(axis=1)
    assert ann == pytest.approx(100 - 100 * wrong / N_TEST, abs=1e-5)
    assert ann - snn == pytest.approx(100 * counts[:, LOST].sum(axis=1) / N_TEST, abs=1e-5)
    path = RecordStore(tmp_path).add(record)
    assert read_record(path) == record
    text = json.loads(path.read_text())
    text["redraws"]["snn"] = text["redraws"]["snn"][:-8]
    path.write_text(json.dumps(text))
    with pytest.raises(DamagedRecord, match=r"redraws hold \d+ bytes; 500 of them need 2000"):
        read_record(path)


def test_runs_of_one_session_redraw_the_ann_once() -> None:
    session = Session()
    first, second = measure(config_of(), session), measure(config_of(seed=1), session)
    assert first.redraws is not None and second.redraws is not None
    assert first.redraws.ann == second.redraws.ann
    assert session.prepare(config_of()).redrawn is not None


def test_a_task_that_redraws_another_number_of_sets_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ToyRedrawn, "rows", 3)
    with pytest.raises(DataError, match=r"shape \[3\]; it must give one a row .*\[500\]"):
        measure(config_of(), Session())


def test_the_interval_is_that_of_the_bootstrap_over_samples(record: RunRecord) -> None:
    """The toy's metric is a mean over samples after all, so both ways are there to compare."""
    lost = np.zeros(N_TEST)
    lost[LOST] = 1.0
    (board,) = boards([record], Ranking())
    row = board.rows.iloc[0]
    assert row["interval"] == "bootstrap"
    expected = [100 * end for end in bootstrap_interval(lost)]
    assert [row["drop_low"], row["drop_high"]] == pytest.approx(expected, abs=100 / N_TEST)
    assert row["drop"] == pytest.approx(100 * len(LOST) / N_TEST)


def test_seeds_that_differ_widen_it_as_they_widen_that_of_accuracies() -> None:
    generator = np.random.default_rng(4)
    right = (generator.random((3, 400)) < np.array([[0.1], [0.16], [0.13]])).astype(float)
    counts = sample_counts("any", 400, 2000)
    over_redraws = redrawn_interval(right @ counts.T / 400)
    assert over_redraws == pytest.approx(bootstrap_interval(right), abs=0.006)
    alone = redrawn_interval(right.mean(axis=0) @ counts.T / 400)
    assert np.diff(over_redraws) > 1.3 * np.diff(alone)
    gaps = redrawn_interval(np.array([np.nan, *np.zeros(99)]))
    assert gaps == (0.0, 0.0)


def test_rows_are_tied_where_intervals_over_samples_overlap(record: RunRecord) -> None:
    rows = [moved(record, by, id=f"{i:016x}", label=f"row {i}") for i, by in enumerate((0, 1, 60))]
    (board,) = boards(rows, Ranking())
    assert list(board.rows["rank"]) == [1, 1, 3]
    text = markdown(board)
    assert "drop (points) [95 %]" in text
    assert "paired bootstrap over samples and seeds" in caption(board)
    assert "| 5.00 [0.00, 12.50] |" in text


def test_older_records_keep_their_range_and_say_so_beside_newer_ones(
    record: RunRecord, older: RunRecord
) -> None:
    seeds = [moved(record, by, seed=i, id=f"{i:016x}") for i, by in enumerate((0, 2))]
    old = [seed.model_copy(update={"redraws": None, "label": "old"}) for seed in seeds]
    (board,) = boards(old, Ranking())
    assert "range of seeds" in markdown(board) and "95 %" not in markdown(board)
    (board,) = boards([*seeds, *old], Ranking())
    assert "| 6.00 [5.00, 7.00 seeds] |" in markdown(board)
    assert "[… seeds] is the range over seeds of older records" in caption(board)
    half = [seeds[0], seeds[1].model_copy(update={"redraws": None})]
    (board,) = boards(half, Ranking())
    assert list(board.rows["interval"]) == ["range"]


def test_another_recorded_metric_does_not_borrow_the_interval(record: RunRecord) -> None:
    both = {"other_pct": 50.0}
    other = record.model_copy(update={"ann": record.ann | both, "snn": record.snn | both})
    (board,) = boards([other], Ranking(metric="other_pct"))
    assert list(board.rows["interval"]) == ["none"]


def test_verifying_compares_every_redraw_here_and_their_ends_elsewhere(record: RunRecord) -> None:
    assert verify(record).ok
    ann, snn = values(record)
    snn[7] += 0.01
    wrong = verify(record.model_copy(update={"redraws": paired(ann, snn)}))
    assert [entry.quantity for entry in wrong.comparisons if not entry.ok] == [
        "snn on redrawn samples"
    ]
    elsewhere = record.environment.model_copy(update={"processor": "another"})
    for by, ok in ((0.3, True), (0.7, False)):
        there = record.model_copy(
            update={"environment": elsewhere, "redraws": paired(ann, values(record)[1] - by)}
        )
        assert verify(there).ok == ok


def test_verifying_an_older_record_allows_for_its_rounding(older: RunRecord) -> None:
    for by, ok in ((0.04, True), (0.06, False)):
        score = {"score_pct": older.snn["score_pct"] + by}
        assert verify(older.model_copy(update={"snn": score})).ok == ok


def test_verifying_says_so_where_redraws_are_gone(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyRedrawn, "redraws", False)
    outcome = verify(record)
    assert [entry.quantity for entry in outcome.comparisons if not entry.ok] == ["redrawn samples"]


def test_a_metric_far_from_its_redraws_was_typed(record: RunRecord) -> None:
    assert list(complaints(record)) == []
    typed = record.model_copy(update={"snn": {"score_pct": 12.0}})
    assert "snn score is 12, far from its redraws" in list(complaints(typed))


def test_a_difference_of_two_records_gets_an_interval_over_samples(record: RunRecord) -> None:
    other = moved(record, 1.5)
    (note,) = (note for note in diff(record, other).notes if "test samples" in note)
    assert note == (
        "On the same 40 test samples score moves by -1.50 points, 95 % [-1.50, -1.50] over "
        f"{REDRAWS} redraws of them."
    )
    elsewhere = other.model_copy(update={"data_fingerprint": "other"})
    assert not any("test samples" in note for note in diff(record, elsewhere).notes)
