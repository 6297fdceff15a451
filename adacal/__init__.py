"""adacal: convert trained vision networks into spiking networks, and measure them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adacal.core.cheapest import cheapest
    from adacal.core.conversion import convert
    from adacal.core.measure import measure_energy
    from adacal.core.network import SpikingNetwork
    from adacal.core.storage import load

__version__ = "0.1.0"
__all__ = ["SpikingNetwork", "__version__", "cheapest", "convert", "load", "measure_energy"]

_HOMES = {
    "SpikingNetwork": "adacal.core.network",
    "cheapest": "adacal.core.cheapest",
    "convert": "adacal.core.conversion",
    "load": "adacal.core.storage",
    "measure_energy": "adacal.core.measure",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that the command line starts without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'adacal' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
