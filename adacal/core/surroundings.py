"""Surroundings: what a forward reads besides its input, to tell later whether it is as it was."""

from __future__ import annotations

import enum
import logging
import random
import re
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from functools import cached_property, partial
from itertools import chain
from operator import attrgetter, is_
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from adacal.core.functions import names


class _Field(NamedTuple):
    name: str


_LARGEST = 50_000
"""Values that are looked at; where there are more, looking takes longer than it saves."""
_NUMBERS = (int, float, complex, str, bytes, bool)
"""Types whose values never change; those of a subclass may have attributes."""
_FIXED = (
    type(None), type(Ellipsis), slice, range, np.generic, enum.Enum, re.Pattern, PurePath,
    types.ModuleType, types.CodeType, torch.dtype, torch.device, torch.memory_format, torch.layout,
    torch.Size, types.GenericAlias, types.GetSetDescriptorType, types.MemberDescriptorType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType,
    type(vars(_Field)["name"]), logging.Logger,
)  # fmt: skip
_CONTAINERS = (dict, OrderedDict, list, tuple, set, frozenset, deque)
_OF_FORWARD = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_NO_PART_OF_IT = names(
    """_state_dict_hooks _state_dict_pre_hooks _load_state_dict_pre_hooks
    _load_state_dict_post_hooks _non_persistent_buffers_set _forward_hooks_with_kwargs
    _forward_hooks_always_called _forward_pre_hooks_with_kwargs"""
)  # of a forward that no hooks of a module belong to
_OF_ALL = tuple(getattr(modules, f"_global{name}") for name in _OF_FORWARD if name[1] == "f")
_READ_ANEW = attrgetter("__code__", "__defaults__", "__kwdefaults__", "__dict__")
"""What a function can be given anew, so that no view of it would do."""
_DICT = attrgetter("__dict__")
_FORM = attrgetter("shape", "dtype", "requires_grad")
_HEAP = 1 << 9
"""Flag of all types that Python code has made (and of some made in C)."""


class _Plain:
    """An object of Python alone."""


