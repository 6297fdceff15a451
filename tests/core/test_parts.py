"""Runs in parts: the same outputs and counts, within the memory that was allowed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core import parts
from adacal.core.analogue import keep_analogue
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError
from adacal.core.footprint import Footprint
from adacal.core.layout import RunState
from adacal.core.network import SpikingNetwork
from adacal.core.parts import MEGABYTE, Parts, plan
from adacal.core.phases import set_dynamics
from toys import (
    Functional,
    Gate,
    dyadic,
    everything_network,
    levels_network,
    linear_net,
    make_dyadic,
    with_dyadic_neurons,
)


def limit(network: SpikingNetwork, inputs: Tensor, rows: float) -> float:
    """Allows the memory of so many rows and returns it."""
    network.memory_mb = 1e9
    plan(network, inputs)
    network.memory_mb = rows * next(iter(network.footprints.values())) / MEGABYTE
    return network.memory_mb


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 11])
def test_parts_of_time_and_samples_give_the_same_outputs_and_counts(
    rows: int, stream: bool
) -> None:
    network = everything_network(T=5, stream=stream)
    inputs = dyadic((5, 3, 2, 8, 8) if stream else (3, 2, 8, 8), 1)
    whole, meter, again = network.steps(inputs), EnergyMeter(), EnergyMeter()
    prediction = network.predict(inputs, meter)
    limit(network, inputs, rows + 0.5)
    expected = Parts(samples=1, steps=rows) if rows < 5 else Parts(samples=rows // 5, steps=5)
    assert plan(network, inputs) == expected
    assert torch.equal(network.steps(inputs), whole)
    assert torch.equal(network(inputs), prediction.output)
    found = network.predict(inputs, again)
    assert torch.equal(found.output, prediction.output)
    assert found.by_step is not None and torch.equal(found.by_step, whole)
    assert again.report() == meter.report()


class KeptHead(nn.Module):
    """A spiking layer and a head kept analogue."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Any:
        return keep_analogue(lambda y: self.head(y.flatten(1)), F.relu(self.body(x)))


@pytest.mark.parametrize("module", [KeptHead, Gate])
def test_analogue_parts_cost_the_same_in_parts(module: type[nn.Module]) -> None:
    network = convert(make_dyadic(module()), dyadic((1, 2, 8, 8), 2), T=4, max_spikes=2)
    with_dyadic_neurons(network)
    inputs, one, other = dyadic((2, 2, 8, 8), 1), EnergyMeter(), EnergyMeter()
    whole = network.predict(inputs, one).output
    limit(network, inputs, 2.5)
    assert torch.allclose(network.predict(inputs, other).output, whole, atol=1e-5)
    assert other.report() == one.report()


def test_steps_whose_mean_is_enough_are_added_up_as_they_come() -> None:
    network, inputs = levels_network(T=6), dyadic((2, 2, 8, 8), 1)
    whole, meter, again = network(inputs), EnergyMeter(), EnergyMeter()
    network.predict(inputs, meter)
    limit(network, inputs, 4.5)
    assert plan(network, inputs) == Parts(samples=1, steps=4)
    found = network.predict(inputs, again)
    assert found.by_step is None and again.report() == meter.report()
    for ours in (network(inputs), found.output):
        assert ours["stride"] == 2 and torch.equal(ours["grid"], whole["grid"])
        for one, other in zip(ours["maps"], whole["maps"], strict=True):
            assert all(map(torch.allclose, one, other))
    with Footprint() as all_at_once:
        network.memory_mb = None
        network(inputs)
    limit(network, inputs, 1.5)
    with Footprint() as one_by_one:
        network(inputs)
    assert one_by_one.peak < all_at_once.peak / 2.5


def test_changes_are_decoded_alike_however_many_steps_are_run_at_once() -> None:
    inputs = dyadic((9, 5), 3)
    network = with_dyadic_neurons(convert(linear_net(), inputs, T=6))
    set_dynamics(network, "changes", levels=3)
    whole = network.run_steps(inputs, None).unflatten(0, (6, -1))
    for sizes in ([1] * 6, [2, 2, 2], [3, 3], [1, 5], [4, 2]):
        state, first, found = RunState(), 0, []
        for steps in sizes:
            found.append(
                network.run_steps(inputs, None, state, first, steps).unflatten(0, (steps, -1))
            )
            first += steps
        torch.testing.assert_close(torch.cat(found), whole)


def test_sums_of_steps_are_as_wide_as_a_mean() -> None:
    net = Functional(lambda x: (F.relu(x).sum((1, 2, 3)) * 0 + 20000).half()[:, None])
    inputs = dyadic((2, 2, 8, 8), 1)
    network = with_dyadic_neurons(convert(net.eval(), inputs, T=8))
    whole = network(inputs)
    network.memory_mb = 1e9
    limit(network, inputs, 2.5)
    assert plan(network, inputs).steps == 2
    assert network(inputs).dtype is torch.float16 and torch.equal(network(inputs), whole)


