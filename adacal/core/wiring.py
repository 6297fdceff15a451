"""Wiring: which result of a pass goes into which call; with it the module need not run at all.

A tape tells every tensor that carries activations by its trace, so it holds what goes where. What
it does not hold is noted while the module runs along it: parameters, and whether anything happened
besides the calls on it. Whatever a forward may have depended on is remembered
(`adacal.core.surroundings`); while that is as it was, the same calls would come again, and are made
one after the other, without the Python of the modules between them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import is_
from typing import Any

import torch
from torch import Tensor

from adacal.core.functions import function_name, names
from adacal.core.ledgers import Ledgers
from adacal.core.sites import Site
from adacal.core.surroundings import Surroundings, drawn_so_far, switches
from adacal.core.tape import VALUES, Entry, Given, Tape
from adacal.core.traces import trace_of

Form = tuple[Any, ...]
"""Shape and strides of the rows that go in, and torch's `switches`."""
_FORMS = 1024
"""Forms that are kept."""
_LOOKS = names(
    """size dim ndimension numel nelement stride is_contiguous storage_offset element_size
    get_device is_floating_point is_complex is_same_size __len__ shape ndim dtype device layout
    is_cuda requires_grad itemsize nbytes"""
)
"""Calls that read what is the same for rows of a form, and compared of parameters."""


@dataclass(frozen=True, slots=True)
class Place:
    """Stands among arguments for the value that goes by a number."""

    number: int


