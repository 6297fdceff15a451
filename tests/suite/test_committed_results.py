"""What is committed below `results/` is sound: tables from records, published rows with sources."""

from __future__ import annotations

from pathlib import Path

from adacal.suite.published import check_names, read_names, read_published
from adacal.suite.store import RecordStore
from adacal.suite.tables import check_files

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_the_committed_tables_are_what_the_committed_records_give() -> None:
    records, warnings = RecordStore(RESULTS).read_all()
    assert warnings == []
    assert check_files(records, RESULTS / "leaderboards") == []


def test_the_published_rows_are_sound() -> None:
    folder = RESULTS / "published"
    rows, wrong = read_published(folder)
    assert wrong + check_names(read_names(folder), rows) == []
    assert len(rows) >= 437
