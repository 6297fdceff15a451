"""Calibration in one forward: what it promises on the samples it was given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adacal.core.advanced import WeightOptions
from adacal.core.calibration import CalibrationOptions, Reference
from adacal.core.conversion import convert
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import CalibrationError, ConfigError
from adacal.core.network import SpikingNetwork
from core.energy_toys import Captured, images, seeded, small, trained_small, two_layers

INPUTS = images(32)


def calibrated(
    net: nn.Module, mode: Any = "light", T: int = 4, phi: int = 1, **options: Any
) -> SpikingNetwork:
    network = convert(net, INPUTS, T=T, max_spikes=phi)
    network.calibrate([INPUTS], mode, **options)
    return network


def channel_errors(network: SpikingNetwork, net: nn.Module, inputs: Tensor) -> Tensor:
    """Mean error of every channel behind act2 (its consumer is conv3), activation units."""
    seen = []
    for module, run in ((network.module, network), (net, net)):
        captured = Captured(module.conv3)
        run(inputs)
        seen.append(torch.from_numpy(captured.rows()).mean((0, 2, 3)))
    return (seen[0] - seen[1]).abs()


@pytest.mark.parametrize("mode", ["none", "light", "advanced"])
@pytest.mark.parametrize("max_pool", [False, True])
@pytest.mark.parametrize("phi", [1, 3])
def test_the_two_streams_end_where_the_network_and_the_ann_end(
    mode: str, max_pool: bool, phi: int
) -> None:
    net = small(max_pool=max_pool)
    seen: list[tuple[Tensor, Tensor]] = []

    def divergence(ann: Tensor, snn: Tensor) -> Tensor:
        seen.append((ann.clone(), snn.clone()))
        return symmetric_kl(ann, snn)

    network = convert(net, INPUTS, T=4, max_spikes=phi)
    found = network.calibrate(
        [INPUTS], mode, divergence=divergence, weight_options=WeightOptions(iterations=20)
    )
    ann, snn = seen[-1]
    assert torch.allclose(ann, net(INPUTS), atol=1e-5)
    after = network.predict(INPUTS).output
    assert torch.allclose(snn, after, atol=2e-3 if mode == "advanced" else 1e-5)
    assert found == pytest.approx(float(symmetric_kl(ann, snn).mean()), rel=1e-5)


def test_advanced_calibration_predicts_its_own_result_where_a_layer_feeds_two_places() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            x = x + self.b(torch.relu(x))
            x = x + self.c(torch.relu(x))
            return self.head(x)

    torch.manual_seed(0)
    net, inputs = PreActivation(), torch.randn(64, 8, generator=seeded())
    seen = []

    def divergence(ann: Tensor, snn: Tensor) -> Tensor:
        seen.append(snn)
        return symmetric_kl(ann, snn)

    network = convert(net, inputs, T=2)
    options = {"learning_rate": 1e-2, "iterations": 50}
    network.calibrate(
        [inputs], "advanced", divergence=divergence, weight_options=WeightOptions(**options)
    )
    assert torch.allclose(seen[-1], network(inputs), atol=1e-3)


def test_light_calibration_removes_the_mean_error_of_each_channel() -> None:
    net = small()
    none = channel_errors(calibrated(net, "none"), net, INPUTS)
    once = channel_errors(calibrated(net, "light", repeats=1), net, INPUTS)
    often = channel_errors(calibrated(net, "light", repeats=12), net, INPUTS)
    assert once.mean() < none.mean()
    assert often.mean() < 0.15 * none.mean()
    assert often.mean() < once.mean()


def test_light_calibration_brings_the_output_nearer_to_the_ann() -> None:
    net = small()
    found = [
        float(
            (calibrated(net, mode, T=2, threshold="mmse")(INPUTS) - net(INPUTS).detach())
            .square()
            .mean()
        )
        for mode in ("none", "light")
    ]
    assert found[1] < found[0]


@pytest.mark.parametrize("threshold", ["mmse", "matched", "max", "percentile"])
def test_thresholds_are_positive_also_where_a_channel_never_fires(threshold: str) -> None:
    net = small()
    with torch.no_grad():
        net.bn1.bias[0], net.bn1.weight[0] = -100.0, 0.0
        net.bn2.bias.fill_(-100.0)
    network = calibrated(net, "light", threshold=threshold)
    for neuron in network.neurons.values():
        assert bool((torch.as_tensor(neuron.threshold) > 0).all())
    assert bool(torch.isfinite(network(INPUTS)).all())


def test_an_unknown_threshold_gets_the_near_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'matched'"):
        calibrated(small(), threshold="match")


def test_auto_matches_binary_neurons_and_leaves_bursts_at_mmse() -> None:
    def thresholds(phi: int, threshold: str) -> Tensor:
        network = calibrated(small(), "light", phi=phi, threshold=threshold)
        return torch.cat([torch.as_tensor(n.threshold) for n in network.neurons.values()])

    assert torch.equal(thresholds(1, "auto"), thresholds(1, "matched"))
    assert not torch.equal(thresholds(1, "auto"), thresholds(1, "mmse"))
    assert torch.equal(thresholds(3, "auto"), thresholds(3, "mmse"))


@pytest.mark.parametrize("samples", [32, 64])
def test_thresholds_come_from_positions_all_over_the_image(samples: int) -> None:
    """Columns of a regular grid in memory are columns of the image: its border, say."""

    class Border(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x)

    inputs = torch.ones(samples, 1, 16, 16)
    inputs[..., 0] = 0.1  # the first column of each image
    network = convert(Border(), inputs, T=4)
    network.calibrate([inputs], "none", sample_limit=10**6)
    assert torch.as_tensor(network.neurons["relu"].threshold).item() == pytest.approx(1.0, abs=0.1)


def test_keep_keeps_the_thresholds_and_their_ratio() -> None:
    network = calibrated(small(), "none")
    for neuron in network.neurons.values():
        neuron.threshold, neuron.ratio = torch.tensor(0.37), 2.0
    network.calibrate([INPUTS], "light", threshold="keep")
    for neuron in network.neurons.values():
        assert torch.as_tensor(neuron.threshold).unique().tolist() == [pytest.approx(0.37)]
        assert neuron.ratio == 2.0
        assert bool((torch.as_tensor(neuron.shift) != 0).any())


def test_a_quantile_of_one_is_the_maximum_and_lower_ones_lie_below() -> None:
    net = small()
    whole = calibrated(net, "none", threshold="max")
    full = calibrated(net, "none", threshold="percentile", level=1.0)
    most = calibrated(net, "none", threshold="percentile", level=0.9)
    for name, neuron in whole.neurons.items():
        peak = torch.as_tensor(neuron.threshold)
        assert torch.equal(peak, torch.as_tensor(full.neurons[name].threshold))
        below = torch.as_tensor(most.neurons[name].threshold)
        assert bool((below <= peak).all()) and below.mean() > 0.2 * peak.mean()


def test_one_threshold_a_layer_is_the_largest_of_the_channels() -> None:
    net = small()
    single = calibrated(net, "none", threshold="max", per_channel=False)
    each = calibrated(net, "none", threshold="max")
    for name, neuron in single.neurons.items():
        values = torch.as_tensor(neuron.threshold).unique()
        assert values.tolist() == [float(torch.as_tensor(each.neurons[name].threshold).max())]


def test_several_batches_are_one_batch() -> None:
    net, results = small(), []
    labels = torch.zeros(32, dtype=torch.long)
    for batches in ([INPUTS], list(INPUTS.split(10)), [(INPUTS, labels)]):
        network = convert(net, INPUTS, T=3)
        network.calibrate(batches, "light")
        results.append(network(INPUTS))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_a_generator_decides_everything() -> None:
    net = small()

    def shifts(seed: int) -> list[Tensor]:
        network = calibrated(net, "light", sample_limit=20, generator=seeded(seed))
        return [torch.as_tensor(neuron.shift) for neuron in network.neurons.values()]

    assert all(torch.equal(a, b) for a, b in zip(shifts(3), shifts(3), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(shifts(3), shifts(4), strict=True))


@pytest.mark.parametrize("batches", [[], [INPUTS[:0]], [INPUTS[:0], INPUTS[:0]]])
def test_no_samples_are_refused(batches: list[Tensor]) -> None:
    network = convert(small(), INPUTS, T=2)
    with pytest.raises(CalibrationError, match="no calibration samples"):
        network.calibrate(batches)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_are_refused(bad: float) -> None:
    broken = INPUTS.clone()
    broken[3, 1, 2, 2] = bad
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        convert(small(), INPUTS, T=2).calibrate([INPUTS, broken])


@pytest.mark.parametrize("threshold", ["mmse", "keep"])
def test_activations_that_overflow_are_refused(threshold: str) -> None:
    network = calibrated(small(), "none")
    with pytest.raises(CalibrationError, match="'act1'"):
        network.calibrate([INPUTS * 1e38 * 3], "light", threshold=threshold)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "heavy"},
        {"mode": "none", "threshold": "matched"},
        {"repeats": 0},
        {"damping": 0.0},
        {"level": 99.9},
        {"repeats": 1.5},
        {"sample_limit": 0},
        {"per_channel": "no"},
        {"weight_options": 3},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="got|named 'heavy'"):
        convert(small(), INPUTS, T=2).calibrate([INPUTS], **options)


@pytest.mark.parametrize("search", ["calibrate", "adafire", "compress"])
def test_a_misspelt_option_gets_the_near_name_before_any_computing(search: str) -> None:
    network = convert(small(), INPUTS, T=2)
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        getattr(network, search)([INPUTS], thresold="mmse")
    with pytest.raises(ConfigError, match="did you mean 'light'"):
        getattr(network, search)([INPUTS], mode="lihgt")
    with pytest.raises(ConfigError, match="must be a torch.Generator; got 0"):
        network.calibrate([INPUTS], generator=0)


def test_a_spread_half_threshold_adds_half_a_threshold_over_all_steps() -> None:
    def outputs(half: Any, current: float) -> list[float]:
        network = convert(two_layers(), torch.ones(1, 2), T=4, half_threshold=half)
        network.neurons["1"].threshold = torch.tensor(1.0)
        return network.steps(torch.tensor([[current, 0.0]]))[:, 0, 0].mul(
            torch.arange(1, 5)
        ).diff(prepend=torch.zeros(1)).tolist()  # fmt: skip

    # θ = 1, T = 4, so θ/(2T) = 1/8. Current 0.375 a step: 0.5, 1.0 fires, 0.5, 1.0 fires.
    assert outputs("spread", 0.375) == [0.0, 1.0, 0.0, 1.0]
    # from θ/2: 0.875, 1.25 fires, 0.625, 1.0 fires.
    assert outputs("initial", 0.375) == [0.0, 1.0, 0.0, 1.0]
    # current 0.5, spread: 0.625, 1.25 fires, 0.875, 1.5 fires; initial: 1.0 fires, 0.5, 1.0, 0.5
    assert outputs("spread", 0.5) == [0.0, 1.0, 0.0, 1.0]
    assert outputs("initial", 0.5) == [1.0, 0.0, 1.0, 0.0]
    for current in (0.1, 0.3, 0.6, 0.9):
        assert sum(outputs("spread", current)) == sum(outputs("initial", current))


def test_streams_are_calibrated_frame_by_frame() -> None:
    net = small()
    frames = torch.rand(3, 16, 2, 6, 6, generator=seeded())
    network = convert(net, frames, T=3, max_spikes=4, stream=True)
    network.calibrate([frames[:, :8], frames[:, 8:]], "light")
    assert (network(frames) - net(frames.mean(0))).abs().mean() < 0.2 * net(frames.mean(0)).std()


def test_calibrating_again_needs_no_ann_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ann, inputs, _ = trained_small()
    again, afresh = (convert(ann, inputs[:2], T=4, max_spikes=2) for _ in range(2))
    reference = Reference()
    for network in (again, afresh):
        network.calibrate([inputs])
    start = {name: neuron.threshold for name, neuron in again.neurons.items()}
    again.calibrate([inputs], threshold="keep", reference=reference)
    for factor in (1.0, 1.5, 0.7):
        found = []
        for network in (again, afresh):
            for name, neuron in network.neurons.items():
                neuron.threshold = start[name] * factor
            options = {"reference": reference} if network is again else {}
            with monkeypatch.context() as patch:
                if network is again:
                    patch.setattr(network, "two_stream_pass", None)  # the ANN does not run
                found.append(network.calibrate([inputs], threshold="keep", **options))
        assert found[0] == pytest.approx(found[1], rel=1e-5)
        for name, neuron in again.neurons.items():
            shift, wanted = neuron.shift, afresh.neurons[name].shift
            assert isinstance(shift, Tensor) and isinstance(wanted, Tensor)
            assert torch.allclose(shift, wanted, atol=1e-6)


def test_what_the_ann_gave_serves_these_samples_and_light_corrections_only() -> None:
    ann, inputs, _ = trained_small()
    network, other = (convert(ann, inputs[:2], T=2) for _ in range(2))
    reference, few = Reference(), inputs[:32]
    network.calibrate([few], reference=reference)
    keep = CalibrationOptions(threshold="keep")
    assert reference.serves(network, keep, few.clone())
    assert not reference.serves(other, keep, few)
    assert not any(
        reference.serves(network, keep, x) for x in (inputs[32:64], inputs, few.double())
    )
    for setting in (
        CalibrationOptions(threshold="mmse"),
        CalibrationOptions(threshold="keep", mode="advanced"),
        CalibrationOptions(threshold="keep", sample_limit=7),
    ):
        assert not reference.serves(network, setting, few)
    assert not Reference().serves(network, keep, few)
    before = reference.output
    network.calibrate([inputs[32:64]], threshold="keep", reference=reference)
    assert not torch.equal(reference.output, before)  # another run of the ANN took its place


def test_a_calibration_that_fails_leaves_the_reference_as_it_was() -> None:
    ann, inputs, _ = trained_small()
    network = convert(ann, inputs[:2], T=2)
    reference, few = Reference(), inputs[:32]
    network.calibrate([few])
    network.calibrate([few], threshold="keep", reference=reference)
    wanted = {name: torch.as_tensor(neuron.shift) for name, neuron in network.neurons.items()}
    last = list(network.neurons.values())[-1]
    threshold, last.threshold = last.threshold, -1.0
    with pytest.raises(ConfigError, match="threshold"):
        network.calibrate([3 * inputs[32:96]], threshold="keep", reference=reference)
    last.threshold = threshold
    network.calibrate([few], threshold="keep", reference=reference)
    for name, neuron in network.neurons.items():
        assert torch.allclose(torch.as_tensor(neuron.shift), wanted[name], atol=1e-6)
