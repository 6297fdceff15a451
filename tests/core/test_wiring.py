"""Passes without their module: the same bits, and the module wherever it might do otherwise."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import random
import subprocess
import sys
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook

from adacal.core import wiring
from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.network import SpikingNetwork
from tape_cases import NETWORKS, Overwriting, assert_equal, fresh
from toys import Call, Functional, dyadic, everything_network, linear_net
from toys import with_dyadic_neurons as neurons


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has an entry for every pass without its module."""
    found: list[int] = []
    run = wiring.Wiring.run

    def noting(self: Any, make: Any, rows: Tensor) -> Any:
        found.append(rows.shape[0])
        return run(self, make, rows)

    monkeypatch.setattr(wiring.Wiring, "run", noting)
    return found


def network_of(net: nn.Module, T: int = 2) -> SpikingNetwork:
    return neurons(convert(net.eval(), dyadic((2, 5), 0), T=T, max_spikes=2))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_third_pass_of_a_form_gives_the_same_bits_without_the_module(
    name: str, without: list[int]
) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = neurons(convert(make().eval(), dyadic((2, *shape), 0), T=3, max_spikes=2))
    for batch, seed in ((4, 1), (4, 2), (4, 3), (2, 4), (2, 5), (4, 6), (7, 7), (2, 8)):
        inputs = dyadic((batch, *shape), seed)
        assert_equal(network(inputs), fresh(network, inputs))
    assert without == [12, 6, 12, 6]


