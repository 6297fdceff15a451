"""Folds batch norms into the layers before them: one operation less a layer, the same function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from adacal.core import functions
from adacal.core.functions import Role

_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def fold_batch_norms(
    module: nn.Module, forward: Callable[[nn.Module, Any], Any], inputs: Tensor
) -> list[tuple[str, str]]:
    """Folds every batch norm that alone reads a layer's output into that layer, in place.

    The batch norm becomes an identity, so all other modules keep their paths. A layer is left as it
    is where it is called more than once, shares its weight, or where something else reads its
    output: only one forward can tell, so one is made.

    Args:
        module: in eval mode; its weights are changed.
        forward: how to call it.
        inputs: an example of its inputs.
    Returns:
        Paths of the layers and of the batch norms folded into them; see `fold`.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    >>> fold_batch_norms(net, lambda module, x: module(x), torch.ones(1, 1, 3, 3))
    [('0', '1')]
    """
    watch = _Watch(module)
    with torch.no_grad(), watch:
        watch.read(forward(module, inputs.clone()))
    pairs = watch.pairs()
    fold(module, pairs)
    return pairs


@torch.no_grad()
def fold(module: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Folds the batch norms at given paths into the layers at given paths, in place.

    `w' = w * s` and `b' = (b - mean) * s + bias` with `s = weight / sqrt(var + eps)`, computed in
    double precision.

    Raises:
        AttributeError: there is no such layer or batch norm.
    """
    for layer_path, norm_path in pairs:
        layer: Any = module.get_submodule(layer_path)
        norm: Any = module.get_submodule(norm_path)
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight
        bias = -norm.running_mean * scale
        if layer.bias is not None:
            bias = bias + layer.bias * scale
        if norm.bias is not None:
            bias = bias + norm.bias
        weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
        layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False)
        parent, _, name = norm_path.rpartition(".")
        setattr(module.get_submodule(parent), name, nn.Identity())


@dataclass
class _Output:
    """What a foldable layer gave: which layer, how often it was read, the batch norm that did."""

    layer: str
    reads: int = 0
    norm: str | None = None


@dataclass
class _Watch(TorchFunctionMode):
    """Sees which batch norms read which layers' outputs, and who else reads those."""

    module: nn.Module
    _layers: dict[int, str] = field(default_factory=dict)
    _norms: dict[int, str] = field(default_factory=dict)
    _calls: Counter[str] = field(default_factory=Counter)
    _outputs: list[_Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        owners = Counter(
            id(weight)
            for part in self.module.modules()
            for weight in part.parameters(recurse=False)
        )
        for path, part in self.module.named_modules():
            own = [*part.parameters(recurse=False)]
            if any(owners[id(weight)] > 1 for weight in own):
                continue
            if isinstance(part, _FOLDABLE):
                self._layers[id(part.weight)] = path
            elif _is_plain(part):
                self._norms[id(part.running_mean)] = path

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = functions.function_name(func)
        given = [*args, *kwargs.values()]
        if functions.role_of(func) is not Role.PLAIN:
            self.read(given)
        norm = next((self._norms[id(value)] for value in given if id(value) in self._norms), None)
        if norm is not None:
            self._calls[norm] += 1
            found = _output_of(args[0]) if args else None
            if name == "batch_norm" and found is not None:
                found.norm = norm
        layer = next((self._layers[id(v)] for v in given if id(v) in self._layers), None)
        if layer is not None:
            self._calls[layer] += 1
            if name in functions.SYNAPTIC and isinstance(result, Tensor):
                found = _Output(layer)
                result._adacal_layer = found  # type: ignore[attr-defined]
                self._outputs.append(found)
        return result

    def read(self, values: Any) -> None:
        """Notes every layer output in a nest of values as read."""
        if isinstance(values, Tensor):
            found = _output_of(values)
            if found is not None:
                found.reads += 1
        elif isinstance(values, list | tuple):
            for value in values:
                self.read(value)
        elif isinstance(values, dict):
            self.read(list(values.values()))

    def pairs(self) -> list[tuple[str, str]]:
        """The layers whose output a batch norm, and nothing else, reads; both called once."""
        return [
            (output.layer, output.norm)
            for output in self._outputs
            if output.norm is not None
            and output.reads == 1
            and self._calls[output.layer] == self._calls[output.norm] == 1
        ]


def _output_of(value: Any) -> _Output | None:
    return getattr(value, "_adacal_layer", None) if isinstance(value, Tensor) else None


def _is_plain(part: nn.Module) -> bool:
    """Whether a module is a batch norm that does nothing but normalise by its statistics."""
    return (
        isinstance(part, _BatchNorm)
        and type(part).forward is _BatchNorm.forward
        and part.running_mean is not None
        and not (part._forward_hooks or part._forward_pre_hooks)
    )
