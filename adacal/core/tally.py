"""Tally: the spikes of a site summed over samples, all that counting reads, and as bytes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CACHED = 1 << 17
"""Numbers that one core's cache holds beside their copy."""


@dataclass
class Tally:
    """Takes the spikes of a scan; a compiled scan does that while it has them at hand.

    Attributes:
        batch: samples B in a step.
        sums: whether they are added up.
        as_bytes: whether they are kept as bytes.
        spikes: shape [steps*m, C, *] once they are taken, where the counts are [steps, B*m, C, *];
            each of the k spikes of a burst counts.
        events: as `spikes`, a burst counts once; may be the same tensor where φ is 1.
        counts: uint8, shape of the counts, once they are taken.
    """

    batch: int
    sums: bool = True
    as_bytes: bool = False
    spikes: Tensor | None = None
    events: Tensor | None = None
    counts: Tensor | None = None

    @property
    def both(self) -> tuple[Tensor, Tensor]:
        """Spikes and events, once they are taken."""
        assert self.spikes is not None and self.events is not None, "a scan fills its tally"
        return self.spikes, self.events

    def take(self, counts: Tensor) -> None:
        """Adds counts up, shape [steps, B*m, C, *], whole numbers, none negative."""
        if self.as_bytes:
            self.counts = counts.to(torch.uint8)
        if self.sums:
            sums = spikes_and_events(counts.flatten(0, 1), counts.shape[0], self.batch)
            self.spikes, self.events = sums


def per_step(rows: Tensor, steps: int, batch: int, row_dim: int = 0) -> Tensor:
    """Sums rows [steps*B*m, ...] over samples: [steps*m, ...]."""
    blocks = rows.unflatten(row_dim, (steps, batch, -1))
    return blocks.sum(row_dim + 1).flatten(row_dim, row_dim + 1)


def spikes_and_events(
    counts: Tensor, steps: int, batch: int, row_dim: int = 0
) -> tuple[Tensor, Tensor]:
    """Sums whole counts, none negative, over samples, and with a one for each that is not 0.

    Both sums are those of `per_step`. They are taken piece by piece: a copy of the counts is dearer
    to make than to add up unless it stays in the processor's cache.

    >>> spikes_and_events(torch.tensor([[0.0, 3.0], [1.0, 2.0]]), steps=1, batch=2)
    (tensor([[1., 5.]]), tensor([[1., 2.]]))
    """
    if counts.device.type != "cpu":
        ones = counts.clamp_max(1)
        return per_step(counts, steps, batch, row_dim), per_step(ones, steps, batch, row_dim)
    blocks = counts.unflatten(row_dim, (steps, batch, -1))
    of_sample = max(1, counts.numel() // (steps * batch))
    size = max(1, CACHED // of_sample)
    spikes, events = [], []
    for step in blocks.unbind(row_dim):
        first, *others = step.split(size, row_dim)
        total, ones = first.sum(row_dim), first.clamp_max(1).sum(row_dim)
        for part in others:
            total += part.sum(row_dim)
            ones += part.clamp_max(1).sum(row_dim)
        spikes.append(total)
        events.append(ones)
    return torch.cat(spikes, row_dim), torch.cat(events, row_dim)