class Surroundings:
    """All values that can be reached from a network and the function that calls it.

    Of modules, their classes, containers, functions and plain objects every value is remembered by
    identity, and kept alive, so that no other can take its place; of tensors type and shape. Not
    reached are variables of Python modules, global ones or of modules held as values, and what
    changes within an array or an object of C.

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
        self._roots = module, forward
        self._kept: dict[int, Any] = {}
        self._places: list[Collection[Any]] = []
        self._empty: list[Collection[Any]] = []
        self._objects: list[Any] = []
        self._functions: list[Any] = []
        self._classes: list[type] = []
        waiting: deque[Any] = deque(self._roots)
        while waiting and self.known:
            waiting.extend(self._look(waiting.popleft()))
        self._values = list(chain.from_iterable(self._places))
        self._lengths = list(map(len, self._places))
        self._types = list(map(type, self._objects))
        self._open = [one for one in self._objects if hasattr(one, "__dict__")]
        self._attributes = list(map(_DICT, self._open))
        self._named = [*self._attributes, *map(_DICT, self._classes)]
        self._names = list(chain.from_iterable(self._named))
        self._codes = list(chain.from_iterable(map(_READ_ANEW, self._functions)))
        self._forms = _forms(self.tensors)
        self.known = self.known and len(self._values) <= _LARGEST

    def of(self, module: nn.Module, forward: Callable[..., Any]) -> bool:
        """Whether they are those of a network, called that way."""
        return self._roots[0] is module and self._roots[1] is forward

    def same(self) -> bool:
        """Whether all values are those that they were."""
        return (
            self.known
            and not any(map(len, self._empty))
            and list(map(len, self._places)) == self._lengths
            and all(map(is_, chain.from_iterable(self._places), self._values))
            and all(map(is_, map(type, self._objects), self._types))
            and all(map(is_, map(_DICT, self._open), self._attributes))
            and list(chain.from_iterable(self._named)) == self._names
            and all(map(is_, chain.from_iterable(map(_READ_ANEW, self._functions)), self._codes))
            and _forms(self.tensors) == self._forms
            and not any(_OF_ALL)
        )

    def hooked(self) -> bool:
        """Whether anything besides the modules runs when they do."""
        own = (vars(part) for part in self._objects if isinstance(part, nn.Module))
        return any(_OF_ALL) or any(values.get(name) for values in own for name in _OF_FORWARD)

    def _look(self, value: Any) -> Iterator[Any]:
        """Notes where the parts of a value are, and gives those that are to be looked at, too."""
        if type(value) in _NUMBERS or isinstance(value, _FIXED) or id(value) in self._kept:
            return
        self._kept[id(value)] = value
        parts = _parts(value)
        self.known = self.known and parts is not None and len(self._kept) <= _LARGEST
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value
        if isinstance(value, types.FunctionType):
            self._functions.append(value)
            yield from _READ_ANEW(value)
        for part in parts or ():
            if not isinstance(part, tuple | frozenset):
                (self._places if part else self._empty).append(part)
        if isinstance(value, type):
            self._classes.append(value)
            yield from value.__mro__
            if value.__module__.partition(".")[0] != "torch":
                yield from (v for k, v in vars(value).items() if not k.startswith(("__", "_abc_")))
        elif isinstance(value, nn.Module):
            yield from (own for name, own in vars(value).items() if name not in _NO_PART_OF_IT)
        else:
            for part in parts or ():
                yield from part.values() if isinstance(part, dict) else part
        if type(value).__flags__ & _HEAP and not isinstance(value, type):
            self._objects.append(value)
            yield type(value)


def _parts(value: Any) -> list[Collection[Any]] | None:
    """Returns what a value holds, as it is at any time; None where that cannot be seen.

    What is given as a tuple cannot change.
    """
    own = [vars(value).values()] if hasattr(value, "__dict__") else []
    if isinstance(value, type):
        return own if value.__flags__ & _HEAP else []
    if isinstance(value, (Tensor, *_NUMBERS)):
        return own
    if isinstance(value, types.BuiltinFunctionType):
        return [] if isinstance(value.__self__, types.ModuleType) else [(value.__self__,)]
    if isinstance(value, types.FunctionType):
        return [value.__closure__ or ()]  # for the rest see `_READ_ANEW`
    if isinstance(value, types.CellType):
        return [_Cell(value)]
    if isinstance(value, types.MethodType):
        return [(value.__self__, value.__func__)]
    if isinstance(value, staticmethod | classmethod):
        return [(value.__func__,)]
    if isinstance(value, property):
        return [(value.fget, value.fset, value.fdel)]
    if isinstance(value, partial):
        return [(value.func, value.args, value.keywords)]
    if isinstance(value, cached_property):
        return [(value.func,)]
    solid = _solid(type(value))
    if solid in (dict, OrderedDict):  # not by methods of its own, which may make values anew
        return [solid.keys(value), *([solid.values(value)] if value else []), *own]
    if solid in _CONTAINERS:
        return [value, *own]
    return own if type(value).__basicsize__ == _Plain.__basicsize__ and own else None


def _solid(kind: type) -> type:
    """Returns the type of C that a class is built on; `object` for most."""
    return next(one for one in kind.__mro__ if not one.__flags__ & _HEAP)


def _forms(tensors: dict[int, Tensor]) -> tuple[list[Any], list[Any]]:
    return list(map(_FORM, tensors.values())), list(map(Tensor.stride, tensors.values()))


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


def switches(kind: str) -> tuple[Any, ...]:
    """Returns what operations on a kind of device depend on, and a block of code may change."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    common = (
        torch.is_autocast_enabled(kind),
        torch.get_autocast_dtype(kind),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        _rounding(kind),
    )
    if kind == "cpu":
        return *common, torch.backends.mkldnn.enabled
    return (
        *common,
        cuda.cudnn_sdp_enabled(),
        cuda.matmul.allow_fp16_reduced_precision_reduction,
        cuda.matmul.allow_bf16_reduced_precision_reduction,
        cudnn.enabled,
        cudnn.benchmark,
        cudnn.deterministic,
    )


def _rounding(kind: str) -> tuple[Any, ...]:
    """How float32 may be rounded; torch's old names raise once a new one of them was set."""
    try:
        of_cpu = kind == "cpu"
        backend: Any = torch.backends.mkldnn if of_cpu else torch.backends.cudnn
        matmul: Any = backend.matmul if of_cpu else torch.backends.cuda.matmul
        return tuple(part.fp32_precision for part in (matmul, backend.conv, backend.rnn))
    except AttributeError:  # which torch had no names for before 2.9
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def drawn_so_far() -> tuple[Any, ...]:
    """Returns what Python's and numpy's generators are at: equal if nothing was drawn between.

    >>> before = drawn_so_far()
    >>> drawn_so_far() == before, random.random() and drawn_so_far() == before
    (True, False)
    """
    name, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest
