"""Calibration in one forward: ANN and SNN side by side, each site set when it is reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core import advanced
from adacal.core.checks import check_choice, check_names, check_number, check_whole
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.inputs import joined_inputs
from adacal.core.matching import matched_threshold, restore_mean
from adacal.core.neuron import BurstNeuron, by_channel
from adacal.core.sites import OnActivation, Site
from adacal.core.thresholds import (
    largest_of_runs,
    max_threshold,
    mmse_threshold,
    percentile_threshold,
)
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

Mode = Literal["none", "light", "advanced"]
Threshold = Literal["auto", "mmse", "matched", "max", "percentile", "keep"]
MMSE_LIMIT = 1024
"""Positions a channel that the MMSE search looks at; 95 candidates on more would cost a forward."""
MATCH_LIMIT = 1 << 17
"""Activations of a site, over all channels, that the choice of matched thresholds looks at."""


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        mode: `none` sets thresholds only; `light` also corrects each channel's mean by a shift;
            `advanced` also the initial potentials and the weights of the producing layers.
        threshold: estimator: `mmse`; `matched` on the current that arrives, from `mmse`; `max`;
            `percentile`; `keep` what is set; or `auto`: `matched` for binary neurons (φ = 1),
            `mmse` for bursts, which catch up with lumps, and where no mean is corrected. Of sites
            that only max pools read, all three take the MMSE threshold of what the pools let pass.
        level: quantile for `percentile`, in (0, 1].
        per_channel: one threshold a channel, else one a layer.
        repeats: rounds of light correction on a bounded sample of positions (METHOD section 3).
        damping: share of the remaining error corrected in each round after the first.
        sample_limit: positions a channel that statistics use.
        potential, weights: parts of `advanced`.
        potential_share: share of the remaining error that the initial potential makes up for; 1
            is SNN Calibration's, and too much where errors have no fixed place in the image.
        weight_options: iterations, learning rate, batch size of the weight part.
    """

    mode: Mode = "light"
    threshold: Threshold = "auto"
    level: float = 0.999
    per_channel: bool = True
    repeats: int = 6
    damping: float = 0.7
    sample_limit: int = 4096
    potential: bool = True
    potential_share: float = 0.3
    weights: bool = True
    weight_options: advanced.WeightOptions = advanced.WeightOptions()

    def __post_init__(self) -> None:
        check_choice("calibration mode", self.mode, get_args(Mode))
        check_choice("threshold", self.threshold, get_args(Threshold))
        if self.threshold == "matched" and self.mode == "none":
            raise ConfigError(
                "matched thresholds come with a shift of their own; got threshold='matched' with "
                "calibration 'none'; calibrate with mode='light', or take threshold='mmse'"
            )
        check_number("level", self.level, 0, 1, above=True, example=0.999)
        check_number("potential_share", self.potential_share, 0, 1, example=0.3)
        check_number("damping", self.damping, 0, 1, above=True, example=0.7)
        check_whole("repeats", self.repeats, example=6)
        check_whole("sample_limit", self.sample_limit, example=4096)
        for name in ("per_channel", "potential", "weights"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False; got {getattr(self, name)!r}")
        if not isinstance(self.weight_options, advanced.WeightOptions):
            raise ConfigError(
                f"weight_options must be WeightOptions(...) of adacal.core.advanced; got "
                f"{self.weight_options!r}"
            )

    def matches(self, neuron: BurstNeuron) -> bool:
        """Says whether a neuron's threshold is matched on the current that arrives."""
        automatic = self.threshold == "auto" and self.mode != "none" and neuron.max_spikes == 1
        return self.threshold == "matched" or automatic


@torch.no_grad()
def calibrate(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    mode: Mode = "light",
    generator: torch.Generator | None = None,
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
    reference: Reference | None = None,
    **options: Any,
) -> float:
    """Calibrates a network on samples of training data, in one forward of ANN and SNN side by side.

    Several batches are joined into one pass, because every layer needs the corrected layers before
    it; give no more samples than memory holds (T+1 times a forward of them).

    Args:
        network: changed in place.
        batches: inputs, or (inputs, targets) pairs; targets are not used.
        mode, options: see `CalibrationOptions`.
        generator: draws the bounded samples of positions; seeded with 0 if None.
        divergence: how far two raw outputs are apart, one number a sample.
        reference: takes what the ANN gives; further calibrations of this network on the same
            samples, light ones that keep the thresholds, then run the spiking stream alone, at the
            positions that were drawn first. For others it is filled anew.
    Returns:
        Mean divergence between ANN and SNN on these samples.
    Raises:
        CalibrationError: no samples, or NaN among activations.
    """
    setting = options_of(mode, options)
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ConfigError(
            f"generator must be a torch.Generator; got {generator!r}; write "
            "torch.Generator().manual_seed(0)"
        )
    if not callable(divergence):
        raise ConfigError(f"divergence must be a function of two outputs; got {divergence!r}")
    inputs = joined_inputs(batches, network)
    network.weight_changes = {}
    if reference is not None and reference.serves(network, setting, inputs):
        snn = network.spiking_pass(inputs, _corrected_again(network, reference, setting))
        return float(divergence(reference.output, snn).mean())
    random = generator if generator is not None else torch.Generator().manual_seed(0)
    drawn: dict[str, tuple[_Positions, Tensor]] = {}
    free: set[str] = set()
    if setting.mode == "advanced" and setting.weights:
        free = advanced.free_modules(network, inputs[0, :4] if network.stream else inputs[:4])

    def on_site(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        neuron = network.neurons[site.name]
        blocks = rows.unflatten(0, (network.T + 1, -1))
        before, current = blocks[0], blocks[1:]
        activation = neuron.activation(before)
        positions = _positions(activation, neuron.channel_dim, setting.sample_limit, random)
        sample = positions.take(activation)
        wanted = sample.mean(1)
        drawn[site.name] = positions, wanted
        _set_threshold(network, neuron, activation, sample, setting, site.name)
        neuron.shift = torch.zeros_like(sample[:, 0])
        neuron.initial_potential = None
        if trace.static:
            current = current[:1].expand_as(current)
        steps = positions.take_steps(current) if setting.mode != "none" else current[:0]
        # a slope over all positions says little of the few that a max pool lets pass
        if setting.matches(neuron) and site.name not in network.windows:
            _match(network.T, neuron, sample, steps, setting)
        if setting.mode != "none":
            _correct(network.T, neuron, wanted, steps, setting)
        if setting.mode == "advanced":
            current = advanced.improve(
                network,
                site,
                trace,
                before,
                current,
                setting.weight_options,
                free=free,
                weights=setting.weights,
            )
            _correct(network.T, neuron, wanted, positions.take_steps(current), setting)
            if setting.potential:
                share = setting.potential_share
                advanced.set_potential(network.T, neuron, activation, current, share)
        both = torch.empty_like(blocks, memory_format=torch.contiguous_format)
        both[0] = activation
        output = neuron.output(current, network.T, out=both[1:])
        if output.data_ptr() != both[1:].data_ptr():
            both[1:] = output
        return both.flatten(0, 1), None

    ann, snn, _ = network.two_stream_pass(inputs, on_site)
    if reference is not None:
        reference.inputs, reference.output, reference.sites = inputs, ann, drawn
        reference.made_for = network.module, setting.sample_limit
    return float(divergence(ann, snn).mean())


@dataclass
class Reference:
    """What an ANN gave on calibration samples, so that it need not run again on them.

    A change of the ANN's weights is not seen.

    Attributes:
        inputs: the samples; None before a first calibration.
        made_for: the module that ran, and how many positions a channel were asked for.
        output: the ANN's raw output.
        sites: positions drawn at each site, and the mean activation of each channel there, [C].
    """

    inputs: Tensor | None = None
    made_for: tuple[Any, int] = (None, 0)
    output: Any = None
    sites: dict[str, tuple[_Positions, Tensor]] = field(default_factory=dict)

    def serves(self, network: SpikingNetwork, setting: CalibrationOptions, inputs: Tensor) -> bool:
        """Whether a calibration of this network on these samples asks for no more than this."""
        before, (module, limit) = self.inputs, self.made_for
        if before is None or module is not network.module or limit != setting.sample_limit:
            return False
        if setting.threshold != "keep" or setting.mode != "light":
            return False
        same_kind = before.dtype == inputs.dtype and before.device == inputs.device
        return before is inputs or (same_kind and torch.equal(before, inputs))


def _corrected_again(
    network: SpikingNetwork, reference: Reference, setting: CalibrationOptions
) -> OnActivation:
    """Returns what light calibration does at a site of the spiking stream alone."""

    def on_site(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        neuron = network.neurons[site.name]
        positions, wanted = reference.sites[site.name]
        current = rows.unflatten(0, (network.T, -1))
        if trace.static:
            current = current[:1].expand_as(current)
        neuron.shift = torch.zeros_like(wanted)
        neuron.initial_potential = None
        _correct(network.T, neuron, wanted, positions.take_steps(current), setting)
        return neuron.output(current, network.T).flatten(0, 1), None

    return on_site


def options_of(
    mode: str, options: Mapping[str, Any], also: Sequence[str] = ()
) -> CalibrationOptions:
    """Returns the options checked, so that a search can refuse them before it begins.

    Args:
        mode: calibration mode.
        options: by name.
        also: further names that the caller knows, for the sentence about a wrong one.
    Raises:
        ConfigError: an unknown name, or a value out of range.
    """
    known = [each.name for each in fields(CalibrationOptions)]
    check_names("option", options, dict.fromkeys([*also, *known, "generator", "divergence"]))
    return CalibrationOptions(mode=mode, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Positions:
    """A random choice of positions, in random order, the same for every tensor of a site.

    Attributes:
        index: where they are in each dimension but that of the channels, shapes [n].
    """

    index: tuple[Tensor, ...]
    channel_dim: int

    def take(self, rows: Tensor) -> Tensor:
        """[B, C, *] to [C, n]."""
        return rows.movedim(self.channel_dim, -1)[self.index].T.contiguous()

    def take_steps(self, steps: Tensor) -> Tensor:
        """[T, B, C, *] to [T, n, C]: small batches that a neuron with channels last can scan."""
        channel = self.channel_dim + 1 if self.channel_dim >= 0 else self.channel_dim
        places: tuple[slice | Tensor, ...] = (slice(None), *self.index)
        return steps.movedim(channel, -1)[places].contiguous()


def _positions(
    activation: Tensor, channel_dim: int, limit: int, generator: torch.Generator
) -> _Positions:
    places = activation.movedim(channel_dim, -1).shape[:-1]
    total = math.prod(places)
    if total <= 4 * limit:
        index = torch.randperm(total, generator=generator)[:limit]
    else:  # so few of so many that hardly any is drawn twice
        index = torch.randint(total, (limit,), generator=generator)
    return _Positions(torch.unravel_index(index.to(activation.device), places), channel_dim)


def _set_threshold(
    network: SpikingNetwork,
    neuron: BurstNeuron,
    activation: Tensor,
    sample: Tensor,
    setting: CalibrationOptions,
    name: str,
) -> None:
    values = sample.abs()
    if not bool(torch.isfinite(values).all()):
        raise CalibrationError(
            f"activations at '{name}' are NaN or infinite on the calibration samples; check the "
            "weights and the input normalisation"
        )
    if setting.threshold == "keep":
        return
    neuron.ratio = 1.0
    phi, per_channel = neuron.max_spikes, setting.per_channel
    if setting.threshold in {"auto", "mmse", "matched"}:
        few = values[:, :MMSE_LIMIT]
        if name in network.windows:
            columns = by_channel(activation, neuron.channel_dim).abs()
            few = largest_of_runs(columns, network.windows[name], MMSE_LIMIT)
        neuron.threshold = mmse_threshold(few, network.T, phi, per_channel=per_channel)
    elif setting.threshold == "max":
        whole = by_channel(activation, neuron.channel_dim).abs().amax(1, keepdim=True)
        neuron.threshold = max_threshold(whole, phi, per_channel=per_channel)
    else:
        percent = 100 * setting.level
        neuron.threshold = percentile_threshold(values, percent, phi, per_channel=per_channel)


def _match(
    T: int,
    neuron: BurstNeuron,
    sample: Tensor,
    steps: Tensor,
    setting: CalibrationOptions,
) -> None:
    """Moves the threshold to the one that follows the ANN best on the current that arrives."""
    limit = max(MATCH_LIMIT // sample.shape[0], 256)
    neuron.threshold = matched_threshold(
        replace(neuron, channel_dim=1),
        sample[:, :limit].contiguous(),
        steps[:, :limit].contiguous(),
        T,
        per_channel=setting.per_channel,
        damping=setting.damping,
    )


def _correct(
    T: int,
    neuron: BurstNeuron,
    wanted: Tensor,
    steps: Tensor,
    setting: CalibrationOptions,
) -> None:
    """Light calibration on the positions drawn; see `adacal.core.matching.restore_mean`."""
    small = replace(neuron, channel_dim=1)
    restore_mean(small, wanted, steps, T, setting.repeats, setting.damping)
    neuron.shift = small.shift
