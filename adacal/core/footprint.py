"""How much memory a forward holds at its peak: every tensor made in it, for as long as it lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Footprint(TorchDispatchMode):
    """Adds up the storages made while it is active, less those that are gone.

    Attributes:
        peak: largest sum so far, bytes. What an operation takes for itself while it runs (a
            convolution's own buffers) is not seen.

    >>> with Footprint() as held:
    ...     _ = torch.zeros(1000).add(1).sum()
    >>> held.peak
    8000
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held: dict[int, int] = {}
        self._live = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_key(value) for value in tree_leaves((args, kwargs)) if _stored(value)}
        for value in tree_leaves(result):
            if _stored(value) and _key(value) not in given:
                self._hold(value)
        self.peak = max(self.peak, self._live)
        return result

    def _hold(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), _key(tensor)
        if key not in self._held:
            self._held[key] = storage.nbytes()
            self._live += storage.nbytes()
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self._live -= self._held.pop(key)


def _stored(value: Any) -> bool:
    """Whether a value is a tensor that says where it is; packed weights do not."""
    return isinstance(value, Tensor) and value.layout is torch.strided


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
