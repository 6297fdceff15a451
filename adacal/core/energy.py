"""Energy from exact counts, in four named readings; prices in pJ with their sources.

Prices: 45 nm, 32-bit floating point: multiply 3.7 pJ, add 0.9 pJ, so 4.6 pJ a MAC and 0.9 pJ an
accumulate; an 8 KB SRAM access of 64 bit 10 pJ, so 5 pJ a 32-bit word (Horowitz, ISSCC 2014).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adacal.core.counting import SynapseCounter
from adacal.core.errors import InputError
from adacal.core.layer_count import LayerCount

MAC_PJ = 4.6
ACCUMULATE_PJ = 0.9
ACCESS_PJ = 5.0
MODELS = ("per_spike", "per_event", "memory", "reference")


@dataclass(kw_only=True)
class LayerEnergy:
    """Counts of one site or synaptic operation, per sample."""

    name: str
    spikes: float
    sops: float
    macs: float


@dataclass(kw_only=True)
class EnergyReport:
    """Counts per sample and what they cost.

    Attributes:
        samples: how many samples were measured.
        spikes: spikes; each of the k spikes of a burst counts.
        events: as `spikes`, a burst counts once.
        sops: synaptic operations: spikes times fan-out, one accumulate each.
        macs: multiply-accumulates of analogue inputs (computed once where the input is static).
        ann_macs: multiply-accumulates of the ANN, over the same synapses.
        energy_pj, ann_energy_pj: by energy model. `per_spike` (default): 4.6 pJ a MAC + 0.9 pJ a
            SOP. `per_event`: a burst is one graded operation. `memory`: adds 3 accesses a SOP, 2 a
            MAC, 2 a neuron and step, 1 an ANN output (after Lemaire et al. 2022). `reference`: the
            accounting of the Adaptive Calibration code (METHOD section 8); only for its tables.
        layers: the counts by layer.
    """

    samples: int
    spikes: float
    events: float
    sops: float
    macs: float
    ann_macs: float
    energy_pj: dict[str, float]
    ann_energy_pj: dict[str, float]
    layers: list[LayerEnergy] = field(default_factory=list)


class EnergyMeter(SynapseCounter):
    """A counter that prices what it saw; give one to many `predict` calls."""

    def report(self) -> EnergyReport:
        """Returns counts and energies, per sample.

        Raises:
            InputError: nothing was measured.
        """
        if not self.samples:
            raise InputError("nothing was measured; give this meter to predict() first")
        total = _sum(list(self.layers.values()))
        per_sample = 1.0 / self.samples
        macs, sops = total.macs, total.sops
        energy = {
            "per_spike": MAC_PJ * macs + ACCUMULATE_PJ * sops,
            "per_event": MAC_PJ * macs + ACCUMULATE_PJ * total.event_sops,
            "memory": (MAC_PJ + 2 * ACCESS_PJ) * macs
            + (ACCUMULATE_PJ + 3 * ACCESS_PJ) * sops
            + 2 * ACCESS_PJ * total.neuron_steps
            + ACCESS_PJ * total.written,
            "reference": MAC_PJ * macs + ACCUMULATE_PJ * total.reference_sops,
        }
        plain = MAC_PJ * total.ann_macs
        ann = dict.fromkeys(MODELS, plain)
        ann["memory"] = plain + 2 * ACCESS_PJ * total.ann_macs + ACCESS_PJ * total.neurons
        return EnergyReport(
            samples=self.samples,
            spikes=total.spikes * per_sample,
            events=total.events * per_sample,
            sops=sops * per_sample,
            macs=macs * per_sample,
            ann_macs=total.ann_macs * per_sample,
            energy_pj={name: value * per_sample for name, value in energy.items()},
            ann_energy_pj={name: value * per_sample for name, value in ann.items()},
            layers=[
                LayerEnergy(
                    name=name,
                    spikes=layer.spikes * per_sample,
                    sops=layer.sops * per_sample,
                    macs=layer.macs * per_sample,
                )
                for name, layer in self.layers.items()
            ],
        )

    def rate(self, site: str) -> float | None:
        """Spikes a neuron and step at a site, over all that was measured."""
        layer = self.layers.get(site)
        return layer.spikes / layer.neuron_steps if layer and layer.neuron_steps else None


def _sum(layers: list[LayerCount]) -> LayerCount:
    total = LayerCount()
    for layer in layers:
        for name, value in vars(layer).items():
            setattr(total, name, getattr(total, name) + value)
    return total
