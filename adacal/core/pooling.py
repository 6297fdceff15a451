"""Pools read from their calls: whether a max pools, what averages in its place, window sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core import functions
from adacal.core.calls import Call
from adacal.core.dimensions import pooled_axes


def pools(call: Call, row_dim: int) -> bool:
    """Whether a call of the max pool family is one: a maximum over dimensions without the rows."""
    if call.name not in {"max", "amax"}:
        return True
    second = call.argument(1, "dim", call.kwargs.get("other"))
    if second is None or isinstance(second, Tensor):
        return False
    dims = second if isinstance(second, tuple | list) else (second,)
    return row_dim not in [dim % call.args[0].dim() for dim in dims]


def gives_indices(call: Call) -> bool:
    """Whether a max pool returns values and indices."""
    named = call.name == "max" or call.name.endswith("_with_indices")
    return named or bool(call.kwargs.get("return_indices"))


def maximum(call: Call, rows: Tensor) -> Tensor:
    """Applies a max pool to `rows`, which its call was not given; values only."""
    if call.name in {"max", "amax"}:
        return rows.amax(call.argument(1, "dim"), keepdim=call.argument(2, "keepdim", False))
    pooled = getattr(F, call.name)(rows, *call.args[1:], **call.kwargs)
    return pooled[0] if isinstance(pooled, tuple) else pooled


def average_version(call: Call, rows: Tensor) -> Tensor:
    """Pools `rows` by the average instead of the maximum (the option `max_pool="average"`)."""
    base = call.name.removesuffix("_with_indices")
    if base in {"max", "amax"}:
        return rows.mean(call.argument(1, "dim"), keepdim=call.argument(2, "keepdim", False))
    pool = getattr(F, base.replace("max", "avg"))
    if base.startswith("adaptive"):
        return pool(rows, call.argument(1, "output_size"))
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    options = {**dict(zip(names, call.args[1:], strict=False)), **call.kwargs}
    options = {key: options[key] for key in ("kernel_size", "stride", "padding") if key in options}
    return pool(rows, **options, ceil_mode=bool(call.kwargs.get("ceil_mode", False)))


def window_sum(call: Call, sample: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Returns the function that gives each window of a pool the sum of its elements.

    Args:
        call: an average or max pool, or a mean, sum or maximum over dimensions.
        sample: one row of what will be summed, shape [1, ...]; its values do not matter.
    Returns:
        None where the function reduces all dimensions, rows included.

    >>> pool = Call(F.avg_pool1d, "avg_pool1d", (None, 2))
    >>> rows = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    >>> window_sum(pool, rows)(rows)
    tensor([[[3., 7.]]])
    """
    base = call.name.strip("_")
    if base in {"mean", "sum", "max", "amax"}:
        dim, keepdim = call.argument(1, "dim"), call.argument(2, "keepdim", False)
        return None if dim is None else lambda rows: rows.sum(dim, keepdim=keepdim)
    if "adaptive" in base:
        given, axes = call.argument(1, "output_size"), pooled_axes(base)
        size = (given,) * axes if isinstance(given, int) else tuple(given)
        return lambda rows: _adaptive_sum(rows, size)
    ones = torch.ones_like(sample)

    def mean(rows: Tensor) -> Tensor:
        if call.name in functions.MAX_POOL:
            return average_version(call, rows)
        pooled: Tensor = getattr(F, base)(rows, *call.args[1:], **call.kwargs)
        return pooled

    # mean(x) = sum(x)/d; with ones, mean = n/d and the number n of valid elements follows from the
    # same pool over window indicators, so d = n / mean(ones).
    divisor = _window_elements(ones, call) / mean(ones).clamp_min(1e-12)
    return lambda rows: mean(rows) * divisor


def _window_elements(ones: Tensor, call: Call) -> Tensor:
    """Counts the input elements in each pooling window (padding left out)."""
    names = ("kernel_size", "stride", "padding")
    options = {**dict(zip(names, call.args[1:4], strict=False)), **call.kwargs}
    kernel, axes = options["kernel_size"], pooled_axes(call.name)
    kernel = (kernel,) * axes if isinstance(kernel, int) else tuple(kernel)
    kernel = kernel * axes if len(kernel) < axes else kernel
    full = float(math.prod(kernel))
    pool = getattr(F, f"avg_pool{axes}d")
    position = 4 if call.name not in functions.MAX_POOL else 5
    ceil_mode = call.argument(position, "ceil_mode", False)
    padding = options.get("padding", 0)
    padding = (padding,) * axes if isinstance(padding, int) else tuple(padding)
    padded = F.pad(ones, [p for side in reversed(padding) for p in (side, side)])
    stride = options.get("stride") or kernel
    if ceil_mode:
        # enough zeros at the end for the last, partial windows
        padded = F.pad(padded, [p for k in reversed(kernel) for p in (0, k - 1)])
    counted = pool(padded, kernel, stride) * full
    shape = _pooled_shape(ones, pool, options, bool(ceil_mode))
    index = (slice(None), slice(None), *(slice(0, size) for size in shape))
    return counted[index]


def _pooled_shape(
    ones: Tensor, pool: Callable[..., Tensor], options: dict[str, Any], ceil_mode: bool
) -> tuple[int, ...]:
    out = pool(
        ones,
        options["kernel_size"],
        options.get("stride"),
        options.get("padding", 0),
        ceil_mode=ceil_mode,
    )
    return tuple(out.shape[2:])


def _adaptive_sum(rows: Tensor, size: tuple[int | None, ...]) -> Tensor:
    axes = len(size)
    pooled: Tensor = getattr(F, f"adaptive_avg_pool{axes}d")(rows, size)
    pairs = zip(rows.shape[-axes:], pooled.shape[-axes:], strict=True)
    for axis, (length, out) in enumerate(pairs):
        window = [math.ceil((i + 1) * length / out) - i * length // out for i in range(out)]
        shape = [1] * pooled.dim()
        shape[pooled.dim() - axes + axis] = out
        pooled = pooled * pooled.new_tensor(window).reshape(shape)
    return pooled
