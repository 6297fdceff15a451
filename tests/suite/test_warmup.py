"""A warm-up in records: its steps are charged, and a record that hides them is caught."""

from __future__ import annotations

import pytest

from adacal.suite.config import resolve
from adacal.suite.record_checks import complaints
from adacal.suite.records import RunRecord
from adacal.suite.runner import measure
from adacal.suite.session import Session
from suite.suite_toys import raw_config


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return measure(resolve(raw_config(method={"type": "srp", "warmup": 3})), Session())


def test_the_steps_of_a_warm_up_are_charged_to_the_row(record: RunRecord) -> None:
    assert (record.T, record.timesteps.warmup) == (4, 3)
    assert record.timesteps.mean == 7 and len(record.timesteps.metric_by_step or []) == 4
    assert record.strictness == "binary" and list(complaints(record)) == []


def test_more_steps_than_T_and_warm_up_are_caught(record: RunRecord) -> None:
    hidden = record.timesteps.model_copy(update={"warmup": 0})
    found = list(complaints(record.model_copy(update={"timesteps": hidden})))
    assert found == ["samples ran 7 steps of 4"]
