"""Call: one call of a torch function, as interception meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from adacal.core import functions

_OPERANDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(functions.SYNAPTIC, ("input", "weight", "bias")),
    **dict.fromkeys(functions.SCALINGS, ("input", "other")),
    **dict.fromkeys(("add", "add_", "sub", "sub_", "subtract", "rsub"), ("input", "other")),
    **dict.fromkeys(("matmul", "__matmul__", "linalg_matmul", "inner"), ("input", "other")),
    **dict.fromkeys(("mm", "bmm"), ("input", "mat2")),
    **dict.fromkeys(("cat", "concat", "concatenate"), ("tensors",)),
    **dict.fromkeys(("stack", "hstack", "vstack", "dstack"), ("tensors",)),
    "addmm": ("input", "mat1", "mat2"),
    "addmv": ("input", "mat", "vec"),
    **dict.fromkeys(("baddbmm", "addbmm"), ("input", "batch1", "batch2")),
    "mv": ("input", "vec"),
    "dot": ("input", "tensor"),
    "vdot": ("input", "other"),
    "linalg_vecdot": ("x", "y"),
    **dict.fromkeys(("outer", "ger"), ("input", "vec2")),
    "linalg_multi_dot": ("tensors",),
    "tensordot": ("a", "b"),
    "bilinear": ("input1", "input2", "weight", "bias"),
    "grid_sample": ("input", "grid"),
    "scaled_dot_product_attention": ("query", "key", "value"),
    "multi_head_attention_forward": ("query", "key", "value"),
}
"""Names of the tensors that come first, where they are more than `input`."""
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


@dataclass(frozen=True, slots=True)
class Call:
    """A torch function and what it was called with.

    Attributes:
        function: the torch function (conv2d, relu, ...).
        name: what it is known by, in-place underscore kept.
        args, kwargs: its arguments as called.
        traced: the tensors among them that carry activations.

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


def read_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Reads a call in the one form that all who look at it may rely on.

    Tensors come first and by position, however the network named them; numpy's `axis` is `dim`, and
    a product written from its right side is turned round.

    >>> x, w = torch.ones(2, 3), torch.ones(4, 3)
    >>> call = read_call(torch.nn.functional.linear, (), {"weight": w, "input": x})
    >>> call.args[0] is x, call.args[1] is w, call.kwargs
    (True, True, {})
    """
    name = functions.function_name(function)
    if name == "__rmatmul__":
        return Call(torch.matmul, "matmul", (args[1], args[0]), kwargs)
    if not kwargs:
        return Call(function, name, args)
    given = dict(kwargs)
    if name in functions.LINEAR | functions.BILINEAR | functions.MAX_POOL:
        given = {_NUMPY_NAMES.get(key, key): value for key, value in given.items()}
    operands = list(args)
    for keyword in _OPERANDS.get(name, ("input",))[len(args) :]:
        if keyword not in given:
            break
        operands.append(given.pop(keyword))
    return Call(function, name, tuple(operands), given)
