"""SpikingNetwork: what it accepts, what it refuses, and that the ANN is left alone."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import adacal
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import CalibrationError, ConfigError, InputError, UnsupportedModelError
from adacal.core.layout import RunState
from toys import Call, Everything, Functional, dyadic, everything_network, linear_net

X = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("T", [0, -1, 2.5, "8", True])
def test_T_out_of_range_is_refused(T: object) -> None:
    with pytest.raises(ConfigError, match="T must be a whole number of at least 1; got"):
        convert(linear_net(), X, T=T)  # type: ignore[arg-type]


@pytest.mark.parametrize("phi", [0, -3, 1.5, True])
def test_max_spikes_out_of_range_is_refused(phi: object) -> None:
    with pytest.raises(ConfigError, match="max_spikes must be a whole number"):
        convert(linear_net(), X, T=2, max_spikes=phi)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "near"), [("max_pool", "running_max"), ("half_threshold", "initial")]
)
def test_an_unknown_option_value_is_refused(option: str, near: str) -> None:
    with pytest.raises(ConfigError, match=near):
        convert(linear_net(), X, T=2, **{option: near[:-1]})  # type: ignore[arg-type]


def test_a_network_without_activations_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="nothing to convert"):
        convert(nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2)), X, T=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_and_buffers_that_are_not_finite_are_refused_by_name(value: float) -> None:
    ann = linear_net()
    ann.get_parameter("2.weight").data[0, 0] = value
    with pytest.raises(UnsupportedModelError, match=r"'2\.weight' holds NaN or infinite"):
        convert(ann, X, T=2)
    ann = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU())
    ann.get_buffer("1.running_var")[0] = value
    with pytest.raises(UnsupportedModelError, match=r"'1\.running_var'"):
        convert(ann, X, T=2)


def test_compiled_scripts_are_refused() -> None:
    inner = torch.jit.trace(linear_net(), X)
    for ann, path in ((inner, ""), (nn.Sequential(inner, nn.ReLU()), "0")):
        with pytest.raises(UnsupportedModelError, match=f"'{path}.*compiled script"):
            convert(ann, X, T=2)
    with pytest.raises(UnsupportedModelError, match=r"torch\.compile"):
        convert(torch.compile(linear_net()), X, T=2)


def test_a_stream_of_another_length_is_refused() -> None:
    network = convert(linear_net(), X.expand(3, 4, 5), T=3, stream=True)
    assert network(X.expand(3, 4, 5)).shape == (4, 3)
    with pytest.raises(InputError, match="T=3 frames in dimension 0; got 2"):
        network(X.expand(2, 4, 5))


class Branching(nn.Module):
    """Calls other functions for larger inputs."""

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
        self.calls = {False: small, True: large}

    def forward(self, x: Tensor) -> Tensor:
        acts = ["a", "b"][: self.calls[x.shape[-2] > 4]]
        for name in acts:
            x = F.relu(getattr(self, name)(x))
        return x.mean(1)


@pytest.mark.parametrize(("small", "large"), [(1, 2), (2, 1)])
def test_a_changed_calling_order_is_refused(small: int, large: int) -> None:
    network = convert(Branching(small, large), torch.randn(1, 3, 5), T=2)
    assert network(torch.randn(2, 4, 5)).shape == (2, 5)
    with pytest.raises(UnsupportedModelError, match="at conversion"):
        network(torch.randn(2, 8, 5))


def test_a_new_analogue_part_is_never_silent() -> None:
    part = Functional(lambda x: F.silu(x) if x.shape[1] > 4 else x)
    ann = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), part)
    network = convert(ann, torch.randn(1, 3, 5), T=2)
    with pytest.raises(UnsupportedModelError, match=r"new: \['2"):
        network(torch.randn(1, 8, 5))


def test_a_network_whose_own_train_returns_nothing_is_converted(tmp_path: Path) -> None:
    class Own(nn.Sequential):
        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)

    ann = Own(nn.Linear(3, 4), nn.Dropout(), nn.ReLU(), nn.Linear(4, 2))
    network = convert(ann, torch.ones(1, 3), T=2)
    assert ann.training and not network.module.training
    network.save(tmp_path / "own.safetensors")
    x = torch.randn(5, 3)
    assert torch.equal(adacal.load(tmp_path / "own.safetensors", ann)(x), network(x))


def test_the_ann_is_left_untouched() -> None:
    ann = Everything().train()
    before = copy.deepcopy(ann.state_dict())
    x = dyadic((4, 2, 8, 8), 0)
    network = convert(ann, x, T=2, max_spikes=2)
    for mode in ("none", "light", "advanced"):
        network.calibrate([x], mode=mode)  # type: ignore[arg-type]
    network.predict(x)
    network.steps(x)
    network.step(x, RunState(), 0)
    assert all(module.training for module in ann.modules())
    assert all(p.requires_grad for p in ann.parameters())
    for module in [*ann.modules(), *network.module.modules()]:
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert before.keys() == ann.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in ann.state_dict().items())
    assert not any(module.training for module in network.module.modules())


def test_the_users_inputs_are_left_untouched_and_carry_no_knowledge() -> None:
    ann = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)).eval()
    x = torch.randn(1, 5)
    before = x.clone()
    network = convert(ann, x, T=1)
    network(x), network.steps(x), network.step(x, RunState(), 0), network.calibrate([x])
    assert torch.equal(x, before)
    assert not vars(x)


def test_hooks_are_removed_when_a_forward_fails() -> None:
    network = convert(linear_net(), X, T=2)
    with pytest.raises(InputError, match=r"cannot take samples of shape \[7\]"):
        network(torch.randn(4, 7))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in network.module.modules())
    assert network(X).shape == (4, 3)


def test_the_output_keeps_its_nest() -> None:
    class Nest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(5, 4)

        def forward(self, x: Tensor) -> dict[str, object]:
            y = F.relu(self.a(x))
            return {"y": y, "pair": (y.sum(1), [y * 2]), "note": "text", "grid": torch.arange(3)}

    ann = Nest()
    network = convert(ann, X, T=4, max_spikes=64)
    out, running = network(X), network.steps(X)
    assert out["y"].shape == (4, 4) and out["pair"][0].shape == (4,)
    assert out["note"] == "text" and out["grid"].tolist() == [0, 1, 2]
    assert torch.equal(out["pair"][1][0], out["y"] * 2)
    assert running["y"].shape == (4, 4, 4)
    torch.testing.assert_close(running["y"][-1], out["y"])


def test_steps_are_running_means_of_one_run() -> None:
    network = everything_network(T=4)
    x = dyadic((3, 2, 8, 8), 0)
    steps = network.steps(x)
    assert steps.shape == (4, 3, 3)
    assert torch.equal(steps[-1], network(x))
    assert torch.equal(network.predict(x).output, network(x))
    assert network.predict(x).timesteps.tolist() == [4, 4, 4]
    by_step = network.predict(x).by_step
    assert by_step is not None and torch.equal(by_step, steps)


@pytest.mark.parametrize("mode", ["none", "light", "advanced"])
def test_more_steps_bring_the_network_closer_to_the_ann(mode: str) -> None:
    ann = linear_net()
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(2))
    errors = []
    for T in (1, 4, 64):
        network = convert(ann, x, T=T, max_spikes=2)
        network.calibrate([x], mode=mode)  # type: ignore[arg-type]
        errors.append(float((network(x) - ann(x)).detach().abs().mean()))
    assert errors[0] > errors[2] and errors[1] > errors[2]
    assert errors[2] < 0.02


def test_calibration_without_samples_or_with_nan_is_refused() -> None:
    network = convert(linear_net(), X, T=2)
    with pytest.raises(CalibrationError, match="no calibration samples"):
        network.calibrate([])
    with pytest.raises(CalibrationError, match="NaN"):
        network.calibrate([X * float("nan")])


def test_the_report_names_every_site_with_what_it_became() -> None:
    network = everything_network(T=2, max_spikes=3)
    report = {site.name: site for site in network.report()}
    assert [site.kind for site in report.values()].count("burst") == 3
    assert report["leaky"].kind == "signed" and report["relu6"].kind == "capped"
    assert report["relu"].shape == (4, 8, 8) and report["relu"].max_spikes == 3
    assert report["relu"].threshold_mean == 0.5 and report["relu"].rate is None
    assert network.strictness() == "signed" and network.mean_max_spikes() == 3
    network.predict(dyadic((2, 2, 8, 8), 0), EnergyMeter())
    rates = [site.rate for site in network.report()]
    assert all(rate is not None and 0 < rate <= 3 for rate in rates)


@pytest.mark.parametrize(
    ("function", "phi", "expected"),
    [
        (F.relu, 1, "binary"),
        (F.relu, 2, "burst"),
        (F.leaky_relu, 2, "signed"),
        (lambda x: F.silu(F.relu(x)), 1, "analogue parts"),
    ],
)
def test_strictness_names_the_class_of_spikes(function, phi: int, expected: str) -> None:  # type: ignore[no-untyped-def]
    assert convert(Call(function), X, T=2, max_spikes=phi).strictness() == expected


def test_float64_networks_stay_float64() -> None:
    network = convert(linear_net().double(), X.double(), T=4, max_spikes=8)
    network.calibrate([X.double()])
    assert network(X.double()).dtype == torch.float64


def test_gradients_are_not_kept() -> None:
    network = convert(linear_net(), X, T=2)
    assert not network(X).requires_grad
    assert not network.ann(X).requires_grad


def test_the_public_names_are_those_of_the_core() -> None:
    assert adacal.convert is convert
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = adacal.nothing


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_in_parts_gives_what_the_whole_gives(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4 * 16, 3)

        def forward(self, x: Tensor) -> dict[str, Any]:
            hidden = torch.relu(self.body(x))
            flat = hidden.flatten(1)
            return {"maps": [hidden], "scores": self.head(flat), "constant": torch.ones(2)}

    net = Two()
    frames = torch.rand(3, 7, 2, 6, 6) if stream else torch.rand(7, 2, 6, 6)
    found = []
    for reused in (10**9, 3 * 4 * 64 * 4):  # all at once; three samples at once
        monkeypatch.setattr("adacal.core.parts.REUSED_BYTES", reused)
        network = convert(net, frames, T=3, stream=stream)
        meter = EnergyMeter()
        prediction = network.predict(frames, meter)
        found.append((prediction, network.steps(frames), meter.report()))
    (whole, whole_steps, whole_report), (parts, parts_steps, parts_report) = found
    for a, b in ((whole.output, parts.output), (whole_steps, parts_steps)):
        assert torch.allclose(a["scores"], b["scores"], atol=1e-5)
        assert torch.allclose(a["maps"][0], b["maps"][0], atol=1e-5)
        assert torch.equal(a["constant"], b["constant"])
    assert parts_report == whole_report and parts.timesteps.shape == (7,)
