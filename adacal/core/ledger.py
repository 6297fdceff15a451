"""Ledger: what each spike of a pass costs, so that passes like it only have to add spikes up.

Counting is linear in the spikes of neurons: however they are pooled, joined and added on the way to
a layer, one spike of one neuron costs that layer the same in every pass. What depends on no spike
is the same anyway. `adacal.core.recording` finds both in one pass that follows every tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.byte_sums import Weights
from adacal.core.counting import SynapseCounter, spikes_of
from adacal.core.layer_count import LayerCount
from adacal.core.loops import SUMS
from adacal.core.sites import Site
from adacal.core.spike_sums import sum_up
from adacal.core.tally import ONE, Tally
from adacal.core.weighed import APART, Readers, Room

INPUT = ""
"""Name of the source of spikes that is the input; sites have longer ones."""


class Unsettled(Exception):
    """Spikes of a pass are no whole numbers; it is to be followed."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where spikes come from: a site, a max pool, or the input.

    Attributes:
        name: of the site; None of a max pool.
        readers: layers that read them and for which spikes differ in weight.
        scale: θ of what a max pool passes on; None of others.
    """

    name: str | None
    readers: Readers
    scale: Tensor | None

    @property
    def width(self) -> int:
        """Sums of each step."""
        return SUMS + 2 * len(self.readers)

    def agrees(self, other: Source) -> bool:
        """Whether it is the same source, in a pass of another number of samples."""
        if self.name != other.name or self.width != other.width:
            return False
        return all(map(Weights.equal, self.readers.weights, other.readers.weights))


@dataclass(frozen=True, slots=True)
class Share:
    """Accumulates that a layer owes to the spikes of one source.

    Attributes:
        source: its number.
        column: where the sum of weighed spikes is among those of a step, with that of events.
        times: what that is to be multiplied with, where all spikes weigh the same.
    """

    source: int
    column: int
    times: float


@dataclass(frozen=True, slots=True)
class Owed:
    """Accumulates of one call.

    Attributes:
        where: its label.
        steps: how many of the pass they fall due in.
        groups: how many times the reference counts them.
        shares: by the source of spikes.
    """

    where: str
    steps: int
    groups: int
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Ledger:
    """What passes of one kind cost.

    Attributes:
        steps: of a pass.
        batch: its samples.
        most: most spikes that a neuron sends in a step.
        sources: where its spikes come from.
        pools: numbers of those that are max pools, in the order of all max pools; None of others.
        owed: in calling order.
        constant: what depends on no spike, by layer, in the order they are met.
    """

    steps: int
    batch: int
    most: int
    sources: tuple[Source, ...]
    pools: tuple[int | None, ...]
    owed: tuple[Owed, ...]
    constant: dict[str, LayerCount]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Those of sources that have a name."""
        named = enumerate(source.name for source in self.sources)
        return {name: n for n, name in named if name is not None}

    @cached_property
    def places(self) -> list[int]:
        """Where the sums of each source begin among those of a pass; last, how many there are."""
        ends = np.cumsum([0, *(source.width * self.steps for source in self.sources)])
        return ends.tolist()  # type: ignore[no-any-return]

    def place(self, number: int, step: int, column: int = 0) -> int:
        """Where one sum of a source lies among all of a pass."""
        return self.places[number] + step * self.sources[number].width + column

    @cached_property
    def index(self) -> _Index:
        """Where to look for what."""
        return _Index(self)

    def agrees(self, other: Ledger) -> bool:
        """Whether that of another number of samples says the same of each."""
        mine, theirs = self.constant, other.constant
        if (self.pools, self.owed, list(mine)) != (other.pools, other.owed, list(theirs)):
            return False
        if len(self.sources) != len(other.sources) or self.batch == other.batch:
            return False
        if not all(map(Source.agrees, self.sources, other.sources)):
            return False
        return all(
            value * other.batch == getattr(theirs[name], kind) * self.batch
            for name, count in mine.items()
            for kind, value in vars(count).items()
        )


class _Index:
    """Where the sums of a ledger lie among those of a pass, so that one look finds all of a kind.

    Args:
        ledger: as it is.

    Attributes:
        odd: places that say whether spikes are no number.
        sites: names of sites, in order.
        fired: places of their spikes, those of their events being next to them; [sites, steps].
        due: places of the sums that accumulates are made of, likewise.
        times: what each is to be multiplied with.
        steps: of each, its step.
        starts: where those of each call begin.
        calls: that have any.
        fixed: what is not 0 of what depends on no spike, by layer.
    """

    def __init__(self, ledger: Ledger) -> None:
        every, sources = range(ledger.steps), ledger.sources
        self.odd = [ledger.place(n, step) for n in range(len(sources)) for step in every]
        # what goes in was counted on its way in
        numbers = {name: n for name, n in ledger.numbers.items() if name != INPUT}
        self.sites = list(numbers)
        fired = [[ledger.place(n, step, 1) for step in every] for n in numbers.values()]
        self.fired = np.array(fired, np.int64).reshape(len(fired), ledger.steps)
        self.calls = [owed for owed in ledger.owed if owed.steps and owed.shares]
        shares = [
            (ledger.place(share.source, step, share.column), share.times, step)
            for owed in self.calls
            for step in range(owed.steps)
            for share in owed.shares
        ]
        self.due = np.array([place for place, _, _ in shares], np.int64)
        self.times = np.array([times for _, times, _ in shares])
        self.steps = np.array([step for _, _, step in shares], np.int64)
        sizes = [owed.steps * len(owed.shares) for owed in self.calls]
        self.starts = np.cumsum([0, *sizes])[:-1]
        self.fixed = [
            (name, [(kind, value) for kind, value in vars(count).items() if value])
            for name, count in ledger.constant.items()
        ]


