"""The main metric in full, where the evaluator rounds it."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.openmmlab.judging import unrounded


def test_the_main_metric_is_put_in_full_where_its_redraw_agrees_with_the_evaluator() -> None:
    def redraw(counts: np.ndarray) -> np.ndarray:
        return counts @ np.array([70.0, 80.0]) / 2 + 0.0321

    metrics, kept = unrounded({"map_pct": 75.0, "map50_pct": 90.0}, "map_pct", redraw, 2)
    assert metrics == {"map_pct": 75.0321, "map50_pct": 90.0}
    assert kept is redraw


@pytest.mark.parametrize("value", [75.2, np.nan])
def test_a_redraw_of_something_else_is_dropped(value: float) -> None:
    scores = {"map_pct": 75.0}
    assert unrounded(scores, "map_pct", lambda counts: np.array([value]), 2) == (scores, None)
