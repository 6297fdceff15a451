"""Published rows: read, checked, set beside ours, never mixed with what was measured."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from adacal.core.errors import DataError
from adacal.suite.cli import main
from adacal.suite.leaderboard import Ranking, boards
from adacal.suite.published import (
    COLUMNS,
    Names,
    check_names,
    published_folder,
    read_names,
    read_published,
)
from adacal.suite.published_tables import ONLY_PUBLISHED, beside, beside_grid
from adacal.suite.records import RunRecord
from adacal.suite.store import RecordStore
from suite.board_toys import board_records, toy_record

GOOD = {
    "paper": "A work (Someone)",
    "year": "2024",
    "source": "arXiv:1234.56789 Table 2",
    "task": "classification2d",
    "dataset": "Toy-Data",
    "model": "Toy-Net",
    "method": "theirs",
    "T": "8",
    "metric": "top1_acc_pct",
    "value": "95.5",
    "ann_value": "97.0",
    "energy_pct_saved": "",
    "note": "secondary: as reported elsewhere",
}
NAMES = {
    "methods": {"theirs": {"method": "good"}, "ANN": {"method": "ann"}},
    "metrics": {"top1_acc_pct": "accuracy_pct"},
}


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return [
        record.model_copy(update={"task": "classification2d", "id": f"{i:016x}"})
        for i, record in enumerate(board_records(toy_record()))
    ]


def write(folder: Path, *rows: dict[str, str], header: str = ",".join(COLUMNS)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join((GOOD | row)[column] for column in COLUMNS) for row in rows]
    (folder / "toy_2024.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"source": ""}, "no source; every number needs one"),
        ({"paper": ""}, "no paper"),
        ({"value": "0.955e3"}, "value is 0.955e3; top1_acc_pct lies from 0 to 100"),
        ({"value": "nan"}, "value is nan"),
        ({"value": "95 %"}, "value is '95 %'; write a number"),
        ({"ann_value": "-3"}, "ann_value is -3"),
        ({"metric": "top1_acc"}, "metric 'top1_acc' tells no unit"),
        ({"metric": "energy_ratio_snn_over_ann", "value": "-0.5"}, "lies from 0 to inf"),
        ({"energy_pct_saved": "170"}, "energy_pct_saved is 170; per cent lies from -inf to 100"),
        ({"task": "clasification2d"}, "did you mean 'classification2d'"),
        ({"T": "about 8"}, "T is 'about 8'"),
        ({"year": "24"}, "year is '24'"),
        ({"model": " Toy-Net"}, "model has blanks around 'Toy-Net'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_line(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    rows, wrong = read_published(write(tmp_path, {}, change))
    assert [row.place for row in rows] == ["toy_2024.csv:2"]
    assert len(wrong) == 1
    assert wrong[0].startswith("toy_2024.csv:3: ")
    assert sentence in wrong[0]


def test_one_source_gives_a_result_once_and_two_may_differ(tmp_path: Path) -> None:
    other = {"source": "another table", "value": "94.0"}
    _, wrong = read_published(write(tmp_path, {}, other))
    assert wrong == []
    _, wrong = read_published(write(tmp_path, {}, {"value": "94.0"}))
    assert wrong == ["toy_2024.csv:3: given before at toy_2024.csv:2 (95.5 there); keep one"]


def test_other_columns_and_cut_lines_are_refused(tmp_path: Path) -> None:
    _, wrong = read_published(write(tmp_path, {}, header="paper,value"))
    assert "the first line must be paper,year,source" in wrong[0]
    write(tmp_path, {})
    with (tmp_path / "toy_2024.csv").open("a") as file:
        file.write("cut,short\n")
    rows, wrong = read_published(tmp_path)
    assert len(rows) == 1
    assert wrong == ["toy_2024.csv:3: 2 cells; there must be 13"]
    (tmp_path / "toy_2024.csv").write_bytes(b"\xff\xfe")
    assert "cannot be read as CSV in UTF-8" in read_published(tmp_path)[1][0]
    with pytest.raises(DataError, match="no published CSV file"):
        read_published(tmp_path / "empty")


def test_names_are_checked_against_rows_and_methods(tmp_path: Path) -> None:
    rows, _ = read_published(write(tmp_path, {}))
    names = Names({"theirs": {"method": "bursts"}, "thers": {"method": "burst"}}, {}, {}, {})
    wrong = check_names(names, rows)
    assert any("did you mean 'theirs'" in sentence for sentence in wrong)
    assert any("did you mean 'burst'" in sentence for sentence in wrong)
    (tmp_path / "names.json").write_text(json.dumps({"method": {}}))
    with pytest.raises(DataError, match="the keys methods, models, datasets, metrics"):
        read_names(tmp_path)


def test_the_gap_is_to_our_row_of_the_same_dataset_model_method_and_steps(
    records: list[RunRecord], tmp_path: Path
) -> None:
    folder = write(
        tmp_path,
        {},
        {"T": "16", "value": "96.0"},
        {"T": ">=8", "value": "96.1"},
        {"method": "unknown", "value": "93.0"},
        {"model": "Other-Net", "value": "92.0"},
        {"dataset": "Other", "value": "91.0"},
        {"metric": "miou_pct", "value": "90.0"},
        {"task": "events", "value": "89.0"},
    )
    (folder / "names.json").write_text(json.dumps(NAMES))
    (board,) = boards(records, Ranking())
    rows, wrong = read_published(folder)
    assert wrong == []
    found = beside(board, rows, read_names(folder))
    assert [entry.row.value for entry in found] == [95.5, 96.0, 96.1, 93.0]
    first = found[0]
    assert first.gap == pytest.approx(97.6 - 95.5)
    assert first.our_ann == pytest.approx(98.0)
    assert first.published_drop == pytest.approx(1.5)
    assert all(entry.ours is None for entry in found[1:])
    cells = beside_grid(board, found).cells
    assert cells[0][2:10] == [
        "95.50*", "97.00", "1.50", "good", "97.60", "98.00", "0.40", "+2.10",
    ]  # fmt: skip
    assert cells[1][5:10] == ["–"] * 5


def test_a_label_in_the_names_wants_those_options(records: list[RunRecord], tmp_path: Path) -> None:
    rows, _ = read_published(write(tmp_path, {}))
    (board,) = boards(records, Ranking())
    metrics = NAMES["metrics"]
    for label, matched in (("good", True), ("good(level=2)", False)):
        names = Names({"theirs": {"label": label}}, {}, {}, metrics)
        (entry,) = beside(board, rows, names)
        assert (entry.ours is not None) is matched


def test_a_models_name_may_hold_for_one_file_only(tmp_path: Path) -> None:
    rows, _ = read_published(write(tmp_path, {"model": "ResNet-20"}))
    place = ("classification2d", "toy_data", "resnet20_wide")
    for key, same in (("toy_2024.csv/ResNet-20", True), ("other.csv/ResNet-20", False)):
        assert Names({}, {key: "resnet20_wide"}, {}, {}).same_place(rows[0], *place) is same


def test_published_rows_stand_below_the_table_and_only_on_request(
    records: list[RunRecord], tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    store.prepare()
    for record in records:
        store.add(record)
    folder = write(tmp_path / "published", {"value": "99.9"})
    (folder / "names.json").write_text(json.dumps(NAMES))
    assert published_folder(tmp_path) == folder
    words = ["leaderboard", "--results", str(tmp_path), "--format", "md"]
    plain = CliRunner().invoke(main, words)
    both = CliRunner().invoke(main, [*words, "--published"])
    assert (plain.exit_code, both.exit_code) == (0, 0)
    assert "99.9" not in plain.output
    assert both.output.startswith(plain.output)
    below = both.output.removeprefix(plain.output)
    assert "### Published, not measured here: toy_data / toy_net" in below
    assert "| theirs | 8 | 99.90* | 97.00 | -2.90 | good | 97.60 |" in below
    assert "none is ranked" in below
    words = ["published", "--results", str(tmp_path), "--dataset"]
    assert "1 of 1 rows" in CliRunner().invoke(main, [*words, "toydata"]).output
    unknown = CliRunner().invoke(main, [*words, "toy-dat"])
    assert unknown.exit_code == 2
    assert "no published dataset named 'toy-dat'; did you mean 'Toy-Data'?" in unknown.output
    checked = CliRunner().invoke(main, ["published", "--results", str(tmp_path), "--check"])
    assert checked.exit_code == 1
    assert "no method named 'good'" in checked.output


def test_published_rows_in_csv_are_told_by_their_origin(
    records: list[RunRecord], tmp_path: Path
) -> None:
    store = RecordStore(tmp_path)
    store.prepare()
    for record in records:
        store.add(record)
    folder = write(tmp_path / "published", {"value": "99.9"}, {"T": ">=8", "value": "96.1"})
    (folder / "names.json").write_text(json.dumps(NAMES))
    words = ["leaderboard", "--results", str(tmp_path), "--format", "csv", "--published"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    table = pd.read_csv(io.StringIO(done.output), dtype={"T": str})
    assert list(table["origin"]) == ["measured"] * 5 + ["published"] * 2
    theirs = table[table["origin"] == "published"].set_index("T")
    assert list(theirs["accuracy_pct"]) == [99.9, 96.1]
    assert theirs["rank"].isna().all() and theirs["energy_per_spike_uj"].isna().all()
    assert theirs.loc["8", "gap"] == pytest.approx(97.6 - 99.9)
    assert theirs.loc["8", "our_label"] == "good"
    ours = table[table["origin"] == "measured"]
    assert ours["source"].isna().all() and ours["rank"].notna().all()
    plain = CliRunner().invoke(main, words[:-1]).output
    alone = ours.drop(columns=["origin", *ONLY_PUBLISHED])
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(plain), dtype={"T": str}), alone,
                                  check_dtype=False)  # fmt: skip
    few = CliRunner().invoke(main, [*words, "--columns", "method,score"])
    assert few.output.splitlines()[0] == (
        "origin,task,dataset,model,label,accuracy_pct,accuracy_pct_std,"
        "ann_value,our_label,gap,secondary,paper,source"
    )
    assert len(few.output.splitlines()) == 1 + 7
