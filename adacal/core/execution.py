"""Execution: how a call is computed on the rows of all steps, and remembered between steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adacal.core.calls import Call
from adacal.core.layout import Layout, RuleState, RunState
from adacal.core.naming import CallNames
from adacal.core.nests import map_tensors
from adacal.core.rules import apply_rule
from adacal.core.traces import known_of, trace_of


class Execution:
    """Computes calls whose rows need more than the plain function.

    Args:
        layout: how rows are laid out.
        names: names what is remembered.
        state: memory of a stepwise run, if given.
    """

    def __init__(self, layout: Layout, names: CallNames, state: RunState | None) -> None:
        self._layout = layout
        self._names = names
        self._state = state

    def once(self, call: Call) -> tuple[Any, bool]:
        """Computes an operation on static rows for one block and repeats the result.

        Returns the result and whether it was computed now (not taken from an earlier step).
        """
        blocks = self._layout.blocks
        if blocks == 1 and self._state is None:
            return call.run(), True
        if any(known_of(tensor).row_dim for tensor in call.traced):
            return call.run(), True

        def first(value: Any) -> Any:
            if isinstance(value, Tensor) and trace_of(value) is not None:
                return value[: value.shape[0] // blocks]
            return value

        def again(value: Tensor) -> Tensor:
            return torch.cat([value] * blocks)  # which keeps channels-last, as `repeat` does not

        def computed() -> Any:
            kwargs = {key: first(value) for key, value in call.kwargs.items()}
            return call.function(*map(first, call.args), **kwargs)

        if self._state is None:
            return map_tensors(computed(), _any, again), True
        key = self._names.memory(call.name)
        fresh = key not in self._state.static
        if fresh:
            self._state.static[key] = computed()
        return map_tensors(self._state.static[key], _any, again), fresh

    def running(
        self,
        call: Call,
        *,
        mean: bool,
        dim: int = 0,
        out_dim: int | None = None,
        label: str | None = None,
    ) -> Any:
        """Computes a non-linear operation by the running mean or max of `adacal.core.rules`.

        Args:
            call: the operation.
            mean: running mean if True, running max if False.
            dim: dimension of the rows.
            out_dim: dimension of the rows of the result, if it is another.
            label: name of its site, if it is one.
        """
        where = label or self._names.memory(call.name)
        state = None
        if self._state is not None:
            state = self._state.rules.setdefault(where, RuleState())
        return apply_rule(
            call.function,
            call.args,
            call.kwargs,
            layout=self._layout,
            is_stream=lambda tensor: trace_of(tensor) is not None,
            where=where,
            mean=mean,
            dim=dim,
            out_dim=out_dim,
            state=state,
        )

    def with_changed_weight(self, call: Call, change: Tensor) -> Tensor:
        """Computes a synaptic operation whose weight differs for the spiking stream."""
        rows, weight, *rest = call.args
        at = known_of(rows).row_dim
        first = rows.shape[at] // self._layout.blocks if self._layout.reference else 0
        ann, snn = rows.split([first, rows.shape[at] - first], at)
        spiking = call.function(snn, weight + change, *rest, **call.kwargs)
        if not first:
            return spiking
        return torch.cat([call.function(ann, weight, *rest, **call.kwargs), spiking], at)


def _any(_: Tensor) -> bool:
    return True
