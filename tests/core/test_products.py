"""Products written in any way cost what their elementary products, counted one by one, cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adacal.core.calls import Call
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter, EnergyReport
from adacal.core.errors import UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.measure import measure_energy
from adacal.core.synapses import product_macs
from core.energy_toys import filled, seeded, spikes_into

pytestmark = pytest.mark.usefixtures("every_way")

SHAPES = {"matrix": (6, 7), "left": (7, 6), "square": (5, 5), "stack": (5, 6, 7), "vector": (6,)}
WEIGHTS = {
    name: torch.rand(*shape, generator=seeded(len(name))) - 0.4 for name, shape in SHAPES.items()
}
"""Spikes x are [B, 6], tokens of spikes [B, 5, 6]."""

Form = Callable[[Tensor, dict[str, Tensor]], Tensor]
ROWS: dict[str, Form] = {
    "einsum": lambda x, w: torch.einsum("bi,ij->bj", x, w["matrix"]),
    "einsum, weight first": lambda x, w: torch.einsum("ji,bi->bj", w["left"], x),
    "einsum without arrow": lambda x, w: torch.einsum("bi, ij", x, w["matrix"]),
    "einsum with a list": lambda x, w: torch.einsum("bi,ij->bj", [x, w["matrix"]]),
    "einsum of sublists": lambda x, w: torch.einsum(x, [0, 1], w["matrix"], [1, 2], [0, 2]),
    "einsum to a number": lambda x, w: torch.einsum("bi,i->b", x, w["vector"]).unsqueeze(1),
    "outer by einsum": lambda x, w: torch.einsum("bi,j->bij", x, w["vector"]).flatten(1),
    "addmm": lambda x, w: torch.addmm(torch.zeros(7), x, w["matrix"]),
    "addmm by keywords": lambda x, w: torch.addmm(
        input=torch.zeros(7), mat2=w["matrix"], mat1=x, beta=0.5
    ),
    "mm": lambda x, w: torch.mm(x, mat2=w["matrix"]),
    "mv": lambda x, w: torch.mv(x, w["vector"]).unsqueeze(1),
    "addmv": lambda x, w: torch.addmv(torch.zeros(1), x, w["vector"]).unsqueeze(1),
    "tensordot": lambda x, w: torch.tensordot(x, w["matrix"], 1),
    "tensordot over named dimensions": lambda x, w: torch.tensordot(x, w["left"], ([1], [1])),
    "inner": lambda x, w: torch.inner(x, w["left"]),
    "linalg.matmul": lambda x, w: torch.linalg.matmul(x, w["matrix"]),
    "linalg.vecdot": lambda x, w: torch.linalg.vecdot(x, w["vector"]).unsqueeze(1),
    "reversed": lambda x, w: w["matrix"].__rmatmul__(x),
    "from the left": lambda x, w: (w["left"] @ x.T).T,
    "outer": lambda x, w: torch.outer(x[:, 0], w["vector"]),
}
TOKENS: dict[str, Form] = {
    "einsum": lambda x, w: torch.einsum("bti,ij->btj", x, w["matrix"]),
    "einsum with dots": lambda x, w: torch.einsum("...i,ji->...j", x, w["left"]),
    "einsum of tokens first": lambda x, w: torch.einsum("bti,ij->tbj", x, w["matrix"]).mT.permute(
        2, 0, 1
    ),
    "a matrix for each token": lambda x, w: torch.einsum("bti,tij->btj", x, w["stack"]),
    "batched matmul": lambda x, w: torch.matmul(x.unsqueeze(2), w["stack"]).squeeze(2),
    "bmm": lambda x, w: torch.bmm(x, w["matrix"].expand(x.shape[0], -1, -1)),
    "baddbmm": lambda x, w: torch.baddbmm(
        torch.zeros(1, 1, 7), x, w["matrix"].expand(x.shape[0], -1, -1)
    ),
    "mixed tokens": lambda x, w: w["square"] @ x,
    "mixed tokens by einsum": lambda x, w: torch.einsum("st,btc->bsc", w["square"], x),
    "summed and multiplied": lambda x, w: torch.einsum("bti,ij->bj", x, w["matrix"]),
    "tensordot": lambda x, w: torch.tensordot(x, w["matrix"], dims=1),
}


class Products(nn.Module):
    """linear -> relu -> product -> relu -> sum."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.first, self.act, self.after = nn.Linear(4, 6), nn.ReLU(), nn.ReLU()
        self.probe, self.form = nn.Identity(), form

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.form(self.probe(self.act(self.first(x))), WEIGHTS)).flatten(1)


