"""Counted passes: decided call by call, read from a tape, without their module, by a ledger."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from adacal.core import compiled, network, passes


@pytest.fixture(scope="module")
def loaded() -> None:
    """Loads the compiled scan, so that those of any size take it."""
    compiled._MADE.clear()
    assert compiled._kernel() is not None, "numba is a dependency, so it compiles here"


_BEFORE = {"decided": 0, "from a tape": 1, "without the module": 2, "by the ledger": 3}


@pytest.fixture(params=_BEFORE)
def every_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test again with every counted pass made up to three times before."""

    def again(net: Any, make_rows: Any, layout: Any, meter: Any, state: Any, first: int) -> Any:
        if meter is not None and not meter.keep_graph:
            for _ in range(_BEFORE[request.param]):
                before = None if state is None else state.copied()
                passes.run_pass(net, make_rows, layout, copy.deepcopy(meter), before, first)
        return passes.run_pass(net, make_rows, layout, meter, state, first)

    monkeypatch.setattr(network, "run_pass", again)
