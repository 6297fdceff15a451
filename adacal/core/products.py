"""Products of tensors read from their calls: the dimensions they share, their MACs and fan-out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from adacal.core.calls import Call
from adacal.core.errors import UnsupportedModelError

Labels = tuple[Any, ...]
"""A name for each dimension of a tensor; batch dimensions are numbered from the right."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A sum of products over shared dimensions, as einsum writes it.

    Attributes:
        factors: the tensors multiplied, in order.
        labels: of the dimensions of each factor; dimensions of one name run together.
        result: labels of the result; names that are missing here are summed over.
        addend: what is added to the result, if anything.

    >>> import torch
    >>> product = product_of(Call(torch.matmul, "matmul", (torch.ones(5, 4, 3), torch.ones(3, 2))))
    >>> product.macs(), product.fan_out(product.factors[0])
    (120.0, 2.0)
    """

    factors: tuple[Tensor, ...]
    labels: tuple[Labels, ...]
    result: Labels
    addend: Tensor | None = None

    def macs(self) -> float:
        """Multiply-accumulates, the factors taken in from left to right."""
        sizes = self._sizes()
        total, held = 0, set(self.labels[0])
        for number, labels in enumerate(self.labels[1:], 2):
            together = held | set(labels)
            total += math.prod(sizes[label] for label in together)
            later = {label for rest in self.labels[number:] for label in rest}
            held = together & (later | set(self.result))
        return float(total)

    def fan_out(self, source: Tensor) -> float | None:
        """How many products each element of a factor takes part in.

        Returns:
            None where no single number says so: more than two factors, or diagonals of one.
        """
        plain = all(len(set(labels)) == len(labels) for labels in self.labels)
        if len(self.factors) != 2 or not plain or not any(f is source for f in self.factors):
            return None
        return self.macs() / source.numel()

    def place(self, source: Tensor, row_dim: int, channel_dim: int) -> tuple[int, int]:
        """Returns where rows and channels of a factor (or the addend) lie in the result.

        Raises:
            UnsupportedModelError: the rows are summed over.
        """
        dims = len(self.result)
        at = next((i for i, factor in enumerate(self.factors) if factor is source), None)
        if at is None:  # the addend, which is broadcast
            before = dims - source.dim()
            return row_dim + before, channel_dim if channel_dim < 0 else channel_dim + before
        labels = self.labels[at]
        if labels[row_dim] not in self.result:
            raise UnsupportedModelError(
                f"a product sums over dimension {row_dim} of a tensor of shape "
                f"{list(source.shape)}, which holds the samples; keep samples apart"
            )
        rows = self.result.index(labels[row_dim])
        new = [place for place, label in enumerate(self.result) if label not in labels]
        old = labels[channel_dim] if -len(labels) <= channel_dim < len(labels) else None
        # a product from the right, as of a layer, makes new channels; one from the left need not
        if new and (at == 0 or old not in self.result):
            channels = new[-1]
        else:
            channels = self.result.index(old) if old in self.result else 1
        return rows, -1 if channels == dims - 1 and dims > 2 else channels

    def _sizes(self) -> dict[Any, int]:
        sizes: dict[Any, int] = {}
        for factor, labels in zip(self.factors, self.labels, strict=True):
            for size, label in zip(factor.shape, labels, strict=True):
                sizes[label] = max(size, sizes.get(label, 1))
        return sizes


def product_of(call: Call) -> Product | None:
    """Reads a call as a product; None if it is none."""
    read = _READERS.get(call.name)
    return read(call) if read is not None else None


def _matmul(left: Tensor, right: Tensor, addend: Tensor | None = None) -> Product:
    """Matrices in the last two dimensions, vectors where there is only one."""
    rows = (*_batch(left.dim() - 2), "n", "k") if left.dim() > 1 else ("k",)
    columns = (*_batch(right.dim() - 2), "k", "m") if right.dim() > 1 else ("k",)
    result = _batch(max(left.dim(), right.dim()) - 2)
    result += ("n",) * (left.dim() > 1) + ("m",) * (right.dim() > 1)
    return Product(factors=(left, right), labels=(rows, columns), result=result, addend=addend)


def _batch(count: int) -> Labels:
    return tuple(range(count, 0, -1))


def _added(call: Call) -> Product:
    addend, left, right = call.args[:3]
    return _matmul(left, right, addend if isinstance(addend, Tensor) else None)


def _added_batch(call: Call) -> Product:
    addend, left, right = call.args[:3]
    return Product(
        factors=(left, right),
        labels=((1, "n", "k"), (1, "k", "m")),
        result=("n", "m"),
        addend=addend if isinstance(addend, Tensor) else None,
    )


def _outer(call: Call) -> Product:
    left, right = call.args[:2]
    return Product(factors=(left, right), labels=(("n",), ("m",)), result=("n", "m"))


def _inner(call: Call) -> Product:
    left, right = call.args[:2]
    mine = tuple(("left", d) for d in range(left.dim() - 1))
    other = tuple(("right", d) for d in range(right.dim() - 1))
    if not left.dim() or not right.dim():
        return Product(factors=(left, right), labels=(mine, other), result=(*mine, *other))
    return Product(
        factors=(left, right), labels=((*mine, "k"), (*other, "k")), result=(*mine, *other)
    )


def _vecdot(call: Call) -> Product | None:
    left, right = call.args[:2]
    dim = call.argument(2, "dim", -1)
    labels = [list(_batch(factor.dim())) for factor in (left, right)]
    summed = labels[0][dim]
    result = tuple(label for label in max(labels, key=len) if label != summed)
    return Product(factors=(left, right), labels=tuple(map(tuple, labels)), result=result)


def _tensordot(call: Call) -> Product:
    left, right = call.args[:2]
    dims = call.argument(2, "dims", 2)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        dims = (range(left.dim() - dims, left.dim()), range(dims))
    first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    mine: list[Any] = [("left", d) for d in range(left.dim())]
    other: list[Any] = [("right", d) for d in range(right.dim())]
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        mine[a] = other[b] = ("sum", number)
    result = tuple(label for label in (*mine, *other) if label[0] != "sum")
    return Product(factors=(left, right), labels=(tuple(mine), tuple(other)), result=result)


def _bilinear(call: Call) -> Product:
    left, right, weight = call.args[:3]
    batch = _batch(left.dim() - 1)
    return Product(
        factors=(left, weight, right),
        labels=((*batch, "i"), ("o", "i", "j"), (*batch, "j")),
        result=(*batch, "o"),
    )


def _chain(call: Call) -> Product:
    factors = call.args[0] if isinstance(call.args[0], list | tuple) else call.args
    names = [("chain", number) for number in range(len(factors) + 1)]
    labels = [tuple(names[i : i + 2]) for i in range(len(factors))]
    if factors[0].dim() == 1:
        labels[0] = labels[0][1:]
    if factors[-1].dim() == 1:
        labels[-1] = labels[-1][:1]
    result = tuple(label for label in (names[0], names[-1]) if label in {*labels[0], *labels[-1]})
    return Product(factors=tuple(factors), labels=tuple(labels), result=result)


def _einsum(call: Call) -> Product:
    equation: str = call.args[0].replace(" ", "")
    factors = call.args[1:]
    if len(factors) == 1 and isinstance(factors[0], list | tuple):
        factors = tuple(factors[0])
    given, _, wanted = equation.partition("->")
    terms = given.split(",")
    labels = [_spelled(term, factor.dim()) for term, factor in zip(terms, factors, strict=True)]
    batch = max((_batch_of(names) for names in labels), key=len)
    if "->" in equation:
        dims = len(wanted.replace("...", "")) + (len(batch) if "..." in wanted else 0)
        result = _spelled(wanted, dims)
    else:
        seen = Counter(label for names in labels for label in names if isinstance(label, str))
        result = (*batch, *sorted(label for label, count in seen.items() if count == 1))
    return Product(factors=tuple(factors), labels=tuple(labels), result=result)


def _spelled(term: str, dims: int) -> Labels:
    before, dots, after = term.partition("...")
    batch = _batch(dims - len(before) - len(after)) if dots else ()
    return (*before, *batch, *after)


def _batch_of(labels: Iterable[Any]) -> Labels:
    return tuple(label for label in labels if isinstance(label, int))


def _two(call: Call) -> Product:
    return _matmul(*call.args[:2])


_READERS: dict[str, Callable[[Call], Product | None]] = {
    **dict.fromkeys(("matmul", "__matmul__", "linalg_matmul", "mm", "bmm", "mv"), _two),
    **dict.fromkeys(("dot", "vdot", "linalg_vecdot"), _vecdot),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _added),
    **dict.fromkeys(("outer", "ger"), _outer),
    **dict.fromkeys(("chain_matmul", "linalg_multi_dot"), _chain),
    "addbmm": _added_batch,
    "inner": _inner,
    "tensordot": _tensordot,
    "bilinear": _bilinear,
    "einsum": _einsum,
}
