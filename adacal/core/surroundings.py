"""Surroundings: what a forward reads besides its input, to tell later whether it is as it was."""

from __future__ import annotations

import enum
import random
import re
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import chain
from operator import is_
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from adacal.core.functions import names

_LARGEST = 50_000
"""Values that are looked at; where there are more, looking takes longer than it saves."""
_FIXED = (
    int, float, complex, str, bytes, type(None), type(Ellipsis), type, slice, range, enum.Enum,
    re.Pattern, PurePath, types.ModuleType, types.BuiltinFunctionType, torch.dtype, torch.device,
    torch.memory_format, torch.layout, torch.Size, types.GenericAlias,
)  # fmt: skip
_OF_FORWARD = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_NO_PART_OF_IT = names(
    """_state_dict_hooks _state_dict_pre_hooks _load_state_dict_pre_hooks
    _load_state_dict_post_hooks _non_persistent_buffers_set _forward_hooks_with_kwargs
    _forward_hooks_always_called _forward_pre_hooks_with_kwargs"""
)  # of a forward that no hooks of a module belong to
_OF_ALL = tuple(getattr(modules, f"_global{name}") for name in _OF_FORWARD if name[1] == "f")


class Surroundings:
    """All values that can be reached from a network and the function that calls it.

    Of modules, their classes, containers, functions and plain objects every value is remembered by
    identity, and kept alive, so that no other can take its place. Not reached are global
    variables, and what changes within an array or an object of C.

    Args:
        module: the network.
        forward: how it is called.
    Attributes:
        known: whether all of it is of a kind whose change would be seen.
        tensors: those reached, by `id`: parameters, buffers, constants.

    >>> net = nn.Linear(2, 2)
    >>> before = Surroundings(net, nn.Module.__call__)
    >>> before.same(), net.eval() and before.same()
    (True, False)
    """

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        self.known = True
        self.tensors: dict[int, Tensor] = {}
        self._kept: dict[int, Any] = {}
        self._places: list[Collection[Any]] = []
        self._empty: list[Collection[Any]] = []
        self._modules: list[nn.Module] = []
        waiting: deque[Any] = deque([module, forward])
        while waiting and self.known:
            waiting.extend(self._look(waiting.popleft()))
        self._values = list(chain.from_iterable(self._places))
        self.known = self.known and len(self._values) <= _LARGEST

    def same(self) -> bool:
        """Whether all values are those that they were."""
        return (
            self.known
            and not any(map(len, self._empty))
            and sum(map(len, self._places)) == len(self._values)
            and all(map(is_, chain.from_iterable(self._places), self._values))
            and not any(_OF_ALL)
        )

    def hooked(self) -> bool:
        """Whether anything besides the modules runs when they do."""
        own = map(vars, self._modules)
        return any(_OF_ALL) or any(values.get(name) for values in own for name in _OF_FORWARD)

    def _look(self, value: Any) -> Iterator[Any]:
        """Notes where the parts of a value are, and gives those that are to be looked at, too."""
        if isinstance(value, _FIXED) or id(value) in self._kept:
            return
        self._kept[id(value)] = value
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value
            return
        parts = _parts(value)
        self.known = self.known and parts is not None and len(self._kept) <= _LARGEST
        for part in parts or ():
            if not isinstance(part, tuple | frozenset):
                (self._places if part else self._empty).append(part)
            if not isinstance(value, nn.Module):
                yield from part
        if isinstance(value, nn.Module):
            self._modules.append(value)
            yield from (own for name, own in vars(value).items() if name not in _NO_PART_OF_IT)
            for kind in type(value).__mro__:
                if kind is not object and id(kind) not in self._kept:
                    self._kept[id(kind)] = kind
                    self._places.append(vars(kind).values())


def _parts(value: Any) -> list[Collection[Any]] | None:
    """Returns what a value holds, as it is at any time; None where that cannot be seen.

    What is given as a tuple cannot change.
    """
    own = [vars(value).values()] if hasattr(value, "__dict__") else []
    if isinstance(value, dict):  # not by methods of its own, which may make values anew
        return [dict.keys(value), *([dict.values(value)] if value else []), *own]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [value, *own]
    if isinstance(value, types.FunctionType):
        return [value.__closure__ or (), value.__defaults__ or (), *own]
    if isinstance(value, types.CellType):
        return [_Cell(value)]
    if isinstance(value, types.MethodType):
        return [(value.__self__, value.__func__)]
    if isinstance(value, partial):
        return [(value.func, value.args, value.keywords)]
    if not own or any("__slots__" in vars(kind) for kind in type(value).__mro__):
        return None
    return own


class _Cell(Collection[Any]):
    """What a variable of an enclosing function holds now."""

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell

    def __iter__(self) -> Iterator[Any]:
        try:
            yield self._cell.cell_contents
        except ValueError:  # not set so far
            return

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, value: object) -> bool:
        return any(value is held for held in self)


def drawn_so_far() -> tuple[Any, ...]:
    """Returns what Python's and numpy's generators are at: equal if nothing was drawn between.

    >>> before = drawn_so_far()
    >>> drawn_so_far() == before, random.random() and drawn_so_far() == before
    (True, False)
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest
