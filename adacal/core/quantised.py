"""ANNs behind the interface of converted networks: as trained, and with quantised activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adacal.core.converted import Converted, Prediction, SiteReport
from adacal.core.energy import EnergyMeter
from adacal.core.inputs import joined_inputs
from adacal.core.kernels import quantise
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import by_channel, per_channel
from adacal.core.sites import Site
from adacal.core.traces import Trace


class AnnNetwork(Converted):
    """The ANN itself; its energy is the ANN's.

    Args:
        network: a conversion of it, for its module and how to call it.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        self.network = network
        self.T = 1
        self.search_log: dict[str, Any] = {}

    @torch.no_grad()
    def predict(self, inputs: Tensor, meter: EnergyMeter | None = None) -> Prediction:
        """Runs the ANN (on the mean frame of a stream)."""
        frame = inputs.mean(0) if self.network.stream else inputs
        if meter is None:
            output = self.network.ann(frame)
        else:

            def activation(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
                meter.activated(site, rows)
                return self.network.neurons[site.name].activation(rows), None

            output = self.network.reference_pass(frame, activation, meter)
        return Prediction(output=output, timesteps=torch.zeros(frame.shape[0], dtype=torch.long))

    def report(self) -> list[SiteReport]:
        """An ANN has no spiking sites."""
        return []


class QuantisedNetwork(Converted):
    """An ANN whose activations take φT+1 levels; counted bit-serially, zeros skipped.

    Args:
        network: a calibrated network with the thresholds and φ to quantise by.
        batches: calibration inputs, to correct each channel's mean in the quantised network.
        correct_mean: whether to do so.
        keep_shifts: take the shifts that the network is calibrated to in their place; at T=1 the
            outputs are then those of the spiking network.
    """

    def __init__(
        self,
        network: SpikingNetwork,
        batches: Sequence[Any],
        *,
        correct_mean: bool = True,
        keep_shifts: bool = False,
    ) -> None:
        self.network = network
        self.T = network.T
        self.search_log: dict[str, Any] = {}
        self._shift: dict[str, Tensor] = {}
        if keep_shifts:
            neurons = network.neurons.items()
            self._shift = {name: torch.as_tensor(neuron.shift) for name, neuron in neurons}
        elif correct_mean:
            self._correct(joined_inputs(batches, network))

    @torch.no_grad()
    def predict(self, inputs: Tensor, meter: EnergyMeter | None = None) -> Prediction:
        """Runs the quantised ANN; set bits of activation codes are counted as spikes."""
        frame = inputs.mean(0) if self.network.stream else inputs

        def activation(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
            output, codes, step = self._quantised(site, rows)
            tag = None
            if meter is not None:
                tag = meter.fired(site, codes.unsqueeze(0), step)
            return output, tag

        output = self.network.reference_pass(frame, activation, meter)
        return Prediction(output=output, timesteps=torch.zeros(frame.shape[0], dtype=torch.long))

    def report(self) -> list[SiteReport]:
        """Lists the quantised sites; thresholds are the ceilings θ of the neuron they mirror."""
        return self.network.report()

    def strictness(self) -> str:
        """No spikes at all."""
        return "quantised"

    @torch.no_grad()
    def _correct(self, inputs: Tensor) -> None:
        """One two-block pass would do as well; the ANN's means are taken first."""
        frame = inputs.mean(0) if self.network.stream else inputs
        wanted: dict[str, Tensor] = {}

        def look(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
            neuron = self.network.neurons[site.name]
            output = neuron.activation(rows)
            wanted[site.name] = by_channel(output, neuron.channel_dim).mean(1)
            return output, None

        def correct(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, Any]:
            neuron = self.network.neurons[site.name]
            self._shift[site.name] = torch.zeros_like(wanted[site.name])
            got = by_channel(self._quantised(site, rows)[0], neuron.channel_dim).mean(1)
            self._shift[site.name] = wanted[site.name] - got
            return self._quantised(site, rows)[0], None

        self.network.reference_pass(frame, look)
        self.network.reference_pass(frame, correct)

    def _quantised(self, site: Site, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        neuron = self.network.neurons[site.name]
        theta = neuron.parameters(rows, self.T).threshold
        shift = self._shift.get(site.name)
        if shift is not None:
            rows = rows + per_channel(shift, rows.dim(), neuron.channel_dim)
        activation = neuron.activation(rows)
        output = quantise(activation.abs(), theta, neuron.max_spikes, self.T) * activation.sign()
        step = theta / self.T
        return output, (output.abs() / step).round(), step
