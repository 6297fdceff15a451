"""CallNames: names every call by the module that is running and by how often it called before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class CallNames:
    """The names of the calls of one forward, given in calling order.

    Attributes:
        memories: what `memory` has given so far.

    >>> import torch
    >>> net, names = nn.Sequential(nn.ReLU(), nn.ReLU()), CallNames()
    >>> handle = net[1].register_forward_pre_hook(lambda *_: print(names.site("relu")))
    >>> with names.following(net):
    ...     _ = net[1](net[1](net(torch.ones(2))))
    1
    1@2
    1@3
    """

    def __init__(self) -> None:
        self.memories: list[str] = []
        self._path: list[str] = [""]
        self._leaf: list[bool] = [False]
        self._sites: Counter[str] = Counter()
        self._memories: Counter[str] = Counter()

    @property
    def module(self) -> str:
        """Path of the innermost module that is running; empty for the network itself."""
        return self._path[-1]

    def label(self, function: str) -> str:
        """Names where a call stands: a module without children by its path alone."""
        base = function.rstrip("_") or function
        if self._leaf[-1]:
            return self.module
        return f"{self.module}.{base}" if self.module else base

    def site(self, function: str) -> str:
        """Names a call for good: its label, numbered from the second call on."""
        label = self.label(function)
        self._sites[label] += 1
        return label if self._sites[label] == 1 else f"{label}@{self._sites[label]}"

    def memory(self, function: str) -> str:
        """Names what a stepwise run remembers of a call that is no site."""
        label = f"{self.label(function)}:{function}"
        self._memories[label] += 1
        self.memories.append(f"{label}@{self._memories[label]}")
        return self.memories[-1]

    @contextmanager
    def following(self, network: nn.Module) -> Iterator[None]:
        """Keeps track of the running module by hooks on every module, removed at the end."""
        handles = []

        def enter(path: str, leaf: bool) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                self._path.append(path)
                self._leaf.append(leaf)

            return hook

        def leave(*_: Any) -> None:
            self._path.pop()
            self._leaf.pop()

        for path, module in network.named_modules():
            leaf = not any(True for _ in module.children()) and bool(path)
            handles.append(module.register_forward_pre_hook(enter(path, leaf), prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
