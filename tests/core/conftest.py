"""Counted passes, decided call by call and read from a tape."""

from __future__ import annotations

from typing import Any

import pytest

from adacal.core import network, passes


@pytest.fixture(params=["decided", "from a tape"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test a second time with every counted pass made before, so that it has a tape."""
    if request.param == "decided":
        return

    def again(net: Any, make_rows: Any, layout: Any, meter: Any, state: Any, first: int) -> Any:
        if meter is not None and not meter.keep_graph:
            before = None if state is None else state.copied()
            passes.run_pass(net, make_rows, layout, meter.copied(), before, first)
        return passes.run_pass(net, make_rows, layout, meter, state, first)

    monkeypatch.setattr(network, "run_pass", again)
