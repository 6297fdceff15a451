"""Pools read from their calls: whether a max pools, what averages in its place, window sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core import dimensions, functions
from adacal.core.calls import Call
from adacal.core.dimensions import pooled_axes
from adacal.core.errors import UnsupportedModelError


@dataclass(frozen=True)
class _Windows:
    """Where a pool has its windows: by axis, from the first to the last."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool

    def sums(self, rows: Tensor, *, padded: bool = True) -> Tensor:
        """Sums each window, element by element as it was: whole numbers stay whole.

        Args:
            rows: the last dimensions are the axes of the windows.
            padded: take padding in, as zeros; else `rows` already hold it.
        """
        axes = len(self.kernel)
        for axis in range(axes):
            dim = rows.dim() - axes + axis
            size = rows.shape[dim] - (0 if padded else 2 * self.padding[axis])
            before = self.padding[axis] if padded else 0
            span = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            count = self._count(size, axis, span)
            reach = (count - 1) * self.stride[axis] + span
            after = max(0, reach - before - rows.shape[dim])
            rows = F.pad(rows, (0, 0) * (axes - 1 - axis) + (before, after))
            windows = rows.unfold(dim, span, self.stride[axis]).narrow(dim, 0, count)
            rows = windows[..., :: self.dilation[axis]].sum(-1)
        return rows

    def means(self, rows: Tensor) -> Tensor:
        """Averages each window, padding counted in, as average pools do it."""
        shape = list(rows.shape)
        for axis, padding in enumerate(self.padding):
            shape[rows.dim() - len(self.padding) + axis] += 2 * padding
        return self.sums(rows) / self.sums(rows.new_ones(shape), padded=False)

    def _count(self, size: int, axis: int, span: int) -> int:
        padding, stride = self.padding[axis], self.stride[axis]
        room = size + 2 * padding - span
        if not self.ceil_mode:
            return room // stride + 1
        count = -(-room // stride) + 1
        # the last window has to begin inside the input or its left padding
        return count - int((count - 1) * stride >= size + padding)


def _windows(call: Call) -> _Windows:
    """Reads the windows of a pool that is not adaptive, given by position or by keyword."""
    of_max = call.name in functions.MAX_POOL
    axes = pooled_axes(call.name)

    def by_axis(value: Any) -> tuple[int, ...]:
        given = (value,) if isinstance(value, int) else tuple(value)
        return given * axes if len(given) == 1 else given

    kernel = by_axis(call.argument(1, "kernel_size"))
    return _Windows(
        kernel=kernel,
        stride=by_axis(call.argument(2, "stride") or kernel),
        padding=by_axis(call.argument(3, "padding", 0)),
        dilation=by_axis(call.argument(4, "dilation", 1) if of_max else 1),
        ceil_mode=bool(call.argument(5 if of_max else 4, "ceil_mode", False)),
    )


def pools(call: Call, where: str, row_dim: int) -> bool:
    """Whether a call of the max pool family is one, not a maximum of two tensors or of everything.

    Raises:
        UnsupportedModelError: it takes the maximum over samples.
    """
    if call.name not in {"max", "amax"}:
        return True
    if isinstance(call.argument(1, "other"), Tensor):
        return False
    dim = call.argument(1, "dim")
    if dim is None and call.name == "max":
        return False
    if dim is None or (isinstance(dim, tuple | list) and not dim):
        raise UnsupportedModelError(
            f"'{call.name}' at '{where}' reduces all dimensions, samples included; give it the "
            f"dimensions to reduce, without {row_dim}, which holds the samples"
        )
    if row_dim in dimensions.reduced(call, call.args[0]):
        raise UnsupportedModelError(
            f"'{call.name}' at '{where}' reduces dimension {row_dim}, which holds the samples; "
            "leave it out"
        )
    return True


def window_size(call: Call, source: Tensor) -> int:
    """How many elements a max pool chooses each of its results from, borders aside.

    >>> rows = torch.ones(2, 5, 3)
    >>> window_size(Call(torch.amax, "amax", (rows, 1)), rows)
    5
    """
    if call.name in {"max", "amax"}:
        return math.prod(source.shape[dim] for dim in dimensions.reduced(call, source))
    axes = pooled_axes(call.name)
    if "adaptive" not in call.name:
        return math.prod(_windows(call).kernel)
    given = call.argument(1, "output_size")
    sizes = (given,) * axes if isinstance(given, int) else tuple(given)
    pairs = zip(source.shape[-axes:], sizes, strict=True)
    return math.prod(-(-length // (size or length)) for length, size in pairs)


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
    if base.startswith("adaptive"):
        pool = getattr(F, base.replace("max", "avg"))
        return pool(rows, call.argument(1, "output_size"))
    windows = _windows(call)
    if set(windows.dilation) != {1}:  # which average pools do not have
        return windows.means(rows)
    pool = getattr(F, base.replace("max", "avg"))
    return pool(rows, windows.kernel, windows.stride, windows.padding, windows.ceil_mode)


def elements_averaged(call: Call, source: Tensor) -> int | None:
    """How many elements each result of an average pool is the mean of; None if they differ.

    >>> elements_averaged(Call(F.avg_pool2d, "avg_pool2d", (None, 2)), torch.ones(1, 1, 4, 4))
    4
    """
    axes = pooled_axes(call.name)
    if "adaptive" in call.name:
        given = call.argument(1, "output_size")
        wanted = (given,) * axes if isinstance(given, int) else tuple(given)
        lengths = source.shape[-axes:]
        sizes = [size or length for length, size in zip(lengths, wanted, strict=True)]
        if any(length % size for length, size in zip(lengths, sizes, strict=True)):
            return None
        return math.prod(lengths) // math.prod(sizes)
    windows = _windows(call)
    divisor = call.argument(6, "divisor_override") if axes > 1 else None
    counted = not any(windows.padding) or call.argument(5, "count_include_pad", True)
    if windows.ceil_mode or divisor is not None or not counted:
        return None
    return math.prod(windows.kernel)


def window_sum(call: Call) -> Callable[[Tensor], Tensor]:
    """Returns the function that gives each window of a pool the sum of its elements.

    Args:
        call: an average or max pool, or a mean, sum or maximum over given dimensions.

    >>> pool = Call(F.avg_pool1d, "avg_pool1d", (None, 2))
    >>> window_sum(pool)(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    tensor([[[3., 7.]]])
    """
    base = call.name.strip("_")
    if base in {"mean", "sum", "max", "amax"}:
        dim, keepdim = call.argument(1, "dim"), call.argument(2, "keepdim", False)
        return lambda rows: rows.sum(dim, keepdim=keepdim)
    if "adaptive" in base:
        given, axes = call.argument(1, "output_size"), pooled_axes(base)
        size = (given,) * axes if isinstance(given, int) else tuple(given)
        return lambda rows: _adaptive_sum(rows, size)
    return _windows(call).sums


def _adaptive_sum(rows: Tensor, size: tuple[int | None, ...]) -> Tensor:
    axes = len(size)
    pooled: Tensor = getattr(F, f"adaptive_avg_pool{axes}d")(rows, size)
    pairs = zip(rows.shape[-axes:], pooled.shape[-axes:], strict=True)
    for axis, (length, out) in enumerate(pairs):
        window = [math.ceil((i + 1) * length / out) - i * length // out for i in range(out)]
        shape = [1] * pooled.dim()
        shape[pooled.dim() - axes + axis] = out
        pooled = pooled * pooled.new_tensor(window).reshape(shape)
    if torch.equal(rows, rows.round()):  # then so are sums, which a mean times its number is nearly
        return pooled + (pooled.round() - pooled).detach()
    return pooled
