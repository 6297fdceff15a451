"""Every form of an activation becomes neurons; what cannot is named."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.conversion import convert
from adacal.core.errors import UnsupportedModelError
from adacal.core.network import SpikingNetwork
from toys import Call, Functional, dyadic

FINE = 4096
"""So many spikes a step that a neuron is a fine quantiser."""


def converted(ann: nn.Module, x: Tensor, T: int = 3, **options: object) -> SpikingNetwork:
    """Converts with thresholds so fine that the network must give what the ANN gives."""
    network = convert(ann.eval(), x, T=T, max_spikes=FINE, **options)  # type: ignore[arg-type]
    for neuron in network.neurons.values():
        neuron.threshold = 2.0**-7
    return network


def assert_like_ann(network: SpikingNetwork, ann: nn.Module, x: Tensor) -> None:
    wanted, got = network.ann(x), network(x)
    torch.testing.assert_close(wanted, ann(x).detach())
    assert (got - wanted).abs().max() < 0.02 * (1 + wanted.abs().max())


def kinds(network: SpikingNetwork) -> list[str]:
    return [site.kind for site in network.report()]


FORMS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "F.relu": (F.relu, "burst"),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), "burst"),
    "F.relu_": (F.relu_, "burst"),
    "x.relu()": (lambda x: x.relu(), "burst"),
    "x.relu_()": (lambda x: x.relu_(), "burst"),
    "torch.relu": (torch.relu, "burst"),
    "torch.relu_": (torch.relu_, "burst"),
    "clamp(min=0)": (lambda x: x.clamp(min=0), "burst"),
    "clamp(0)": (lambda x: x.clamp(0), "burst"),
    "torch.clamp_": (lambda x: torch.clamp_(x, min=0.0), "burst"),
    "clamp_min": (lambda x: x.clamp_min(0), "burst"),
    "clamp_min_": (lambda x: x.clamp_min_(0), "burst"),
    "torch.clip": (lambda x: torch.clip(x, 0, None), "burst"),
    "F.threshold": (lambda x: F.threshold(x, 0, 0), "burst"),
    "F.relu6": (F.relu6, "capped"),
    "clamp(0, 1)": (lambda x: x.clamp(0, 1), "capped"),
    "F.hardtanh": (lambda x: F.hardtanh(x, 0, 0.5), "capped"),
    "F.hardtanh_": (lambda x: F.hardtanh_(x, 0.0, 0.5), "capped"),
    "nn.ReLU6": (nn.ReLU6(inplace=True), "capped"),
    "F.leaky_relu": (lambda x: F.leaky_relu(x, 0.25), "signed"),
    "F.leaky_relu_": (lambda x: F.leaky_relu_(x, 0.25), "signed"),
    "nn.LeakyReLU in place": (nn.LeakyReLU(0.25, inplace=True), "signed"),
    "nn.PReLU": (nn.PReLU(), "signed"),
    "nn.PReLU per channel": (nn.PReLU(6), "signed"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_neurons_and_computes_what_it_did(form: str) -> None:
    function, kind = FORMS[form]
    ann, x = Call(function), 3 * torch.randn(4, 5)
    network = converted(ann, x, strict=True)
    assert kinds(network) == [kind]
    assert_like_ann(network, ann, x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clamp(min=-1),
        lambda x: x.clamp(max=0),
        lambda x: F.hardtanh(x),
        lambda x: F.threshold(x, 0.5, 0),
        F.elu,
        F.silu,
        torch.sigmoid,
    ],
)
def test_what_is_no_relu_is_flagged_or_refused(function: Callable[[Tensor], Tensor]) -> None:
    ann = nn.Sequential(Call(function), nn.ReLU())
    x = torch.randn(4, 5)
    network = converted(ann, x)
    assert kinds(network) == ["analogue", "burst"]
    assert_like_ann(network, ann, x)
    with pytest.raises(UnsupportedModelError, match=r"at '0.*strict=True"):
        convert(ann, x, T=2, strict=True)


def test_a_reused_relu_is_one_population_per_call() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(4, 3)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.c(self.act(self.b(self.act(self.a(x))))))

    ann, x = Reused(), torch.randn(4, 5)
    network = converted(ann, x)
    assert [site.name for site in network.report()] == ["act", "act@2", "act@3"]
    assert [site.shape for site in network.report()] == [(6,), (4,), (3,)]
    assert len({id(neuron) for neuron in network.neurons.values()}) == 3
    assert_like_ann(network, ann, x)


def test_functional_sites_are_named_by_module_and_function() -> None:
    network = converted(
        nn.Sequential(Call(lambda x: F.relu(x) + x.clamp(min=0).relu_())), torch.randn(2, 5)
    )
    assert [site.name for site in network.report()] == ["0.relu", "0.clamp", "0.relu@2"]


IMAGES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "concat": lambda m, x: torch.cat([F.relu(m.a(x)), m.a(x)], 1),
    "concat of channels last": lambda m, x: torch.cat(
        [F.relu(m.a(x)).permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)], -1
    ),
    "residual": lambda m, x: F.relu(m.b(F.relu(m.a(x))) + x),
    "residual in place": lambda m, x: F.relu(m.b(F.relu(m.a(x))).add_(x), inplace=True),
    "residual +=": lambda m, x: m.add(F.relu(m.b(F.relu(m.a(x)))), x),
    "grouped": lambda m, x: F.relu(m.grouped(F.relu(m.a(x)))),
    "depthwise strided": lambda m, x: F.relu(m.strided(F.relu(m.a(x)))),
    "transposed": lambda m, x: F.relu(m.up(F.relu(m.a(x)))),
    "adaptive average": lambda m, x: F.adaptive_avg_pool2d(F.relu(m.a(x)), 3),
    "adaptive max": lambda m, x: F.adaptive_max_pool2d(F.relu(m.a(x)), 2),
    "max pool": lambda m, x: F.max_pool2d(F.relu(m.a(x)), 2),
    "interpolate": lambda m, x: F.interpolate(F.relu(m.a(x)), scale_factor=2, mode="bilinear"),
    "mean": lambda m, x: F.relu(m.a(x)).mean((2, 3)),
    "pad": lambda m, x: F.pad(F.relu(m.a(x)), (1, 1)),
    "scaled": lambda m, x: 0.5 * F.relu(m.a(x)) / 2 - 1,
    "split and stack": lambda m, x: torch.stack(F.relu(m.a(x)).chunk(2, 1)).sum(0),
    "shuffle": lambda m, x: m.b(F.channel_shuffle(F.relu(m.a(x)), 2)),
    "written into zeros": lambda m, x: F.relu(m.b(m.write(F.relu(m.a(x))))),
    "relu on half the channels in place": lambda m, x: m.b(m.half(m.a(x))),
    "copied into a view": lambda m, x: F.relu(m.b(m.copied(F.relu(m.a(x))))),
    "product with the input": lambda m, x: F.relu(m.a(x)) * x.mean((2, 3), keepdim=True),
}


class Images(nn.Module):
    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2)
        self.strided = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)

    def add(self, y: Tensor, x: Tensor) -> Tensor:
        y += x
        return F.relu_(y)

    def write(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        return y

    def copied(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, 1:].copy_(x[:, :-1])
        return y

    def half(self, x: Tensor) -> Tensor:
        x[:, :2].relu_()
        return x


@pytest.mark.parametrize("form", IMAGES)
@pytest.mark.parametrize("stream", [False, True])
def test_linear_parts_pass_spikes_on_unchanged(form: str, stream: bool) -> None:
    torch.manual_seed(0)
    ann, x = Images(IMAGES[form]).eval(), torch.randn(2, 4, 8, 8)
    frames = x.expand(3, *x.shape) if stream else x
    network = converted(ann, frames, stream=stream, strict=form != "product with the input")
    wanted = ann(x)
    assert (network(frames) - wanted).abs().max() < 0.02 * (1 + wanted.abs().max())
    assert all(neuron.channel_dim == 1 for neuron in network.neurons.values())


TOKENS: dict[str, tuple[Callable[[nn.Linear, Tensor], Tensor], int]] = {
    "linear": (lambda m, x: F.relu(m(x)), -1),
    "after a transpose": (lambda m, x: F.relu(m(x).transpose(1, 2)), 1),
    "before a transpose": (lambda m, x: F.relu(m(x.transpose(1, 2).transpose(1, 2))), -1),
    "a matrix product": (lambda m, x: F.relu(x @ m.weight.T + m.bias), -1),
    "channels last by movedim": (lambda m, x: F.relu(m(x).movedim(2, 1)), 1),
    "folded points": (lambda m, x: F.relu(m(x).flatten(0, 1)).unflatten(0, (-1, 5)), 1),
    "tokens first": (lambda m, x: F.relu(m(x.transpose(0, 1))).transpose(0, 1), -1),
    "samples last": (lambda m, x: F.relu(m(x).permute(1, 2, 0)).permute(2, 0, 1), -1),
    "one token of tokens first": (lambda m, x: F.relu(m(x.transpose(0, 1))[0]), -1),
    "qkv": (
        lambda m, x: F.relu(m(x).reshape(-1, 5, 3, 2).permute(2, 0, 1, 3).unbind(0)[1]),
        -1,
    ),
    "qkv by index": (
        lambda m, x: F.relu(m(x).reshape(-1, 5, 3, 2).permute(2, 0, 1, 3)[0, ..., None, :]),
        -1,
    ),
    "one number a sample": (lambda m, x: F.relu(m(x)[:, 0, 0]), 1),
    "iterated": (lambda m, x: sum(F.relu(t) for t in m(x).permute(1, 0, 2)), 1),
}


@pytest.mark.parametrize("form", TOKENS)
@pytest.mark.parametrize("hidden", [False, True])
def test_tokens_find_their_channels_and_samples(form: str, hidden: bool) -> None:
    """5 tokens, 15 rows: rows taken from the wrong dimension would give wrong numbers."""
    function, channel_dim = TOKENS[form]

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.linear = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return function(self.linear, F.relu(self.first(x)) if hidden else x)

    torch.manual_seed(0)
    ann, x = Tokens().eval(), torch.randn(1, 5, 6)
    network = converted(ann, x, T=5)
    site = network.sites[-1]
    dims = len(site.shape) + 1
    assert site.channel_dim % dims == channel_dim % dims
    assert_like_ann(network, ann, x)
    assert_like_ann(network, ann, torch.randn(3, 5, 6))


def test_an_output_with_samples_in_another_dimension_is_refused() -> None:
    ann = nn.Sequential(Call(F.relu), Functional(lambda x: x.transpose(0, 1)))
    with pytest.raises(UnsupportedModelError, match="samples in dimension 1; move them"):
        convert(ann, torch.randn(4, 5), T=2)


def test_samples_folded_behind_other_dimensions_are_refused() -> None:
    ann = nn.Sequential(Call(F.relu), Functional(lambda x: x.transpose(0, 1).flatten()))
    with pytest.raises(UnsupportedModelError, match="keep samples in dimension 0"):
        convert(ann, torch.randn(4, 5), T=2)


def test_a_lost_batch_dimension_is_refused() -> None:
    ann = nn.Sequential(Call(F.relu), Functional(lambda x: x[0].relu()))
    with pytest.raises(UnsupportedModelError, match="keep samples in dimension 0"):
        convert(ann, torch.randn(1, 5), T=2)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gt", lambda x: x * (x > 0)),
        ("max", lambda x: x / x.max()),
        ("item", lambda x: x * x[:1, :1].item()),
        ("__bool__", lambda x: x if x.sum() else -x),
        ("argmax", lambda x: x * x.argmax()),
        ("topk", lambda x: x.topk(2, 1)[0].sum(1, keepdim=True) + x),
    ],
)
def test_decisions_on_activation_values_are_refused_by_name(
    name: str, function: Callable[[Tensor], Tensor]
) -> None:
    ann = nn.Sequential(Call(F.relu), Functional(function), nn.ReLU())
    with pytest.raises(UnsupportedModelError, match=f"'_*{name}_*' at '1.*activation values"):
        convert(ann, torch.rand(4, 5), T=2)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (nn.BatchNorm1d(3, track_running_stats=False), "batch_norm"),
        (Functional(lambda x: F.batch_norm(x, None, None, training=True)), "batch_norm"),
        (Functional(lambda x: F.dropout(x, 0.5)), "dropout"),
        (Functional(lambda x: F.dropout(x, 0.5, True)), "dropout"),
        (Functional(lambda x: F.alpha_dropout(x, 0.5, training=True)), "alpha_dropout"),
    ],
)
def test_parts_left_in_training_mode_are_refused(part: nn.Module, name: str) -> None:
    ann = nn.Sequential(Call(F.relu), part, nn.ReLU())
    with pytest.raises(UnsupportedModelError, match=f"'{name}' at '1.*training mode; call .eval"):
        convert(ann, torch.rand(4, 5), T=2)


def test_dropout_in_eval_mode_passes() -> None:
    part = Functional(lambda x: F.alpha_dropout(F.dropout(x, 0.5, False), 0.5))
    ann = nn.Sequential(Call(F.relu), part, nn.Dropout(0.9), nn.ReLU())
    x = torch.rand(4, 5)
    assert_like_ann(converted(ann, x, strict=True), ann, x)


def test_the_producer_of_a_current_is_known_through_batch_norm_and_residuals() -> None:
    ann = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x = dyadic((2, 2, 6, 6), 0)
    network = convert(ann, x, T=2)
    seen = []
    network.reference_pass(x, lambda _, rows, trace: seen.append(trace.producer) or (rows, None))
    assert seen[0].module == "0"
    norm = ann[1]
    torch.testing.assert_close(seen[0].scale, norm.weight / (norm.running_var + norm.eps).sqrt())
