"""Layers in 8 bits: equal where weights are whole numbers of a scale, close elsewhere."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import eight_bit, precision
from adacal.core.conversion import convert
from adacal.core.eight_bit import rounded
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.network import SpikingNetwork
from adacal.core.neuron import BurstNeuron
from adacal.core.precision import has_bfloat16
from adacal.core.spike_bytes import attach, bytes_of, hand_over, pooled
from toys import dyadic, with_dyadic_neurons

CPU = torch.device("cpu")
needs_int8 = pytest.mark.skipif(bool(eight_bit.trouble()), reason=eight_bit.trouble())


class Shared(nn.Module):
    """One weight for sites with thresholds of their own, and residual additions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for _ in range(2):
            x = F.relu(self.body(x) + x)
        return x.mean((2, 3))


class Functions(nn.Module):
    """Layers called as functions, with single numbers, and views that need what they give to be
    laid out as it would be in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, bias=False), nn.Conv2d(4, 4, 3, bias=False)
        self.third = nn.Conv2d(4, 6, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.first.weight, stride=1, padding=1))
        x = F.relu(F.conv2d(x, self.second.weight, None, 2, 1))
        x = F.conv2d(x, self.third.weight, stride=(1,), padding=(1,))
        return x.view(len(x), -1)


NETS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=1),
        nn.ReLU(inplace=True), nn.Conv2d(6, 6, (1, 3), groups=3), nn.ReLU(), nn.Flatten(),
        nn.Linear(18, 3),
    ),
    "pools": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(4, 3, 1), nn.Flatten(),
    ),
    "one axis": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3, stride=2, padding=1),
        nn.ReLU(), nn.Conv1d(4, 3, 1), nn.Flatten(),
    ),
    "linear": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU6(), nn.Linear(8, 3)
    ),
    "tokens": lambda: nn.Sequential(
        nn.Flatten(2), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8), nn.Flatten()
    ),
    "residual": Shared,
    "functions": Functions,
    "pooled features": lambda: nn.Sequential(
        nn.Flatten(2), nn.Linear(64, 16), nn.ReLU(), nn.MaxPool1d(3, 1, 1), nn.Linear(16, 8),
        nn.ReLU(), nn.AvgPool1d(2), nn.Linear(4, 3), nn.Flatten(),
    ),
    "left alone": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.5), nn.Conv2d(4, 4, 3, padding="same"), nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 2), nn.Flatten(),
    ),
}  # fmt: skip


IN_EIGHT_BITS = {"convolutions": 2, "pools": 3, "one axis": 2, "linear": 2, "tokens": 1,
                 "residual": 2, "functions": 2, "pooled features": 2, "left alone": 0}  # fmt: skip


def whole(net: nn.Module) -> nn.Module:
    """Weights that are whole numbers of a scale, with the largest in every output."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in net.parameters():
            numbers = torch.randint(-127, 128, parameter.shape, generator=generator).float()
            if parameter.dim() > 1:
                numbers.flatten(1)[:, 0] = 127
            parameter.copy_(numbers / 128)
    return net.eval()


def network(name: str, *, T: int = 4, max_spikes: int = 2) -> SpikingNetwork:
    torch.manual_seed(0)
    found = convert(whole(NETS[name]()), dyadic((3, 2, 8, 8), 1), T=T, max_spikes=max_spikes)
    return with_dyadic_neurons(found, theta=0.5, shift=0.0)


def packed(network: SpikingNetwork) -> int:
    runner: Any = network.layer_runners.of("int8")
    return len(runner._kept)


@needs_int8
@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("name", NETS)
def test_weights_that_are_whole_numbers_give_float32_to_the_bit(name: str, T: int) -> None:
    converted, inputs = network(name, T=T), dyadic((3, 2, 8, 8), 3)
    one, other = EnergyMeter(), EnergyMeter()
    wanted = converted.predict(inputs, one).output
    assert wanted.std() > 0
    converted.precision = "int8"
    decided, replayed = converted(inputs), converted(inputs)
    counted = converted.predict(inputs, other).output
    for found in (decided, replayed, counted):
        assert found.dtype is torch.float32 and torch.equal(found, wanted)
    assert other.report() == one.report() and one.report().sops > 0
    assert packed(converted) == IN_EIGHT_BITS[name]


@needs_int8
@pytest.mark.parametrize("name", NETS)
def test_other_weights_are_close_and_do_round(name: str) -> None:
    torch.manual_seed(1)
    inputs = torch.rand(6, 2, 8, 8)
    converted = convert(NETS[name]().eval(), inputs, T=4, max_spikes=4)
    converted.calibrate([inputs], "none")  # thresholds of each channel its own
    wanted = converted(inputs)
    converted.precision = "int8"
    found = converted(inputs)
    assert torch.allclose(found, wanted, atol=0.15 * float(wanted.abs().max()))
    # the last layer of the one is in float32, so that spikes must tip; in the other, pools are over
    # channels, which have thresholds of their own here
    if name not in {"convolutions", "pooled features"}:
        assert torch.equal(found, wanted) == (IN_EIGHT_BITS[name] == 0)
    assert torch.equal(copy.deepcopy(converted)(inputs), found)


@needs_int8
def test_steps_one_by_one_and_channels_last_give_the_same() -> None:
    converted, inputs = network("pools", T=6), dyadic((3, 2, 8, 8), 3)
    converted.precision = "int8"
    wanted = converted(inputs)
    assert torch.equal(converted(inputs.contiguous(memory_format=torch.channels_last)), wanted)
    converted.memory_mb = 0.03
    assert torch.allclose(converted(inputs), wanted)


@needs_int8
@pytest.mark.parametrize("batch", [1, 3, 7])
def test_thresholds_and_weights_that_change_are_packed_again(batch: int) -> None:
    converted, inputs = network("convolutions"), dyadic((batch, 2, 8, 8), 1)
    converted.precision = "int8"
    converted(inputs)
    for change in (
        lambda: converted.module.get_parameter("2.weight").mul_(2),
        lambda: setattr(converted.neurons["1"], "threshold", torch.tensor([0.5, 1.0, 2.0, 0.25])),
        lambda: converted.neurons["1"].threshold.mul_(0.5),  # type: ignore[union-attr]
    ):
        with torch.no_grad():
            change()
        again = copy.deepcopy(converted)
        assert torch.equal(converted(inputs), again(inputs))


@needs_int8
def test_what_is_changed_in_place_behind_the_neurons_is_no_longer_taken_for_spikes() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.first(x))
            x.view(x.shape[0], -1).mul_(0.3)
            return self.second(x)

    inputs = dyadic((3, 2, 8, 8), 1)
    converted = convert(whole(Scaled()), inputs, T=3, max_spikes=2)
    with_dyadic_neurons(converted)
    wanted = converted(inputs)
    converted.precision = "int8"
    assert torch.equal(converted(inputs), wanted) and packed(converted) == 0


@needs_int8
def test_other_changes_behind_the_neurons_are_seen_too() -> None:
    class Changed(nn.Module):
        def __init__(self, change: Callable[[Tensor], Any]) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)
            self.change = change

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.first(x), inplace=True)
            self.change(x)
            return self.second(x)

    def halve(x: Tensor) -> None:
        x.data.mul_(0.5)

    def fire_again(x: Tensor) -> None:
        F.relu_(x.view(len(x), -1))

    current = torch.randn(2, 9, 4, 200, 200)  # from here on scans are compiled
    BurstNeuron().output(current, 2)
    for change in (halve, fire_again):
        inputs = dyadic((3, 2, 8, 8), 1)
        converted = convert(whole(Changed(change)), inputs, T=3, max_spikes=2)
        with_dyadic_neurons(converted)
        wanted = converted(inputs)
        converted.precision = "int8"
        for _ in range(2):
            assert torch.equal(converted(inputs), wanted)


