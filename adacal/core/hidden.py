"""Looks for what conversion cannot see: operations on activations that no call of torch stands for.

Compiled scripts and vectorised functions (`torch.jit`, `torch.func`) call operations by themselves.
What they make carries no trace, so that all of a network between it and the output would be taken
for a constant, or run as the ANN runs it, and nobody would be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from adacal.core.errors import UnsupportedModelError
from adacal.core.interception import SpikingMode
from adacal.core.nests import collect
from adacal.core.traces import traced_tensors


class WatchfulMode(SpikingMode):
    """As its base, and refuses networks that work on activations where no call can be seen.

    Takes longer, for every operation; a network is looked at once, when it is converted.
    """

    _seen = False  # whether a call that carries activations is being answered

    def run_traced(self, forward: Callable[[nn.Module, Any], Any], rows: Tensor) -> Any:
        """As of the base.

        Raises:
            UnsupportedModelError: activations went where no call can be seen.
        """
        operations = _Operations(self)
        with operations:
            result = super().run_traced(forward, rows)
        if operations.hidden:
            raise UnsupportedModelError(
                f"'{operations.hidden[0]}' works on activations from within compiled or vectorised "
                "code (torch.jit, torch.func), where no activation can be seen; call the Python "
                "function it was made from"
            )
        if collect(result, Tensor.is_floating_point) and not traced_tensors(result):
            raise UnsupportedModelError(
                "the output cannot be followed back to the input: the network makes it outside of "
                "torch's functions (compiled code, an extension), or of constants alone; return "
                "what its last layer gives"
            )
        return result

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        before, self._seen = self._seen, bool(traced_tensors((args, kwargs or {})))
        try:
            return super().__torch_function__(func, types, args, kwargs)
        finally:
            self._seen = before


class _Operations(TorchDispatchMode):
    """Notes operations on activations that come with no call."""

    def __init__(self, mode: WatchfulMode) -> None:
        super().__init__()
        self._mode = mode
        self.hidden: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not self._mode._seen and traced_tensors((args, kwargs)):
            self.hidden.append(func.overloadpacket.__name__)
        return func(*args, **kwargs)
