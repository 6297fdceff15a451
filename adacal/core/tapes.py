"""Tapes: those of a network, one for each kind of pass."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adacal.core.playback import Replay
from adacal.core.surroundings import Surroundings
from adacal.core.tape import Tape

_TAPES = 16
"""Kinds of pass that are kept."""
_TRIALS = 3
"""Passes that may go another way than the last before no tape is written any more; and that may not
do without the module before that is not tried any more."""


class Tapes:
    """The tapes of a network, by what a pass depends on besides its calls.

    Attributes:
        lock: held by the pass that runs, since deciding one follows the calls of modules.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._around: Surroundings | None = None
        self._kept: dict[Any, Tape] = {}
        self._diverged: Counter[Any] = Counter()
        self._of_one_size: set[Any] = set()

    def __reduce__(self) -> tuple[type[Tapes], tuple[()]]:
        return Tapes, ()  # a copy of the network writes its own

    def find(self, key: Any, batch: int) -> Tape | None:
        """Returns the tape of such passes, if there is one that can be read.

        Args:
            key: what the meaning of calls depends on, besides the calls themselves.
            batch: samples of the pass.
        """
        tape = self._kept.get(self._exact(key, batch))
        return tape if tape is not None and tape.usable else None

    def surroundings(
        self, tape: Tape, module: nn.Module, forward: Callable[..., Any]
    ) -> Surroundings | None:
        """Returns those of the network; None where a pass is not to do without the module.

        Once anything has changed, no wiring holds any more, nor is what it held kept alive.
        """
        if _hopeless(tape) and not any(kept.wiring is not None for kept in self._kept.values()):
            self._around = None  # nobody reads them, so that they are not looked at in vain
            return None
        around = self._around
        if around is not None and not (around.of(module, forward) and around.same()):
            self._around = None
            for kept in self._kept.values():
                kept.unwired += int(kept.wiring is not None)
                kept.wiring = None
        if _hopeless(tape):
            return None
        if self._around is None:
            self._around = Surroundings(module, forward)
        return self._around

    def distrust(self, tape: Tape) -> None:
        """Gives a wiring up that failed where the module did not."""
        tape.unwired += int(tape.wiring is not None)
        tape.wiring = None

    def play(
        self,
        key: Any,
        batch: int,
        replay: Replay,
        forward: Callable[[Any, Any], Any],
        module: Any,
        rows: Tensor,
        tag: Any = None,
    ) -> tuple[bool, Any]:
        """Runs a pass from its tape, on rows with their tag.

        Returns:
            Whether that went well, and the raw output rows. If not, whatever the reason, it is to
            be run again by the mode that says why; memory and counts the caller has to put back.
        Raises:
            torch.OutOfMemoryError: as it comes; another try would only take longer.
        """
        try:
            return True, replay.run(forward, module, rows.view_as(rows), tag)
        except torch.OutOfMemoryError:
            raise
        except Exception:
            if replay.diverged:
                self._give_up(self._exact(key, batch), key, replay.tape, batch)
            return False, None

    def blank(self, key: Any, batch: int) -> Tape | None:
        """Returns a tape to write the pass on; None if that is of no use."""
        if self._exact(key, batch) in self._kept:
            return None
        if len(self._kept) >= _TAPES:
            self._kept.clear()
        return Tape(batch)

    def keep(self, key: Any, tape: Tape) -> None:
        """Keeps a tape whose pass has ended well."""
        self._kept[self._exact(key, tape.batch)] = tape

    def _exact(self, key: Any, batch: int) -> Any:
        return (key, batch) if key in self._of_one_size else key

    def _give_up(self, exact: Any, key: Any, tape: Tape, batch: int) -> None:
        """Drops a tape that was not followed, to be written again, but not for ever."""
        self._kept.pop(exact, None)
        if tape.batch != batch:  # a network that says how many rows there are, as `view(8, -1)`
            self._of_one_size.add(key)
            return
        self._diverged[exact] += 1
        if self._diverged[exact] >= _TRIALS:
            tape.spoil()
            self._kept[exact] = tape


def _hopeless(tape: Tape) -> bool:
    return tape.wiring is None and tape.unwired >= _TRIALS
