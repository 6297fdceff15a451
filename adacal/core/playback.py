"""Replay: a pass of the unchanged network, run as its tape says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adacal.core.calls import Call, read_call
from adacal.core.counting import SynapseCounter
from adacal.core.eight_bit import after_pool, run_pool
from adacal.core.execution import Execution
from adacal.core.firing import Firing
from adacal.core.functions import Role, role_of
from adacal.core.layout import Layout, RunState
from adacal.core.ledger import Account, Ledger
from adacal.core.ledgers import counts_as_written
from adacal.core.metering import run_counted
from adacal.core.naming import CallNames
from adacal.core.precision import LayerRunner
from adacal.core.recording import Recorder
from adacal.core.sites import OnActivation, Site
from adacal.core.surroundings import Surroundings
from adacal.core.tape import Entry, Given, Rule, Tape
from adacal.core.traces import into, known_of, meter_tag, set_trace, trace_of, traced_tensors
from adacal.core.wiring import Draft, Wiring

_NOTHING = object()


class Diverged(Exception):
    """A pass went another way than the one on the tape."""


class Replay(TorchFunctionMode):
    """Active during one forward of the unchanged network, whose calls stand on a tape.

    Args:
        tape: of an earlier pass.
        layout: how rows are laid out, as they were but for the number of samples.
        firing: computes each activation site.
        meter: counts synaptic operations, if given.
        state: memory of a stepwise run, if given.
        rounded: computes layers of the spiking stream in low precision, if given.
        surroundings: of the network; with them calls are made without the module where passes have
            proved to make no others, and are noted where that is still to be found.
    """

    def __init__(
        self,
        tape: Tape,
        layout: Layout,
        firing: Firing,
        *,
        meter: SynapseCounter | None = None,
        state: RunState | None = None,
        rounded: LayerRunner | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__()
        self.tape = tape
        self.surroundings = surroundings
        self._firing = firing
        self._fire: OnActivation = firing
        self.meter = meter
        self.state = state
        self.rounded = rounded
        self._next = 0
        self._lost = False  # a network may catch what is raised here, and go on
        self._layout, self._batches = layout, (layout.batch, tape.batch)
        self._account: Account | None = None
        self._miscounted = False
        self._draft: Draft | None = None
        self._execution = Execution(layout, _Written(tape.memories), state)

    def run(
        self,
        forward: Callable[[torch.nn.Module, Any], Any],
        module: Any,
        rows: Tensor,
        tag: Any = None,
    ) -> Any:
        """Runs the network on laid-out rows, with their tag, and returns its raw output rows.

        Raises:
            Diverged: it went another way.
        """
        set_trace(rows, self.tape.first, tag)
        if self.surroundings is not None:
            wiring = self.tape.wiring
            if wiring is not None and wiring.takes(rows):
                self._fire = self._firing.unattended(wiring.sites)
                return self._wired(wiring, rows, tag)
            self._draft = Draft(self.tape, self.surroundings, rows)
        with self:
            result = forward(module, rows)
        outside = any(known_of(tensor).row_dim for tensor in traced_tensors(result))
        if self._lost or outside or self._next < len(self.tape.entries):
            self._lost = True
            raise Diverged
        if self._draft is not None:
            self.tape.wiring = self._draft.close(result, self.tape.wiring)
            self.tape.unwired += int(self.tape.wiring is None)
        return result

    def _wired(self, wiring: Wiring, rows: Tensor, tag: Any) -> Any:
        """Runs without the module; counts by the ledger of such passes, or writes it."""
        meter, prepared = self.meter, self._firing.prepared
        if meter is None or prepared is None or not (rows.is_cpu and counts_as_written(meter)):
            return wiring.run(self._make, rows)
        batch, ledgers = self._layout.batch, wiring.ledgers
        fresh = self.state is None or not self.state.static  # or what never changes is known
        key = rows.shape[1:], *meter.kind_of_pass, fresh, tag is not None
        ledger = ledgers.find(key, batch, prepared)
        if ledger is None and not ledgers.wanted(key, batch, prepared):
            return wiring.run(self._make, rows)
        try:
            if ledger is not None:
                return self._by_ledger(ledger, meter, wiring, rows, tag)
            outputs, made = self._recorded(meter, wiring, rows, tag)
        except Exception:  # whose fault, passes that are followed will tell
            self._miscounted = True
            ledgers.failed(key)
            raise
        ledgers.keep(key, batch, made)
        return outputs

    def _by_ledger(
        self, ledger: Ledger, meter: SynapseCounter, wiring: Wiring, rows: Tensor, tag: Any
    ) -> Any:
        self.meter, self._account = None, Account(ledger, self._layout.batch)
        self._firing.count(self._account)
        if tag is not None:
            self._account.entered(tag.tally)
        outputs = wiring.run(self._make, rows)
        self._account.close(meter)
        return outputs

    def _recorded(
        self, meter: SynapseCounter, wiring: Wiring, rows: Tensor, tag: Any
    ) -> tuple[Any, Ledger | None]:
        recorder = Recorder(self._layout, self._firing.most)
        self.meter = meter.beside(recorder)
        self._firing.count(self.meter)
        if tag is not None:
            set_trace(rows, self.tape.first, recorder.entered(tag))
        outputs = wiring.run(self._make, rows)
        made = recorder.close(self.meter)
        meter.add(self.meter)
        return outputs, made

    @property
    def miscounted(self) -> bool:
        """Whether the pass failed by a ledger, or as one was recorded: maybe not for its calls."""
        return self._miscounted

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
        entries, number = self.tape.entries, self._next
        entry = entries[number] if number < len(entries) else None
        if entry is None or entry.function != func or not self._as_written(entry, args, kwargs):
            if role_of(func) is Role.PLAIN or not _carries(args, kwargs):
                if self._draft is not None:
                    self._draft.beside(func)
                return func(*args, **kwargs)
            self._lost = True
            raise Diverged
        self._next = number + 1
        if self._draft is not None:
            self._draft.call(entry, args, kwargs)
        return self._make(entry, args, kwargs)

    def _make(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes a call as it was made, and marks its result."""
        func, tag = entry.function, None
        if entry.kind == "fire":
            rows = args[0] if args else read_call(func, args, kwargs).args[0]
            assert isinstance(entry.detail, Site)
            result, tag = self._neurons(entry.detail, rows)
        elif self.meter is not None and entry.counted and _is_counted(entry, args, kwargs):
            call, once = _traced(func, args, kwargs), entry.kind == "once"
            run = partial(self._run, entry, call)
            result, tag = run_counted(self.meter, *entry.counted, call, run, once=once)
        elif self._account is not None and entry.counted and entry.counted[0] == "pool":
            result, _ = self._run(entry, _traced(func, args, kwargs))
            self._account.pooled(result)
        elif entry.kind == "plain":
            result = func(*args, **kwargs)
        else:
            result, _ = self._run(entry, _traced(func, args, kwargs))
        if isinstance(result, Tensor) and len(entry.marks) == 1:
            if entry.marks[0] is not None:
                set_trace(result, entry.marks[0], tag)
        else:
            self._mark_each(entry, result, tag)
        if entry.base is not None:
            assert result._base is not None, "a result in place is a view, as it was"
            set_trace(result._base, entry.base)
        return result

    def _mark_each(self, entry: Entry, result: Any, tag: Any) -> None:
        tensors = (result,) if isinstance(result, Tensor) else result
        if len(tensors) != len(entry.marks):
            self._lost = True
            raise Diverged
        for index, (tensor, mark) in enumerate(zip(tensors, entry.marks, strict=True)):
            if mark is not None:
                set_trace(tensor, mark, tag[index] if isinstance(tag, list | tuple) else tag)

    def _run(self, entry: Entry, call: Call) -> tuple[Any, bool]:
        """Runs a call; returns whether it was computed now, not taken from an earlier step."""
        if entry.kind == "plain":
            return call.run(), True
        if entry.kind == "once":
            return self._execution.once(call)
        if entry.kind == "rounded":
            assert self.rounded is not None
            return self.rounded.run(call), True
        if entry.kind == "pool":
            return run_pool(call), True
        assert isinstance(entry.detail, Rule)
        mean, dim, out_dim, label = (getattr(entry.detail, name) for name in Rule.__slots__)
        result = self._execution.running(call, mean=mean, dim=dim, out_dim=out_dim, label=label)
        if not mean:
            after_pool(call, result)
        return result, True

    def _neurons(self, site: Site, rows: Tensor) -> tuple[Tensor, Any]:
        trace = trace_of(rows)
        assert trace is not None
        output, tag = self._fire(site, rows, trace)
        return into(rows, output) if site.inplace else output, tag

    def _as_written(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self._same(entry.args, args) and (
            not (kwargs or entry.kwargs) or self._same(entry.kwargs, kwargs)
        )

    def _same(self, written: Any, given: Any) -> bool:
        kind = type(written)
        if kind is Given:
            return self._as_given(written, given)
        if kind is not type(given):
            return False
        if kind is tuple or kind is list or kind is torch.Size:
            if len(written) != len(given):
                return False
            for one, other in zip(written, given, strict=True):
                if one is not other and not self._same(one, other):
                    return False
            return True
        if kind is dict:
            if len(written) != len(given):
                return False
            for key, one in written.items():
                other = given.get(key, _NOTHING)
                if one is not other and not self._same(one, other):
                    return False
            return True
        return bool(written == given)

    def _as_given(self, written: Given, given: Any) -> bool:
        if not isinstance(given, Tensor) or trace_of(given) is not written.trace:
            return False
        return given.shape in (written.of_batch(*self._batches), written.shape)


def _carries(args: Iterable[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a call has an argument that carries activations; mostly the first does."""
    for value in args:
        if isinstance(value, Tensor):
            if trace_of(value) is not None:
                return True
        elif isinstance(value, list | tuple | dict) and traced_tensors(value):
            return True
    return bool(kwargs and traced_tensors(kwargs))


def _is_counted(entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a meter makes anything of a call: it follows spikes only."""
    if entry.counted is not None and entry.counted[0] != "follow":
        return True
    return any(meter_tag(tensor) is not None for tensor in traced_tensors((args, kwargs)))


def _traced(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    call = read_call(func, args, kwargs)
    traced = tuple(traced_tensors((call.args, call.kwargs)))
    return Call(call.function, call.name, call.args, call.kwargs, traced)


class _Written(CallNames):
    """Gives the names that a tape holds, whatever runs."""

    def __init__(self, memories: list[str]) -> None:
        super().__init__()
        self._names = iter(memories)

    def memory(self, function: str) -> str:
        """Returns the next name."""
        return next(self._names)
