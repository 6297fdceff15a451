"""A warm-up in records: its steps are charged, and a record that hides them is caught."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adacal.suite.config import resolve
from adacal.suite.record_checks import complaints
from adacal.suite.records import RunRecord
from adacal.suite.registry import TASKS
from adacal.suite.runner import measure
from adacal.suite.session import Session
from suite.suite_toys import raw_config


@pytest.fixture(scope="module")
def record() -> RunRecord:
    config = resolve(raw_config(method={"type": "srp", "warmup": 3}))
    with pytest.MonkeyPatch.context() as patch:
        spiking = nn.Sequential(nn.ReLU(), nn.Linear(4, 4, bias=False))
        nn.init.eye_(spiking[1].weight)
        # By name: pytest imports the toys once more to look for doctests, and the last one counts.
        patch.setattr(TASKS.get("toy_task"), "build_ann", lambda self: spiking.eval())
        with torch.no_grad():
            return measure(config, Session())


def test_the_steps_of_a_warm_up_are_charged_to_the_row(record: RunRecord) -> None:
    assert (record.T, record.timesteps.warmup) == (4, 3)
    assert record.timesteps.mean == 7
    assert record.strictness == "binary" and list(complaints(record)) == []


def test_more_steps_than_T_and_warm_up_are_caught(record: RunRecord) -> None:
    hidden = record.timesteps.model_copy(update={"warmup": 0})
    found = list(complaints(record.model_copy(update={"timesteps": hidden})))
    assert found == ["samples ran 7 steps of 4"]
