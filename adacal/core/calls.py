"""Call: one call of a torch function, as interception meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """A torch function and what it was called with.

    Attributes:
        function: the torch function (conv2d, relu, ...).
        name: what it is known by, in-place underscore kept.
        args, kwargs: its arguments as called.
        traced: the tensors among them that carry activations.

    >>> import torch
    >>> call = Call(torch.amax, "amax", (torch.ones(2, 3), 1))
    >>> call.argument(1, "dim"), call.argument(2, "keepdim", False), tuple(call.run().shape)
    (1, False, (2,))
    """

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    traced: tuple[Tensor, ...] = ()

    def argument(self, position: int, keyword: str, default: Any = None) -> Any:
        """Returns an argument given by position or by keyword; `default` if it was not given."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(keyword, default)

    def run(self) -> Any:
        """Makes the call."""
        return self.function(*self.args, **self.kwargs)

    def run_on(self, tensor: Tensor) -> Any:
        """Makes the call on another first argument."""
        return self.function(tensor, *self.args[1:], **self.kwargs)
