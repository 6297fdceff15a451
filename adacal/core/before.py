"""Before: what was counted and remembered, to go back to where a run fails half-way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from adacal.core.counting import SynapseCounter
from adacal.core.layout import RunState


class Before:
    """What a meter has counted and a stepwise run remembers.

    Args:
        meter, state: as they are now; None where there is none.
    """

    def __init__(self, meter: SynapseCounter | None, state: RunState | None = None) -> None:
        self._meter, self._state = meter, state
        self._counted = None if meter is None else meter.kept()
        self._remembered = None if state is None else state.copied()

    def restore(self) -> None:
        """Puts it back, as often as it takes."""
        if self._meter is not None and self._counted is not None:
            self._meter.go_back(self._counted)
        if self._state is not None and self._remembered is not None:
            self._state.become(self._remembered.copied())


@contextlib.contextmanager
def whole_or_not_at_all(
    meter: SynapseCounter | None, state: RunState | None = None
) -> Iterator[Before]:
    """Restores what was before a block that fails: whoever goes on from there counts nothing twice.

    >>> meter = SynapseCounter()
    >>> with contextlib.suppress(MemoryError), whole_or_not_at_all(meter):
    ...     meter.samples += 1
    ...     raise MemoryError
    >>> meter.samples
    0
    """
    before = Before(meter, state)
    try:
        yield before
    except BaseException:
        before.restore()
        raise