@needs_int8
@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_weights_changed_behind_their_version_are_rounded_again(precision: Any) -> None:
    if precision == "bfloat16" and not has_bfloat16(CPU):
        pytest.skip("this processor has no bfloat16 instructions")
    converted, inputs = network("convolutions"), dyadic((3, 2, 8, 8), 1)
    converted.precision = precision
    converted(inputs)
    weight = converted.module.get_parameter("2.weight")
    for change in (lambda: weight.data.mul_(2), lambda: setattr(weight, "data", weight.data * 2)):
        change()
        assert torch.equal(converted(inputs), copy.deepcopy(converted)(inputs))


@needs_int8
def test_no_number_is_not_hidden_by_a_byte() -> None:
    converted, inputs = network("convolutions"), dyadic((3, 2, 8, 8), 1)
    with torch.no_grad():
        converted.module.get_parameter("0.weight")[0, 0, 0, 0] = float("nan")
    wanted = converted(inputs)
    converted.precision = "int8"
    assert wanted.isnan().any() and torch.equal(converted(inputs).isnan(), wanted.isnan())


@needs_int8
def test_packed_weights_are_kept_only_while_they_can_be_used() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(F.relu(self.first(x)), self.second.weight * 2)

    converted = convert(whole(Computed()), dyadic((3, 2, 8, 8), 1), T=2)
    with_dyadic_neurons(converted)
    converted.precision = "int8"
    for _ in range(5):
        converted(dyadic((3, 2, 8, 8), 1))
    gc.collect()
    assert packed(converted) <= 1, "weights that are gone leave nothing behind"
    sized = convert(whole(NETS["pools"]()), dyadic((1, 2, 8, 8), 1), T=1)
    with_dyadic_neurons(sized)
    sized.precision, sized.sample_shape = "int8", None
    for side in range(8, 40, 2):
        sized(dyadic((2, 2, side, side), 1))
    runner: Any = sized.layer_runners.of("int8")
    assert all(len(sizes) <= 8 for sizes in runner._kept.values()) and packed(sized) == 3


@needs_int8
def test_it_runs_in_inference_mode_and_under_another_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    converted, inputs = network("pools"), dyadic((3, 2, 8, 8), 1)
    wanted = converted(inputs)
    converted.precision = "int8"

    def forward(module: nn.Module, rows: Any) -> Any:
        with torch.inference_mode():
            return module(rows)

    converted.forward = forward
    assert torch.equal(converted(inputs), wanted)
    eight_bit.trouble.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        assert not eight_bit.trouble()
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_single_step_is_refused_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = network("linear")
    converted.precision = "int8"
    monkeypatch.setattr(precision, "trouble", lambda: "this processor has no instructions for it")
    with pytest.raises(ConfigError, match="cannot be had here"):
        converted.step(dyadic((3, 2, 8, 8), 1), RunState(), 0)


@needs_int8
def test_pools_over_thresholds_that_differ_give_no_spikes() -> None:
    converted, inputs = network("pooled features"), dyadic((3, 2, 8, 8), 1)
    for name, neuron in converted.neurons.items():
        neuron.threshold = torch.tensor([0.5, 1.0] * (8 if name == "2" else 4))
    wanted = converted(inputs)
    converted.precision = "int8"
    assert torch.equal(converted(inputs), wanted) and packed(converted) == 0


@needs_int8
def test_a_sum_that_32_bits_may_not_hold_is_left_in_float32() -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(128, 1024), nn.ReLU(), nn.Linear(1024, 3))
    converted = convert(whole(wide), dyadic((3, 2, 8, 8), 1), T=1, max_spikes=255)
    with_dyadic_neurons(converted)
    converted.precision = "int8"
    converted(dyadic((3, 2, 8, 8), 1))
    assert packed(converted) == 1
    converted = convert(converted.module, dyadic((3, 2, 8, 8), 1), T=1, max_spikes=256)
    converted.precision = "int8"
    converted(dyadic((3, 2, 8, 8), 1))
    assert packed(converted) == 0, "256 spikes are more than a byte holds"