def layer(report: EnergyReport, site: str) -> float:
    return next(layer.spikes for layer in report.layers if layer.name == site)


def stepwise(network, inputs: Tensor) -> EnergyReport:  # type: ignore[no-untyped-def]
    meter, state = EnergyMeter(), RunState()
    for step in range(network.T):
        network.step(inputs, state, step, meter)
    return meter.report()


@pytest.mark.parametrize(
    ("form", "shape"),
    [*((form, (3, 4)) for form in ROWS.values()), *((form, (3, 5, 4)) for form in TOKENS.values())],
    ids=[*ROWS, *(f"tokens, {name}" for name in TOKENS)],
)
def test_a_product_with_a_constant_is_counted_as_a_layer(
    form: Form, shape: tuple[int, ...]
) -> None:
    inputs = torch.rand(*shape, generator=seeded())
    network = convert(filled(Products(form)), inputs, T=2, max_spikes=2)
    spikes = torch.tensor(spikes_into(network, network.module.probe, "act", inputs)).float()
    # with ones everywhere each elementary product adds 1, so gradients are fan-outs
    ones = {name: torch.ones_like(weight) for name, weight in WEIGHTS.items()}
    probe = torch.ones(spikes.shape, requires_grad=True)
    everything = form(probe, ones).sum()
    (fan_out,) = torch.autograd.grad(everything, probe)
    report = measure_energy(network, inputs)
    assert report.sops * 3 == pytest.approx(float((spikes * fan_out).sum()))
    assert report.sops > 0
    first = 4 * 6 * inputs[0].numel() // 4
    assert report.macs == first
    assert report.ann_macs == pytest.approx(first + float(everything.detach()) / 2 / 3)
    assert stepwise(network, inputs).sops == pytest.approx(report.sops)
    for name in ("act", "after"):
        network.neurons[name].threshold, network.neurons[name].max_spikes = 2.0**-10, 2**14
    torch.testing.assert_close(network(inputs), network.ann(inputs), atol=0.05, rtol=0.02)


def test_an_einsum_of_one_operand_passes_spikes_on() -> None:
    for form, kept in (("bti->bit", 1), ("bti->bi", 1), ("bti->tbi", 1)):
        inputs = torch.rand(3, 5, 4, generator=seeded())

        class Moved(nn.Module):
            def __init__(self, way: str) -> None:
                super().__init__()
                self.first, self.act, self.last = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 7)
                self.way = way

            def forward(self, x: Tensor) -> Tensor:
                out = self.last(torch.einsum(self.way, self.act(self.first(x))))
                return out.transpose(0, 1) if self.way == "bti->tbi" else out

        report = measure_energy(convert(filled(Moved(form)), inputs, T=2), inputs)
        assert report.sops == pytest.approx(7 * kept * report.spikes)


def test_a_product_of_three_is_counted_as_macs_from_left_to_right() -> None:
    middle, last = torch.rand(6, 8, generator=seeded(1)), torch.rand(8, 2, generator=seeded(2))
    forms: list[Form] = [
        lambda x, w: torch.einsum("bi,ij,jk->bk", x, middle, last),
        lambda x, w: torch.linalg.multi_dot([x, middle, last]),
    ]
    for form in forms:
        inputs = torch.rand(3, 4, generator=seeded())
        report = measure_energy(convert(filled(Products(form)), inputs, T=2), inputs)
        assert report.sops == 0
        assert report.macs == 4 * 6 + 2 * (6 * 8 + 8 * 2)


