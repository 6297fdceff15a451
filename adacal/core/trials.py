"""What a calibrated network spends and how far it is from its ANN, always on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.energy import ACCUMULATE_PJ, EnergyMeter, EnergyReport
from adacal.core.neuron import BurstNeuron
from adacal.core.sensitivity import Cost

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


def spending(network: SpikingNetwork, inputs: Tensor, unit: Cost) -> float:
    """Returns what the spikes of a sample cost over T steps, in pJ or spikes.

    Args:
        network: calibrated.
        inputs: some samples.
        unit: `pj` (accumulates with fan-out) or `spikes`.
    """
    meter = EnergyMeter()
    network.predict(inputs, meter)
    return _of_report(meter.report(), unit)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What calibration and search have made of a network; neither changes a tensor in place.

    Attributes:
        neurons, weight_changes: what to put back.
    """

    neurons: Mapping[str, BurstNeuron]
    weight_changes: Mapping[str, Tensor]

    def restore(self, network: SpikingNetwork) -> None:
        """Makes the network again what it was."""
        network.neurons.update({name: replace(neuron) for name, neuron in self.neurons.items()})
        network.weight_changes = dict(self.weight_changes)


def state_of(network: SpikingNetwork) -> dict[str, Any]:
    """Returns the attributes of a snapshot of the network as it is."""
    return {
        "neurons": {name: replace(neuron) for name, neuron in network.neurons.items()},
        "weight_changes": dict(network.weight_changes),
    }


@dataclass(frozen=True, kw_only=True)
class Trial(Snapshot):
    """A calibrated network as it was measured.

    Attributes:
        cost: pJ or spikes a sample, on the samples that the tables saw.
        divergences: d / (1 + d) of the samples that they did not see, shape [B]: bounded, or the
            few samples that are wrong would decide alone. Of all, where they saw all.
        seen: the same of the samples that they saw, shape [S]; none where they saw all.
        drop: points; see `Judge.measure`.
    """

    cost: float
    divergences: Tensor
    seen: Tensor
    drop: float

    @property
    def divergence(self) -> float:
        """The mean of `divergences`."""
        return float(self.divergences.mean())

    @property
    def everywhere(self) -> Tensor:
        """The divergences of all samples, those that the tables saw first, shape [S + B]."""
        return torch.cat([self.seen, self.divergences])

    def nearer_by(self, other: Trial, *, everywhere: bool = False) -> float:
        """Returns by how much nearer to the ANN this is than another, in standard errors.

        The samples are the same, so their differences count. Without any it is 0.

        Args:
            other: measured by the same judge.
            everywhere: on all samples, not only on those that the tables did not see.
        """
        mine, others = (
            (trial.everywhere if everywhere else trial.divergences) for trial in (self, other)
        )
        gain = others - mine
        error = float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else 0.0
        return float(gain.mean()) / max(error, 1e-12)


class Judge:
    """Measures one network in several states on the same samples."""

    def __init__(
        self,
        network: SpikingNetwork,
        seen: Tensor,
        unseen: Tensor | None,
        unit: Cost,
        divergence: Callable[[Any, Any], Tensor],
    ) -> None:
        """Runs the ANN once.

        Args:
            network: the one to measure.
            seen: samples that tables were measured on.
            unseen: others; None where there are none.
            unit: of costs.
            divergence: how far two raw outputs are apart, one number a sample.
        """
        self._network, self._unit, self._divergence = network, unit, divergence
        self._parts = [seen] if unseen is None else [seen, unseen]
        self._plain = [self._of_ann(part) for part in self._parts]

    @torch.no_grad()
    def measure(self) -> Trial:
        """Measures the network as it is; its exit rule does not count.

        The drop is the share of all samples, in percent, whose class is not the ANN's, which no
        loss of accuracy on them can exceed; of other outputs than logits [B, K] it is 100 times
        the mean of d / (1 + d).
        """
        network = self._network
        network.exit_rule, rule = None, network.exit_rule
        try:
            meter = EnergyMeter()
            outputs = [network.predict(self._parts[0], meter).output]
            outputs += [network.predict(part).output for part in self._parts[1:]]
        finally:
            network.exit_rule = rule
        apart = [self._divergence(*pair) for pair in zip(self._plain, outputs, strict=True)]
        bounded = [each / (1 + each) for each in apart]
        if isinstance(self._plain[0], Tensor) and self._plain[0].dim() == 2:
            both = zip(self._plain, outputs, strict=True)
            wrong = [(plain.argmax(1) != output.argmax(1)).double() for plain, output in both]
        else:
            wrong = bounded
        return Trial(
            cost=_of_report(meter.report(), self._unit),
            divergences=bounded[-1],
            seen=torch.cat([bounded[0][:0], *bounded[:-1]]),
            drop=100 * float(torch.cat(wrong).mean()),
            **state_of(network),
        )

    @torch.no_grad()
    def _of_ann(self, inputs: Tensor) -> Any:
        return self._network.ann(inputs.mean(0) if self._network.stream else inputs)


def _of_report(report: EnergyReport, unit: Cost) -> float:
    return report.sops * ACCUMULATE_PJ if unit == "pj" else report.spikes
