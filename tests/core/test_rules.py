"""Running rules: the mean over T of what they emit is the function of the mean, exactly at T."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.errors import UnsupportedModelError
from adacal.core.layout import Layout, RuleState
from adacal.core.network import SpikingNetwork
from adacal.core.pooling import average_version
from adacal.core.rules import apply_rule
from toys import Functional, Gate, dyadic, with_dyadic_neurons

T, B = 5, 3
LAYOUT = Layout(steps=T, reference=False, batch=B, T=T)


def run(
    function: Callable[..., Tensor],
    x: Tensor,
    *args: object,
    mean: bool,
    layout: Layout = LAYOUT,
    state: RuleState | None = None,
) -> Tensor:
    return apply_rule(
        function,
        (x, *args),
        {},
        layout=layout,
        is_stream=lambda t: t is x,
        where="here",
        mean=mean,
        state=state,
    )


def over_time(rows: Tensor) -> Tensor:
    return rows.unflatten(0, (T, -1))


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: x.amax((2, 3)),
        lambda x: x.max(2)[0],
    ],
)
def test_the_running_max_sums_to_the_max_of_the_sum_in_whole_multiples_of_theta(
    pool: Callable[[Tensor], Tensor],
) -> None:
    spikes = dyadic((T * B, 2, 6, 6), 0, denominator=1, bound=3).abs() * 0.375
    out = run(pool, spikes, mean=False)
    sums = over_time(spikes).cumsum(0)
    for t in range(T):
        assert torch.equal(over_time(out)[: t + 1].sum(0), pool(sums[t]))
    multiples = out / 0.375
    assert torch.equal(multiples, multiples.round()) and bool((out >= 0).all())
    assert not torch.equal(out, pool(spikes)), "pooling every step would have done"


@pytest.mark.parametrize(
    "function", [F.silu, lambda x: F.softmax(x, 1), lambda x: F.group_norm(x, 2), torch.abs]
)
def test_the_running_mean_is_the_function_of_the_mean_after_every_step(
    function: Callable[[Tensor], Tensor],
) -> None:
    x = dyadic((T * B, 4, 3), 1)
    running = over_time(run(function, x, mean=True)).cumsum(0)
    means = over_time(x).cumsum(0)
    for t in range(T):
        torch.testing.assert_close(running[t] / (t + 1), function(means[t] / (t + 1)))


@pytest.mark.parametrize("mean", [True, False])
def test_step_by_step_with_state_emits_the_same(mean: bool) -> None:
    x = dyadic((T * B, 4, 6), 2)
    function = torch.abs if mean else lambda x: F.max_pool1d(x, 2)
    whole = over_time(run(function, x, mean=mean))
    state = RuleState()
    one = Layout(steps=1, reference=False, batch=B, T=T)
    for t in range(T):
        frame = over_time(x)[t]
        emitted = run(function, frame, mean=mean, layout=one, state=state)
        torch.testing.assert_close(emitted, whole[t], rtol=0, atol=0 if not mean else 1e-6)
    assert state.step == T


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("reference", [True, False])
def test_a_single_step_is_the_function_and_refuses_no_less(mean: bool, reference: bool) -> None:
    layout = Layout(steps=1, reference=reference, batch=B, T=1)
    x = dyadic(((1 + reference) * B, 4, 6), 2)
    function = torch.abs if mean else lambda x: F.max_pool1d(x, 2)
    assert torch.equal(run(function, x, mean=mean, layout=layout), function(x))
    with pytest.raises(UnsupportedModelError, match="does not keep samples"):
        run(lambda x: x.exp().sum(), x, mean=mean, layout=layout)
    with pytest.raises(UnsupportedModelError, match="no multiple"):
        run(lambda x: x.exp()[:-1], x, mean=mean, layout=layout)


@pytest.mark.parametrize("steps", [1, T])
def test_a_function_in_place_does_not_overwrite_its_streams(steps: int) -> None:
    layout = Layout(steps=steps, reference=False, batch=B, T=steps)
    x = dyadic((steps * B, 4, 6), 2)
    before = x.clone()
    run(lambda x: F.silu(x, inplace=True), x, mean=True, layout=layout)
    assert torch.equal(x, before)


def test_an_ann_stream_beside_the_spikes_passes_through_the_function_itself() -> None:
    layout = Layout(steps=T, reference=True, batch=B, T=T)
    x = dyadic(((T + 1) * B, 4), 3)
    out = run(torch.abs, x, mean=True, layout=layout)
    assert torch.equal(out[:B], x[:B].abs())
    torch.testing.assert_close(
        out[B:].unflatten(0, (T, B)).mean(0), x[B:].unflatten(0, (T, B)).mean(0).abs()
    )


def test_a_function_that_loses_the_samples_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="here"):
        run(lambda x: x.exp().sum(), dyadic((T * B, 4), 0), mean=True)
    with pytest.raises(UnsupportedModelError, match="no multiple"):
        run(lambda x: x.exp()[:-1], dyadic((T * B, 4), 0), mean=True)


# whole networks ------------------------------------------------------------------------------


def mean_before_and_after(ann: nn.Module, x: Tensor, **options: object) -> tuple[Tensor, Tensor]:
    """Mean over T of the inputs of `ann.tail`, and of the network's output."""
    network: SpikingNetwork = convert(ann, x, T=T, max_spikes=2, **options)  # type: ignore[arg-type]
    with_dyadic_neurons(network, theta=0.375)
    seen: list[Tensor] = []
    tail = network.module.get_submodule("tail")
    handle = tail.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    output = network(x)
    handle.remove()
    return seen[0].unflatten(0, (T, -1)).mean(0), output


class Attention(nn.Module):
    def __init__(self, weights: bool, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.weights, self.batch_first = weights, batch_first

    def forward(self, x: Tensor) -> Tensor:
        if not self.batch_first:
            x = x.transpose(0, 1)
        y, weights = self.attention(x, x, x, need_weights=self.weights)
        if not self.batch_first:
            y = y.transpose(0, 1)
        return y if weights is None else torch.cat([y, weights], -1)


TOKENS: dict[str, nn.Module] = {
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "hardswish": nn.Hardswish(),
    "softmax": nn.Softmax(-1),
    "layer norm": nn.LayerNorm(8),
    "gate": Functional(lambda x: x * x.sigmoid()),
    "quotient": Functional(lambda x: x / (1 + x.sum(-1, keepdim=True))),
    "attention by hand": Functional(lambda x: (x @ x.transpose(1, 2)).softmax(-1) @ x),
    "scaled dot product": Functional(lambda x: F.scaled_dot_product_attention(x, x, x)),
    "attention": Attention(weights=False, batch_first=True),
    "attention with weights": Attention(weights=True, batch_first=True),
    "attention, tokens first": Attention(weights=True, batch_first=False),
}


@pytest.mark.parametrize("name", TOKENS)
def test_an_analogue_part_gives_the_function_of_the_mean_at_T(name: str) -> None:
    torch.manual_seed(0)
    ann = nn.Sequential()
    ann.add_module("head", nn.Linear(6, 8))
    ann.add_module("relu", nn.ReLU())
    ann.add_module("tail", TOKENS[name])
    ann.eval()
    # 10 tokens: a multiple of T, so that rows taken from the wrong dimension would not be noticed
    incoming, output = mean_before_and_after(ann, torch.randn(B, 10, 6))
    with torch.no_grad():
        wanted = ann.get_submodule("tail")(incoming)
    torch.testing.assert_close(output, wanted, rtol=1e-4, atol=1e-5)


def test_group_norm_and_a_gate_of_convolutions_are_exact_at_T() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential()
    ann.add_module("head", Gate())
    ann.add_module("relu", nn.ReLU())
    ann.add_module("tail", nn.Sequential(nn.GroupNorm(2, 4), nn.SiLU()))
    ann.eval()
    incoming, output = mean_before_and_after(ann, torch.randn(B, 2, 8, 8))
    with torch.no_grad():
        torch.testing.assert_close(output, ann[2](incoming), rtol=1e-4, atol=1e-4)


def pooled_net(pool: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    ann = nn.Sequential()
    ann.add_module("head", nn.Conv2d(2, 4, 3))
    ann.add_module("relu", nn.ReLU())
    ann.add_module("tail", pool)
    return ann.eval()


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.AdaptiveMaxPool2d(2),
        Functional(lambda x: torch.max(x.flatten(2), 2)[0]),
        Functional(lambda x: torch.max(x.flatten(2), 2, keepdim=True).values),
        Functional(lambda x: x.amax((2, 3))),
        Functional(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
        Functional(lambda x: F.max_pool1d(x.flatten(2), 4)),
    ],
)
def test_a_max_pool_is_exact_at_T(pool: nn.Module) -> None:
    ann, x = pooled_net(pool), torch.randn(B, 2, 8, 8)
    incoming, output = mean_before_and_after(ann, x)
    torch.testing.assert_close(output, pool(incoming))
    _, stepwise = mean_before_and_after(ann, x, max_pool="step_max")
    assert bool((stepwise >= output - 1e-6).all())


@pytest.mark.parametrize(
    ("pool", "average"),
    [
        (nn.MaxPool2d(2), nn.AvgPool2d(2)),
        (nn.MaxPool2d(3, stride=1, padding=1), nn.AvgPool2d(3, stride=1, padding=1)),
        (nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, ceil_mode=True)),
        (nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(2)),
        (Functional(lambda x: x.amax((2, 3))), Functional(lambda x: x.mean((2, 3)))),
        (
            Functional(lambda x: torch.max(x.flatten(2), 2)[0]),
            Functional(lambda x: x.flatten(2).mean(2)),
        ),
        (
            Functional(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
            nn.AvgPool2d(2),
        ),
    ],
)
def test_max_pools_can_be_averages_or_taken_step_by_step(
    pool: nn.Module, average: nn.Module
) -> None:
    ann, x = pooled_net(pool), torch.randn(B, 2, 8, 8)
    incoming, output = mean_before_and_after(ann, x, max_pool="average")
    torch.testing.assert_close(output, average(incoming))


def test_the_step_max_is_the_mean_of_the_maxima() -> None:
    network = with_dyadic_neurons(
        convert(pooled_net(nn.MaxPool2d(2)), torch.randn(B, 2, 8, 8), T=T, max_pool="step_max")
    )
    x, seen = torch.randn(B, 2, 8, 8), []
    network.module.get_submodule("tail").register_forward_pre_hook(
        lambda _, args: seen.append(args[0].clone())
    )
    output = network(x)
    assert torch.equal(output, over_time(F.max_pool2d(seen[0], 2)).mean(0))
    assert not torch.allclose(output, F.max_pool2d(over_time(seen[0]).mean(0), 2))


def test_average_version_keeps_strides_and_kept_dimensions() -> None:
    x = dyadic((2, 3, 8), 0)
    whole = Call(torch.amax, "amax", (x, -1), {"keepdim": True})
    assert average_version(whole, x).shape == (2, 3, 1)
    halved = Call(F.max_pool1d, "max_pool1d", (x, 4), {"stride": 2})
    assert average_version(halved, x).shape == (2, 3, 3)


def test_a_running_max_before_the_first_neuron_sees_only_the_static_input() -> None:
    pool = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 4, 3), nn.ReLU()).eval()
    x = dyadic((B, 2, 8, 8), 0)
    network = convert(pool, x, T=T, max_spikes=64)
    expected = pool(x)
    assert (network(x) - expected).abs().max() < expected.max() / 64
