"""Firing: what computes the neurons' output in one pass of a spiking network, site by site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from adacal.core import compiled
from adacal.core.energy import EnergyMeter
from adacal.core.errors import UnsupportedModelError
from adacal.core.kernels import BurstParameters
from adacal.core.layout import Layout, RunState
from adacal.core.neuron import BurstNeuron, NeuronState
from adacal.core.phases import as_fired
from adacal.core.prepared import Prepared
from adacal.core.sites import OnActivation, Site
from adacal.core.spike_bytes import as_bytes, attach
from adacal.core.tally import Tally
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


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
        self._meter, self._state = meter, state
        self._sites = iter([site.name for site in network.sites if site.name in network.neurons])
        self._unchanged: dict[str, Prepared] = {}

    def __call__(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        """Returns output rows and their tag.

        Raises:
            UnsupportedModelError: another site comes next, or rows are mixed.
        """
        expected = next(self._sites, None)
        if expected != site.name:
            raise UnsupportedModelError(
                f"the network called '{site.name}' where '{expected}' came at conversion; "
                "its calling order must not depend on the input; convert it with an example "
                "of the inputs it will see"
            )
        return self._fire(site, rows, trace)

    def unattended(self) -> OnActivation:
        """Returns what does so in a pass whose calls are known and in which no other code runs.

        Neurons are looked at here, all at once, and not again.
        """
        for name, neuron in self._network.neurons.items():
            known = neuron.plain_burst and type(neuron) is BurstNeuron
            prepared = neuron.unchanged(self._network.T) if known else None
            if prepared is not None:
                self._unchanged[name] = prepared
        plain = self._meter is None and self._state is None and self._network.precision != "int8"
        return self._shoot if plain else self._fire

    def _shoot(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        prepared, steps = self._unchanged.get(site.name), self._layout.steps
        if prepared is not None and not (trace.static and steps > 1):  # which one step stands for
            output = compiled.shoot(rows, steps, prepared.parameters, inplace=site.inplace)
            if output is not None:
                return output, None
            _, current = self._layout.split(rows, site.name)
            if prepared.fits(current):
                compiled.aim(rows, current, prepared.parameters)
        return self._fire(site, rows, trace)

    def _fire(self, site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
        network, meter, state = self._network, self._meter, self._state
        _, current = self._layout.split(rows, site.name)
        memory = None
        if state is not None:
            memory = state.neurons.setdefault(site.name, NeuronState())
        neuron = network.neurons[site.name]
        own = current if site.inplace else None
        if trace.static and own is None:
            current = current[:1].expand_as(current)
        in_bytes = network.precision == "int8" and neuron.fits_bytes
        parameters = self._known(site.name, current)
        if meter is None and not in_bytes:
            output = neuron.output(current, network.T, memory, own, parameters=parameters)
            return rows if output is own else output.flatten(0, 1), None
        tally = Tally(
            self._layout.batch,
            neuron.max_spikes,
            sums=meter is not None,
            as_bytes=in_bytes,
            expected=None if meter is None else meter.expected(site.name),
        )
        tag = None
        if neuron.plain_burst:
            if parameters is None:
                parameters = neuron.of_current(current, network.T)
            output = neuron.output(current, network.T, memory, own, tally, parameters)
            theta = parameters.threshold
            if meter is not None:
                tag = meter.tallied(as_fired(site, neuron), tally, output.shape, theta)
        else:
            counts, theta = neuron.scan(current, network.T, memory)
            if meter is not None:
                tag = meter.fired(as_fired(site, neuron), counts, theta)
            if in_bytes:
                tally.counts = as_bytes(counts)
            output = neuron.received(counts, memory).mul_(theta)
        rows = output.flatten(0, 1)
        if in_bytes and tally.counts is not None:
            attach(rows, site.name, tally.counts.flatten(0, 1), theta, neuron.max_spikes)
        return rows, tag

    def _known(self, name: str, current: Tensor) -> BurstParameters | None:
        prepared = self._unchanged.get(name)
        return prepared.parameters if prepared is not None and prepared.fits(current) else None
