"""What is committed below `results/` is sound: tables from records, published rows with sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from adacal.suite import fronts_tables
from adacal.suite.fronts import Contest
from adacal.suite.leaderboard import Ranking, boards
from adacal.suite.markup import PAGE_LINES
from adacal.suite.published import check_names, read_names, read_published
from adacal.suite.published_tables import beside
from adacal.suite.store import RecordStore
from adacal.suite.tables import check_files
from suite.board_toys import toy_record

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_the_committed_tables_are_what_the_committed_records_give() -> None:
    records, warnings = RecordStore(RESULTS).read_all()
    assert warnings == []
    assert check_files(records, RESULTS / "leaderboards") == []


def test_no_committed_latex_table_is_longer_than_a_page() -> None:
    texts = [path.read_text() for path in (RESULTS / "leaderboards").glob("*.tex")]
    tables = [table for text in texts for table in text.split("\\begin{table*}")[1:]]
    assert len(tables) > len(texts)
    for table in tables:
        body = table.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
        assert 0 < body.count("\n") <= PAGE_LINES


def test_the_committed_fronts_are_what_the_committed_records_give() -> None:
    records, _ = RecordStore(RESULTS).read_all()
    assert fronts_tables.check_files(records, Contest(), RESULTS / "fronts") == []


def test_the_published_rows_are_sound() -> None:
    folder = RESULTS / "published"
    rows, wrong = read_published(folder)
    assert wrong + check_names(read_names(folder), rows) == []
    assert len(rows) >= 437


ADVANCED = "snn_calibration_advanced"
LIGHT = "snn_calibration_light"


@pytest.mark.parametrize(
    ("place", "method", "options", "T", "published"),
    [
        (("cifar10", "vgg16"), ADVANCED, "", 32, 93.71),
        (("cifar10", "resnet20_wide"), ADVANCED, "", 16, 94.33),  # that file's ResNet-20 is wide
        (("cifar10", "vgg16"), LIGHT, "(threshold=mmse, repeats=1)", 16, 93.3),
        (("imagenet", "vgg16"), "burst_lipooling", "(max_spikes=5)", 32, 71.41),
    ],
)
def test_the_shipped_names_lead_to_our_rows(
    place: tuple[str, str], method: str, options: str, T: int, published: float
) -> None:
    update = {"task": "classification2d", "dataset": place[0], "model": place[1], "T": T}
    record = toy_record().model_copy(update={**update, "method": method, "label": method + options})
    (board,) = boards([record], Ranking())
    found = beside(
        board, read_published(RESULTS / "published")[0], read_names(RESULTS / "published")
    )
    (met,) = (entry for entry in found if entry.ours is not None)
    assert met.row.value == published
    assert met.gap == pytest.approx(record.snn["accuracy_pct"] - published)