def test_a_bilinear_layer_of_spikes_and_input_is_counted_as_macs() -> None:
    class Bilinear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.last = nn.Linear(4, 6), nn.ReLU(), nn.Bilinear(6, 4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(self.first(x)), x)

    inputs = torch.rand(3, 4, generator=seeded())
    report = measure_energy(convert(filled(Bilinear()), inputs, T=2), inputs)
    products = 6 * 5 * 4 + 5 * 4
    assert report.macs == 4 * 6 + 2 * products
    assert report.ann_macs == 4 * 6 + products


def test_a_product_of_two_activations_is_counted_as_macs_whichever_way_it_is_written() -> None:
    forms: list[Form] = [
        lambda x, w: x @ x.mT,
        lambda x, w: torch.bmm(x, mat2=x.mT),
        lambda x, w: torch.baddbmm(torch.zeros(1, 1, 5), x, x.mT),
        lambda x, w: torch.einsum("bti,bsi->bts", x, x),
        lambda x, w: torch.einsum("bti,bsi->sbt", x, x).transpose(0, 1),
    ]
    for form in forms:
        inputs = torch.rand(3, 5, 4, generator=seeded())
        network = convert(filled(Products(form)), inputs, T=2)
        report = measure_energy(network, inputs)
        assert report.macs == 5 * 4 * 6 + 2 * 5 * 5 * 6
        assert report.ann_macs == 5 * 4 * 6 + 5 * 5 * 6
        for neuron in network.neurons.values():
            neuron.threshold, neuron.max_spikes = 2.0**-10, 2**14
        torch.testing.assert_close(network(inputs), network.ann(inputs), atol=0.05, rtol=0.02)


def test_a_residual_added_by_a_product_costs_an_accumulate_a_spike() -> None:
    square = torch.rand(6, 6, generator=seeded(1)) - 0.4
    form: Form = lambda x, w: torch.addmm(x, x, square)  # noqa: E731
    inputs = torch.rand(3, 4, generator=seeded())
    network = convert(filled(Products(form)), inputs, T=2)
    report = measure_energy(network, inputs)
    assert [site.kind for site in network.report()] == ["burst", "burst"]
    assert report.sops == pytest.approx((6 + 1) * layer(report, "act"))


def test_a_product_that_sums_over_samples_is_refused() -> None:
    form: Form = lambda x, w: torch.einsum("bi,bj->ij", x, x)  # noqa: E731
    with pytest.raises(UnsupportedModelError, match="holds the samples; keep samples apart"):
        convert(Products(form), torch.rand(3, 4), T=2)


def test_a_static_product_of_two_is_counted_once_time_batched_or_stepwise() -> None:
    class Static(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Linear(5, 6), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.first(x @ x.mT))

    inputs = torch.rand(3, 5, 4, generator=seeded())
    network = convert(filled(Static()), inputs, T=3)
    batched, by_step = measure_energy(network, inputs), stepwise(network, inputs)
    assert batched.macs == by_step.macs == 5 * 5 * 4 + 5 * 5 * 6


# attention, recurrence, layers with changing weights ----------------------------------------------


class Attends(nn.Module):
    """Queries of 3 tokens look at 7 of another width."""

    def __init__(self, attention: nn.Module, *, batch_first: bool) -> None:
        super().__init__()
        self.query, self.act, self.attention = nn.Linear(8, 8), nn.ReLU(), attention
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        queries, keys = self.act(self.query(x[:, :3])), x[:, 3:]
        if self.batch_first:
            return self.attention(queries, keys, keys)[0]
        turned = keys.transpose(0, 1)
        return self.attention(queries.transpose(0, 1), turned, turned)[0].transpose(0, 1)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("extra", [0, 2])
