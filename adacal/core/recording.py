"""Recorder: finds the ledger of a pass while the pass is counted with tags.

Beside the spikes of a tag travels a probe, a tensor of zeros that is made as they are. The gradient
of what a layer makes of it says what each spike costs there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from adacal.core import dimensions, functions
from adacal.core.byte_sums import Weights
from adacal.core.calls import Call
from adacal.core.counting import SynapseCounter
from adacal.core.layer_count import LayerCount
from adacal.core.layout import Layout
from adacal.core.ledger import INPUT, Ledger, Owed, Share, Source
from adacal.core.loops import SUMS
from adacal.core.sites import Site
from adacal.core.spike_bytes import MOST
from adacal.core.tags import Tag
from adacal.core.traces import known_of
from adacal.core.weighed import Readers

_READERS = 16
"""Layers that read the spikes of one source with weights of their own, of which sums are taken."""


class Recorder:
    """Notes what a pass costs.

    Args:
        layout: of the pass.
        most: most spikes that one of its neurons sends in a step.
    """

    def __init__(self, layout: Layout, most: int) -> None:
        self._layout, self._most = layout, most
        self._usable = self._most <= MOST
        self._signed = False
        self._names: list[str | None] = []
        self._scales: list[Tensor | None] = []
        self._probes: list[Tensor] = []
        self._readers: list[list[Weights]] = []
        self._pools: list[int | None] = []
        self._owed: list[Owed] = []

    def site(self, site: Site, shape: Sequence[int]) -> Tensor:
        """Returns the probe of a site whose counts have that shape, [steps, B*m, C, *]."""
        self._signed |= site.kind == "signed"
        rows = shape[0] * (shape[1] // self._layout.batch)
        return self._source(site.name, (rows, *shape[2:]))

    def entered(self, tag: Tag) -> Tag:
        """Returns the tag of spikes that go in, with its probe."""
        return replace(tag, probe=self._source(INPUT, tag.spikes.shape))

    def followed(self, call: Call, result: Any, tag: Any) -> Any:
        """Returns the tag of what a call gave, with its probe if that was a max pool."""
        if call.name not in functions.MAX_POOL or result is None:
            return tag
        self._pools.append(len(self._names) if isinstance(tag, Tag) else None)
        if not isinstance(tag, Tag):
            return tag
        source = call.args[0]
        moved = dimensions.moved_rows(call, source, known_of(source).row_dim)
        if moved or tag.coding != "counts" or tag.scale is None or self._signed:
            self._usable = False
            return tag
        return replace(tag, probe=self._source(None, tag.spikes.shape, tag.scale))

    def owe(self, where: str, tag: Tag, weights: Weights, steps: int, groups: int) -> None:
        """Notes accumulates: the spikes of a tag, each times its weight.

        Args:
            where: label of the call.
            tag: of what they enter.
            weights: of one row of that.
            steps: in how many of the pass.
            groups: how many times the reference counts them.
        """
        if not self._usable:
            return
        site = tag.tally.site
        if site is not None:
            shares = [self._share(self._names.index(site), weights)]
        else:
            shares = self._shares(tag, weights)
        self._owed.append(Owed(where, steps, groups, tuple(shares)))

    def close(self, counted: SynapseCounter) -> Ledger | None:
        """Returns the ledger; None where passes have to be followed.

        Args:
            counted: what the pass cost, and nothing else.
        """
        constant = {name: _constant(count) for name, count in counted.layers.items()}
        whole = all(float(v).is_integer() for c in constant.values() for v in vars(c).values())
        if not self._usable or not whole:
            return None
        sources = zip(self._names, map(Readers, self._readers), self._scales, strict=True)
        return Ledger(
            steps=self._layout.steps,
            batch=self._layout.batch,
            most=self._most,
            sources=tuple(Source(*source) for source in sources),
            pools=tuple(self._pools),
            owed=tuple(self._owed),
            constant=constant,
        )

    def _source(
        self, name: str | None, shape: Sequence[int], scale: Tensor | None = None
    ) -> Tensor:
        self._names.append(name)
        self._scales.append(scale)
        self._readers.append([])
        with torch.enable_grad():
            zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
            self._probes.append(zero.expand(*shape))
        return self._probes[-1]

    def _shares(self, tag: Tag, weights: Weights) -> list[Share]:
        """What is owed to each source of a tag that is not as it was there."""
        if tag.probe is None or not tag.probe.requires_grad:
            self._usable = False
            return []
        costs: Sequence[Tensor | None] = torch.autograd.grad(
            tag.probe,
            self._probes,
            weights.values.double().expand_as(tag.probe),
            allow_unused=True,
            retain_graph=True,
        )
        shares = []
        for number, cost in enumerate(costs):
            if cost is not None:
                one = Weights(cost[:1].clone())  # which does not keep the others alive
                self._usable &= torch.equal(cost, one.values.expand_as(cost))
                shares.append(self._share(number, one))
        return shares

    def _share(self, number: int, weights: Weights) -> Share:
        if weights.same is not None:
            return Share(number, 1, weights.same)
        readers = self._readers[number]
        alike = (n for n, known in enumerate(readers) if known.equal(weights))
        place = next(alike, len(readers))
        if place == len(readers):
            readers.append(weights)
            self._usable &= place < _READERS
        return Share(number, SUMS + 2 * place, 1.0)


def _constant(count: LayerCount) -> LayerCount:
    """What was counted but depends on no spike."""
    names = ("neurons", "neuron_steps", "macs", "ann_macs", "written")
    return LayerCount(**{name: getattr(count, name) for name in names})
