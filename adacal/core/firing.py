"""Firing: what computes the neurons' output in one pass of a spiking network, site by site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from torch import Tensor

from adacal.core import compiled
from adacal.core.counting import SynapseCounter
from adacal.core.energy import EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.kernels import BurstParameters
from adacal.core.layout import Layout, RunState
from adacal.core.ledger import Account
from adacal.core.neuron import BurstNeuron, NeuronState
from adacal.core.phases import as_fired
from adacal.core.prepared import Prepared
from adacal.core.shots import aim, aimed, shoot
from adacal.core.sites import OnActivation, Site
from adacal.core.spike_bytes import as_bytes, attach
from adacal.core.tally import Tally
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

_ATTRIBUTES = frozenset(each.name for each in fields(BurstNeuron))
"""Of neurons whose methods nobody has put others in place of."""


class Firing:
    """Fires the neurons of a network in the order of its sites, once each.

    Args:
        network: whose neurons fire.
        layout: how its rows are laid out.
        meter: counts spikes, if given.
        state: memory of a stepwise run, if given, changed in place.
    """

    def __init__(
        self,
        network: SpikingNetwork,
        layout: Layout,
        meter: EnergyMeter | None,
        state: RunState | None,
    ) -> None:
        self._network, self._layout = network, layout
        self._meter: SynapseCounter | Account | None = meter
        self._state = state
        self._sites = [site.name for site in network.sites if site.name in network.neurons]
        self._fired = iter(self._sites)
        self._unchanged: dict[str, Prepared] = {}
        self._prepared: dict[str, Prepared] = {}
        self._account: Account | None = None

    def __call__(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        """Returns output rows and their tag.

        Raises:
            UnsupportedModelError: another site comes next, or rows are mixed.
        """
        expected = next(self._fired, None)
        if expected != site.name:
            raise UnsupportedModelError(
                f"the network called '{site.name}' where '{expected}' came at conversion; "
                "its calling order must not depend on the input; convert it with an example "
                "of the inputs it will see"
            )
        return self._fire(site, rows, trace)

    def unattended(self, sites: Sequence[str]) -> OnActivation:
        """Returns what does so in a pass whose calls are known and in which no other code runs.

        Neurons are looked at here, all at once, and not again.

        Args:
            sites: names of those that will come, in order.
        """
        if self._sites != sites:
            return self  # which says what is wrong
        for name, neuron in self._network.neurons.items():
            as_they_come = type(neuron) is BurstNeuron and vars(neuron).keys() == _ATTRIBUTES
            prepared = neuron.unchanged(self._network.T) if as_they_come else None
            if prepared is not None:
                self._prepared[name] = prepared
                if neuron.plain_burst:
                    self._unchanged[name] = prepared
        return self._shoot if compiled.loaded() else self._fire

    @property
    def prepared(self) -> dict[str, Prepared] | None:
        """The neurons of a pass that goes `unattended`; None where some are not simply known."""
        whole = all(name in self._prepared for name in self._sites)
        return self._prepared if whole and self._network.precision != "int8" else None

    @property
    def most(self) -> int:
        """Most spikes that one of them sends in a step."""
        return max((neuron.largest_output for neuron in self._network.neurons.values()), default=0)

    def count(self, meter: SynapseCounter | Account) -> None:
        """Has another count the spikes."""
        self._meter = meter
        self._account = meter if isinstance(meter, Account) else None

    def _shoot(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        """As `_fire`, with as little ado as can be."""
        prepared, steps = self._unchanged.get(site.name), self._layout.steps
        several = trace.static and steps > 1  # of which one stands for all
        if prepared is None or several or not rows.is_cpu:
            return self._fire(site, rows, trace)
        neuron, parameters = self._network.neurons[site.name], prepared.parameters
        memory, tally, room = self._memory(site), None, None
        if self._account is None:
            tally = self._tally(site, neuron)
        else:
            room = self._account.of_site(site.name)
        membrane = None if memory is None else memory.tensors.get("membrane")
        keep = memory is not None
        shot = shoot(
            rows,
            steps,
            parameters,
            membrane,
            inplace=site.inplace,
            keep=keep,
            tally=tally,
            room=room,
        )
        if shot is None:
            if not aimed(rows, steps, parameters):
                _, current = self._layout.split(rows, site.name)
                if prepared.fits(current):
                    aim(rows, current, parameters)
            return self._fire(site, rows, trace)
        output, left = shot
        if memory is not None:
            memory.tensors = {"membrane": left}
            memory.step += steps
        return output, self._told(site, neuron, tally, output, parameters.threshold)

    def _fire(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        network, meter = self._network, self._meter
        _, current = self._layout.split(rows, site.name)
        memory, neuron = self._memory(site), network.neurons[site.name]
        own = current if site.inplace else None
        if trace.static and own is None:
            current = current[:1].expand_as(current)
        tally, parameters = self._tally(site, neuron), self._known(site.name, current)
        known: dict[str, Any] = {} if parameters is None else {"parameters": parameters}
        if tally is None:
            output = neuron.output(current, network.T, memory, own, **known)
            return rows if output is own else output.flatten(0, 1), None
        if neuron.plain_burst:
            output = neuron.output(current, network.T, memory, own, tally, **known)
            theta = (parameters or neuron.of_current(current, network.T)).threshold
            rows = output.flatten(0, 1)
            return rows, self._told(site, neuron, tally, rows, theta)
        counts, theta = neuron.scan(current, network.T, memory)
        tag = None
        if meter is not None:
            tag = meter.fired(as_fired(site, neuron), counts, theta)
        rows = neuron.received(counts, memory).mul_(theta).flatten(0, 1)
        if self._in_bytes(neuron):
            taken = as_bytes(counts)
            if taken is not None:
                attach(rows, site.name, taken.flatten(0, 1), theta, neuron.max_spikes)
        return rows, tag

    def _memory(self, site: Site) -> NeuronState | None:
        state = self._state
        return None if state is None else state.neurons.setdefault(site.name, NeuronState())

    def _tally(self, site: Site, neuron: BurstNeuron) -> Tally | None:
        """What takes the spikes of a site; None where nobody asks for them."""
        meter, in_bytes = self._meter, self._in_bytes(neuron)
        if meter is None and not in_bytes:
            return None
        return Tally(
            self._layout.batch,
            neuron.max_spikes,
            sums=meter is not None,
            as_bytes=in_bytes,
            expected=None if meter is None else meter.expected(site.name),
        )

    def _in_bytes(self, neuron: BurstNeuron) -> bool:
        """Whether layers behind read spikes as bytes."""
        return self._network.precision == "int8" and neuron.fits_bytes

    def _told(
        self, site: Site, neuron: BurstNeuron, tally: Tally | None, rows: Tensor, theta: Tensor
    ) -> Any:
        """Tells all who ask of the spikes in output rows; returns the tag of these."""
        if tally is None:
            return None
        if tally.counts is not None and self._in_bytes(neuron):
            attach(rows, site.name, tally.counts.flatten(0, 1), theta, neuron.max_spikes)
        if self._meter is None:
            return None
        steps = self._layout.steps
        shape = steps, rows.shape[0] // steps, *rows.shape[1:]
        return self._meter.tallied(as_fired(site, neuron), tally, shape, theta)

    def _known(self, name: str, current: Tensor) -> BurstParameters | None:
        prepared = self._unchanged.get(name)
        return prepared.parameters if prepared is not None and prepared.fits(current) else None