def test_cross_attention_counts_every_query_with_every_key(batch_first: bool, extra: int) -> None:
    attention = nn.MultiheadAttention(
        8, 2, batch_first=batch_first, add_bias_kv=extra > 0, add_zero_attn=extra > 0
    )
    net = filled(Attends(attention, batch_first=batch_first))
    report = measure_energy(convert(net, torch.rand(2, 10, 8), T=2), torch.rand(2, 10, 8))
    into = 3 * 8 * 8 + 2 * 7 * 8 * 8  # queries, keys, values
    once = into + 2 * 3 * (7 + extra) * 8 + 3 * 8 * 8
    assert report.macs == 3 * 8 * 8 + 2 * once
    assert report.ann_macs == 3 * 8 * 8 + once


def test_keys_and_values_of_other_widths_are_projected_from_them() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.act = nn.Linear(8, 8), nn.ReLU()
            self.attention = nn.MultiheadAttention(8, 2, kdim=5, vdim=4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(self.act(self.query(x)), x[..., :5], x[..., :4])[0]

    inputs = torch.rand(2, 3, 8)
    report = measure_energy(convert(filled(Narrow()), inputs, T=1), inputs)
    assert report.ann_macs == 3 * 64 + 3 * 8 * (8 + 5 + 4 + 8) + 2 * 3 * 3 * 8


def test_attention_given_by_keywords_counts_cross_lengths() -> None:
    class Dot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.act = nn.Linear(8, 8), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.act(self.query(x[:, :3])), x[:, 3:], x[:, 3:, :4]
            return F.scaled_dot_product_attention(query=q, value=v, key=k)

    inputs = torch.rand(2, 10, 8)
    report = measure_energy(convert(filled(Dot()), inputs, T=1), inputs)
    assert report.ann_macs == 3 * 64 + 3 * 7 * 8 + 3 * 7 * 4


def test_recurrent_layers_count_their_matrices_once_for_each_vector() -> None:
    class Recurrent(nn.Module):
        def __init__(self, *parts: nn.Module) -> None:
            super().__init__()
            self.first, self.last, self.act = parts[0], nn.Linear(12, 2), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.last(self.first(x)[0]))

    layers = nn.GRU(4, 6, num_layers=2, bidirectional=True, batch_first=True)
    net = filled(Recurrent(layers))
    report = measure_energy(convert(net, torch.rand(2, 5, 4), T=2), torch.rand(2, 5, 4))
    gates = 2 * 3 * 6 * (4 + 6) + 2 * 3 * 6 * (12 + 6)
    assert report.macs == report.ann_macs == 5 * (gates + 12 * 2)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_by_a_changing_weight_counts_its_taps_at_borders(transposed: bool) -> None:
    function = F.conv_transpose2d if transposed else F.conv2d
    name = "conv_transpose2d" if transposed else "conv2d"
    weight = torch.ones(2, 3, 3, 3) if transposed else torch.ones(3, 2, 3, 3)
    call = Call(function, name, (torch.ones(4, 2, 5, 5), weight, None, 2, 1))
    assert product_macs(call, call.run()) == float(call.run().sum())


@pytest.mark.parametrize(
    "form",
    [
        lambda y, x: F.grid_sample(
            x.reshape(-1, 1, 4, 5), y.reshape(-1, 5, 3, 2) - 0.5, align_corners=False
        ),
        lambda y, x: torch.div(8 * y, 1.0, rounding_mode="floor"),
    ],
)
def test_what_is_linear_in_other_forms_only_is_kept_analogue(
    form: Callable[[Tensor, Tensor], Tensor],
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Linear(4, 6), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return form(self.act(self.first(x)), x)

    network = convert(filled(Net()), torch.rand(3, 5, 4, generator=seeded()), T=2)
    assert [site.kind for site in network.report()] == ["burst", "analogue"]
