"""Wrong networks and wrong batches: one sentence, whichever call they are given to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adacal
from adacal.core.errors import CalibrationError, ConfigError, InputError, UnsupportedModelError
from adacal.core.exit_rules import ExitRule
from adacal.core.network import SpikingNetwork

X = torch.rand(6, 1, 8, 8)
LABELS = torch.arange(6) % 5
RULE = ExitRule("entropy", (0.5, 0.5))
RUNS = ("call", "steps", "predict", "measure", "confident")


def ann() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.ReLU(), nn.Linear(5, 5)
    ).eval()


def network(stream: bool = False) -> SpikingNetwork:
    example = X.expand(2, 6, 1, 8, 8) if stream else X
    return adacal.convert(ann(), example, T=2, stream=stream)


def run(how: str, net: SpikingNetwork, inputs: Any) -> Any:
    calls: dict[str, Any] = {
        "call": net,
        "steps": net.steps,
        "predict": net.predict,
        "measure": lambda x: adacal.measure_energy(net, x),
        "confident": lambda x: net.run_until_confident(x, RULE),
    }
    return calls[how](inputs)


WRONG: list[tuple[Any, str]] = [
    (None, "one tensor .* got None"),
    ([1.0], "one tensor .* got a list"),
    (X.numpy(), "one tensor .* got a ndarray"),
    ((X, LABELS), "one tensor .* got a tuple"),
    (torch.tensor(1.0), r"4 dimensions, as at conversion \[B, 1, 8, 8\]; got shape \[\]"),
    (X[0], r"got shape \[1, 8, 8\].*x\[None\]"),
    (X[:0], "at least one sample"),
    (X * float("nan"), "NaN or infinite"),
    (X / 0, "NaN or infinite"),
    ((X * 255).byte(), r"cannot take samples of shape \[1, 8, 8\] and torch.uint8"),
    (X.double(), "torch.float64"),
    (torch.rand(2, 3, 8, 8), r"cannot take samples of shape \[3, 8, 8\]"),
    (torch.rand(2, 1, 9, 9), r"cannot take samples of shape \[1, 9, 9\]"),
]


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize(("inputs", "words"), WRONG)
def test_a_batch_the_network_cannot_take_gets_one_sentence(
    how: str, inputs: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        run(how, network(), inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("inputs", "words"), [w for w in WRONG if w[0] is not X[0]])
def test_the_example_is_checked_alike(inputs: Any, words: str) -> None:
    if isinstance(inputs, Tensor) and inputs.dim() < 4:
        words = "shape"
    with pytest.raises(InputError, match=words):
        adacal.convert(ann(), inputs, T=2)


@pytest.mark.parametrize("how", RUNS)
@pytest.mark.parametrize("frames", [1, 3])
def test_a_stream_with_frames_missing_or_too_many_is_refused(how: str, frames: int) -> None:
    with pytest.raises(InputError, match=f"T=2 frames in dimension 0; got {frames}"):
        run(how, network(stream=True), X.expand(frames, 6, 1, 8, 8))


@pytest.mark.parametrize("search", ["calibrate", "adafire", "compress", "fit_exit_rule"])
def test_calibration_on_a_stream_with_frames_missing_is_refused(search: str) -> None:
    frames = X.expand(1, 6, 1, 8, 8)
    with pytest.raises(InputError, match="T=2 frames in dimension 0; got 1"):
        getattr(network(stream=True), search)([(frames, LABELS)])


@pytest.mark.parametrize("search", ["calibrate", "adafire", "compress"])
@pytest.mark.parametrize(
    ("batches", "words"),
    [
        (X, r"a list of tensors .* got a tensor of shape \[6, 1, 8, 8\]; write \[inputs\]"),
        (None, "got None"),
        (5, "got a int"),
        ("abc", "got a str"),
        ([None], "one tensor"),
        ([[]], "one tensor"),
        (["a"], "one tensor"),
        ((X, LABELS), r"alike .* \[\(inputs, labels\)\]"),
        ([X, torch.rand(2, 1, 9, 9)], "alike"),
        ([X, X.double()], "alike"),
        ([X[0]], "dimensions"),
        ([(X * 255).byte()], "torch.uint8"),
        ([torch.rand(2, 3, 8, 8)], r"\[3, 8, 8\]"),
    ],
)
def test_batches_that_do_not_fit_are_refused(search: str, batches: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        getattr(network(), search)(batches)


@pytest.mark.parametrize("labels", [None, "abc", LABELS[:3], torch.tensor(1)])
@pytest.mark.parametrize("rule", ["paper", "accuracy", "agreement"])
def test_labels_must_be_one_a_sample(labels: Any, rule: str) -> None:
    with pytest.raises(CalibrationError, match="one label for each of the 6 samples"):
        network().fit_exit_rule([(X, labels)], rule=rule)


@pytest.mark.parametrize("module", [None, nn.ReLU, torch.relu, {"w": X}, "net.pth"])
def test_what_is_no_module_is_refused(module: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="must be a torch module; got"):
        adacal.convert(module, X, T=2)


def test_activations_that_are_nan_on_the_example_are_refused() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net[1].running_var.fill_(-1.0)
    with pytest.raises(UnsupportedModelError, match="activations at '2' are NaN"):
        adacal.convert(net, X, T=2)


def test_a_failure_of_our_own_is_not_blamed_on_the_inputs() -> None:
    net = network()
    net.neurons["1"].threshold = torch.ones(7)
    with pytest.raises(RuntimeError):
        net(X)


@pytest.mark.parametrize("rule", [None, "entropy", [0.5, 0.5]])
def test_an_exit_rule_of_another_kind_is_refused(rule: Any) -> None:
    with pytest.raises(ConfigError, match=r"what network.fit_exit_rule\(...\) returns"):
        network().run_until_confident(X, rule)


@pytest.mark.parametrize("thresholds", [0.5, ("a",), (), (float("nan"),)])
def test_exit_thresholds_that_are_no_numbers_are_refused(thresholds: Any) -> None:
    with pytest.raises(ConfigError, match="must be finite, one per step"):
        ExitRule("entropy", thresholds)


@pytest.mark.parametrize("T", [0, -1, 2.5, "four"])
def test_a_number_of_steps_set_later_is_checked_too(T: Any) -> None:
    net = network()
    net.T = T
    with pytest.raises(ConfigError, match="T must be a whole number"):
        net(X)


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used here"):
        network().to("gpu")


def test_the_energy_of_what_is_not_converted_is_refused() -> None:
    with pytest.raises(ConfigError, match="got a Sequential; convert it"):
        adacal.measure_energy(ann(), X)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"max_spikes": 4}, {"max_spikes": (1.5, 8)}, {"budget": 2.5}, {"budget": "x"},
        {"ratio": float("nan")}, {"samples": -1}, {"samples": 0}, {"sensitivity": "prob"},
    ],
)  # fmt: skip
def test_options_of_adafire_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        network().adafire([X], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"ratios": 5}, {"ratios": (1, float("inf"), 1)}, {"ratios": (1, 1e9, 1e-3)},
        {"tolerance": "x"}, {"max_growth": "x"}, {"samples": 0}, {"threshold": "mmse"},
    ],
)  # fmt: skip
def test_options_of_compress_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        network().compress([X], **options)
