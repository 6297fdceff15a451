"""Convolutions and linear layers of the spiking stream in bfloat16; everything else in float32.

Spikes are small whole numbers of thresholds, so that a bfloat16, of 8 significant bits, loses less
of them than of activations; what it rounds are weights, thresholds and currents, each by at most
0.4 %. Sums are kept in float32 by the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core.calls import Call
from adacal.core.checks import check_choice
from adacal.core.errors import ConfigError

Precision = Literal["float32", "bfloat16"]


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ConfigError for a precision that is not known, or slower than float32 here."""
    check_choice("precision", precision, get_args(Precision))
    if precision == "bfloat16" and not has_bfloat16(device):
        raise ConfigError(
            "precision='bfloat16' needs a processor that multiplies bfloat16 (AVX512_BF16 or AMX) "
            "and this one does not, so it would be slower; leave it at 'float32'"
        )


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


class Rounded:
    """Runs layers in bfloat16 and keeps their rounded weights for the next run."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, int, Tensor]] = {}

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
        kept = self._kept.get(id(value))
        if kept is None or kept[0] is not value or kept[1] != value._version:
            kept = (value, value._version, value.bfloat16())
            self._kept[id(value)] = kept
        return kept[2]
