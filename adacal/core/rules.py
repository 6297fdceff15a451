"""The running rules: how a non-linear operation acts on a stream so that its mean is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adacal.core.compiled import running_sums
from adacal.core.errors import UnsupportedModelError
from adacal.core.layout import Layout, RuleState
from adacal.core.nests import map_tensors


def apply_rule(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    layout: Layout,
    is_stream: Callable[[Tensor], bool],
    where: str,
    mean: bool,
    dim: int = 0,
    out_dim: int | None = None,
    state: RuleState | None = None,
) -> Any:
    """Applies a non-linear function to streams through their running sums or means.

    Running mean: `y_t = t*f(mean of inputs up to t) - (t-1)*f(mean up to t-1)`, so the mean of y
    over T is f of the mean. Running max: the same on cumulated inputs, `y_t = f(sum_t) -
    f(sum_{t-1})`, for functions with f(a*x) = a*f(x): no division, so whole multiples of a
    threshold stay whole multiples (DESIGN section 2).

    Args:
        function: what the network called.
        args, kwargs: its arguments, rows laid out by `layout`.
        layout: the layout of the rows.
        is_stream: says which tensors carry rows of activations.
        where: name for error messages.
        mean: running mean if True, running sum (max) if False.
        dim: dimension of the rows (1 for multi_head_attention_forward).
        out_dim: dimension of the rows of the result, if it is another.
        state: sums of a stepwise run, changed in place; None starts afresh.
    Returns:
        What the function returns, rows laid out as its inputs.
    Raises:
        UnsupportedModelError: an output has lost the rows.
    """
    if layout.steps == 0:
        return function(*args, **kwargs)
    out_dim = dim if out_dim is None else out_dim
    before = state.step if state is not None else 0
    if state is not None and before == layout.warmup:
        state.inputs, state.outputs = [], []
    pieces = layout.phases(before)
    alone = layout.steps == 1 and state is None  # there is nothing to sum up
    cumulated: list[Tensor] = []
    count = _counts(before, pieces, layout.warmup)

    def cumulate(tensor: Tensor) -> Tensor:
        reference, steps = layout.split(tensor, where, dim)
        if alone:
            return tensor.clone() if mean else tensor  # a function may overwrite it
        total = _joined([running_sums(piece) for piece in steps.split(pieces)])
        if state is not None and state.inputs:
            total = total + state.inputs[len(cumulated)]
        cumulated.append(total[-1])
        if mean:
            total = total / _along_steps(count, total)
        return layout.join(reference, total, dim)

    result = function(
        *map_tensors(args, is_stream, cumulate), **map_tensors(kwargs, is_stream, cumulate)
    )
    emitted: list[Tensor] = []

    def differentiate(tensor: Tensor) -> Tensor:
        reference, total = layout.split(tensor, where, out_dim)
        if alone:
            emitted.append(tensor)
            return tensor
        if mean:
            total = total * _along_steps(count, total)
        first = state.outputs[len(emitted)] if state is not None and state.outputs else None
        emitted.append(total[-1])
        start = torch.zeros_like(total[:1])
        starts = [start if first is None else first.unsqueeze(0), start]
        parts = zip(total.split(pieces), starts, strict=False)
        change = _joined([part.diff(dim=0, prepend=start) for part, start in parts])
        return layout.join(reference, change, out_dim)

    def differs(tensor: Tensor) -> bool:
        return tensor.is_floating_point() and tensor.dim() > out_dim

    out = map_tensors(result, differs, differentiate)
    if not emitted:
        raise UnsupportedModelError(
            f"{where}: the result does not keep samples in dimension {out_dim}, so it cannot run "
            "time-batched; keep samples in dimension 0"
        )
    if state is not None:
        state.step += layout.steps
        state.inputs, state.outputs = cumulated, emitted
    return out


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _counts(before: int, pieces: list[int], warmup: int) -> Tensor:
    """How many steps each step of this pass is the last of, since things started afresh."""
    done = before - warmup if before >= warmup else before
    starts = [done + 1, 1]
    return torch.cat(
        [torch.arange(a, a + n, dtype=torch.float32) for a, n in zip(starts, pieces, strict=False)]
    )


def _along_steps(count: Tensor, like: Tensor) -> Tensor:
    return count.to(like).reshape(-1, *[1] * (like.dim() - 1))
