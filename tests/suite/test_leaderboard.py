"""Leaderboards against values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adacal.core.errors import ConfigError, DataError
from adacal.suite.columns import choose
from adacal.suite.leaderboard import (
    Filters,
    Ranking,
    boards,
    bootstrap_interval,
    pareto_front,
    rank,
    summarise,
    tied_ranks,
)
from adacal.suite.plots import _crop, write_plots
from adacal.suite.records import RunRecord
from adacal.suite.tables import check_files, csv, markdown, terminal, write_files
from suite.board_toys import N, board_records, toy_record


@pytest.fixture(scope="module")
def template() -> RunRecord:
    return toy_record()


@pytest.fixture(scope="module")
def records(template: RunRecord) -> list[RunRecord]:
    return board_records(template)


def rows(records: list[RunRecord], **ranking: Any) -> dict[str, Any]:
    (board,) = boards(records, Ranking(**ranking))
    return {row["label"]: row for row in board.rows.to_dict("records")}


def test_seeds_are_averaged_into_one_row(records: list[RunRecord]) -> None:
    good = rows(records)["good"]
    assert good["score"] == pytest.approx(97.6)
    assert good["score_std"] == pytest.approx(math.sqrt(0.02))
    assert good["drop"] == pytest.approx(0.4)
    assert good["energy_uj"] == pytest.approx(2.1)
    assert good["energy_to_ann"] == pytest.approx(2.1 / 4.0)
    assert good["seeds"] == 2


def test_the_interval_of_the_drop_is_that_of_a_binomial(records: list[RunRecord]) -> None:
    poor = rows(records)["poor"]
    sigma = 100 * math.sqrt(0.12 * 0.88 / N)
    assert poor["drop_low"] == pytest.approx(12.0 - 1.96 * sigma, abs=0.25)
    assert poor["drop_high"] == pytest.approx(12.0 + 1.96 * sigma, abs=0.25)


def test_the_bootstrap_equals_plain_resampling() -> None:
    generator = np.random.default_rng(1)
    differences = generator.choice([-1.0, 0.0, 0.5, 1.0], p=[0.05, 0.8, 0.05, 0.1], size=500)
    drawn = generator.choice(differences, size=(4000, 500)).mean(axis=1)
    expected = np.percentile(drawn, [2.5, 97.5])
    assert bootstrap_interval(differences) == pytest.approx(tuple(expected), abs=0.004)
    assert bootstrap_interval(differences) == bootstrap_interval(differences)


def test_ranking_by_accuracy_ties_overlapping_intervals(records: list[RunRecord]) -> None:
    table = rows(records, by="accuracy")
    assert list(table) == ["ann", "quantized_ann", "good", "cheap", "poor"]
    assert [table[name]["rank"] for name in table] == [0, 0, 1, 2, 2]


def test_ranking_by_energy_takes_only_rows_that_lose_little(records: list[RunRecord]) -> None:
    table = rows(records, by="energy", max_drop=0.5)
    assert {name: row["rank"] for name, row in table.items() if row["rank"]} == {"good": 1}
    loose = rows(records, by="energy", max_drop=50.0)
    assert [(name, loose[name]["rank"]) for name in ("cheap", "good", "poor")] == [
        ("cheap", 1),
        ("good", 2),
        ("poor", 3),
    ]


def test_an_energy_budget_leaves_the_dear_rows_unranked(records: list[RunRecord]) -> None:
    table = rows(records, by="accuracy", max_energy_uj=1.0)
    assert {name: row["rank"] for name, row in table.items() if row["rank"]} == {"cheap": 1}
    assert list(table)[-2:] == ["good", "poor"]


def test_the_pareto_front_holds_what_nothing_beats(records: list[RunRecord]) -> None:
    table = rows(records, by="pareto")
    assert {name for name, row in table.items() if row["pareto"]} == {"good", "cheap"}
    assert {name for name, row in table.items() if row["beaten_by_quantised"]} == {"good", "poor"}
    (board,) = boards(records, Ranking(by="pareto"))
    front = next(column for column in choose(board) if column.key == "front")
    assert {name: front.show(row) for name, row in table.items() if row["rank"]} == {
        "good": "○",
        "cheap": "●",
    }
    assert pareto_front(np.ones(2), np.ones(2), np.ones(2, bool)).tolist() == [True, True]


def test_the_quantised_ann_of_the_same_levels_stands_beside(records: list[RunRecord]) -> None:
    table = rows(records)
    assert table["cheap"]["energy_to_quantised"] == pytest.approx(0.5)
    assert table["good"]["energy_to_quantised"] == pytest.approx(2.1)
    assert math.isnan(table["poor"]["energy_to_quantised"])
    assert math.isnan(table["ann"]["energy_to_quantised"])


def test_a_quantised_ann_with_searched_levels_is_no_measure_of_the_number_of_levels(
    records: list[RunRecord],
) -> None:
    plain = records[1]
    update = {"id": "searched".ljust(16, "0"), "label": "searched"}
    options = {"max_spikes": 1, "thresholds": "rate_distortion"}
    cheaper = plain.energy.model_copy(
        update={"energy_pj": {model: 0.4e6 for model in plain.energy.energy_pj}}
    )
    searched = plain.model_copy(update={**update, "method_options": options, "energy": cheaper})
    table = rows([*records, searched])
    assert table["cheap"]["energy_to_quantised"] == pytest.approx(0.5)
    assert table["cheap"]["beaten_by_quantised"]  # but it does stand as a control


def test_ranks_count_the_rows_before_a_tie() -> None:
    assert tied_ranks([0, 1, 5, 6], [2, 3, 7, 8]) == [1, 1, 3, 3]
    assert tied_ranks([], []) == []


def test_filters_keep_the_ann_as_reference(records: list[RunRecord]) -> None:
    (board,) = boards(records, Ranking(), Filters(method=["cheap"], T=[2]))
    assert set(board.rows["label"]) == {"ann", "cheap"}
    with pytest.raises(DataError, match="no dataset among the records named 'other'"):
        boards(records, Ranking(), Filters(dataset=["other"]))
    with pytest.raises(ConfigError, match="did you mean 'per_spike'"):
        Ranking(energy_model="per_spikes")


def test_a_row_says_the_same_whatever_the_filters_leave_out(records: list[RunRecord]) -> None:
    whole = rows(records)["cheap"]
    (board,) = boards(records, Ranking(), Filters(method=["cheap"]))
    alone = {row["label"]: row for row in board.rows.to_dict("records")}["cheap"]
    for key in ("energy_to_quantised", "beaten_by_quantised", "drop_low", "energy_to_ann"):
        assert alone[key] == whole[key]
    assert not math.isnan(alone["energy_to_quantised"])
    assert alone["pareto"]


def test_other_weights_get_a_table_of_their_own(records: list[RunRecord]) -> None:
    other = records[2].model_copy(update={"checkpoint_sha256": "cd" * 32})
    assert len(boards([*records, other], Ranking())) == 2


def test_other_calibration_sizes_are_other_rows(records: list[RunRecord]) -> None:
    cost = records[2].calibration.model_copy(update={"samples": 512})
    table = summarise([*records, records[2].model_copy(update={"calibration": cost})])
    assert "good [512 samples]" in set(table["label"])


def test_a_lower_metric_is_better_where_the_task_says_so(template: RunRecord) -> None:
    metric = template.metric.model_copy(update={"name": "error", "higher_is_better": False})
    worse = template.model_copy(
        update={"metric": metric, "ann": {"error": 1.0}, "snn": {"error": 1.5}}
    )
    table = rank(summarise([worse]), Ranking())
    assert table.loc[0, "drop"] == pytest.approx(0.5)
    assert table.loc[0, "drop_low"] == pytest.approx(0.5)


def test_tables_name_units_and_the_command_that_reproduces_a_row(
    records: list[RunRecord],
) -> None:
    (board,) = boards(records, Ranking())
    text = markdown(board)
    assert "| 1 | good | binary | 8 | 1.00 | 4.00 | 97.60 ± 0.14 | 0.40 [" in text
    assert "energy (µJ)" in text
    assert "`adacal verify good0000`" in text
    assert csv(board).splitlines()[0].startswith("task,dataset,model,rank,label,method")
    assert terminal(board).row_count == 5


def test_committed_tables_are_checked_against_the_records(
    records: list[RunRecord], tmp_path: Path
) -> None:
    write_files(records, tmp_path)
    assert check_files(records, tmp_path) == []
    assert check_files(list(reversed(records)), tmp_path) == []
    page = tmp_path / "toy_data_toy_net.md"
    page.write_text(page.read_text().replace("97.60", "99.99"))
    (tmp_path / "stray.csv").write_text("")
    (tmp_path / "toy_data_toy_net.csv").unlink()
    wrong = check_files(records, tmp_path)
    assert [sentence.split(";")[0].rsplit("/", 1)[1] for sentence in wrong] == [
        "toy_data_toy_net.md is not what the records give",
        "toy_data_toy_net.csv is missing",
        "stray.csv belongs to no record",
    ]


def test_a_plot_is_drawn_for_each_board(records: list[RunRecord], tmp_path: Path) -> None:
    (path,) = write_plots(boards(records, Ranking()), tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plot_says_what_lies_below_it(records: list[RunRecord]) -> None:
    from matplotlib.figure import Figure

    (board,) = boards(records, Ranking())
    assert _crop(Figure().add_subplot(), board.rows) == ""
    far = pd.concat([board.rows] * 4, ignore_index=True)
    axes = Figure().add_subplot()
    for scores, text in (([10.0], "1 point lies"), ([30.0, 20.0, 10.0], "3 points lie")):
        far.loc[len(far) - len(scores) :, "score"] = scores
        assert _crop(axes, far) == f"{text} below the picture, down to 10.0"
        assert axes.get_ylim()[0] > 30


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"dataset": ["toy_dta"]}, "did you mean 'toy_data'"),
        ({"method": ["chaep"]}, "did you mean 'cheap'"),
        ({"T": [3]}, "no T among the records named '3'"),
    ],
)
def test_a_filter_that_no_record_fits_gets_the_near_name(
    records: list[RunRecord], filters: dict[str, list[Any]], sentence: str
) -> None:
    with pytest.raises(DataError) as caught:
        boards(records, Ranking(), Filters(**filters))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"max_energy_uj": -1.0}, {"max_energy_uj": math.nan}, {"max_drop": math.nan}]
)
def test_limits_that_are_no_numbers_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="the largest"):
        Ranking(**options)


def test_rows_that_are_not_numbers_do_not_stop_a_plot(
    records: list[RunRecord], tmp_path: Path
) -> None:
    broken = [
        record.model_copy(update={"snn": {"accuracy_pct": math.nan}, "id": f"{i:016x}"})
        for i, record in enumerate(records)
    ]
    for some in (broken, [*records, broken[-1].model_copy(update={"label": "nan"})]):
        (path,) = write_plots(boards(some, Ranking()), tmp_path)
        assert path.is_file()


def test_a_file_in_place_of_the_folder_of_plots_is_refused(
    records: list[RunRecord], tmp_path: Path
) -> None:
    (tmp_path / "leaderboards").write_text("x")
    with pytest.raises(DataError, match="cannot be made"):
        write_plots(boards(records, Ranking()), tmp_path / "leaderboards")
