"""Counts: what was counted of a layer, and of all layers before a pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass
class LayerCount:
    """Sums over all samples seen; divide by the number of samples for a mean.

    `written`: activations of an ANN, stored once each.
    """

    spikes: float = 0.0
    events: float = 0.0
    neurons: float = 0.0
    neuron_steps: float = 0.0
    sops: float = 0.0
    event_sops: float = 0.0
    reference_sops: float = 0.0
    macs: float = 0.0
    ann_macs: float = 0.0
    written: float = 0.0

    def fire(self, sums: Sequence[Sequence[float]]) -> None:
        """Adds spikes and events of each step."""
        for spikes, events in sums:
            self.spikes += spikes
            self.events += events

    def spend(self, sops: float, event_sops: float, groups: int) -> None:
        """Adds accumulates of a call, which the reference counts so many times; for events, too."""
        self.sops += sops
        self.event_sops += event_sops
        self.reference_sops += event_sops * groups

    def add(self, other: LayerCount) -> None:
        """Adds the sums of another."""
        mine = vars(self)
        for name, value in vars(other).items():
            mine[name] += value


Add = Callable[[Sequence[Sequence[float]]], None]
"""Adds spikes and events of each step to what was counted."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a counter had counted: plain numbers, since it is kept before every pass."""

    layers: dict[str, dict[str, float]]
    sops_by_step: dict[int, float]
    samples: int
    total: Tensor | None
    leaves: dict[str, Tensor]
    later: list[tuple[Tensor, Add]]
