"""Networks with a warm-up, and other dynamics of neurons, set after calibration.

A warm-up of `w` steps comes before the steps whose output is used: a run then takes w + T steps, all
of them sent, counted and paid; neurons and temporal rules start afresh between the two.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from adacal.core.checks import check_whole
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.neuron import BurstNeuron, Dynamics
from adacal.core.sites import Site

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


def set_dynamics(network: SpikingNetwork, dynamics: Dynamics, *, levels: int = 1) -> None:
    """Gives all neurons of a network other dynamics than bursts; see `adacal.core.rivals`.

    Args:
        network: changed in place; thresholds stay.
        dynamics: which.
        levels: thresholds of a neuron, for `levels`.
    Raises:
        UnsupportedModelError: an activation is not a ReLU.
    """
    check_whole("levels", levels, example=4)
    for name, neuron in network.neurons.items():
        if neuron.kind != "burst":
            raise UnsupportedModelError(
                f"neurons with {dynamics} dynamics stand in for ReLU only and '{name}' is "
                f"{neuron.kind}; take another method, or a network with ReLU"
            )
        neuron.dynamics, neuron.levels = dynamics, levels


def add_warmup(network: SpikingNetwork, steps: int) -> None:
    """Puts so many steps before the network's T, which grows by them. Calibrate before.

    Args:
        network: changed in place.
        steps: steps whose output is not used, at least 1.
    Raises:
        ConfigError: it has a warm-up, or an exit rule.
        UnsupportedModelError: its inputs are streams, which have no frames for more steps.
    """
    check_whole("warmup", steps, example=4)
    refuse_warmup(network, "a second warm-up")
    if network.exit_rule is not None:
        raise ConfigError("a network with an exit rule takes no warm-up; set exit_rule to None")
    if network.stream:
        raise UnsupportedModelError(
            f"a warm-up of {steps} steps needs inputs that stay the same, and this network reads a "
            f"stream of {network.T} frames; take a method without warm-up, or a static input"
        )
    network.warmup = steps
    network.T += steps
    for neuron in network.neurons.values():
        neuron.warmup = steps


def refuse_warmup(network: SpikingNetwork, what: str) -> None:
    """Raises ConfigError where a network with a warm-up is asked for what it cannot do."""
    if network.warmup:
        raise ConfigError(
            f"{what} is not defined for a network with a warm-up of {network.warmup} steps; do it "
            "before the warm-up is added, or take a method without one"
        )


def as_fired(site: Site, neuron: BurstNeuron) -> Site:
    """Returns the site as its neurons fire: signed, or with spikes worth powers of two."""
    kind = "signed" if neuron.is_signed else site.kind
    return replace(site, kind=kind, coded=neuron.dynamics == "levels")
