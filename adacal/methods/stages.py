"""Steps that several methods take alike on the same samples: computed once, then taken over.

AdaFire, AdaFire with compression and the whole of Adaptive Calibration begin with the same search;
a method with a budget begins with the network that it has to beat. A step that is computed again
from the same state, options and random numbers gives the same result, so it need not be.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from adacal.core.network import SpikingNetwork
from adacal.core.neuron import BurstNeuron

LIMIT = 32
"""Results kept; each is as large as the neurons' parameters, a small part of the network."""


@dataclass(frozen=True, kw_only=True)
class _Result:
    neurons: dict[str, BurstNeuron]
    weight_changes: dict[str, Tensor]
    random: Tensor
    notes: Any
    seconds: float


@dataclass
class Stages:
    """Results of steps on one ANN and one draw of calibration samples.

    Attributes:
        taken: names of the steps whose result was taken over since `begin`.
        seconds: what these had cost when they were computed.
    """

    taken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _kept: OrderedDict[str, _Result] = field(default_factory=OrderedDict, repr=False)

    def begin(self) -> None:
        """Begins a run of a method: nothing has been taken over yet."""
        self.taken, self.seconds = [], 0.0

    def run(
        self,
        name: str,
        network: SpikingNetwork,
        generator: torch.Generator,
        options: Mapping[str, Any],
        step: Callable[[], Any],
    ) -> Any:
        """Runs a step, or brings network and generator to where the same step left them before.

        Args:
            name: of the step.
            network: changed by it, in its neurons and its weight changes only.
            generator: the step's only source of randomness.
            options: all else that the step depends on, plain values.
            step: returns its notes.
        Returns:
            The notes.
        """
        key = _digest(name, network, generator, options)
        if key in self._kept:
            self._kept.move_to_end(key)
            known = self._kept[key]
            network.neurons = copy.deepcopy(known.neurons)
            network.weight_changes = copy.deepcopy(known.weight_changes)
            generator.set_state(known.random)
            self.taken.append(name)
            self.seconds += known.seconds
            return copy.deepcopy(known.notes)
        before, start = self.seconds, time.perf_counter()
        notes = step()
        self._kept[key] = _Result(
            neurons=copy.deepcopy(network.neurons),
            weight_changes=copy.deepcopy(network.weight_changes),
            random=generator.get_state(),
            notes=copy.deepcopy(notes),
            seconds=time.perf_counter() - start + self.seconds - before,
        )
        while len(self._kept) > LIMIT:
            self._kept.popitem(last=False)
        return notes


def _digest(
    name: str, network: SpikingNetwork, generator: torch.Generator, options: Mapping[str, Any]
) -> str:
    """Names everything that the result of a step depends on."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            found.update(f"{tuple(value.shape)} {value.dtype} {value.device}".encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        else:
            found.update(repr(value).encode())

    setting = (network.T, network.warmup, network.max_pool, network.precision, network.folded)
    add((name, sorted(options.items()), setting))
    add(generator.get_state())
    for site, neuron in network.neurons.items():
        add(site)
        for key, value in vars(neuron).items():
            if not key.startswith("_"):  # or it is but made of the others
                add(value)
    for module, change in network.weight_changes.items():
        add(module)
        add(change)
    return found.hexdigest()
