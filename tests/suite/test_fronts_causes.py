"""Causes of defeats: each is named where the records show it, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adacal.suite.fronts import Contest, front_boards, judge
from adacal.suite.fronts_causes import KINDS, Defeat, defeats, paired_loss
from adacal.suite.fronts_tables import all_fronts
from adacal.suite.fronts_words import aim_grid, cause_lines, defeat_grid, verdict_lines
from adacal.suite.leaderboard import ONE_SAMPLE
from adacal.suite.records import RunRecord, pack
from suite.board_toys import ANN_PJ, N, record_maker, toy_record

CONTEST = Contest(ours="ours", reference="plain", max_steps=4)


@pytest.fixture(scope="module")
def make() -> Any:
    """Returns a maker of records with a divergence of their own and no ties between ids."""
    plain = record_maker(toy_record())

    def make(label: str, strictness: str = "burst", T: int = 2, **more: Any) -> RunRecord:
        record: RunRecord = plain(label, strictness, T=T, **{"divergence": 0.5, **more})
        given = {"id": f"{label[:8]}{T}{record.seed}".ljust(16, "0"), "method": label.split("(")[0]}
        return record.model_copy(update={**given, **{k: more[k] for k in given if k in more}})

    return make


def found(records: list[RunRecord], reading: str = "per_spike") -> list[Defeat]:
    (board,) = front_boards(records, reading, 4)
    return defeats(board, judge(board.rows, CONTEST), {record.id: record for record in records})


def kinds(records: list[RunRecord], reading: str = "per_spike") -> list[str]:
    (defeat,) = found(records, reading)
    return [cause.kind for cause in defeat.causes]


def test_a_plain_defeat_has_no_cause_and_its_interval_is_beyond_chance(make: Any) -> None:
    records = [make("ours", lost=60, energy_uj=2.0), make("rival", lost=10, energy_uj=1.0)]
    (defeat,) = found(records)
    assert defeat.causes == [] and defeat.loss == pytest.approx(5.0)
    assert defeat.interval is not None and 3.5 < defeat.interval[0] < 5.0 < defeat.interval[1] < 6.5


def test_a_small_difference_may_be_chance(make: Any) -> None:
    ours, rival = make("ours", lost=10, energy_uj=2.0), make("rival", lost=9, energy_uj=1.0)
    assert kinds([ours, rival]) == ["chance"]


def test_the_interval_pairs_samples(make: Any) -> None:
    """Wrong on 46 and on 40 samples, the 40 among the 46; then on others."""
    ours, rival = make("ours", lost=26, energy_uj=2.0), make("rival", lost=20, energy_uj=1.0)
    low, _ = pair(ours, rival)
    assert low > 0
    apart = rival.model_copy(update={"snn_correct": pack(np.arange(N) < N - 40)})
    low, high = pair(ours, apart)
    assert low < 0 < high


def pair(ours: RunRecord, rival: RunRecord) -> tuple[float, float]:
    records = {ours.id: ours, rival.id: rival}
    interval = paired_loss({"records": ours.id}, {"records": rival.id}, records, "accuracy_pct")
    assert interval is not None
    return interval


def test_a_method_that_looks_at_no_sample_meets_every_seed(make: Any) -> None:
    ours = [make("ours", lost=60 + seed, energy_uj=2.0, seed=seed) for seed in range(3)]
    rival = make("rival", lost=10, energy_uj=1.0)
    once = rival.model_copy(
        update={"calibration": rival.calibration.model_copy(update={"samples": ONE_SAMPLE})}
    )
    records = {record.id: record for record in [*ours, rival]}
    row = {"records": " ".join(record.id for record in ours)}
    alone = paired_loss(row, {"records": rival.id}, records, "accuracy_pct")
    every = paired_loss(row, {"records": once.id}, {**records, once.id: once}, "accuracy_pct")
    assert alone is not None and every is not None and alone != every
    assert every[0] > 3 and every[1] < 7


def test_records_that_tell_no_samples_give_no_interval(make: Any) -> None:
    ours, rival = make("ours", lost=20, energy_uj=2.0), make("rival", lost=10, energy_uj=1.0)
    silent = ours.model_copy(update={"ann_correct": None, "snn_correct": None})
    (defeat,) = found([silent, rival])
    assert defeat.interval is None and defeat.causes == []


@pytest.mark.parametrize(("per_event", "said"), [(0.5, "not beaten"), (1.5, "all the same")])
def test_spikes_that_have_sizes_are_held_against_bursts_counted_once(
    make: Any, per_event: float, said: str
) -> None:
    ours = make("ours", lost=60, energy_uj=2.0)
    energy = {**ours.energy.energy_pj, "per_event": per_event * 1e6}
    ours = ours.model_copy(update={"energy": ours.energy.model_copy(update={"energy_pj": energy})})
    rival = make("sized", "signed", lost=10, energy_uj=1.0, mean_max_spikes=8.0)
    (defeat,) = found([ours, rival])
    (cause,) = defeat.causes
    assert cause.kind == "sizes" and cause.text.endswith(said)
    if per_event > 1:
        assert kinds([ours, rival], "per_event") == []
    plain = make("signed", "signed", lost=10, energy_uj=1.0, mean_max_spikes=1.0)
    assert kinds([ours, plain]) == []


def exits(make: Any, **more: Any) -> list[RunRecord]:
    """Returns ours, a rival that stops early, and the same network with all its steps."""
    searched = {"max_spikes": [1, 8]}
    whole = {**searched, "calibration": "light", "ssc": None}
    early = {"adafire": searched, "calibration": "light", "ssc": None, "iat": {}}
    rival = make("adaptive_calibration", lost=10, energy_uj=1.0, method_options=early)
    times = rival.timesteps.model_copy(update={"mean": 1.25})
    return [
        make("ours", lost=60, energy_uj=2.0),
        rival.model_copy(update={"timesteps": times}),
        make("adafire_ssc", lost=10, method_options=whole, **{"energy_uj": 3.0, **more}),
    ]


def test_an_exit_is_a_cause_with_what_its_network_costs_without(make: Any) -> None:
    (defeat,) = found(exits(make))
    (cause,) = defeat.causes
    assert cause.kind == "exit"
    assert "stops after 1.25 of 2 steps" in cause.text
    assert cause.text.endswith("(adafire_ssc T=2) 3.00 µJ, drop 1.00: not beaten")
    ahead = found(exits(make, energy_uj=1.5))[0].causes
    assert ahead[0].text.endswith("1.50 µJ, drop 1.00: beaten all the same")


def test_another_search_is_not_the_network_without_its_exit(make: Any) -> None:
    ours, rival, whole = exits(make)
    options = {**whole.method_options, "max_spikes": [1, 4]}
    (defeat,) = found([ours, rival, whole.model_copy(update={"method_options": options})])
    assert [cause.text for cause in defeat.causes] == [
        "the rival stops after 1.25 of 2 steps in the mean"
    ]


def test_a_smaller_divergence_is_said(make: Any) -> None:
    ours = make("ours", lost=60, energy_uj=2.0, divergence=0.1)
    assert kinds([ours, make("rival", lost=10, energy_uj=1.0)]) == ["nearer"]
    unknown = make("rival", lost=10, energy_uj=1.0, divergence=None)
    assert kinds([ours, unknown]) == []


def test_options_are_at_fault_where_another_row_of_ours_is_as_good_as_the_rival(make: Any) -> None:
    ours, rival = make("ours", lost=80, energy_uj=2.0), make("rival", lost=30, energy_uj=1.0)
    as_good = make("ours", lost=30, energy_uj=1.0, T=1)
    assert kinds([ours, rival, as_good]) == ["options"]
    between = [
        make("ours", lost=55, energy_uj=0.9, T=1),  # cheaper than the rival, but loses more
        make("other", lost=40, energy_uj=0.1),
    ]
    (beaten,) = (d for d in found([ours, rival, between[0]]) if d.ours["T"] == 2)
    assert [cause.kind for cause in beaten.causes] == ["own"]


def test_words_hold_what_was_found(make: Any) -> None:
    ann = make("ann", "none", lost=0, energy_uj=ANN_PJ / 1e6, T=1, uses_T=False)
    records = [ann, *exits(make)]
    (fronts,) = all_fronts(records, CONTEST)
    grid = defeat_grid(fronts, CONTEST)
    assert grid is not None and len(grid.cells) == 3
    assert grid.cells[0][:6] == [
        "per_spike", "ours T=2", "adaptive_calibration T=2", "burst", "2.00 against 1.00 (−50 %)",
        "6.00 against 1.00",
    ]  # fmt: skip
    assert grid.cells[0][6].startswith("5.00 [")
    assert verdict_lines(fronts, CONTEST)[0].endswith("× plain: no row of plain here.")
    assert aim_grid([fronts], CONTEST).cells[0][1:] == [
        *["missed: 1 of 1 rows"] * 3, *["not measured: no plain"] * 3,
    ]  # fmt: skip
    said = cause_lines([fronts])
    assert said[0].startswith("Of 3 cases (")
    assert said[1:] == ["", f"- 3: {KINDS['exit']}."]


def test_who_is_not_beaten_leads_and_has_no_table_of_defeats(make: Any) -> None:
    records = [make("ours", lost=5, energy_uj=0.3), make("plain", "binary", lost=10, energy_uj=1.0)]
    (fronts,) = all_fronts(records, CONTEST)
    assert defeat_grid(fronts, CONTEST) is None and cause_lines([fronts]) == []
    assert "ours leads: none of its 1 rows" in verdict_lines(fronts, CONTEST)[0]
    assert aim_grid([fronts], CONTEST).cells[0][1:] == ["met"] * 3 + ["met: 0.30"] * 3
