"""Energy of a network on given inputs, in one call."""

from __future__ import annotations

from torch import Tensor

from adacal.core.converted import Converted
from adacal.core.energy import EnergyMeter, EnergyReport
from adacal.core.errors import ConfigError


def measure_energy(network: Converted, inputs: Tensor) -> EnergyReport:
    """Runs a batch and returns exact counts per sample and their energy.

    Args:
        network: any converted network.
        inputs: shape [B, ...] ([T, B, ...] for streams).
    Returns:
        Spikes, SOPs and MACs per sample; energies in pJ by energy model, the ANN's beside.
    Raises:
        ConfigError: the network is not converted.
        InputError: the inputs are no batch that it can take.

    >>> import torch, adacal
    >>> ann = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> report = measure_energy(adacal.convert(ann, torch.ones(1, 4), T=2), torch.ones(5, 4))
    >>> report.macs, report.ann_macs, report.sops == 2 * report.spikes
    (12.0, 18.0, True)
    """
    if not isinstance(network, Converted):
        raise ConfigError(
            f"energy is measured of a converted network; got a {type(network).__name__}; "
            "convert it with adacal.convert first"
        )
    meter = EnergyMeter()
    network.predict(inputs, meter)
    return meter.report()