@dataclass(slots=True)
class Step:
    """One call and where its arguments come from.

    Attributes:
        entry: on the tape.
        args, kwargs: tensors that carry activations as `Place`.
        single: positions of places among `args`, with their numbers.
        nested: positions of nests with places in them.
        results: numbers that its results go by.
        base: number of the tensor that a result in place is a view of, if there is one.
        done: numbers that no call after this one reads.
    """

    entry: Entry
    args: list[Any]
    kwargs: dict[str, Any]
    single: list[tuple[int, int]] = field(default_factory=list)
    nested: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    base: int | None = None
    done: list[int] = field(default_factory=list)

    def arguments(self, values: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns what the call gets."""
        args = self.args.copy()
        for position, number in self.single:
            args[position] = values[number]
        for position in self.nested:
            args[position] = filled(args[position], values)
        return tuple(args), filled(self.kwargs, values) if self.kwargs else self.kwargs

    def keep(self, result: Any, values: list[Any]) -> None:
        """Keeps what the call gave, and drops what nobody reads any more."""
        tensors = (result,) if isinstance(result, Tensor) else result
        for number, tensor in zip(self.results, tensors, strict=True):
            values[number] = tensor
        if self.base is not None:
            values[self.base] = result._base
        for number in self.done:
            values[number] = None


@dataclass(slots=True)
class Wiring:
    """What a pass does without its module, while its surroundings are the same.

    Attributes:
        steps: in calling order.
        outputs: what the network returns, tensors as `Place`.
        values: how many values go by a number; 0 is that of the rows that go in.
        constants: tensors that carry no activations, in the order they are given.
        forms: of rows with which it did so.
        returned: constants among the outputs, with the numbers they go by.
        sites: names of those that fire, in calling order.
        ledgers: of counted passes.
    """

    steps: list[Step]
    outputs: Any
    values: int
    constants: list[Tensor]
    forms: set[Form]
    returned: list[tuple[int, Tensor]]
    sites: list[str]
    ledgers: Ledgers = field(default_factory=Ledgers)

    def takes(self, rows: Tensor) -> bool:
        """Whether rows are of a form that was seen."""
        return form_of(rows) in self.forms

    def run(self, make: Callable[[Entry, Any, Any], Any], rows: Tensor) -> Any:
        """Makes all calls, by a function of entry and arguments, and returns the outputs."""
        values: list[Any] = [None] * self.values
        values[0] = rows
        for step in self.steps:
            args, kwargs = step.arguments(values)
            step.keep(make(step.entry, args, kwargs), values)
        for number, constant in self.returned:
            values[number] = constant
        return filled(self.outputs, values)


class Draft:
    """A wiring while its pass runs; given up at the first thing that a tape does not hold.

    Args:
        tape: of the pass.
        surroundings: of the network, as they are before it.
        rows: that go in.
    """

    def __init__(self, tape: Tape, surroundings: Surroundings, rows: Tensor) -> None:
        self.usable = surroundings.known and not surroundings.hooked()
        self._surroundings = surroundings
        self._form = form_of(rows)
        self._kind = rows.device.type
        self._drawn = drawn_so_far() if self.usable else ()
        self._numbers = {id(tape.first): 0}
        self._values = 1
        self._steps: list[Step] = []
        self._constants: list[Tensor] = []
        self._returned: list[tuple[int, Tensor]] = []

    def call(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notes a call that stands on the tape, before it is made."""
        if not self.usable:
            return
        step = Step(entry, list(self._placed(entry.args, args)), self._placed(entry.kwargs, kwargs))
        for position, value in enumerate(step.args):
            if type(value) is Place:
                step.single.append((position, value.number))
            elif any(True for _ in _numbers(value)):
                step.nested.append(position)
        step.results = [self._number(mark) for mark in entry.marks]
        if entry.base is not None:
            step.base = self._number(entry.base)
        self._steps.append(step)
        self.usable = self.usable and switches(self._kind) == self._form[-1]

    def beside(self, function: Callable[..., Any]) -> None:
        """Notes a call that does not stand on the tape."""
        self.usable = self.usable and function_name(function) in _LOOKS

    def close(self, result: Any, before: Wiring | None) -> Wiring | None:
        """Ends a pass that went as on the tape, with what the network returned.

        Args:
            result: raw outputs.
            before: wiring of the same tape from rows of other forms, if there is one.
        Returns:
            The wiring, which may be `before`, of one more form; None if there is none.
        """
        outputs = self._outputs(result) if self.usable else None
        if not self.usable or self._drawn != drawn_so_far() or not self._surroundings.same():
            return None
        if before is not None:
            known, now = before.constants, self._constants
            if len(known) != len(now) or not all(map(is_, known, now)) or before.outputs != outputs:
                return None
            if len(before.forms) < _FORMS:
                before.forms.add(self._form)
            return before
        self._drop(outputs)
        made = self._steps, outputs, self._values, self._constants
        fires = [step.entry.detail for step in self._steps if step.entry.kind == "fire"]
        sites = [site.name for site in fires if isinstance(site, Site)]
        return Wiring(*made, {self._form}, self._returned, sites)

    def _number(self, trace: Any) -> int:
        number, self._values = self._values, self._values + 1
        if trace is not None:
            self._numbers[id(trace)] = number
        return number

    def _placed(self, written: Any, given: Any) -> Any:
        """Returns an argument with places for what carries activations."""
        kind = type(written)
        if kind is Given:
            return self._place(given) if written.trace is not None else self._constant(given)
        if kind in (list, tuple, torch.Size):
            return kind(map(self._placed, written, given))
        if kind is dict:
            return {key: self._placed(value, given[key]) for key, value in written.items()}
        return written

    def _place(self, tensor: Tensor) -> Place:
        number = self._numbers.get(id(trace_of(tensor)))
        self.usable = self.usable and number is not None
        return Place(number or 0)

    def _constant(self, tensor: Tensor) -> Tensor | None:
        if id(tensor) not in self._surroundings.tensors:
            self.usable = False
            return None  # which is not to be kept alive
        self._constants.append(tensor)
        return tensor

    def _outputs(self, value: Any) -> Any:
        if isinstance(value, Tensor) and trace_of(value) is None:
            number = self._number(None)
            if self._constant(value) is not None:
                self._returned.append((number, value))
            return Place(number)
        if isinstance(value, Tensor):
            return self._place(value)
        kind = type(value)
        if kind in (list, tuple):
            return kind(map(self._outputs, value))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return kind(*map(self._outputs, value))
        if kind in (dict, OrderedDict):
            return kind((key, self._outputs(item)) for key, item in value.items())
        self.usable = self.usable and isinstance(value, VALUES)
        return value

    def _drop(self, outputs: Any) -> None:
        """Says of each step what nobody reads after it."""
        last = {number: len(self._steps) for number in _numbers(outputs)}
        for index in reversed(range(len(self._steps))):
            step = self._steps[index]
            own = [*step.results, *([] if step.base is None else [step.base])]
            for number in (*_numbers(step.args), *_numbers(step.kwargs), *own):
                if last.setdefault(number, index) == index and number not in step.done:
                    step.done.append(number)


def form_of(rows: Tensor) -> Form:
    """Returns what control flow may read of rows, besides type and device, and torch's switches."""
    return rows.shape, rows.stride(), switches(rows.device.type)


def filled(value: Any, values: list[Any]) -> Any:
    """Returns a nest with its places filled."""
    kind = type(value)
    if kind is Place:
        return values[value.number]
    if kind in (list, tuple, torch.Size):
        return kind([filled(item, values) for item in value])
    if kind in (dict, OrderedDict):
        return kind((key, filled(item, values)) for key, item in value.items())
    if isinstance(value, tuple):
        return kind(*[filled(item, values) for item in value])
    return value


def _numbers(value: Any) -> Iterable[int]:
    """Gives the numbers of the places in a nest."""
    if type(value) is Place:
        yield value.number
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
