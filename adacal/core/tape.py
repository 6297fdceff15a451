"""Tape: what interception decided in one pass, so that the next pass need not decide it again.

Telling what a call means costs more than many a call takes, and passes of a network do not differ
in it. So a pass is written down, call by call, and read from then on: a call whose function and
arguments are as written is run as it was then. A pass that goes another way is run again by
`SpikingMode`, which knows all calls and says what is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adacal.core.calls import Call, read_call
from adacal.core.execution import Execution
from adacal.core.functions import Role, role_of
from adacal.core.layout import Layout, RunState
from adacal.core.naming import CallNames
from adacal.core.precision import Rounded
from adacal.core.sites import OnActivation, Site
from adacal.core.traces import Trace, known_of, set_trace, trace_of, traced_tensors

Kind = Literal["plain", "once", "rounded", "running", "fire"]
"""How a call was run: as it is; for one block; in low precision; by a temporal rule; by neurons."""
_VALUES = (
    int, float, str, bool, type(None), type(Ellipsis), slice,
    torch.dtype, torch.device, torch.memory_format, torch.layout,
)  # fmt: skip

_TAPES = 16
"""Kinds of pass that are kept."""
_TRIALS = 3
"""Passes that may go another way than the last before no tape is written any more."""


class Diverged(Exception):
    """A pass went another way than the one on the tape."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor among the arguments of a call: its shape and what was known of it."""

    shape: torch.Size
    trace: Trace | None


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
        args, kwargs: the arguments, tensors as `Seen`.
        kind: how it was run.
        detail: the site of neurons, or the rule.
        marks: traces of the tensors of the result, in order.
        base: trace of the tensor that a result written in place is a view of.
    """

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    kind: Kind = "plain"
    detail: Site | Rule | None = None
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
    """

    batch: int
    entries: list[Entry] = field(default_factory=list)
    memories: list[str] = field(default_factory=list)
    first: Trace | None = None
    usable: bool = True
    _known: dict[int, tuple[Trace, Trace]] = field(default_factory=dict)

    def begin(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """Writes a call down before it runs (it may change its arguments)."""
        if self.usable:
            entry = Entry(function, self._seen(args), self._seen(kwargs))
            if self.usable:
                self.entries.append(entry)

    def note(self, kind: Kind | None, detail: Site | Rule | None = None) -> None:
        """Says how the last call is run; None if that cannot be done from a tape."""
        if kind is None:
            self.spoil()
        elif self.usable:
            self.entries[-1].kind, self.entries[-1].detail = kind, detail

    def spoil(self) -> None:
        """Gives the tape up, with all that it holds; what is kept says that it is of no use."""
        self.usable = False
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
            self._known[id(trace)] = trace, replace(trace, producer=None, tag=None)
        return self._known[id(trace)][1]

    def _seen(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Seen(value.shape, self.kept(trace_of(value)))
        if type(value) in (list, tuple, torch.Size):
            return type(value)([self._seen(item) for item in value])
        if type(value) is dict:
            return {key: self._seen(item) for key, item in value.items()}
        if isinstance(value, _VALUES):
            return value
        self.spoil()
        return None


class Replay(TorchFunctionMode):
    """Active during one forward of the unchanged network, whose calls stand on a tape.

    Args:
        tape: of an earlier pass.
        layout: how rows are laid out, as they were but for the number of samples.
        on_activation: computes each activation site.
        state: memory of a stepwise run, if given.
        rounded: computes layers of the spiking stream in low precision, if given.
    """

    def __init__(
        self,
        tape: Tape,
        layout: Layout,
        on_activation: OnActivation,
        *,
        state: RunState | None = None,
        rounded: Rounded | None = None,
    ) -> None:
        super().__init__()
        self.tape = tape
        self.on_activation = on_activation
        self.state = state
        self.rounded = rounded
        self._left = iter(tape.entries)
        self._lost = False  # a network may catch what is raised here, and go on
        self._batches = tape.batch, layout.batch
        self._execution = Execution(layout, _Written(tape.memories), state)

    def run(self, forward: Callable[[torch.nn.Module, Any], Any], module: Any, rows: Tensor) -> Any:
        """Runs the network on laid-out rows and returns its raw output rows.

        Raises:
            Diverged: it went another way.
        """
        set_trace(rows, self.tape.first)
        with self:
            result = forward(module, rows)
        outside = any(known_of(tensor).row_dim for tensor in traced_tensors(result))
        if self._lost or outside or next(self._left, None) is not None:
            self._lost = True
            raise Diverged
        return result

    @property
    def diverged(self) -> bool:
        """Whether the pass went another way; else something in it failed."""
        return self._lost

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if role_of(func) is Role.PLAIN or not _carries(args, kwargs):
            return func(*args, **kwargs)
        entry = next(self._left, None)
        if entry is None or entry.function != func or not self._as_written(entry, args, kwargs):
            self._lost = True
            raise Diverged
        if entry.kind == "plain":
            result = func(*args, **kwargs)
        elif isinstance(entry.detail, Site):
            rows = args[0] if args else read_call(func, args, kwargs).args[0]
            result = self._neurons(entry.detail, rows)
        else:
            result = self._run(entry, read_call(func, args, kwargs))
        tensors = (result,) if isinstance(result, Tensor) else result
        if len(tensors) != len(entry.marks):
            self._lost = True
            raise Diverged
        for tensor, mark in zip(tensors, entry.marks, strict=True):
            if mark is not None:
                set_trace(tensor, mark)
        if entry.base is not None:
            set_trace(result._base, entry.base)
        return result

    def _run(self, entry: Entry, call: Call) -> Any:
        traced = tuple(traced_tensors((call.args, call.kwargs)))
        call = replace(call, traced=traced)
        if entry.kind == "once":
            return self._execution.once(call)[0]
        if entry.kind == "rounded":
            assert self.rounded is not None
            return self.rounded.run(call)
        assert isinstance(entry.detail, Rule)
        mean, dim, out_dim, label = (getattr(entry.detail, name) for name in Rule.__slots__)
        return self._execution.running(call, mean=mean, dim=dim, out_dim=out_dim, label=label)

    def _neurons(self, site: Site, rows: Tensor) -> Tensor:
        trace = trace_of(rows)
        assert trace is not None
        output, _ = self.on_activation(site, rows, trace)
        return into(rows, output) if site.inplace else output

    def _as_written(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self._same(entry.args, args) and (
            not (kwargs or entry.kwargs) or self._same(entry.kwargs, kwargs)
        )

    def _same(self, written: Any, given: Any) -> bool:
        kind = type(written)
        if kind is Seen:
            if not isinstance(given, Tensor) or trace_of(given) is not written.trace:
                return False
            return given.shape == written.shape or self._same_but_for_rows(written, given.shape)
        if kind is not type(given):
            return False
        if kind is tuple or kind is list or kind is torch.Size:
            if len(written) != len(given):
                return False
            for one, other in zip(written, given, strict=True):
                if one is other or (
                    type(one) is Seen
                    and isinstance(other, Tensor)
                    and other.shape == one.shape
                    and trace_of(other) is one.trace
                ):
                    continue
                if not self._same(one, other):
                    return False
            return True
        if kind is dict:
            return written.keys() == given.keys() and all(
                self._same(value, given[key]) for key, value in written.items()
            )
        return bool(written == given)

    def _same_but_for_rows(self, written: Seen, shape: torch.Size) -> bool:
        """Whether sizes differ as the numbers of samples do, and only where the rows are."""
        before, now = self._batches
        if written.trace is None or len(shape) != len(written.shape):
            return False
        at = written.trace.row_dim
        pairs = enumerate(zip(written.shape, shape, strict=True))
        return all(a * now == b * before if dim == at else a == b for dim, (a, b) in pairs)


class Tapes:
    """The tapes of a network, by what a pass depends on besides its calls."""

    def __init__(self) -> None:
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

    def play(
        self,
        key: Any,
        batch: int,
        replay: Replay,
        forward: Callable[[Any, Any], Any],
        module: Any,
        rows: Tensor,
    ) -> tuple[bool, Any]:
        """Runs a pass from its tape.

        Returns:
            Whether that went well, and the raw output rows. If not, whatever the reason, it is to
            be run again by the mode that says why; the memory of the run is as it was before.
        Raises:
            torch.OutOfMemoryError: as it comes; another try would only take longer.
        """
        state = replay.state
        before = None if state is None else state.copied()
        try:
            return True, replay.run(forward, module, rows.view_as(rows))
        except torch.OutOfMemoryError:
            raise
        except Exception:
            if replay.diverged:
                self._give_up(self._exact(key, batch), key, replay.tape, batch)
            if state is not None and before is not None:
                state.become(before)
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


def _carries(args: Iterable[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a call has an argument that carries activations; mostly the first does."""
    for value in args:
        if isinstance(value, Tensor):
            if trace_of(value) is not None:
                return True
        elif isinstance(value, list | tuple | dict) and traced_tensors(value):
            return True
    return bool(kwargs and traced_tensors(kwargs))


class _Written(CallNames):
    """Gives the names that a tape holds, whatever runs."""

    def __init__(self, memories: list[str]) -> None:
        super().__init__()
        self._names = iter(memories)

    def memory(self, function: str) -> str:
        """Returns the next name."""
        return next(self._names)


def into(input: Tensor, output: Tensor) -> Tensor:
    """Overwrites an input with an output, unless that was written there already."""
    places = zip(input.shape, input.stride(), output.stride(), strict=True)
    same = all(size == 1 or step == other for size, step, other in places)
    if not (same and input.data_ptr() == output.data_ptr()):
        input.copy_(output)
    return input
