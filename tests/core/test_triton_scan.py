"""The Triton scan in Triton's interpreter, on numbers that no operation rounds."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from adacal.core import kernels, triton_scan
from adacal.core.byte_sums import Weights
from adacal.core.energy import EnergyMeter
from adacal.core.kernels import BurstParameters, plain_scan
from adacal.core.tally import Tally
from toys import dyadic, everything_network

triton = pytest.importorskip("triton", reason="Triton has no wheel for this platform")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def interpreted() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")  # read where a kernel is decorated
        standard = importlib.reload(triton.language.standard)  # Triton's own among them
        patch.setattr(triton.language, "sum", standard.sum)
        yield importlib.reload(triton_scan)
    importlib.reload(triton.language.standard)
    importlib.reload(triton_scan)


def neurons(dims: int, channel_dim: int = 1, phi: int = 3, **changes: Tensor) -> BurstParameters:
    shape = [1] * dims
    shape[channel_dim] = -1
    theta = torch.tensor([0.5, 1.0, 2.0]).reshape(shape)
    values = {"shift": theta / 4, "initial_potential": theta / 2, **changes}
    return BurstParameters(threshold=theta, max_spikes=phi, **values)


def assert_same(
    module: ModuleType, current: Tensor, neuron: BurstParameters, membrane: Tensor | None = None
) -> None:
    for fused in (True, False):
        for scaled in (True, False):
            wanted = plain_scan(current, neuron, membrane, scaled=scaled)
            found = module.run(current, neuron, membrane, None, scaled=scaled, fused=fused)
            for ours, theirs in zip(found, wanted, strict=True):
                assert torch.equal(ours, theirs)
            bare = module.run(
                current, neuron, membrane, None, scaled=scaled, keep=False, fused=fused
            )
            assert torch.equal(bare[0], wanted[0])


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 5), (2, 3, 4, 4), (2, 3, 33, 33)])
@pytest.mark.parametrize("T", [1, 4])
def test_it_gives_what_plain_torch_gives(
    interpreted: ModuleType, shape: tuple[int, ...], T: int
) -> None:
    current = dyadic((T, *shape), 0, bound=20)
    neuron = neurons(len(shape))
    assert_same(interpreted, current, neuron)
    assert_same(interpreted, current, neuron, dyadic(shape, 1, bound=20))
    places = dyadic((1, *shape[1:]), 2, bound=20)
    assert_same(interpreted, current, neurons(len(shape), initial_potential=places))


def test_it_walks_channels_last_tokens_and_one_frame_for_all_steps(interpreted: ModuleType) -> None:
    last = dyadic((3, 2, 3, 4, 5), 3, bound=20).movedim(2, -1).contiguous().movedim(-1, 2)
    assert_same(interpreted, last, neurons(4))
    assert_same(interpreted, dyadic((3, 2, 5, 3), 4, bound=20), neurons(3, channel_dim=-1))
    frame = dyadic((1, 2, 3, 4), 5, bound=20).expand(4, 2, 3, 4)
    assert_same(interpreted, frame, neurons(3))
    one = BurstParameters(
        threshold=torch.tensor(1.0), max_spikes=2, shift=None, initial_potential=torch.tensor(0.5)
    )
    assert_same(interpreted, frame, one)


def test_the_output_may_take_the_place_of_the_input(interpreted: ModuleType) -> None:
    current, neuron = dyadic((3, 2, 3, 4), 6, bound=20), neurons(3)
    wanted, _ = plain_scan(current, neuron, scaled=True)
    found, _ = interpreted.run(current, neuron, None, current, scaled=True, fused=True)
    assert found is current and torch.equal(current, wanted)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_it_adds_up_what_it_fires(interpreted: ModuleType, last: bool, scaled: bool) -> None:
    shape = (2, 3, 20, 33)  # two blocks of neurons, the second not full
    current, neuron = dyadic((3, *shape), 6, bound=20), neurons(4)
    if last:
        current = current.movedim(2, -1).contiguous().movedim(-1, 2)
    weights = Weights(torch.arange(3 * 20 * 33).reshape(1, 3, 20, 33).remainder(7).float())
    wanted = plain_scan(current, neurons(4))[0]
    tally = Tally(2, 3, expected=weights)
    for found in (current.clone(memory_format=torch.preserve_format), None):
        interpreted.run(current, neuron, None, found, scaled=scaled, fused=True, tally=tally)
        assert tally.counts is not None and torch.equal(tally.counts.float(), wanted)
        for weight in (weights.values, torch.ones(())):
            both = [(k * weight).flatten(1).double().sum(1) for k in (wanted, wanted.clamp_max(1))]
            sums = tally.weighed(weights, 3) if weight.dim() else tally.totals(3)
            assert torch.equal(sums, torch.stack(both, 1))
        assert torch.equal(tally.spikes, wanted.sum(1))
        assert torch.equal(tally.events, wanted.clamp_max(1).sum(1))


def test_sums_tell_what_no_byte_does(interpreted: ModuleType) -> None:
    current = dyadic((3, 1, 3, 2), 7, bound=20)
    current[1, 0, 0, 0] = torch.nan
    tally = Tally(1, 3)
    interpreted.run(current, neurons(3), None, None, scaled=True, fused=True, tally=tally)
    assert torch.as_tensor(tally.totals(3)).isnan().any(1).tolist() == [False, True, True]


def test_counts_that_no_byte_holds_are_left_to_plain_torch(interpreted: ModuleType) -> None:
    current = dyadic((3, 1, 3, 2), 7, bound=20)
    options = {"scaled": True, "fused": True, "tally": Tally(1, 300)}
    assert interpreted.run(current, neurons(3, phi=300), None, None, **options) is None


def test_no_number_stays_what_it_is(interpreted: ModuleType) -> None:
    current = dyadic((3, 1, 3, 2), 7, bound=20)
    current[1, 0, 0, 0] = torch.nan
    wanted, _ = plain_scan(current, neurons(3))
    found, _ = interpreted.run(current, neurons(3), None, None, scaled=False, fused=True)
    assert torch.equal(found.isnan(), wanted.isnan()) and found.isnan().any()
    assert torch.equal(found.nan_to_num(), wanted.nan_to_num())


def test_what_it_does_not_know_is_left_to_plain_torch(interpreted: ModuleType) -> None:
    gaps = dyadic((2, 1, 3, 8), 8, bound=20)[..., ::2]
    assert interpreted.run(gaps, neurons(3), None, None, scaled=False, fused=True) is None
    both = neurons(3, shift=torch.ones(1, 3, 4))  # varies along two dimensions
    current = dyadic((2, 1, 3, 4), 8, bound=20)
    assert interpreted.run(current, both, None, None, scaled=False, fused=True) is None
    for current in (torch.ones(2, 3).double(), torch.ones(0, 3), torch.ones(2, 3).requires_grad_()):
        assert interpreted.scan(current, neurons(1, 0), None, None, scaled=False) is None


def rounds_twice(current: Tensor, neuron: BurstParameters) -> tuple[Tensor, Tensor]:
    """As plain torch does where it has no fused multiply-add; the interpreter has none."""
    assert neuron.shift is not None
    u = neuron.initial_potential.expand(current.shape[1:])
    counts = []
    for x in current:
        u = u + x + neuron.shift
        counts.append((u / neuron.threshold).floor().clamp(0, neuron.max_spikes))
        u = u - counts[-1] * neuron.threshold
    return torch.stack(counts), u


@pytest.mark.parametrize("fault", ["", "one count", "one potential"])
def test_the_trial_sees_a_single_wrong_bit_and_one_sentence_says_so(
    interpreted: ModuleType, fault: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    right = interpreted.run

    def faulty(*args: object, **options: object) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = right(*args, **options)
        if fault:
            place = found[int(fault == "one potential")].view(-1)[-1:]
            place.copy_(torch.nextafter(place, place + 1))
        return found

    monkeypatch.setattr(interpreted, "run", faulty)
    monkeypatch.setattr(kernels, "plain_scan", rounds_twice)
    interpreted.fusing.cache_clear()
    with caplog.at_level(logging.WARNING, "adacal"):
        found = [interpreted.fusing(CPU) for _ in range(2)]
    interpreted.fusing.cache_clear()
    assert found == ([None, None] if fault else [True, True])
    assert ["differ from plain torch on cpu" in text for text in caplog.messages] == [True] * bool(
        fault
    )


def test_the_switch_leaves_it_out(interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADACAL_SCAN", "plain")
    interpreted.fusing.cache_clear()
    assert interpreted.fusing(CPU) is None
    interpreted.fusing.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_it_proves_itself_and_gives_the_same_bits() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    fused = triton_scan.fusing(device)
    assert fused is not None
    current = torch.randn(4, 8, 3, 32, 32, device=device)
    neuron = BurstParameters(
        threshold=torch.rand(3, 1, 1, device=device) + 0.1, max_spikes=4, shift=None,
        initial_potential=torch.full((3, 1, 1), 0.1, device=device),
    )  # fmt: skip
    found = triton_scan.scan(current, neuron, None, None, scaled=True)
    assert found is not None
    for ours, theirs in zip(found, plain_scan(current, neuron, scaled=True), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("stream", [False, True])
def test_a_gpu_counts_what_a_cpu_counts(stream: bool) -> None:
    here, there = (everything_network(stream=stream) for _ in range(2))
    there.to("cuda")
    for seed in range(4):
        inputs = dyadic((4, 3, 2, 8, 8) if stream else (3, 2, 8, 8), seed)
        meters = [EnergyMeter(), EnergyMeter()]
        ours = here.predict(inputs, meters[0]).output
        theirs = there.predict(inputs.cuda(), meters[1]).output
        assert torch.equal(ours, theirs.cpu())
        assert meters[0].report() == meters[1].report()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_is_tried_in_float32_whatever_the_default_is(
    interpreted: ModuleType, dtype: torch.dtype
) -> None:
    wanted = interpreted._agrees(CPU, True)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert interpreted._agrees(CPU, True) == wanted
    finally:
        torch.set_default_dtype(before)
