"""Layers in bfloat16: exact where the numbers are, close elsewhere, refused where it is slower."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import precision
from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError
from adacal.core.network import SpikingNetwork
from adacal.core.precision import Rounded
from toys import dyadic, make_dyadic, with_dyadic_neurons

CPU = torch.device("cpu")
needs_bfloat16 = pytest.mark.skipif(
    not precision.has_bfloat16(CPU), reason="this processor has no bfloat16 instructions"
)


def network(*, exact: bool) -> SpikingNetwork:
    torch.manual_seed(0)
    net: nn.Module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3, bias=False),
    )  # fmt: skip
    if exact:
        net = make_dyadic(net)
    inputs = dyadic((3, 2, 8, 8), 1)
    found = convert(net, inputs, T=4, max_spikes=2)
    if exact:
        return with_dyadic_neurons(found, theta=0.5, shift=0.0)
    found.calibrate([inputs], "light")
    return found


@needs_bfloat16
@pytest.mark.parametrize("exact", [True, False])
def test_outputs_and_counts_are_those_of_float32_up_to_rounding(exact: bool) -> None:
    converted, inputs = network(exact=exact), dyadic((3, 2, 8, 8), 1)
    one, other = EnergyMeter(), EnergyMeter()
    wanted = converted.predict(inputs, one).output
    converted.precision = "bfloat16"
    found = converted.predict(inputs, other).output
    assert found.dtype is torch.float32
    assert torch.allclose(found, wanted, atol=0.1 * float(wanted.abs().max()))
    assert other.report().sops == pytest.approx(one.report().sops, rel=0.05)
    assert exact or not torch.equal(found, wanted), "nothing was rounded: the test shows nothing"
    converted.precision = "float32"
    assert torch.equal(converted(inputs), wanted)


@needs_bfloat16
def test_weights_changed_in_place_are_rounded_again() -> None:
    converted, inputs = network(exact=True), dyadic((3, 2, 8, 8), 1)
    converted.precision = "bfloat16"
    before = converted(inputs)
    converted.module.get_parameter("7.weight").mul_(2)
    assert torch.equal(converted(inputs), 2 * before)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("change", ["in place", "unseen by torch", "another memory", "none"])
def test_a_runner_rounds_what_has_changed_since_the_last_pass(dense: bool, change: str) -> None:
    weight = dyadic((6, 10), 1)[:, :: 1 if dense else 2]
    rows, runner = dyadic((2, weight.shape[1]), 2), Rounded()

    def run() -> Tensor:
        runner.begin()
        return runner.run(Call(F.linear, "linear", (rows, weight)))

    before = run()
    kept = dict(runner._kept)
    if change == "in place":
        weight.mul_(2)
    elif change == "unseen by torch":
        weight.data.mul_(2)
    elif change == "another memory":
        weight.data = 2 * weight
    assert torch.equal(run(), before if change == "none" else 2 * before)
    assert (runner._kept == kept) == (change == "none")
    assert torch.equal(before, F.linear(rows, dyadic((6, 10), 1)[:, :: 1 if dense else 2]))


def test_a_runner_watches_a_weight_once_however_often_it_changes() -> None:
    weight, rows, runner = dyadic((6, 10), 1), dyadic((2, 10), 2), Rounded()
    for _ in range(5):
        runner.begin()
        runner.run(Call(F.linear, "linear", (rows, weight)))
        weight.data.mul_(2)
    assert list(runner._kept) == [id(weight)]
    watching = [one for one in weakref.finalize._registry if one.peek()[0] is weight]  # type: ignore[attr-defined]
    assert len(watching) == 1
    del weight, watching
    assert not runner._kept


def test_it_is_refused_where_it_would_be_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = network(exact=True)
    converted.precision = "bfloat16"
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    with pytest.raises(ConfigError, match="needs a processor that multiplies bfloat16"):
        converted(dyadic((3, 2, 8, 8), 1))


def test_another_precision_is_refused() -> None:
    converted = network(exact=True)
    converted.precision = "float16"  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="no precision named 'float16'"):
        converted(dyadic((3, 2, 8, 8), 1))
