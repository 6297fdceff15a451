"""Exact counting of synaptic operations: every spike times its fan-out, borders included.

Beside each tensor of spikes travels a tag (`adacal.core.tags`), which a synaptic operation reads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core import synapses, tags
from adacal.core.analogue import count_part, keep_analogue
from adacal.core.byte_sums import Weights
from adacal.core.calls import Call
from adacal.core.layer_count import Add, Kept, LayerCount
from adacal.core.layout import Layout
from adacal.core.products import product_of
from adacal.core.sites import Site
from adacal.core.synapses import FanOuts
from adacal.core.tags import Tag
from adacal.core.tally import ONE, Sums, Tally, per_step
from adacal.core.traces import all_static, known_of, trace_of

if TYPE_CHECKING:
    from adacal.core.recording import Recorder


@dataclass
class SynapseCounter:
    """Counts while a network runs; give the same one to many runs to sum over batches.

    What a GPU sums up is read when a pass ends, all at once: `settle`.

    Attributes:
        layers: counts by site (spikes) and by synaptic operation (SOPs, MACs).
        sops_by_step: SOPs of each step, summed over samples, by step index.
        samples: samples seen.
        total: SOPs as a tensor that keeps its graph, where tags require gradients.
        keep_graph: whether tags do.
        leaves: spikes of each site that gradients of `total` reach, if `keep_graph`.
    """

    layers: dict[str, LayerCount] = field(default_factory=lambda: defaultdict(LayerCount))
    sops_by_step: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    samples: int = 0
    total: Tensor | None = None
    keep_graph: bool = False
    leaves: dict[str, Tensor] = field(default_factory=dict)
    _layout: Layout | None = None
    _first_step: int = 0
    _complete: bool = False
    _fan_outs: FanOuts = field(default_factory=FanOuts)
    _recorder: Recorder | None = None
    _later: list[tuple[Tensor, Add]] = field(default_factory=list)

    def begin(
        self,
        layout: Layout,
        first_step: int = 0,
        *,
        complete: bool = False,
        fan_outs: FanOuts | None = None,
    ) -> None:
        """Starts a pass: one forward, or some steps of a stepwise run.

        Args:
            layout: how the rows are laid out.
            first_step: steps of the run before this pass.
            complete: every step of the run will follow.
            fan_outs: those of the network, if they are kept there.
        """
        if fan_outs is not None:
            self._fan_outs = fan_outs
        self._complete = complete
        self._layout = layout
        self._first_step = first_step
        if first_step == 0:
            self.samples += layout.batch

    def kept(self) -> Kept:
        """Returns what was counted so far, to `go_back` to."""
        return Kept(
            {name: vars(count).copy() for name, count in self.layers.items()},
            self.sops_by_step.copy(),
            self.samples,
            self.total,
            self.leaves.copy(),
            self._later.copy(),
        )

    def go_back(self, kept: Kept) -> None:
        """Forgets what was counted since."""
        made = {name: LayerCount(**sums) for name, sums in kept.layers.items()}
        self.layers, self.sops_by_step = defaultdict(LayerCount, made), kept.sops_by_step.copy()
        self.samples, self.total = kept.samples, kept.total
        self.leaves, self._later = kept.leaves.copy(), kept.later.copy()

    def beside(self, recorder: Recorder) -> SynapseCounter:
        """Returns one that counts the pass that has begun, for a recorder; see `add`."""
        made = SynapseCounter(_recorder=recorder)
        made._layout, made._first_step = self._layout, self._first_step
        made._complete, made._fan_outs = self._complete, self._fan_outs
        return made

    def add(self, other: SynapseCounter) -> None:
        """Adds what another has counted of a pass."""
        for name, count in other.layers.items():
            self.layers[name].add(count)
        for step, sops in other.sops_by_step.items():
            self.sops_by_step[step] += sops

    @property
    def first_step(self) -> int:
        """Steps of the run before the pass."""
        return self._first_step

    @property
    def kind_of_pass(self) -> tuple[bool, bool]:
        """What the counts of a pass depend on, besides its calls: where in the run it is."""
        return self._first_step == 0, self._complete

    def settle(self) -> None:
        """Ends a pass: reads and adds what has been summed up elsewhere."""
        if not self._later:
            return
        waiting, self._later = self._later, []
        there: dict[torch.device, list[tuple[Tensor, Add]]] = {}
        for sums, add in waiting:
            there.setdefault(sums.device, []).append((sums, add))
        for some in there.values():  # of which each is waited for once
            read = iter(torch.cat([sums.detach() for sums, _ in some]).tolist())
            for sums, add in some:
                add([next(read) for _ in range(len(sums))])

    def _add(self, sums: Sums, add: Add) -> None:
        if isinstance(sums, Tensor):
            self._later.append((sums, add))
        else:
            add(sums)

    # what enters ------------------------------------------------------------------------------

    def expected(self, site: str) -> Weights | None:
        """Returns what a layer last weighed the spikes of a site with."""
        return self._fan_outs.readers.get(site)

    def fired(self, site: Site, counts: Tensor, threshold: Tensor) -> Tag:
        """Takes the spikes of a site and returns the tag for its output.

        Args:
            site: where they come from.
            counts: spike counts, shape [steps, B*m, C, *]; codes of a quantised network where the
                pass has no steps, and of neurons of several levels: their set bits count as spikes.
            threshold: θ, broadcastable to one step.
        """
        layout = self._active()
        tally = Tally(layout.batch)
        tally.take(spikes_of(site, counts, coded=layout.steps == 0))
        return self.tallied(site, tally, counts.shape, threshold)

    def tallied(self, site: Site, tally: Tally, shape: Sequence[int], threshold: Tensor) -> Tag:
        """As `fired`, for spikes that were added up when they were fired.

        Args:
            site: where they come from.
            tally: has taken them.
            shape: of the counts, [steps, B*m, C, *].
            threshold: θ, broadcastable to one step.
        """
        count = self.layers[site.name]
        self._add(tally.totals(shape[0]), count.fire)
        neurons = math.prod(shape[1:])
        if self._first_step == 0:
            count.neurons += neurons
        count.neuron_steps += neurons * shape[0]
        if self.keep_graph:
            leaf = tally.spikes.detach().requires_grad_()
            self.leaves[site.name] = leaf
            tally = Tally.of(leaf, tally.events)
        tally.site = site.name
        probe = None if self._recorder is None else self._recorder.site(site, shape)
        # of changes the receiver makes values that are no whole number of thresholds
        scale = None if site.coding == "changes" else threshold
        return Tag(tally=tally, scale=scale, probe=probe, coding=site.coding)

    def activated(self, site: Site, rows: Tensor) -> None:
        """Takes the activations of a site that computes as in the ANN."""
        self.layers[site.name].neurons += rows.numel()
        self.layers[site.name].written += rows.numel()

    def placed(self, tag: Tag, site: Site, row_dim: int) -> Tag:
        """Lays the tag of a site out as its output; see `adacal.core.tags.placed`."""
        return tags.placed(tag, site.shape, row_dim)

    def input_events(self, rows: Tensor, name: str = "input") -> Tag:
        """Returns the tag of an event-frame input: a count of n events is n spikes."""
        layout = self._active()
        spikes = per_step(rows.abs(), layout.blocks, layout.batch)
        events = per_step((rows != 0).to(rows.dtype), layout.blocks, layout.batch)
        tally = Tally.of(spikes, events)
        self._add(tally.totals(layout.blocks), self.layers[name].fire)
        return Tag(tally=tally)

    # the Meter protocol -----------------------------------------------------------------------

    def follow(self, where: str, call: Call, result: Any) -> Any:
        """Returns the tag of what a linear operation or max pool gives; None if it is analogue."""
        if self._recorder is None:
            return self._followed(where, call, result)
        with torch.enable_grad():  # of probes
            return self._recorder.followed(call, result, self._followed(where, call, result))

    def _followed(self, where: str, call: Call, result: Any) -> Any:
        if not tags.is_sum(call):
            return tags.passed_on(call, result, self._active(), keep_graph=self.keep_graph)
        tag, spent = tags.added(call)
        for source, shape in spent:
            self._spend(where, source, shape)
        return tag

    def synapse(self, where: str, call: Call) -> None:
        """Counts a convolution or linear layer: SOPs for spikes, MACs for analogue inputs."""
        self._count(where, call, call.args[0], self._fan_outs.of(call))

    def product(self, where: str, call: Call, result: Any) -> None:
        """Counts a product with at most one changing factor."""
        product = product_of(call)
        if product is None:
            if len(call.traced) > 1:  # scaling by constants is part of the weights behind
                self.analogue(where, call, result)
            return
        if product.addend is not None:
            self._spend(where, product.addend, result.shape)
        sources = [factor for factor in product.factors if trace_of(factor) is not None]
        if not sources:  # constants multiplied make a constant
            return
        fan_out = product.fan_out(sources[0]) if len(sources) == 1 else None
        if fan_out is None:
            self.analogue(where, call, result)
        else:
            self._count(where, call, sources[0], Weights(tags.one_row(sources[0], fan_out)))

    def analogue(self, where: str, call: Call, result: Any) -> None:
        """Counts the MACs of products between two activations; other functions cost none."""
        if call.function is keep_analogue:
            self._part(where, call)
            return
        macs = synapses.product_macs(call, result)
        if not macs:
            return
        blocks = self._active().blocks
        if self._first_step == 0:
            self.layers[where].ann_macs += macs / blocks
        self.layers[where].macs += macs / blocks * self._steps(*call.traced)

    def _part(self, where: str, call: Call) -> None:
        """Counts a part kept analogue: once a pass, on the mean of its steps."""
        layout = self._active()
        inner = SynapseCounter()
        alone = Layout(steps=0, reference=True, batch=layout.batch, T=layout.T)
        inner.begin(alone)
        count_part(call.args, layout, inner, inner.activated)
        inner.settle()
        steps = 0 if self._complete and self._first_step else min(self._steps(*call.traced), 1)
        count = self.layers[where]
        for layer in inner.layers.values():
            count.macs += layer.ann_macs * steps
            count.written += layer.written * steps
            if self._first_step == 0:
                count.ann_macs += layer.ann_macs
                count.neurons += layer.neurons

    # sums -------------------------------------------------------------------------------------

    def _steps(self, *sources: Tensor) -> int:
        """In how many steps of this pass something is computed; static things once a run."""
        if not all_static(sources):
            return self._active().blocks
        return 0 if self._first_step else 1

    def _spend(self, where: str, source: Tensor, shape: torch.Size) -> None:
        """Adds an accumulate for each element of a sum, of that shape, that a spike reaches."""
        steps, tag = self._steps(source), tags.tag_of(source)
        if tag is not None and steps:
            copies = math.prod(shape) // source.numel()
            weight = ONE if copies == 1 else Weights(torch.full((1,), float(copies)))
            self._add_sops(where, source, tag, weight, steps)

    def _count(self, where: str, call: Call, source: Tensor, fan_out: Weights) -> None:
        """Counts a layer; `fan_out` has a single row in the dimension of the source's rows."""
        layout = self._active()
        trace = known_of(source)
        count = self.layers[where]
        connections = fan_out.total * (source.shape[trace.row_dim] // layout.blocks)
        if self._first_step == 0:
            count.ann_macs += connections
        steps = self._steps(source)
        if not steps:
            return
        tag = tags.tag_of(source)
        if tag is None:
            count.macs += connections * steps
            return
        groups = synapses.groups(call) if synapses.counted_by_reference(call) else 0
        self._add_sops(where, source, tag, fan_out, steps, groups)
        if tag.analogue is not None:
            mask = Tally.of(tag.analogue, tag.analogue)

            def add(sums: Sequence[Sequence[float]]) -> None:
                count.macs += sum(macs for macs, _ in sums) * layout.batch

            self._add(mask.weighed(fan_out, layout.blocks, trace.row_dim), add)

    def _add_sops(
        self,
        where: str,
        source: Tensor,
        tag: Tag,
        weights: Weights,
        steps: int,
        groups: int = 0,
    ) -> None:
        """Adds the accumulates of the first `steps` steps; `groups` times to the reference's."""
        blocks, at, tally = self._active().blocks, known_of(source).row_dim, tag.tally
        both: Sums
        if self._recorder is not None:
            self._recorder.owe(where, tag, weights, steps, groups)
        if self.keep_graph:
            graph = tally.graph(weights, blocks, at)
            total = graph[:steps, 0].sum()
            self.total = total if self.total is None else self.total + total
            both = graph.detach().tolist()
        else:
            both = tally.weighed(weights, blocks, at)
            if tally.site is not None and weights.same is None:
                self._fan_outs.readers[tally.site] = weights

        count, first = self.layers[where], self._first_step

        def add(sums: Sequence[Sequence[float]]) -> None:
            for step, (sops, event_sops) in enumerate(sums[:steps]):
                self.sops_by_step[first + step] += sops
                count.spend(sops, event_sops, groups)

        self._add(both, add)

    def _active(self) -> Layout:
        assert self._layout is not None, "begin() comes before counting"
        return self._layout


def spikes_of(site: Site, counts: Tensor, *, coded: bool = False) -> Tensor:
    """Returns how many spikes a site sends for its counts; for codes, their set bits."""
    magnitude = counts.abs() if site.kind == "signed" else counts
    return tags.set_bits(magnitude) if coded or site.coding != "counts" else magnitude
