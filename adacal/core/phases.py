"""Other dynamics of neurons than bursts, and networks with a warm-up; set after calibration.

A warm-up comes before the steps whose output is used: a run then takes warm-up + T steps, all of
them sent, counted and paid; neurons and temporal rules start afresh between the two.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from adacal.core.checks import check_whole
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.neuron import BurstNeuron, Dynamics
from adacal.core.sites import Coding, Site

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


def set_dynamics(
    network: SpikingNetwork, dynamics: Dynamics, *, levels: int = 1, warmup: int = 0
) -> None:
    """Gives all neurons of a network other dynamics than bursts; see `adacal.core.rivals`.

    Args:
        network: changed in place; thresholds stay, T grows by the warm-up.
        dynamics: which.
        levels: thresholds of a neuron, for `levels` and `changes`.
        warmup: steps before the T whose output is used; for `gated` and `offset`, at least 1.
    Raises:
        ConfigError: a warm-up too few or too many, an exit rule beside one, or dynamics set before.
        UnsupportedModelError: an activation they cannot stand in for (see `BurstNeuron.takes`), or
            a warm-up meets a stream, which has no frames for more steps.
    """
    require_plain(network)
    check_whole("levels", levels, example=4)
    check_whole("warmup", warmup, int(dynamics in {"gated", "offset"}), example=4)
    for name, neuron in network.neurons.items():
        if not neuron.takes(dynamics):
            raise UnsupportedModelError(
                f"neurons with {dynamics} dynamics stand in for ReLU only and '{name}' is "
                f"{neuron.kind}; take another method, or a network with ReLU"
            )
    if warmup:
        _refuse_two_phases(network, dynamics, warmup)
    for neuron in network.neurons.values():
        neuron.dynamics, neuron.levels, neuron.warmup = dynamics, levels, warmup
    network.warmup = warmup
    network.T += warmup


def _refuse_two_phases(network: SpikingNetwork, dynamics: str, warmup: int) -> None:
    if dynamics not in {"gated", "offset"}:
        raise ConfigError(f"{dynamics} dynamics have no warm-up; got {warmup} steps; leave it out")
    if network.exit_rule is not None:
        raise ConfigError("a network with an exit rule takes no warm-up; set exit_rule to None")
    if network.stream:
        raise UnsupportedModelError(
            f"a warm-up of {warmup} steps needs inputs that stay the same, and this network reads "
            f"a stream of {network.T} frames; take a method without warm-up, or a static input"
        )


def refuse_warmup(network: SpikingNetwork) -> None:
    """Raises ConfigError where a network with a warm-up shall stop early."""
    if network.warmup:
        raise ConfigError(
            "early exit is not defined for a network whose output counts only after a warm-up of "
            f"{network.warmup} steps; run all steps, or take a method without warm-up"
        )


def require_plain(network: SpikingNetwork) -> None:
    """Raises ConfigError where neurons have other dynamics than calibration knows."""
    other = {neuron.dynamics for neuron in network.neurons.values()} - {"plain"}
    if other:
        raise ConfigError(
            f"calibration and searches know bursts only, and these neurons have {min(other)} "
            "dynamics; calibrate before set_dynamics, or convert the network again"
        )


def as_fired(site: Site, neuron: BurstNeuron) -> Site:
    """Returns the site as its neurons fire: with negative spikes, with spikes of several sizes."""
    kind = "signed" if neuron.is_signed else site.kind
    coding: Coding = "powers" if neuron.dynamics == "levels" else "counts"
    coding = "changes" if neuron.dynamics == "changes" else coding
    if (kind, coding) == (site.kind, site.coding):
        return site
    return replace(site, kind=kind, coding=coding)