class Account:
    """The sums of one pass; takes the place of its meter.

    Args:
        ledger: of such passes.
        batch: samples of this one.
    """

    def __init__(self, ledger: Ledger, batch: int) -> None:
        self._ledger, self._batch = ledger, batch
        self._sums = np.zeros((torch.get_num_threads(), ledger.places[-1] + APART), np.int64)
        self._address: int = self._sums.ctypes.data
        self._pools = iter(ledger.pools)

    def room(self, number: int) -> Room:
        """Returns where a scan is to put the sums of a source."""
        place, (parts, apart) = self._ledger.places[number], self._sums.shape
        return Room(self._ledger.sources[number].readers, self._address + 8 * place, apart, parts)

    def of_site(self, name: str) -> Room:
        """As `room`, of a site."""
        return self.room(self._ledger.numbers[name])

    def expected(self, site: str) -> None:
        """None: there are no tags that layers could read."""

    def tallied(self, site: Site, tally: Tally, shape: Any, threshold: Tensor) -> None:
        """Takes the spikes of a site; the arguments are those of `SynapseCounter.tallied`."""
        self._take(self._ledger.numbers[site.name], tally)

    def fired(self, site: Site, counts: Tensor, threshold: Tensor) -> None:
        """Takes the counts of a site; the arguments are those of `SynapseCounter.fired`."""
        self._sum_up(self._ledger.numbers[site.name], spikes_of(site, counts))

    def entered(self, tally: Tally) -> None:
        """Takes the spikes of the input."""
        self._take(self._ledger.numbers[INPUT], tally)

    def pooled(self, result: Any) -> None:
        """Takes what the next max pool gives."""
        number = next(self._pools)
        if number is None:
            return
        values, scale = result, self._ledger.sources[number].scale
        if isinstance(values, tuple):
            values, _ = values
        assert scale is not None, "else it has no number"
        counts = torch.div(values, scale).round_().abs_()
        self._sum_up(number, counts.unflatten(0, (self._ledger.steps, -1)))

    def close(self, meter: SynapseCounter) -> None:
        """Ends the pass: tells a meter what it cost.

        Raises:
            Unsettled: spikes are no whole numbers; nothing was told.
        """
        index, sums, layers = self._ledger.index, self._sums.sum(0), meter.layers
        if sums[index.odd].any():
            raise Unsettled
        for name, values in index.fixed:
            count = vars(layers[name])
            for kind, value in values:
                count[kind] += value * self._batch / self._ledger.batch
        fired = (sums[index.fired].sum(1).tolist(), sums[index.fired + 1].sum(1).tolist())
        for name, *both in zip(index.sites, *fired, strict=True):
            layers[name].fire([both])
        if not index.calls:
            return
        sops, events = (sums[index.due + n] * index.times for n in (0, 1))
        spent = (np.add.reduceat(all_of, index.starts).tolist() for all_of in (sops, events))
        for owed, of_spikes, of_events in zip(index.calls, *spent, strict=True):
            layers[owed.where].spend(of_spikes, of_events, owed.groups)
        for step, of_step in enumerate(np.bincount(index.steps, sops).tolist()):
            meter.sops_by_step[meter.first_step + step] += of_step

    def _sum_up(self, number: int, counts: Tensor) -> None:
        """Adds counts up, shape [steps, B*m, C, *]."""
        if not sum_up(counts, self._ledger.most, self.room(number)):
            tally = Tally(self._batch)
            tally.take(counts)
            self._take(number, tally)

    def _take(self, number: int, tally: Tally) -> None:
        ledger, source = self._ledger, self._ledger.sources[number]
        weights = (ONE, *source.readers.weights)
        columns = [tally.weighed(each, ledger.steps) for each in weights]
        for step in range(ledger.steps):
            at = ledger.place(number, step, 1)
            found = [float(value) for column in columns for value in column[step]]
            if not all(map(float.is_integer, found)):  # NaN, or parts of spikes that go in
                raise Unsettled
            self._sums[0, at : at + len(found)] = found
