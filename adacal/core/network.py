"""SpikingNetwork: an unchanged ANN whose activations are computed by burst neurons over T steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from adacal.core import calibration, compression, parts, rate_distortion, search, storage, timesteps
from adacal.core.before import whole_or_not_at_all
from adacal.core.checks import check_choice, check_whole
from adacal.core.converted import Converted, Prediction, SiteReport
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError
from adacal.core.exit_rules import Score
from adacal.core.inputs import check_batch
from adacal.core.interception import MaxPool, SpikingMode
from adacal.core.layout import Layout, RunState
from adacal.core.nests import map_tensors
from adacal.core.neuron import BurstNeuron
from adacal.core.passes import run_pass
from adacal.core.phases import as_fired, require_plain
from adacal.core.precision import LayerRunners, Precision, check_precision
from adacal.core.sites import OnActivation, Site
from adacal.core.synapses import FanOuts
from adacal.core.tapes import Tapes
from adacal.core.traces import is_rows, outside_inference_mode

Forward = Callable[[nn.Module, Any], Any]
Batches = Sequence[Any]
CPU = torch.device("cpu")


def call_module(module: nn.Module, inputs: Any) -> Any:
    """The default forward: the module called on its inputs."""
    return module(inputs)


class SpikingNetwork(Converted):
    """A converted network. Build one with `convert`.

    Attributes:
        module: a copy of the ANN, in eval mode.
        neurons: site name to its neurons; change `.threshold`, `.shift`, ... freely.
        sites: every site in calling order, analogue ones included.
        windows: elements that max pools choose one from, by site; of sites that nothing else reads.
        weight_changes: added to weights for the spiking stream (advanced calibration), by module.
        exit_rule: early exit used by `predict`, if set.
        warmup: first steps of the T whose output is not used; see `adacal.core.phases`.
        sample_shape: shape of one sample (of a stream, of one frame) at conversion, if known.
        folded: paths of layers and of the batch norms that were folded into them.
        precision: of layers that spikes enter, `float32`, `bfloat16` or `int8`; those whose
            weights advanced calibration changed, and all of calibration, are in float32.
        footprints: bytes of one step of one sample, by its shape, where that was measured.
        layer_runners: keep weights in low precision, made once.
        tapes: what passes of this network do, see `adacal.core.passes`.
        fan_outs: synapses of its layers, once they were counted.
        skip_module: make the calls of a pass without calling the module, where its passes have
            proved to make no others and nothing they might depend on has changed; False for a
            forward that reads global variables, or does more than its calls of torch.
        unfolded_weights: digest of the ANN's weights before that; empty if nothing was folded.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        T: int,
        forward: Forward = call_module,
        strict: bool = False,
        max_pool: MaxPool = "running_max",
        stream: bool = False,
        event_input: bool = False,
        sample_shape: Sequence[int] | None = None,
        warmup: int = 0,
    ) -> None:
        check_whole("T", T, example=8)
        check_choice("max_pool option", max_pool, get_args(MaxPool))
        if not callable(forward):
            raise ConfigError(f"forward must be a function of (module, inputs); got {forward!r}")
        self.module = module
        self.T = T
        self.forward = forward
        self.strict = strict
        self.max_pool: MaxPool = max_pool
        self.stream = stream
        self.event_input = event_input
        self.sample_shape = sample_shape
        self.warmup = warmup
        self.neurons: dict[str, BurstNeuron] = {}
        self.sites: list[Site] = []
        self.synaptic_calls: dict[str, int] = {}
        self.windows: dict[str, int] = {}
        self.weight_changes: dict[str, Tensor] = {}
        self.exit_rule: timesteps.Rule | None = None
        self.search_log: dict[str, Any] = {}
        self.folded: list[tuple[str, str]] = []
        self.unfolded_weights: dict[str, str] = {}
        self.precision: Precision = "float32"
        self.footprints: dict[tuple[int, ...], float] = {}
        self.layer_runners = LayerRunners()
        self.tapes = Tapes()
        self.fan_outs = FanOuts()
        self.skip_module = True
        self._rates: dict[str, float | None] = {}

    # running ---------------------------------------------------------------------------------

    def __call__(self, inputs: Tensor) -> Any:
        """Returns the mean output over T, nested as the ANN's; inputs [B, ...] or [T, B, ...]."""
        mean = parts.Reduction(self._mean, enough=lambda _: not self.warmup)
        return parts.joined(self._outputs(inputs, None, mean), 0)

    def steps(self, inputs: Tensor) -> Any:
        """Returns the running mean of the output after 1 … T steps, each tensor [T, B, ...].

        After a warm-up the first is that of the first step whose output is used.
        """
        return parts.joined(self._outputs(inputs, None, parts.Reduction(self._running)), 1)

    def predict(self, inputs: Tensor, meter: EnergyMeter | None = None) -> Prediction:
        """Runs a batch (with early exit if `exit_rule` is set) and counts into `meter`.

        Where that fails, `meter` is as before, so that a smaller batch may be tried.
        """
        if self.exit_rule is not None:
            return self.run_until_confident(inputs, self.exit_rule, meter)

        def logits(out: Any) -> bool:
            return isinstance(out, Tensor) and out.dim() == 2 and is_rows(out)

        def whole(out: Any) -> tuple[Any, Any]:
            return self._mean(out), self._running(out) if logits(out) else None

        reduction = parts.Reduction(
            whole,
            enough=lambda out: not (self.warmup or logits(out)),
            of_mean=lambda mean: (mean, None),
        )
        with whole_or_not_at_all(meter):
            found = self._outputs(inputs, meter, reduction)
        self._keep_rates(meter)
        batch = inputs.shape[1] if self.stream else inputs.shape[0]
        return Prediction(
            output=parts.joined([mean for mean, _ in found], 0),
            timesteps=torch.full((batch,), self.T),
            by_step=parts.joined([running for _, running in found], 1),
        )

    def run_until_confident(
        self, inputs: Tensor, rule: timesteps.Rule, meter: EnergyMeter | None = None
    ) -> Prediction:
        """Runs step by step and really drops the samples that are done (METHOD section 7).

        Args:
            inputs: shape [B, ...] ([T, B, ...] for streams).
            rule: when a sample may leave; its last step always ends.
            meter: counts what was run.
        Returns:
            `.output`, nested as the ANN's, at each sample's exit, and `.timesteps` [B].
        """
        self._check(inputs)
        with whole_or_not_at_all(meter):
            prediction = timesteps.run_until_confident(self, inputs, rule, meter)
        self._keep_rates(meter)
        return prediction

    @torch.no_grad()
    def step(
        self, inputs: Tensor, state: RunState, index: int, meter: EnergyMeter | None = None
    ) -> Any:
        """Runs one step of a stepwise run and returns its raw output.

        Args:
            inputs: this step's input, shape [B, ...].
            state: memory, changed in place; a fresh `RunState()` at the first step.
            index: 0 for the first step.
            meter: counts this step.
        """
        check_precision(self.precision, inputs.device)
        layout = self._layout(1, inputs.shape[0])
        return run_pass(self, inputs.clone, layout, meter, state, index)

    def run_steps(
        self,
        inputs: Tensor,
        meter: EnergyMeter | None,
        state: RunState | None = None,
        first: int = 0,
        steps: int | None = None,
    ) -> Any:
        """Runs steps at once and returns their raw outputs, each [steps*B, ...], steps outermost.

        Args:
            inputs: shape [B, ...]; of a stream the frames of these steps, [steps, B, ...].
            meter: counts these steps.
            state: what earlier steps of the run left, changed in place; None if these are all.
            first: how many those were.
            steps: how many to run; all by default.
        """
        steps = self.T if steps is None else steps

        def rows() -> Tensor:
            if self.stream:
                return inputs.flatten(0, 1).clone()
            return inputs.repeat(steps, *[1] * (inputs.dim() - 1))

        layout = self._layout(steps, inputs.shape[int(self.stream)])
        graph = meter is not None and meter.keep_graph
        with torch.set_grad_enabled(graph):
            return run_pass(self, rows, layout, meter, state, first)

    @torch.no_grad()
    def ann(self, inputs: Tensor) -> Any:
        """Returns the ANN's own raw output for inputs [B, ...]."""
        return self.forward(self.module, inputs.clone())

    @outside_inference_mode()
    def reference_pass(
        self, inputs: Tensor, on_activation: OnActivation, meter: EnergyMeter | None = None
    ) -> Any:
        """Runs the ANN alone, each activation computed by `on_activation(site, rows, trace)`.

        Args:
            inputs: shape [B, ...]; of a stream the mean frame.
            on_activation: returns the output rows and a tag (None without a meter).
            meter: counts synaptic operations, if given.
        """
        layout = Layout(steps=0, reference=True, batch=inputs.shape[0], T=self.T)
        mode = SpikingMode(self.module, layout, on_activation, max_pool=self.max_pool, meter=meter)
        with whole_or_not_at_all(meter):
            if meter is not None:
                meter.begin(layout, fan_outs=self.fan_outs)
            outputs = mode.run(self.forward, inputs.clone(), static=True)
            if meter is not None:
                meter.settle()
            return outputs

    @outside_inference_mode()
    def two_stream_pass(
        self, inputs: Tensor, on_activation: OnActivation
    ) -> tuple[Any, Any, SpikingMode]:
        """Runs ANN and SNN side by side in one forward (DESIGN section 3).

        Returns the ANN's raw output, the SNN's mean output, and the mode (for what it saw).
        """
        out, mode = self._decided_pass(inputs, on_activation, reference=True)
        ann = map_tensors(out, is_rows, lambda t: t.unflatten(0, (self.T + 1, -1))[0])
        snn = map_tensors(out, is_rows, lambda t: t.unflatten(0, (self.T + 1, -1))[1:].mean(0))
        return ann, snn, mode

    @outside_inference_mode()
    def spiking_pass(self, inputs: Tensor, on_activation: OnActivation) -> Any:
        """As `two_stream_pass` without the ANN; returns the SNN's mean output."""
        out, _ = self._decided_pass(inputs, on_activation, reference=False)
        return map_tensors(out, is_rows, lambda t: t.unflatten(0, (self.T, -1)).mean(0))

    # calibration and search --------------------------------------------------------------------

    def calibrate(
        self, batches: Batches, mode: calibration.Mode = "light", **options: Any
    ) -> float:
        """Sets thresholds and corrects the neurons; `mode`: none, light or advanced.

        See `adacal.core.calibration.calibrate` for the options. Returns the mean divergence
        between ANN and SNN on the calibration samples.
        """
        return calibration.calibrate(self, batches, mode=mode, **options)

    def adafire(self, batches: Batches, **options: Any) -> dict[str, Any]:
        """Chooses φ for each layer under a budget and recalibrates; see `adacal.core.search`."""
        return search.adafire(self, batches, **options)

    def compress(self, batches: Batches, **options: Any) -> dict[str, Any]:
        """Raises thresholds where it costs little (SSC); see `adacal.core.compression`."""
        return compression.compress(self, batches, **options)

    def rate_distortion(self, batches: Batches, **options: Any) -> dict[str, Any]:
        """Chooses θ per channel under a budget; see `adacal.core.rate_distortion`."""
        return rate_distortion.rate_distortion(self, batches, **options)

    def fit_exit_rule(
        self, batches: Batches, score: Score = "entropy", **options: Any
    ) -> timesteps.Rule:
        """Fits an exit rule on calibration samples; see `adacal.core.timesteps`."""
        return timesteps.fit_exit_rule(self, batches, score=score, **options)

    # looking and keeping -----------------------------------------------------------------------

    def report(self) -> list[SiteReport]:
        """Lists every site in calling order; nothing stays analogue without standing here."""
        return [_site_report(site, self.neurons.get(site.name), self._rates) for site in self.sites]

    def save(self, path: str | Path) -> None:
        """Writes neurons and weight changes as safetensors with a JSON header."""
        storage.save(self, path)

    def to(self, device: torch.device | str) -> SpikingNetwork:
        """Moves the network to a device, in place.

        Raises:
            ConfigError: no such device here.
        """
        try:
            self.module.to(device)
        except (RuntimeError, TypeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"device '{device}' cannot be used here ({reason}); try cpu") from (
                error
            )
        for neuron in self.neurons.values():
            neuron.to(device)
        self.weight_changes = {k: v.to(device) for k, v in self.weight_changes.items()}
        return self

    # inside --------------------------------------------------------------------------------------

    def _outputs(
        self, inputs: Tensor, meter: EnergyMeter | None, reduce: parts.Reduction
    ) -> list[Any]:
        """Returns what the reduction makes of raw outputs [T*b, ...], part by part of the batch."""
        self._check(inputs)
        return parts.outputs(self, inputs, meter, reduce)

    def _decided_pass(
        self, inputs: Tensor, on_activation: OnActivation, *, reference: bool
    ) -> tuple[Any, SpikingMode]:
        """Runs all steps of a batch, behind those of the ANN or alone, with other activations."""
        require_plain(self)
        batch = inputs.shape[int(self.stream)]
        if self.stream:
            frames = inputs.flatten(0, 1)
            rows = torch.cat([inputs.mean(0), frames]) if reference else frames.clone()
        else:
            rows = inputs.repeat(self.T + int(reference), *[1] * (inputs.dim() - 1))
        mode = SpikingMode(
            self.module,
            Layout(steps=self.T, reference=reference, batch=batch, T=self.T),
            on_activation,
            strict=self.strict,
            max_pool=self.max_pool,
            weight_changes=self.weight_changes,
        )
        return mode.run(self.forward, rows, static=not self.stream), mode

    def _layout(self, steps: int, batch: int) -> Layout:
        return Layout(steps=steps, reference=False, batch=batch, T=self.T, warmup=self.warmup)

    def _check(self, inputs: Any) -> None:
        check_whole("T", self.T, example=8)
        check_precision(self.precision, inputs.device if isinstance(inputs, Tensor) else CPU)
        check_batch(inputs, stream=self.stream, T=self.T, sample=self.sample_shape)

    def _keep_rates(self, meter: EnergyMeter | None) -> None:
        if meter is not None:
            self._rates = {name: meter.rate(name) for name in self.neurons}

    def _used(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self.T, -1))[self.warmup :]

    def _running(self, outputs: Any) -> Any:
        def means(rows: Tensor) -> Tensor:
            total = self._used(rows).cumsum(0)
            count = torch.arange(1, total.shape[0] + 1).to(total)
            return total / count.reshape(-1, *[1] * (total.dim() - 1))

        return parts.over_time(outputs, means)

    def _mean(self, outputs: Any) -> Any:
        return parts.over_time(outputs, lambda rows: self._used(rows).mean(0))


def _site_report(
    site: Site, neuron: BurstNeuron | None, rates: dict[str, float | None]
) -> SiteReport:
    report = SiteReport(name=site.name, kind=site.kind, function=site.function, shape=site.shape)
    if neuron is None:
        return report
    threshold = torch.as_tensor(neuron.threshold, dtype=torch.float32)
    return replace(
        report,
        kind=as_fired(site, neuron).kind,
        threshold_mean=float(threshold.mean()),
        threshold_min=float(threshold.min()),
        threshold_max=float(threshold.max()),
        max_spikes=neuron.largest_output,
        ratio=neuron.ratio,
        rate=rates.get(site.name),
    )
