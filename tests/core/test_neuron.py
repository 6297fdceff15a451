"""Neuron populations: how parameters broadcast, what they compute, what they refuse."""

import copy
from collections.abc import Callable

import pytest
import torch

from adacal.core.errors import ConfigError, InputError
from adacal.core.kernels import quantise
from adacal.core.neuron import BurstNeuron, NeuronState, by_channel, per_channel
from toys import dyadic


def test_thresholds_and_shifts_act_per_channel_in_dimension_one_and_last() -> None:
    theta = torch.tensor([0.5, 1.0, 2.0])
    shift = torch.tensor([0.0, 0.25, 0.5])
    current = dyadic((4, 2, 3, 5), 0, bound=20)
    first = BurstNeuron(threshold=theta, shift=shift, max_spikes=3)
    last = BurstNeuron(threshold=theta, shift=shift, max_spikes=3, channel_dim=-1)
    counts, _ = first.scan(current, 4)
    tokens, _ = last.scan(current.transpose(2, 3), 4)
    assert torch.equal(counts, tokens.transpose(2, 3))
    for channel in range(3):
        alone = BurstNeuron(threshold=float(theta[channel]), shift=float(shift[channel]))
        alone.max_spikes = 3
        one, _ = alone.scan(current[:, :, channel], 4)
        assert torch.equal(one, counts[:, :, channel])