@needs_int8
def test_weights_that_are_not_finite_are_refused() -> None:
    converted = network("convolutions")
    converted.precision = "int8"
    with torch.no_grad():
        converted.module.get_parameter("2.weight")[0, 0, 0, 0] = float("nan")
    with pytest.raises(UnsupportedModelError, match=r"weight of shape \[6, 4, 3, 3\] has values"):
        converted(dyadic((3, 2, 8, 8), 1))


def test_it_is_refused_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = network("linear")
    converted.precision = "int8"
    monkeypatch.setattr(precision, "trouble", lambda: "this processor has no instructions for it")
    with pytest.raises(ConfigError, match="precision='int8' cannot be had here .this processor"):
        converted(dyadic((3, 2, 8, 8), 1))
    with pytest.raises(ConfigError, match="it runs on a CPU, not on 'cuda'"):
        precision.check_precision("int8", torch.device("cuda"))


@pytest.mark.parametrize("reason", ["instructions", "sums", "operation"])
def test_why_it_cannot_be_had_is_said(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    eight_bit.trouble.cache_clear()
    supported = reason != "instructions"
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: supported, raising=False)

    def tried(call: Any) -> Tensor:
        if reason == "operation":
            raise NotImplementedError("onednn::qconv2d_pointwise")
        return torch.zeros(1)

    monkeypatch.setattr(eight_bit, "_tried", tried)
    words = {
        "instructions": "no instructions",
        "sums": "differ",
        "operation": "cannot do it: onednn",
    }
    try:
        assert words[reason] in eight_bit.trouble()
    finally:
        eight_bit.trouble.cache_clear()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6))
def test_rounding_errs_by_half_a_scale_at_most(
    outputs: int, inputs: int, groups: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs * groups, inputs, 2, generator=generator)
    weight[0] *= seed % 3  # a whole output may be 0
    theta = torch.rand(1, inputs * groups, 1, generator=generator) + 0.01
    codes, scale = rounded(weight, theta, groups)
    assert codes.dtype is torch.int8 and int(codes.abs().max()) <= 127 and bool((scale > 0).all())
    for output in range(outputs * groups):
        first = output // outputs * inputs
        spike = weight[output] * theta[0, first : first + inputs]
        assert torch.allclose(
            codes[output] * scale[output], spike, atol=float(scale[output]) * 0.501
        )


def test_bytes_are_handed_over_and_follow_pools() -> None:
    theta = torch.tensor([0.5, 0.3]).reshape(1, 2, 1, 1)
    counts = torch.randint(0, 3, (4, 2, 4, 4), dtype=torch.uint8)
    rows = counts * theta
    attach(rows, "relu", counts, theta, 2)
    for result, elements in ((F.max_pool2d(rows, 2), 1), (F.avg_pool2d(rows, 2), 4)):
        pooled(rows, result, {2, 3}, elements)
        found = bytes_of(result)
        assert found is not None and found.most == 2 * elements
        assert torch.allclose(found.counts * found.threshold, result)
    for result, dims, elements in (
        (rows.amax(1, keepdim=True), {1}, 1), (rows.amax((2, 3)), {2, 3}, 1), (rows, {2}, 128),
        (F.max_pool2d(rows.movedim(1, 3), 3, 1, 1).movedim(3, 1), {1, 2}, 1),
    ):  # fmt: skip
        other = result.clone()
        pooled(rows, other, dims, elements)
        assert bytes_of(other) is None
    other = rows.clone()
    hand_over(rows, other)
    assert bytes_of(other) is not None
    other.add_(1)
    assert bytes_of(other) is None and bytes_of(rows) is not None
