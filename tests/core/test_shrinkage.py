"""A choice in doubt: the network halfway to the uniform one, and which of the three is kept."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from adacal.core.network import SpikingNetwork
from adacal.core.neuron import BurstNeuron
from adacal.core.rate_distortion import search
from adacal.core.shrinkage import between, halfway, in_doubt, nearest
from adacal.core.trials import Trial, spending
from core.test_rate_distortion import GIVEN, GRID, uniform


def trial(seen: list[float], unseen: list[float], cost: float = 1.0, theta: object = 1.0) -> Trial:
    return Trial(
        cost=cost,
        divergences=torch.tensor(unseen, dtype=torch.float64),
        seen=torch.tensor(seen, dtype=torch.float64),
        drop=0,
        neurons={"relu": BurstNeuron(threshold=theta)},
        weight_changes={},
    )


def test_halfway_is_the_middle_of_the_logarithms_channel_by_channel() -> None:
    choice = trial([0], [0], theta=torch.tensor([4.0, 1.0, 0.25]))
    found = between(trial([0], [0], theta=1.0), choice)
    assert torch.allclose(found["relu"], torch.tensor([2.0, 1.0, 0.5]))
    assert torch.allclose(between(choice, choice)["relu"], torch.tensor([4.0, 1.0, 0.25]))


@pytest.mark.parametrize(("budget", "kept"), [(2.0, 1.0), (0.5, 2.0), (1.0, 1.0)])
def test_thresholds_halfway_are_scaled_once_to_what_may_be_spent(
    budget: float, kept: float
) -> None:
    """Here a network costs 1/θ and the largest θ within the limit is the farthest."""
    asked = []

    def tried(thresholds: Mapping[str, Tensor]) -> Trial:
        theta = float(thresholds["relu"])
        asked.append(theta)
        return trial([0.1 if theta == 1.0 else 0.3], [0], cost=1 / theta, theta=theta)

    ends = [trial([0], [0], theta=torch.tensor([theta])) for theta in (0.5, 2.0)]
    found = halfway(*ends, budget, 1.01 * budget, tried)
    assert asked == [pytest.approx(1.0), pytest.approx(1 / budget)]
    assert found.neurons["relu"].threshold == pytest.approx(kept)


def test_another_network_is_kept_only_if_it_is_nearer_by_a_standard_error_on_all_samples() -> None:
    choice = trial([0.4, 0.5, 0.4, 0.5], [0.2, 0.3])
    clear = trial([0.1, 0.1, 0.1, 0.1], [0.2, 0.2])
    lucky = trial([0.4, 0.5, 0.5, 0.0], [0.2, 0.3])
    assert nearest(choice, [lucky, clear]) is clear
    assert nearest(choice, [lucky]) is choice and nearest(choice, []) is choice
    assert lucky.nearer_by(choice, everywhere=True) == pytest.approx(0.756, abs=0.001)


def test_a_choice_is_in_doubt_that_has_not_halved_the_divergence_on_samples_kept_back() -> None:
    before = trial([0.9], [0.4])
    assert in_doubt(before, trial([0.0], [0.21])) and not in_doubt(before, trial([0.9], [0.19]))


def clipped() -> SpikingNetwork:
    """A uniform network whose thresholds are too low for one spike a step."""
    network = uniform(1)
    for neuron in network.neurons.values():
        neuron.threshold = torch.as_tensor(neuron.threshold) / 2
    return network


def test_where_one_is_too_fine_and_the_other_too_coarse_the_network_halfway_is_kept() -> None:
    network = clipped()
    before = {name: torch.as_tensor(n.threshold) for name, n in network.neurons.items()}
    notes = network.rate_distortion([GIVEN], budget=1e9, grid=(8,))
    assert notes["halfway"] and not notes["kept_as_it_was"] and notes["nearer_by_everywhere"] > 1
    assert notes["divergence"] < notes["divergence_before"] and notes["cost"] <= 1e9
    choice = search(clipped(), [GIVEN], budget=1e9, grid=(8,)).after
    for name, neuron in network.neurons.items():
        coarse = choice.neurons[name].threshold
        factor = torch.as_tensor(neuron.threshold) / (before[name] * coarse).sqrt()
        assert neuron.max_spikes == 16 and torch.allclose(factor, factor[:1].expand_as(factor))


def test_a_choice_that_has_halved_the_divergence_is_taken_without_another_trial() -> None:
    budget = spending(uniform(3), GIVEN[:72], "pj")
    notes = uniform(1).rate_distortion([GIVEN], budget=budget, grid=GRID)
    assert notes["divergence"] < 0.5 * notes["divergence_before"] and notes["halfway"] is None


def test_thresholds_that_must_share_a_scale_are_not_mixed_with_others() -> None:
    notes = clipped().rate_distortion([GIVEN], budget=1e9, grid=(8,), scales="layer")
    assert notes["divergence"] > 0.5 * notes["divergence_before"] and notes["halfway"] is None
