"""Tape: what interception decided in one pass, so that the next pass need not decide it again.

Telling what a call means costs more than many a call takes, and passes of a network do not differ
in it. So a pass is written down, call by call, and read from then on: a call whose function and
arguments are as written is run as it was then. A pass that goes another way is run again by
`SpikingMode`, which knows all calls and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import is_
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from adacal.core.metering import Counted
from adacal.core.sites import Site
from adacal.core.traces import Trace, trace_of

if TYPE_CHECKING:
    from adacal.core.wiring import Wiring

Kind = Literal["plain", "once", "rounded", "pool", "running", "fire"]
"""How a call was run: as it is; for one block; in low precision; as a pool of spikes; by a temporal
rule; by neurons."""
_BATCHES = 16
"""Numbers of samples that shapes are kept for."""
VALUES = (
    int, float, str, bool, type(None), type(Ellipsis), slice,
    torch.dtype, torch.device, torch.memory_format, torch.layout,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor among the arguments of a call: its shape and what was known of it."""

    shape: torch.Size
    trace: Trace | None
    _others: dict[int, torch.Size | None] = field(default_factory=dict, repr=False, compare=False)

    def of_batch(self, now: int, before: int) -> torch.Size | None:
        """Returns its shape in a pass of `now` samples instead of `before`; None if it has none."""
        if now == before or self.trace is None:
            return self.shape
        if now not in self._others:
            if len(self._others) >= _BATCHES:
                self._others.clear()
            rows, rest = divmod(self.shape[self.trace.row_dim] * now, before)
            sizes = list(self.shape)
            sizes[self.trace.row_dim] = rows
            self._others[now] = None if rest else torch.Size(sizes)
        return self._others[now]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a temporal rule finds rows; see `Execution.running`."""

    mean: bool
    dim: int
    out_dim: int | None
    label: str | None


@dataclass(slots=True)
class Entry:
    """One call: what it was given, how it was run, and what was known of its result.

    Attributes:
        function: as called.
        args, kwargs: the arguments, tensors as `Given`.
        kind: how it was run.
        detail: the site of neurons, or the rule.
        counted: what a meter makes of it, and the label it goes by.
        marks: traces of the tensors of the result, in order.
        base: trace of the tensor that a result written in place is a view of.
    """

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    kind: Kind = "plain"
    detail: Site | Rule | None = None
    counted: tuple[Counted, str] | None = None
    marks: tuple[Trace | None, ...] = ()
    base: Trace | None = None


@dataclass(slots=True)
class Tape:
    """The calls of one pass.

    Attributes:
        batch: samples of that pass; another pass may have others.
        entries: in calling order.
        memories: names of what a stepwise run remembers, in order.
        first: what was known of the rows that went in.
        usable: whether all of it can be read again.
        wiring: of passes that can do without the module, if there are any.
        unwired: how often there might have been one and was none.
    """

    batch: int
    entries: list[Entry] = field(default_factory=list)
    memories: list[str] = field(default_factory=list)
    first: Trace | None = None
    usable: bool = True
    wiring: Wiring | None = None
    unwired: int = 0
    _known: dict[int, tuple[Trace, Trace]] = field(default_factory=dict)

    def begin(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Writes a call down before it runs (it may change its arguments)."""
        if self.usable:
            entry = Entry(function, self._given(args), self._given(kwargs))
            if self.usable:
                self.entries.append(entry)

    def note(self, kind: Kind | None, detail: Site | Rule | None = None) -> None:
        """Says how the last call is run; None if that cannot be done from a tape."""
        if kind is None:
            self.spoil()
        elif self.usable:
            self.entries[-1].kind, self.entries[-1].detail = kind, detail

    def counted(self, role: Counted, label: str) -> None:
        """Says what a meter makes of the last call."""
        if self.usable:
            self.entries[-1].counted = role, label

    def spoil(self) -> None:
        """Gives the tape up, with all that it holds; what is kept says that it is of no use."""
        self.usable, self.wiring = False, None
        self.entries.clear()
        self._known.clear()

    def end(self, result: Any, args: tuple[Any, ...]) -> None:
        """Writes down what is known of the result of the last call."""
        if not self.usable:
            return
        entry = self.entries[-1]
        tensors = [result] if isinstance(result, Tensor) else result
        if not isinstance(tensors, list | tuple) or not all(isinstance(t, Tensor) for t in tensors):
            self.spoil()
            return
        entry.marks = tuple(self.kept(trace_of(tensor)) for tensor in tensors)
        if any(result is value for value in args) and result._base is not None:
            entry.base = self.kept(trace_of(result._base))

    def close(self, memories: list[str]) -> None:
        """Ends a pass that nothing was wrong with."""
        self.memories = memories
        self._known.clear()

    def kept(self, trace: Trace | None) -> Trace | None:
        """Returns the trace without what only meters and calibration read, which holds tensors."""
        if trace is None:
            return None
        if id(trace) not in self._known:
            self._known[id(trace)] = trace, replace(trace, producer=None)
        return self._known[id(trace)][1]

    def _given(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Given(value.shape, self.kept(trace_of(value)))
        if type(value) in (list, tuple, torch.Size):
            items = [self._given(item) for item in value]
            if type(value) is tuple and all(map(is_, items, value)):
                return value  # which a layer gives again, so that one look tells
            return type(value)(items)
        if type(value) is dict:
            return {key: self._given(item) for key, item in value.items()}
        if isinstance(value, VALUES):
            return value
        self.spoil()
        return None
