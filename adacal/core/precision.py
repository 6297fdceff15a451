"""Layers of the spiking stream in bfloat16 or in 8 bits; everything else in float32.

Spikes are small whole numbers of thresholds, so that a bfloat16, of 8 significant bits, loses less
of them than of activations; what it rounds are weights, thresholds and currents, each by at most
0.4 %. Sums are kept in float32 by the processor. On 8 bits see `adacal.core.eight_bit`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor

from adacal.core.calls import Call
from adacal.core.checks import check_choice
from adacal.core.eight_bit import EightBit, trouble
from adacal.core.errors import ConfigError
from adacal.core.seen import Seen, same_values

Precision = Literal["float32", "bfloat16", "int8"]


class LayerRunner(Protocol):
    """Runs layers in low precision."""

    def begin(self) -> None:
        """Comes before each pass."""

    def run(self, call: Call) -> Tensor:
        """Makes the call of a layer and returns float32."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ConfigError for a precision that is not known, or slower than float32 here."""
    check_choice("precision", precision, get_args(Precision))
    if precision == "bfloat16" and not has_bfloat16(device):
        raise ConfigError(
            "precision='bfloat16' needs a processor that multiplies bfloat16 (AVX512_BF16 or AMX) "
            "and this one does not, so it would be slower; leave it at 'float32'"
        )
    if precision == "int8":
        found = trouble() if device.type == "cpu" else f"it runs on a CPU, not on '{device.type}'"
        if found:
            raise ConfigError(f"precision='int8' cannot be had here ({found}); take 'float32'")


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32."""
    if device.type != "cpu":
        return True
    found: list[Callable[[], bool]] = [
        getattr(torch.cpu, name)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if hasattr(torch.cpu, name)
    ]
    return any(supported() for supported in found)


def has_int8(device: torch.device) -> bool:
    """Whether a device runs layers in 8 bits."""
    return device.type == "cpu" and not trouble()


class LayerRunners:
    """Those of a network, made when they are asked for; each keeps weights for the next run."""

    def __init__(self) -> None:
        self._made: dict[str, LayerRunner] = {}

    def __reduce__(self) -> tuple[type[LayerRunners], tuple[()]]:
        return LayerRunners, ()  # a copy of the network makes its own

    def of(self, precision: Precision) -> LayerRunner | None:
        """Returns what runs layers in a precision; None where they run as they are."""
        if precision == "float32":
            return None
        if precision not in self._made:
            self._made[precision] = Rounded() if precision == "bfloat16" else EightBit()
        return self._made[precision]


class Rounded:
    """Runs layers in bfloat16 and keeps their rounded weights for the next run."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Seen, Tensor] | None] = {}

    def begin(self) -> None:
        """Looks at the values of all weights at once, so that a GPU is waited for once a pass."""
        kept = [one[0] for one in list(self._kept.values()) if one is not None]
        if not same_values(seen for seen in kept if seen.in_place):
            for key in list(self._kept):
                if key in self._kept:  # a weight may go at any time
                    self._kept[key] = None

    def run(self, call: Call) -> Tensor:
        """Makes the call of a float32 layer in bfloat16; returns float32."""
        rows, *operands = call.args
        if rows.dtype is not torch.float32:
            return call.run()
        named = {key: self._round(value) for key, value in call.kwargs.items()}
        result = call.function(rows.bfloat16(), *map(self._round, operands), **named)
        return result.float()

    def _round(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        key = id(value)
        if key not in self._kept:  # one that a network makes anew at every pass goes with it
            weakref.finalize(value, self._kept.pop, key, None)
        kept = self._kept.get(key)
        if kept is not None:
            seen, rounded = kept
            if seen.unmoved(value) if seen.in_place else seen.is_still(value):
                return rounded
        rounded = value.bfloat16()
        self._kept[key] = Seen(value), rounded
        return rounded
