"""Tally: the spikes of a site as bytes or summed over samples, which is all that counting reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adacal.core.byte_sums import Bytes, Weights, add_up, weigh
from adacal.core.spike_bytes import MOST, as_bytes

CACHED = 1 << 17
"""Numbers that one core's cache holds beside their copy."""
Sums = Sequence[Sequence[float]] | Tensor
"""Whole numbers of spikes and of events, step by step; a tensor [steps, 2] where they are on a GPU,
which would have to be waited for to read them."""


class Tally:
    """Takes the spikes of a scan; a compiled one gives bytes, of which sums are taken if asked for.

    Args:
        batch: samples B in a step.
        max_spikes: φ, if it is known.
        sums: whether sums will be read.
        as_bytes: whether `counts` will be read.
        expected: weights that will probably be asked for, which a compiled scan then sums up with
            at once, while it has the spikes at hand.

    Attributes:
        counts: uint8, shape [steps, B*m, C, *], once they are taken as bytes.
        site: where they come from, if that is known and they are as they were there.
    """

    def __init__(
        self,
        batch: int,
        max_spikes: int = MOST,
        *,
        sums: bool = True,
        as_bytes: bool = False,
        expected: Weights | None = None,
    ) -> None:
        self.batch, self.max_spikes, self.expected = batch, max_spikes, expected
        self.counts: Tensor | None = None
        self.site: str | None = None
        self.sums, self._as_bytes = sums, as_bytes
        self._bytes: Bytes | None = None
        self._known: dict[Weights, Sums] = {}
        self._both: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, spikes: Tensor, events: Tensor) -> Tally:
        """Returns a tally of spikes that are summed up already."""
        made = cls(1)
        made._both = spikes, events
        return made

    @property
    def spikes(self) -> Tensor:
        """Shape [steps*m, C, *], summed over samples; each of the k spikes of a burst counts."""
        return self._summed()[0]

    @property
    def events(self) -> Tensor:
        """As `spikes`, a burst counts once; may be the same tensor."""
        return self._summed()[1]

    def take(self, counts: Tensor) -> None:
        """Takes counts, shape [steps, B*m, C, *], whole numbers, none negative."""
        if self._as_bytes:
            self.counts = as_bytes(counts)
        if self.sums:
            self._both = spikes_and_events(counts.flatten(0, 1), counts.shape[0], self.batch)

    def fill(self, spikes: Bytes, known: dict[Weights, Sums]) -> None:
        """As `take`, of counts as bytes, with sums that are known of them."""
        self.counts, self._bytes, self._known = spikes.counts, spikes, known

    def totals(self, blocks: int) -> Sums:
        """Returns spikes and events of each of so many steps."""
        return self.weighed(ONE, blocks)

    def weighed(self, weights: Weights, blocks: int, row_dim: int = 0) -> Sums:
        """Returns spikes and events of each step, each times the weight of its neuron, summed up.

        Args:
            weights: of one row.
            blocks: steps that were taken.
            row_dim: dimension of the rows of `spikes`.
        """
        if weights in self._known:
            return self._known[weights]
        if weights.same is not None and ONE in self._known:
            known = self._known[ONE]
            if isinstance(known, Tensor):
                return known * weights.same
            return [[weights.same * both for both in step] for step in known]
        if self._bytes is not None:
            found = weigh(self._bytes, weights, self.max_spikes)
            if found is not None:
                return found
        sums = self.graph(weights, blocks, row_dim).detach()
        return sums.tolist() if sums.device.type == "cpu" else sums

    def graph(self, weights: Weights, blocks: int, row_dim: int = 0) -> Tensor:
        """As `weighed`, shape [blocks, 2], differentiable where spikes are."""
        spikes, events = self._summed()
        first = _weighed(spikes, weights.values, blocks, row_dim)
        other = first if events is spikes else _weighed(events, weights.values, blocks, row_dim)
        return torch.stack([first, other], 1)

    def _summed(self) -> tuple[Tensor, Tensor]:
        if self._both is None:
            assert self._bytes is not None, "a scan fills its tally"
            counts = self._bytes.counts
            spikes, events = add_up(self._bytes, self.batch) or spikes_and_events(
                counts.flatten(0, 1).float(), counts.shape[0], self.batch
            )
            self._both = spikes, spikes if self.max_spikes == 1 else events
        return self._both


ONE = Weights(torch.ones(1))
"""The weight of every neuron where spikes are only counted."""


def _weighed(companion: Tensor, weights: Tensor, blocks: int, row_dim: int) -> Tensor:
    """Numbers times weights, summed in each block; wide, so that whole numbers stay exact."""
    wide = torch.float32 if companion.device.type == "mps" else torch.float64  # which has no other
    weighed = companion.to(wide) * weights.to(companion.device, wide)
    return weighed.movedim(row_dim, 0).reshape(blocks, -1).sum(1)


def per_step(rows: Tensor, steps: int, batch: int, row_dim: int = 0) -> Tensor:
    """Sums rows [steps*B*m, ...] over samples: [steps*m, ...]."""
    blocks = rows.unflatten(row_dim, (steps, batch, -1))
    total = blocks.sum(row_dim + 1, dtype=summed_in(rows.dtype))
    return total.flatten(row_dim, row_dim + 1)


def summed_in(dtype: torch.dtype) -> torch.dtype:
    """Returns what holds sums of a type's whole numbers: 16 bits hold no odd one above 2,048.

    >>> summed_in(torch.bfloat16), summed_in(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


def spikes_and_events(
    counts: Tensor, steps: int, batch: int, row_dim: int = 0
) -> tuple[Tensor, Tensor]:
    """Sums whole counts, none negative, over samples, and with a one for each that is not 0.

    Both sums are those of `per_step`. They are taken piece by piece: a copy of the counts is dearer
    to make than to add up unless it stays in the processor's cache.

    >>> spikes_and_events(torch.tensor([[0.0, 3.0], [1.0, 2.0]]), steps=1, batch=2)
    (tensor([[1., 5.]]), tensor([[1., 2.]]))
    """
    counts = counts.to(summed_in(counts.dtype))
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