def test_large_images_run_few_steps_at_once_where_memory_is_mapped_afresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, inputs = everything_network(T=5), dyadic((3, 2, 8, 8), 1)
    whole, expected = network.steps(inputs), network.predict(inputs).output
    assert plan(network, inputs).steps == 5
    monkeypatch.setattr(parts, "REUSED_BYTES", 4 * 4 * 8 * 8)  # the first layer's
    assert parts.BEFORE_CUT_IN_TIME == 3
    assert plan(network, inputs) == Parts(samples=1, steps=3)
    assert torch.equal(network.steps(inputs), whole)
    assert torch.equal(network.predict(inputs, EnergyMeter()).output, expected)
    network.warmup = 2
    assert plan(network, inputs) == Parts(samples=1, steps=5)


def test_too_little_memory_is_refused_and_says_what_is_needed() -> None:
    network = everything_network(T=4)
    inputs = dyadic((3, 2, 8, 8), 1)
    limit(network, inputs, 0.5)
    with pytest.raises(ConfigError, match=r"one sample takes \d+ MB at the least"):
        network(inputs)


def test_a_warm_up_is_never_cut() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    inputs = dyadic((3, 2, 8, 8), 1)
    for dynamics in ("gated", "offset"):
        network = convert(net, inputs, T=3)
        set_dynamics(network, dynamics, warmup=2)  # type: ignore[arg-type]
        whole = network(inputs)
        limit(network, inputs, 5.5)
        assert plan(network, inputs) == Parts(samples=1, steps=5)
        assert torch.allclose(network(inputs), whole, atol=1e-6)
        limit(network, inputs, 4.5)
        with pytest.raises(ConfigError, match="at the least"):
            network(inputs)


def test_a_footprint_is_the_largest_sum_of_what_lives_at_once() -> None:
    with torch.no_grad(), Footprint() as held:
        first = torch.ones(100)
        second = first + 1
        del first
        third = second.view(10, 10).mul_(2)
        del second
        third.sum()
    assert held.peak == 2 * 400


def test_a_step_holds_little_more_than_the_neurons_and_the_layers_around_them() -> None:
    network = everything_network(T=4)
    frame = dyadic((1, 2, 16, 16), 1)
    with torch.no_grad(), Footprint() as ann:
        network.ann(frame)
    with Footprint() as step:
        network.step(frame, RunState(), 0)
    assert ann.peak < step.peak < 6 * ann.peak


def test_a_limit_that_is_no_number_above_nothing_is_refused() -> None:
    network = everything_network(T=2)
    for wrong in (0, -1, float("nan"), "4 GB"):
        network.memory_mb = wrong  # type: ignore[assignment]
        with pytest.raises(ConfigError, match="memory_mb"):
            network(dyadic((1, 2, 8, 8), 1))


class Failing(nn.Linear):
    """A layer that runs out of memory for large batches, behind others that were counted."""

    most: int | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.most is not None and len(input) > self.most:
            raise torch.OutOfMemoryError("too much")
        return super().forward(input)


def failing(T: int = 4) -> tuple[SpikingNetwork, Failing]:
    torch.manual_seed(0)
    layers = [nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), Failing(8, 3)]
    network = convert(nn.Sequential(*layers).eval(), torch.randn(64, 5), T=T, max_spikes=2)
    return network, network.module[4]


@pytest.mark.parametrize("times", [0, 1, 3], ids=["decided", "from a tape", "without the module"])
@pytest.mark.parametrize("early", [False, True])
def test_a_batch_that_fails_counts_for_nothing_and_may_be_split(times: int, early: bool) -> None:
    (network, layer), inputs = failing(), torch.randn(64, 5)
    if early:
        network.exit_rule = network.fit_exit_rule([(inputs, network.ann(inputs).argmax(1))])
    meter, whole = EnergyMeter(), EnergyMeter()
    network.predict(inputs, whole)
    for _ in range(times):
        network.predict(inputs, EnergyMeter())
    layer.most = 130 if not early else 40
    with pytest.raises(torch.OutOfMemoryError):
        network.predict(inputs, meter)
    assert not meter.samples and not meter.layers
    for part in inputs.split(32):
        network.predict(part, meter)
    assert meter.report() == whole.report()


@pytest.mark.parametrize("times", [1, 3])
def test_a_step_that_fails_can_be_taken_again(times: int) -> None:
    (network, layer), inputs = failing(), torch.randn(64, 5)

    def run(fails: bool) -> Tensor:
        state, outputs = RunState(), []
        for step in range(4):
            layer.most = 1 if fails and step == 2 else None
            if layer.most:
                with pytest.raises(torch.OutOfMemoryError):
                    network.step(inputs, state, step)
                layer.most = None
            outputs.append(network.step(inputs, state, step))
        return torch.stack(outputs)

    for _ in range(times):
        wanted = run(False)
    assert torch.equal(run(True), wanted)