@pytest.mark.parametrize("max_pool", ["running_max", "step_max"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_kind_of_layer_does_without(stream: bool, max_pool: str, without: list[int]) -> None:
    network = everything_network(stream=stream, max_pool=max_pool)
    for seed in range(5):
        inputs = dyadic((4, 3, 2, 8, 8) if stream else (3, 2, 8, 8), seed)
        assert_equal(network(inputs), fresh(network, inputs))
    assert len(without) == 3


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_the_same_without_the_module(name: str, without: list[int]) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    inputs = dyadic((5, *shape), 1)
    network = neurons(convert(make().eval(), inputs, T=4, max_spikes=2))
    meters = [EnergyMeter() for _ in range(4)]
    outputs = [network.predict(inputs, meter).output for meter in meters]
    assert len(without) == 2 and meters[0].report().spikes > 0
    for output, meter in zip(outputs, meters, strict=True):
        assert_equal(output, outputs[0])
        assert meter.report() == meters[0].report()


def test_steps_one_by_one_do_without_the_module(without: list[int]) -> None:
    network = everything_network()
    runs = []
    for _ in range(4):
        state = RunState()
        inputs = dyadic((3, 2, 8, 8), 1)
        runs.append(torch.stack([network.step(inputs, state, t) for t in range(4)]))
        network.tapes._kept.keys()
    assert all(torch.equal(run, runs[0]) for run in runs) and len(without) == 14


def test_what_a_pass_gives_is_in_the_same_nest(without: list[int]) -> None:
    class Pair(NamedTuple):
        one: Tensor
        other: list[Tensor]

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.grid = nn.Linear(5, 4), torch.arange(3.0)

        def forward(self, x: Tensor) -> Any:
            y = F.relu(self.first(x))
            pair = Pair(y, [y * 2, y])
            return OrderedDict(pair=pair, more={"grid": self.grid, "levels": 3, "none": None})

    network = network_of(Nested())
    state, inputs = RunState(), dyadic((3, 5), 1)
    found = [network.step(inputs, RunState(), 0) for _ in range(3)]
    assert len(without) == 1 and not state.neurons
    for one, other in ((found[0], found[2]),):
        assert type(one) is type(other) is OrderedDict and list(one) == list(other)
        assert type(other["pair"]).__name__ == "Pair"
        assert torch.equal(one["pair"].one, other["pair"].one)
        assert torch.equal(one["pair"].other[0], other["pair"].other[0])
        assert other["pair"].other[1] is other["pair"].one
        assert one["more"]["grid"] is other["more"]["grid"]
        assert other["more"]["levels"] == 3 and other["more"]["none"] is None


def test_no_activation_is_kept_longer_than_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [layer for _ in range(12) for layer in (nn.Linear(5, 5), nn.ReLU())]
    network = network_of(nn.Sequential(*layers))
    kept: list[int] = []
    keep = wiring.Step.keep

    def noting(self: Any, result: Any, values: list[Any]) -> None:
        keep(self, result, values)
        kept.append(sum(value is not None for value in values))

    monkeypatch.setattr(wiring.Step, "keep", noting)
    for seed in range(3):
        network(dyadic((3, 5), seed))
    assert len(kept) == 24 and max(kept) == 1


class Options:
    factor = 1.0

    def __init__(self) -> None:
        self.own = 1.0


class Settings:
    """Read as a class."""

    factor = 1.0


GLOBAL = [1.0]


class Number(float):
    """Has attributes, unlike a float."""

    factor = 1.0


class Attributes(nn.Module):
    """Reads what it and what it holds have as attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.scale = nn.Parameter(torch.ones(()))
        self.wide = nn.Parameter(torch.ones(3))
        self.register_buffer("buffer", torch.ones(()))
        self.constant = torch.ones(())
        self.factor, self.factors, self.table = 1.0, [1.0], {"deep": [1.0]}
        self.order = OrderedDict(a=1.0, b=0.5)
        self.options, self.settings = Options(), Settings
        self.read, self.number = {"factor": 1.0}.get, Number(1.0)
        self.left, self.right = [1.0], [-0.5]
        self.whole = True

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(x)) * self.scale * self.buffer * self.constant
        y = y * self.factor * self.factors[0] * self.table["deep"][0]
        y = y * next(iter(self.order.values())) * getattr(self.scale, "factor", 1.0)
        y = y * self.options.factor * self.options.own * self.settings.factor
        y = y * self.read("factor") * self.number.factor * sum(self.left)
        y = y * 0.5 if hasattr(self, "halved") else y
        return self.second(F.relu(y)) * (self.wide.shape[0] / 3)


def changing() -> Any:
    """A class made here, whose methods read what is around them, with what halves it."""
    state = {"factor": 1.0}
    single = 1.0

    def decorated(function: Callable[..., float]) -> Callable[..., float]:
        again = {"factor": 1.0}

        def inside(self: Any, value: float) -> float:
            return function(self, value) * again["factor"]

        inside.again = again  # type: ignore[attr-defined]
        return inside

    class Changing(nn.Module):
        listed: ClassVar[list[float]] = [1.0]
        table: ClassVar[dict[str, dict[str, float]]] = {"deep": {"factor": 1.0}}

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.first(x)) * self.listed[0] * self.table["deep"]["factor"]
            y = y * state["factor"] * single * self.twice(1.0) * self.named() * self.always()
            return self.second(F.relu(y)) * self.shown * self.around(1.0)

        def twice(self, value: float, given: dict[str, float] = {"factor": 1.0}) -> float:  # noqa: B006
            return value * given["factor"]

        def named(self, *, given: dict[str, float] = {"factor": 1.0}) -> float:  # noqa: B006
            return given["factor"]

        @staticmethod
        def always(given: dict[str, float] = {"factor": 1.0}) -> float:  # noqa: B006
            return given["factor"]

        @property
        def shown(self) -> float:
            return state["factor"]

        @decorated
        def around(self, value: float) -> float:
            return value

        @staticmethod
        def change(what: str) -> None:
            nonlocal single
            if what == "variable":
                single = 0.5
            else:
                state["factor"] = 0.5

    return Changing()


def _set(net: Any, name: str, value: Any) -> None:
    setattr(net, name, value)


class Half(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) * 0.5


ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "a number": lambda net: _set(net, "factor", 0.5),
    "a list": lambda net: net.factors.__setitem__(0, 0.5),
    "a list in a dict": lambda net: net.table["deep"].__setitem__(0, 0.5),
    "an order": lambda net: net.order.move_to_end("b", last=False),
    "an object": lambda net: setattr(net.options, "own", 0.5),
    "another object": lambda net: _set(net, "options", SimpleNamespace(factor=0.5, own=1.0)),
    "the class of an object": lambda net: setattr(Options, "factor", 0.5),
    "a class": lambda net: setattr(Settings, "factor", 0.5),
    "a parameter": lambda net: _set(net, "scale", nn.Parameter(torch.tensor(0.5))),
    "a parameter in place": lambda net: net.scale.data.mul_(0.5),
    "the size of a parameter": lambda net: _set(net.wide, "data", torch.ones(2)),
    "an attribute of a parameter": lambda net: _set(net.scale, "factor", 0.5),
    "a buffer": lambda net: _set(net, "buffer", torch.tensor(0.5)),
    "a constant": lambda net: _set(net, "constant", torch.tensor(0.5)),
    "a constant in place": lambda net: net.constant.mul_(0.5),
    "weights": lambda net: net.load_state_dict({**net.state_dict(), "scale": torch.tensor(0.5)}),
    "from one list into another": lambda net: net.left.append(net.right.pop()),
    "a name": lambda net: (delattr(net, "whole"), _set(net, "halved", True)),
    "all attributes": lambda net: setattr(net.options, "__dict__", {"own": 0.5}),
    "what a method of C reads": lambda net: net.read.__self__.update(factor=0.5),
    "an attribute of a number": lambda net: _set(net.number, "factor", 0.5),
    "a layer": lambda net: _set(net, "first", nn.Linear(5, 5)),
    "the class of a layer": lambda net: _set(net.second, "__class__", Half),
}


AROUND: dict[str, Callable[[Any], Any]] = {
    "a method": lambda net: setattr(type(net), "twice", lambda self, value: value / 2),
    "a method of its own": lambda net: _set(net, "twice", lambda value: value / 2),
    "a list of the class": lambda net: net.listed.__setitem__(0, 0.5),
    "a dict of the class": lambda net: net.table["deep"].__setitem__("factor", 0.5),
    "a variable": lambda net: net.change("variable"),
    "a dict around a class": lambda net: net.change("dict"),
    "the code of a method": lambda net: setattr(
        type(net).twice, "__code__", (lambda self, value, given: value / 2).__code__
    ),
    "defaults": lambda net: setattr(type(net).twice, "__defaults__", ({"factor": 0.5},)),
    "named defaults": lambda net: setattr(
        type(net).named, "__kwdefaults__", {"given": {"factor": 0.5}}
    ),
    "a default": lambda net: type(net).twice.__defaults__[0].__setitem__("factor", 0.5),
    "a named default": lambda net: type(net).named.__kwdefaults__["given"].update(factor=0.5),
    "a default of a function": lambda net: net.always.__defaults__[0].__setitem__("factor", 0.5),
    "a decorator": lambda net: type(net).around.again.__setitem__("factor", 0.5),
}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    Options.factor = Settings.factor = 1.0
    GLOBAL[0] = 1.0


@pytest.mark.parametrize("what", [*ATTRIBUTES, *AROUND])
def test_a_network_that_has_changed_is_asked_again(what: str, without: list[int]) -> None:
    net = Attributes() if what in ATTRIBUTES else changing()
    network, inputs = network_of(net), dyadic((3, 5), 1)
    before = [network(inputs) for _ in range(3)]
    assert len(without) == 1
    {**ATTRIBUTES, **AROUND}[what](network.module)
    after, expected = network(inputs), fresh(network, inputs)
    assert torch.equal(after, expected) and not torch.equal(after, before[-1])
    assert len(without) == 1 or "in place" in what or what == "weights"


def test_a_forward_whose_code_is_loaded_anew_is_asked_again(without: list[int]) -> None:
    def forward(module: nn.Module, x: Tensor) -> Any:
        return module(x)

    inputs = dyadic((3, 5), 1)
    network = neurons(convert(linear_net(), inputs, T=2, max_spikes=2, forward=forward))
    before = [network(inputs) for _ in range(3)][-1]
    assert len(without) == 1
    forward.__code__ = (lambda module, x: module(x) * 0.5).__code__
    assert torch.equal(network(inputs), before * 0.5)


SWITCHES = """
import torch
from torch import nn
from adacal.core import wiring
from adacal.core.conversion import convert

torch.backends.{switch} = "{value}"
runs, run = [], wiring.Wiring.run
wiring.Wiring.run = lambda *args: runs.append(1) or run(*args)
network = convert(nn.Sequential(nn.Linear(5, 5), nn.ReLU()).eval(), torch.rand(2, 5), T=2)
for _ in range(3):
    network(torch.rand(2, 5))
torch.backends.{switch} = "none" if "{value}" == "ieee" else "ieee"
network(torch.rand(2, 5))
assert len(runs) == {times}, runs
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9")
@pytest.mark.parametrize(
    ("switch", "value", "times"),
    [
        ("cuda.matmul.fp32_precision", "tf32", 2),
        ("cudnn.conv.fp32_precision", "ieee", 2),
        ("fp32_precision", "tf32", 1),
        ("mkldnn.matmul.fp32_precision", "bf16", 1),
    ],
)
def test_the_new_names_of_what_rounds_float32_are_seen(switch: str, value: str, times: int) -> None:
    """In a process of its own: torch lets nobody go back to the old names."""
    code = SWITCHES.format(switch=switch, value=value, times=times)
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("inside", [False, True])
def test_switches_of_torch_are_part_of_a_form(inside: bool, without: list[int]) -> None:
    class Decided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            if inside:
                with torch.autocast("cpu", enabled=False):
                    return self.second(F.relu(self.first(x.float())) * 1.2345)
            y = self.first(x)
            return (F.relu(self.second(F.relu(y))) * 1.2345).to(y.dtype)

    network, inputs = network_of(Decided()), dyadic((3, 5), 1)
    plain = [network(inputs) for _ in range(3)][-1]
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, wanted = network(inputs), fresh(network, inputs)
        assert found.dtype == wanted.dtype and torch.equal(found, wanted)
        assert torch.equal(network(inputs), plain)


def test_attention_is_computed_as_a_block_of_code_wants_it(without: list[int]) -> None:
    def attended(x: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            y = F.relu(x).unsqueeze(1)
            return F.scaled_dot_product_attention(y, y, y).squeeze(1)

    network = network_of(Call(attended))
    for seed in range(4):
        network(dyadic((3, 5), seed))
    assert not without


def test_what_a_network_no_longer_holds_is_let_go() -> None:
    network, inputs = network_of(linear_net()), dyadic((3, 5), 1)
    for _ in range(3):
        network(inputs)
        network.step(inputs, RunState(), 0)
    held = [weakref.ref(network.module[0].weight), weakref.ref(network.module[2])]
    network.module[0] = nn.Linear(5, 8)
    network.module[2] = nn.Linear(8, 8)
    network(inputs)
    gc.collect()
    assert [reference() for reference in held] == [None, None]


def test_a_wiring_that_fails_where_the_module_does_not_is_given_up(
    without: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = network_of(linear_net()), dyadic((3, 5), 1)
    expected = [network(inputs) for _ in range(3)][-1]
    keep = wiring.Step.keep

    def failing(self: Any, result: Any, values: list[Any]) -> None:
        raise RuntimeError("as no module would")

    monkeypatch.setattr(wiring.Step, "keep", failing)
    assert torch.equal(network(inputs), expected) and len(without) == 2
    monkeypatch.setattr(wiring.Step, "keep", keep)
    assert torch.equal(network(inputs), expected) and len(without) == 2
    assert torch.equal(network(inputs), expected) and len(without) == 3


def test_a_copy_sees_its_neurons_change() -> None:
    network, inputs = network_of(linear_net()), dyadic((3, 5), 1)
    for neuron in network.neurons.values():
        neuron.threshold = torch.tensor(0.5)
        neuron.threshold.mul_(1.0).mul_(1.0)
    network(inputs)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        other(inputs)
        for neuron in other.neurons.values():
            neuron.threshold.mul_(4.0)
        assert_equal(other(inputs), fresh(other, inputs))
        assert not torch.equal(other(inputs), network(inputs))


def test_training_mode_is_refused_as_ever(without: list[int]) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU()).eval()
    network, inputs = convert(net, dyadic((2, 5), 0), T=2), dyadic((3, 5), 1)
    for _ in range(3):
        network(inputs)
    network.module.train()
    with pytest.raises(UnsupportedModelError, match="runs in training mode"):
        network(inputs)
    assert len(without) == 1


@pytest.mark.parametrize("where", ["a layer", "everywhere", "before a layer"])
def test_hooks_are_called(where: str, without: list[int]) -> None:
    network, inputs = network_of(linear_net()), dyadic((3, 5), 1)
    for _ in range(3):
        network(inputs)
    seen: list[int] = []

    def hook(*_: Any) -> None:
        seen.append(1)

    layer = network.module[0]
    if where == "everywhere":
        handle = register_module_forward_hook(hook)
    elif where == "a layer":
        handle = layer.register_forward_hook(hook)
    else:
        handle = layer.register_forward_pre_hook(hook)
    for _ in range(4):
        network(inputs)
    handle.remove()
    assert len(seen) == (4 * 6 if where == "everywhere" else 4) and len(without) == 1


class Own(nn.Module):
    """A network with something between its layers that torch's calls do not tell."""

    log: ClassVar[dict[str, int]] = {"calls": 0}

    def __init__(self, between: Callable[[Own, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(5, 5), nn.Linear(5, 5), between
        self.register_buffer("seen", torch.zeros(()))
        self.kept: list[Any] = []
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self, F.relu(self.first(x))))


def _counting(net: Own, x: Tensor) -> Tensor:
    net.calls += 1
    return x


def _keeping(net: Own, x: Tensor) -> Tensor:
    net.kept.append(x)
    return x


def _buffering(net: Own, x: Tensor) -> Tensor:
    net.seen.add_(1)
    return x


def _drawing(net: Own, x: Tensor) -> Tensor:
    return x * (2.0 if random.random() < 2 else 1.0)


def _noting_in_its_class(net: Own, x: Tensor) -> Tensor:
    net.log["calls"] += 1
    return x


def _drawing_with_numpy(net: Own, x: Tensor) -> Tensor:
    return x * (2.0 if np.random.rand() < 2 else 1.0)


def _making_a_constant(net: Own, x: Tensor) -> Tensor:
    return x * torch.full((5,), 2.0)


def _reading_a_buffer(net: Own, x: Tensor) -> Tensor:
    return x * (2.0 if net.seen > 0 else 1.0)


def _in_another_precision(net: Own, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return F.linear(x, net.first.weight).float()


def _handing_its_memory_on(net: Own, x: Tensor) -> Tensor:
    assert x.data_ptr()
    return x


@pytest.mark.parametrize(
    "between",
    [
        _counting,
        _keeping,
        _buffering,
        _drawing,
        _drawing_with_numpy,
        _noting_in_its_class,
        _making_a_constant,
        _reading_a_buffer,
        _in_another_precision,
        _handing_its_memory_on,
    ],
)
def test_a_network_that_does_more_is_called_at_every_pass(
    between: Callable[[Own, Tensor], Tensor], without: list[int]
) -> None:
    network, inputs = network_of(Own(between)), dyadic((3, 5), 1)
    module: Any = network.module
    calls, seen = module.calls, module.seen.clone()
    kept, logged = len(module.kept), module.log["calls"]
    for _ in range(5):
        network(inputs)
    assert not without
    if between is _counting:
        assert module.calls == calls + 5
    if between is _noting_in_its_class:
        assert module.log["calls"] == logged + 5
    if between is _keeping:
        assert len(module.kept) == kept + 5
    if between is _buffering:
        assert module.seen == seen + 5


UNSEEN = [
    np.zeros(3), np.zeros((1, 3)).view(np.matrix), torch.Generator(), iter([1]), bytearray(2),
    random.Random(0), io.BytesIO(), defaultdict(int),
]  # fmt: skip


@pytest.mark.parametrize("value", UNSEEN, ids=lambda value: type(value).__name__)
def test_a_network_that_holds_what_may_change_unseen_is_called(
    value: Any, without: list[int]
) -> None:
    net = linear_net()
    network = network_of(net)
    network.module.value = [value]
    for seed in range(4):
        network(dyadic((3, 5), seed))
    assert not without


def test_a_network_is_called_at_every_pass_where_that_is_wanted(without: list[int]) -> None:
    network = network_of(Call(lambda x: F.relu(x) * GLOBAL[0]))
    network.skip_module = False
    inputs = dyadic((3, 5), 1)
    first = [network(inputs) for _ in range(3)][-1]
    GLOBAL[0] = 0.5
    assert not torch.equal(network(inputs), first) and not without


def test_rows_that_lie_otherwise_are_a_form_of_their_own(without: list[int]) -> None:
    def told(x: Tensor) -> Tensor:
        return F.relu(x) * (2.0 if x.is_contiguous() else 1.0)

    net = Functional(told)
    network = neurons(convert(net.eval(), dyadic((2, 3, 4, 4), 0), T=1, max_spikes=2))
    plain = dyadic((3, 3, 4, 4), 1)
    last = plain.contiguous(memory_format=torch.channels_last)
    for inputs in (plain, plain, plain, last, last, plain):
        assert_equal(network(inputs), fresh(network, inputs))
    assert without


def test_an_error_without_the_module_is_raised_as_ever(without: list[int]) -> None:
    network, inputs = network_of(linear_net()), dyadic((3, 5), 1)
    neuron = next(iter(network.neurons.values()))
    expected = [network(inputs) for _ in range(3)][-1]
    threshold = neuron.threshold
    for _ in range(2):
        neuron.threshold = -1.0
        with pytest.raises(ConfigError, match="threshold must be positive"):
            network(inputs)
        neuron.threshold = threshold
        assert torch.equal(network(inputs), expected)
    assert len(without) == 5


def test_neurons_may_change(without: list[int]) -> None:
    network, inputs = everything_network(), dyadic((3, 2, 8, 8), 0)
    before = [network(inputs) for _ in range(3)][-1]
    for neuron in network.neurons.values():
        neuron.threshold = 0.25
    after = network(inputs)
    assert_equal(after, fresh(network, inputs))
    assert not torch.equal(before, after) and len(without) == 2


def test_a_view_that_is_overwritten_changes_what_it_is_a_view_of(without: list[int]) -> None:
    network = network_of(Overwriting(), T=4)
    for seed in range(4):
        inputs = dyadic((3, 5), seed)
        assert_equal(network(inputs), fresh(network, inputs))
    assert len(without) == 2


def test_surroundings_that_nobody_reads_are_not_looked_at() -> None:
    network, inputs = network_of(Own(_counting)), dyadic((3, 5), 1)
    for _ in range(6):
        network(inputs)
    assert network.tapes._around is None


def test_a_network_that_changes_again_and_again_is_called_in_the_end(without: list[int]) -> None:
    network, inputs = network_of(Attributes()), dyadic((3, 5), 1)
    for turn in range(8):
        network.module.factor = 0.5 + turn
        for _ in range(3):
            assert_equal(network(inputs), fresh(network, inputs))
    assert 0 < len(without) <= 6