CHANGES: list[Callable[[BurstNeuron], object]] = [
    lambda neuron: setattr(neuron, "threshold", torch.tensor([2.0, 1.0, 0.5])),
    lambda neuron: setattr(neuron, "threshold", 0.25),
    lambda neuron: torch.as_tensor(neuron.threshold).mul_(2),
    lambda neuron: torch.as_tensor(neuron.threshold)[1:].add_(1),
    lambda neuron: torch.as_tensor(neuron.threshold).data.mul_(2),
    lambda neuron: torch.as_tensor(neuron.threshold).data[1:].add_(1),
    lambda neuron: torch.as_tensor(neuron.shift).data.add_(0.5),
    lambda neuron: setattr(neuron.shift, "data", torch.full((3,), 0.5)),
    lambda neuron: setattr(neuron, "shift", 0.5),
    lambda neuron: torch.as_tensor(neuron.shift).add_(0.5),
    lambda neuron: setattr(neuron, "initial_potential", torch.tensor([1.0, 0.0, 0.0])),
    lambda neuron: setattr(neuron, "max_spikes", 1),
    lambda neuron: setattr(neuron, "spread_half_threshold", True),
    lambda neuron: setattr(neuron, "channel_dim", -1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_neuron_that_has_run_sees_every_later_change(
    change: Callable[[BurstNeuron], object],
) -> None:
    current = dyadic((4, 2, 3, 3, 3), 0, bound=20)
    ran = BurstNeuron(threshold=torch.tensor([0.5, 1.0, 2.0]), shift=torch.zeros(3), max_spikes=3)
    before = ran.output(current, 4)
    change(ran)
    fresh = copy.deepcopy(ran)
    fresh._prepared = None
    after = ran.output(current, 4)
    assert torch.equal(after, fresh.output(current, 4))
    assert not torch.equal(after, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_changes_are_seen_in_every_type(dtype: torch.dtype) -> None:
    theta = torch.tensor([0.5, 1.0], dtype=dtype)
    neuron = BurstNeuron(threshold=theta, initial_potential=theta[0])
    current = torch.ones(2, 2, 2, 3, dtype=dtype)
    first = neuron.of_current(current, 2)
    assert neuron.of_current(current, 2) is first
    theta.data.mul_(2)
    assert neuron.of_current(current, 2) is not first
    assert neuron.of_current(current, 2) is neuron.of_current(current, 2)


def test_parameters_are_made_once_while_nothing_changes_and_anew_for_other_samples() -> None:
    neuron = BurstNeuron(threshold=torch.tensor([0.5, 1.0]))
    first = neuron.parameters(torch.zeros(2, 2, 3), 4)
    assert neuron.parameters(torch.ones(5, 2, 3), 4) is first
    assert neuron.parameters(torch.zeros(2, 2, 3, 3), 4) is not first
    assert neuron.parameters(torch.zeros(2, 2, 3).double(), 4).threshold.dtype is torch.float64
    neuron.threshold = torch.tensor([0.5, -1.0])
    with pytest.raises(ConfigError, match="positive"):
        neuron.parameters(torch.zeros(2, 2, 3), 4)


def test_what_ran_in_inference_mode_can_enter_a_graph_later() -> None:
    neuron = BurstNeuron(threshold=0.5)
    current = torch.ones(2, 2, 3)
    with torch.inference_mode():
        neuron.output(current, 2)
    assert not neuron.parameters(current[0], 2).threshold.is_inference()
    (current.requires_grad_() * neuron.parameters(current[0], 2).threshold).sum().backward()
    assert current.grad is not None and bool((current.grad == 0.5).all())


def test_thresholds_that_are_learned_are_never_kept() -> None:
    theta = torch.tensor([0.5, 1.0], requires_grad=True)
    neuron = BurstNeuron(threshold=theta)
    for _ in range(2):
        neuron.parameters(torch.zeros(2, 2, 3), 4).initial_potential.sum().backward()
    assert theta.grad is not None and theta.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dims", [2, 3, 4, 5])
def test_a_population_of_any_rank_quantises_a_constant_current(dims: int) -> None:
    frame = dyadic((2, 3, 2, 2, 2)[:dims], 1, bound=20)
    theta = torch.tensor([0.5, 1.0, 2.0])
    neuron = BurstNeuron(threshold=theta, max_spikes=2)
    counts, found = neuron.scan(frame.expand(4, *frame.shape), 4)
    expected = quantise(frame, per_channel(theta, dims, 1), 2, 4)
    assert torch.equal((counts * found).mean(0), expected)


def test_the_half_threshold_can_be_spread_over_the_steps() -> None:
    neuron = BurstNeuron(threshold=1.0, max_spikes=1, spread_half_threshold=True)
    for current, expected in ((0.375, 2), (0.25, 1)):  # floor(4 * current + 1/2)
        counts, _ = neuron.scan(torch.full((4, 1, 1), current), 4)
        assert counts.sum().item() == expected
        assert counts[0].item() == 0


def test_an_initial_potential_may_be_a_number_per_channel_or_per_neuron() -> None:
    current = torch.zeros(1, 2, 3, 2)
    for start in (1.0, torch.ones(3), torch.ones(3, 2)):
        counts, _ = BurstNeuron(threshold=1.0, initial_potential=start).scan(current, 1)
        assert bool((counts == 1).all())


def test_potentials_of_single_places_refuse_samples_of_another_size() -> None:
    neuron = BurstNeuron(initial_potential=torch.rand(3, 4, 6))
    neuron.scan(torch.rand(2, 5, 3, 4, 6), 2)
    with pytest.raises(InputError, match=r"set for samples of shape \[3, 4, 6\].*got \[3, 6, 4\]"):
        neuron.scan(torch.rand(2, 5, 3, 6, 4), 2)


def test_state_goes_on_over_calls_and_remembers_the_step() -> None:
    current = dyadic((5, 2, 3), 3, bound=24)
    for neuron in (
        BurstNeuron(threshold=0.5, max_spikes=2),
        BurstNeuron(threshold=0.5, max_spikes=2, kind="capped", cap=1.0),
        BurstNeuron(threshold=0.5, max_spikes=2, kind="signed", slope=0.25),
        BurstNeuron(threshold=0.5, max_spikes=2, spread_half_threshold=True),
    ):
        whole, _ = neuron.scan(current, 5)
        state = NeuronState()
        parts = [neuron.scan(current[t : t + 1], 5, state)[0] for t in range(5)]
        assert torch.equal(torch.cat(parts), whole)
        assert state.step == 5


def test_the_reference_activation_is_relu_capped_relu_or_leaky_relu() -> None:
    x = torch.tensor([[-2.0, 1.0, 9.0]])
    assert BurstNeuron().activation(x).tolist() == [[0, 1, 9]]
    assert BurstNeuron(kind="capped", cap=6.0).activation(x).tolist() == [[0, 1, 6]]
    slope = torch.tensor([0.5, 0.5, 0.5])
    assert BurstNeuron(kind="signed", slope=slope).activation(x).tolist() == [[-1, 1, 9]]


def test_phi_below_one_is_refused_at_run_time() -> None:
    with pytest.raises(ConfigError, match="max_spikes must be a whole number of at least 1; got 0"):
        BurstNeuron(max_spikes=0).scan(torch.zeros(1, 1, 1), 1)


@pytest.mark.parametrize("theta", [0.0, -1.0, float("nan"), float("inf"), torch.tensor([1.0, 0.0])])
def test_a_threshold_that_is_not_positive_is_refused_at_run_time(theta: float) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        BurstNeuron(threshold=theta).scan(torch.zeros(1, 1, 2), 1)


def test_by_channel_flattens_tokens_and_images_alike() -> None:
    images = dyadic((2, 3, 4, 5), 1)
    assert by_channel(images, 1).shape == (3, 40)
    assert torch.equal(by_channel(images, 1)[2], images[:, 2].flatten())
    tokens = images.flatten(2).transpose(1, 2)
    assert torch.equal(by_channel(tokens, -1), by_channel(images, 1))
