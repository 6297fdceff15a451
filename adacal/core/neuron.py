"""The spiking neuron population of one site: parameters, and the mean it computes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core.checks import check_choice, check_whole
from adacal.core.errors import ConfigError, InputError, UnsupportedModelError
from adacal.core.kernels import BurstParameters, burst_scan, capped_scan, signed_scan
from adacal.core.prepared import Prepared
from adacal.core.quantised_relu import quantised_relu
from adacal.core.rivals import (
    change_scan,
    decoded,
    gated_scan,
    level_scan,
    memory_scan,
    offset_scan,
)
from adacal.core.spike_bytes import MOST
from adacal.core.tally import Tally

Kind = Literal["burst", "capped", "signed"]
Dynamics = Literal["plain", "gated", "offset", "memory", "levels", "changes"]
Value = Tensor | float


@dataclass
class NeuronState:
    """What a neuron remembers between two steps of a stepwise run; rows are samples."""

    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class BurstNeuron:
    """Burst integrate-and-fire neurons standing in for one call of an activation function.

    At each step `u += x_t + shift; k = clamp(floor(u/θ), 0, φ); u −= k·θ`; the output is `k·θ`.

    Attributes:
        threshold: θ, shape [C] or a scalar, activation units; must be positive.
        max_spikes: φ, most spikes in one step (1 is a plain integrate-and-fire neuron).
        shift: added to the current at every step, shape [C] or a scalar, activation units.
        initial_potential: u before the first step: tensor ([C] or per-sample shape [C, *]),
            scalar, or None for θ/2.
        channel_dim: dimension that holds channels: 1, or -1 for tokens.
        kind: `burst`; `capped` (ReLU6: the mean output is held at `cap`); `signed` (leaky ReLU).
        cap: upper bound of the activation for `capped`, activation units.
        slope: slope of the negative side for `signed`, scalar or shape [C].
        ann_levels: levels above 0 that the ANN's own activation takes, for `capped`; None where it
            is continuous. See `adacal.core.quantised_relu`.
        ratio: ρ by which SSC has multiplied the threshold; for the report only.
        dynamics: `plain`; or one of `adacal.core.rivals`: `gated` and `offset` have a warm-up,
            `memory`, `levels` and `changes` send negative spikes, too. See `takes`.
        warmup: steps before the neurons start afresh, for `gated` and `offset`.
        levels: number of thresholds for `levels` and `changes`; `threshold` is the smallest, each
            of the others twice the one before.
        spread_half_threshold: add θ/(2T) at every step instead of starting at θ/2 (parity with
            SNN Calibration's code); needs `steps` at run time.
    """

    threshold: Value = 1.0
    max_spikes: int = 1
    shift: Value = 0.0
    initial_potential: Value | None = None
    channel_dim: int = 1
    kind: Kind = "burst"
    cap: float | None = None
    slope: Value | None = None
    ratio: float = 1.0
    spread_half_threshold: bool = False
    dynamics: Dynamics = "plain"
    warmup: int = 0
    levels: int = 1
    ann_levels: int | None = None
    _prepared: Prepared | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._prepared = None  # an attribute from the start: those of neurons are compared

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what was prepared, whose tensors have other versions in a copy."""
        return {**vars(self), "_prepared": None}

    @property
    def is_signed(self) -> bool:
        """Whether it sends negative spikes."""
        return self.kind == "signed" or self.dynamics in {"memory", "levels", "changes"}

    @property
    def plain_burst(self) -> bool:
        """Whether `burst_scan` is all that it does."""
        return self.kind == "burst" and self.dynamics == "plain"

    @property
    def fits_bytes(self) -> bool:
        """Whether what it sends in a step is a number of thresholds that a byte holds."""
        return not self.is_signed and self.max_spikes <= MOST

    @property
    def largest_output(self) -> int:
        """Most that it sends in one step, in thresholds: φ, or of several levels the largest."""
        several = self.dynamics in {"levels", "changes"}
        return 2 ** (self.levels - 1) if several else self.max_spikes

    def takes(self, dynamics: Dynamics) -> bool:
        """Says whether such dynamics can stand in for this activation.

        Those of `adacal.core.rivals` know ReLU only; two of them, which send at most φ a step, do
        for a capped one, too, where φ thresholds do not exceed the cap.
        """
        if dynamics == "plain" or self.kind == "burst":
            return True
        if self.kind != "capped" or dynamics not in {"gated", "offset"}:
            return False
        assert self.cap is not None
        return bool((torch.as_tensor(self.threshold) * self.max_spikes <= self.cap).all())

    def parameters(self, sample: Tensor, T: int) -> BurstParameters:
        """Returns the parameters broadcastable to one step of current.

        They are kept until an attribute, or a tensor it holds, has changed.

        Args:
            sample: a tensor of shape [B, C, *] (only its shape, dtype and device are used).
            T: number of steps of the whole run (for the spread half threshold).
        Raises:
            ConfigError: the threshold is not positive or `max_spikes` is below 1.
            InputError: potentials were set place by place, for samples of another size.
        """
        return self.of_current(sample[None], T)

    def of_current(self, current: Tensor, T: int) -> BurstParameters:
        """As `parameters`, for the steps of a current [steps, B, C, *]."""
        prepared, steps = self._prepared, self._spread_over(T)
        if prepared is not None and prepared.holds(self, current, steps):
            return prepared.parameters
        parameters = self._prepare(current[0], T)
        self._prepared = Prepared.of(self, current, steps, parameters)
        return parameters

    def unchanged(self, T: int) -> Prepared | None:
        """Returns what was prepared for such a run, if nothing has changed since."""
        prepared = self._prepared
        if prepared is not None and prepared.unchanged(self, self._spread_over(T)):
            return prepared
        return None

    def _spread_over(self, T: int) -> int | None:
        """The number of steps of a run, if parameters depend on it."""
        return T if self.spread_half_threshold else None

    def _prepare(self, sample: Tensor, T: int) -> BurstParameters:
        check_whole("max_spikes", self.max_spikes)
        check_choice("kind of neuron", self.kind, get_args(Kind))
        check_choice("dynamics of neurons", self.dynamics, get_args(Dynamics))
        theta = self._broadcast(self.threshold, sample)
        lowest, highest = (float(value) for value in theta.detach().aminmax())
        if not 0 < lowest <= highest < math.inf:
            raise ConfigError(
                f"every threshold must be positive and finite; got {lowest} to "
                f"{highest}; calibrate the network, or set a positive threshold"
            )
        shift: Tensor | None = self._broadcast(self.shift, sample)
        if isinstance(self.shift, float | int) and self.shift == 0:
            shift = None
        if self.initial_potential is not None:
            start = self._broadcast(self.initial_potential, sample)
            _require_places(start, sample)
        elif self.spread_half_threshold:
            start = torch.zeros_like(theta)
            spread = theta / (2 * T)
            shift = spread if shift is None else shift + spread
        else:
            start = theta / 2
        return BurstParameters(
            threshold=theta, max_spikes=self.max_spikes, shift=shift, initial_potential=start
        )

    def scan(
        self, current: Tensor, T: int, state: NeuronState | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs the neurons over a block of steps.

        Args:
            current: input current, shape [steps, B, C, *].
            T: number of steps of the whole run.
            state: memory of a stepwise run, changed in place; None starts afresh.
        Returns:
            Spike counts, shape of `current` (signed for `signed`), and θ broadcastable to it;
            their product is the output, for `changes` after `received`.
        """
        parameters = self.of_current(current, T)
        memory = state.tensors if state is not None else {}
        if self.dynamics != "plain":
            counts, kept = self._scan_rival(current, parameters, memory, state)
        elif self.kind == "burst":
            counts, membrane = burst_scan(current, parameters, memory.get("membrane"))
            kept = {"membrane": membrane}
        elif self.kind == "capped":
            assert self.cap is not None
            counts, membrane, fired = capped_scan(
                current,
                parameters,
                self.cap,
                memory.get("membrane"),
                memory.get("fired"),
                state.step if state is not None else 0,
            )
            kept = {"membrane": membrane, "fired": fired}
        else:
            assert self.slope is not None
            slope = self._broadcast(self.slope, current[0])
            counts, received, fired = signed_scan(
                current, parameters, slope, memory.get("received"), memory.get("fired")
            )
            kept = {"received": received, "fired": fired}
        if state is not None:
            state.tensors = kept
            state.step += current.shape[0]
        return counts, parameters.threshold

    def output(
        self,
        current: Tensor,
        T: int,
        state: NeuronState | None = None,
        out: Tensor | None = None,
        tally: Tally | None = None,
        parameters: BurstParameters | None = None,
    ) -> Tensor:
        """Returns what the layers behind receive: counts of `scan` times θ, shape of `current`.

        Args:
            current, T, state: as of `scan`.
            out: may be overwritten with the output, if given; may be `current` itself.
            tally: takes the counts of a `plain_burst`, if given.
            parameters: what `of_current` gives, if that is known.
        """
        if not self.plain_burst:
            counts, theta = self.scan(current, T, state)
            return self.received(counts, state).mul_(theta)
        before = state.tensors.get("membrane") if state is not None else None
        if parameters is None:
            parameters = self.of_current(current, T)
        keep = state is not None
        output, membrane = burst_scan(
            current, parameters, before, out=out, scaled=True, keep=keep, tally=tally
        )
        if state is not None:
            state.tensors = {"membrane": membrane}
            state.step += current.shape[0]
        return output

    def _scan_rival(
        self,
        current: Tensor,
        parameters: BurstParameters,
        memory: dict[str, Tensor],
        state: NeuronState | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.takes(self.dynamics):
            raise UnsupportedModelError(
                f"neurons with {self.dynamics} dynamics stand in for ReLU only and this activation "
                f"is {self.kind}; take another method, or a network with ReLU"
            )
        membrane, fired = memory.get("membrane"), memory.get("fired")
        if self.dynamics == "gated":
            step = state.step if state is not None else 0
            counts, membrane, gate = gated_scan(
                current, parameters, self.warmup, membrane, memory.get("gate"), step
            )
            return counts, {"membrane": membrane, "gate": gate}
        if self.dynamics == "offset":
            if state is not None:
                raise UnsupportedModelError(
                    "neurons with offsets hear their whole warm-up before they fire, so they "
                    "cannot run step by step; run all steps at once, with predict()"
                )
            return offset_scan(current, parameters, self.warmup), {}
        if self.dynamics == "changes":
            step = state.step if state is not None else 0
            before = memory.get("estimate")
            counts, membrane, fired, estimate = change_scan(
                current, parameters, self.levels, membrane, fired, before, step
            )
            kept = {"membrane": membrane, "fired": fired, "estimate": estimate}
            return counts, kept if before is None else {**kept, "before": before}
        if self.dynamics == "memory":
            counts, membrane, fired = memory_scan(current, parameters, membrane, fired)
        else:
            counts, membrane, fired = level_scan(current, parameters, self.levels, membrane, fired)
        return counts, {"membrane": membrane, "fired": fired}

    def received(self, counts: Tensor, state: NeuronState | None = None) -> Tensor:
        """Returns what the layers behind make of the counts of `scan`, given the same state.

        The counts themselves, except for `changes`, which are added to the rate before them.
        """
        if self.dynamics != "changes":
            return counts
        if state is None:
            return decoded(counts)
        return decoded(counts, state.tensors.get("before"), state.step - counts.shape[0])

    def activation(self, pre_activation: Tensor) -> Tensor:
        """Returns what the ANN computes here: relu, capped or quantised relu, leaky relu."""
        if self.ann_levels is not None:
            assert self.cap is not None
            return quantised_relu(pre_activation, self.cap, self.ann_levels)
        if self.kind == "capped":
            return pre_activation.clamp(0, self.cap)
        if self.kind == "signed":
            assert self.slope is not None
            slope = self._broadcast(self.slope, pre_activation)
            return torch.where(pre_activation > 0, pre_activation, slope * pre_activation)
        return pre_activation.clamp_min(0)

    def to(self, device: torch.device | str) -> BurstNeuron:
        """Moves the tensors to a device, in place."""
        for name in ("threshold", "shift", "initial_potential", "slope"):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def _broadcast(self, value: Value, sample: Tensor) -> Tensor:
        tensor = torch.as_tensor(value, dtype=sample.dtype, device=sample.device)
        if tensor.dim() == 0:
            return tensor
        if tensor.dim() == 1:
            return per_channel(tensor, sample.dim(), self.channel_dim)
        return tensor


def per_channel(values: Tensor, dim: int, channel_dim: int) -> Tensor:
    """Views per-channel values so that they broadcast against a tensor with `dim` dimensions.

    >>> per_channel(torch.ones(3), dim=4, channel_dim=1).shape
    torch.Size([1, 3, 1, 1])
    """
    shape = [1] * dim
    shape[channel_dim] = -1
    return values.reshape(shape)


def by_channel(tensor: Tensor, channel_dim: int) -> Tensor:
    """Flattens all but the channels of [B, C, *] (or tokens [B, *, C]) to shape [C, n]."""
    return tensor.movedim(channel_dim, 0).flatten(1)


def _require_places(start: Tensor, sample: Tensor) -> None:
    """Potentials calibrated place by place fit samples of that size only."""
    pairs = zip(reversed(start.shape), reversed(sample.shape), strict=False)
    if any(own not in (1, wanted) for own, wanted in pairs):
        raise InputError(
            f"initial potentials were set for samples of shape {list(start.shape[-3:])}, one a "
            f"place; got {list(sample.shape[1:])}; give samples of one size, or calibrate without "
            "potentials (light calibration sets none)"
        )
