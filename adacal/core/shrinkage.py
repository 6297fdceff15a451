"""A network halfway between the uniform one and the chosen one, and which of the three is kept.

Tables measured on the ANN rank thresholds, but in deep networks at small budgets errors meet that
no table sees, and a choice that looks best is at times far worse than it should be. Thresholds
halfway to those of the network it had to beat are nearer to what is known to work, and where the
choice has failed they are mostly better than both (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from adacal.core.trials import Trial

SHARE = 0.5
"""Of the way from the log θ of the network as it was to that of the choice."""
HALVED = 0.5
"""Of the former divergence, on samples kept back: a choice that has more of it is in doubt."""
SURE = 1.0
"""Standard errors by which another network must be nearer to the ANN, on all samples, to be kept
in the place of the choice."""

Tried = Callable[[Mapping[str, Tensor]], Trial]


def in_doubt(before: Trial, choice: Trial) -> bool:
    """Returns whether a choice has not halved the divergence of the network as it was."""
    return choice.divergence > HALVED * before.divergence


def halfway(before: Trial, choice: Trial, budget: float, limit: float, tried: Tried) -> Trial:
    """Returns the network between both, with all its θ scaled once towards the budget.

    Args:
        before: the network as it was.
        choice: what a search chose.
        budget: that it may spend, as `Trial.cost`.
        limit: largest cost.
        tried: sets thresholds by site, calibrates and measures.
    Returns:
        Of the trials with and without the scaling the nearer one on the samples that tables saw, if
        both keep to the limit.
    """
    thresholds = between(before, choice)
    trial = tried(thresholds)
    factor = trial.cost / budget
    scaled = tried({name: theta * factor for name, theta in thresholds.items()})
    fitting = [each for each in (trial, scaled) if each.cost <= limit]
    return min(fitting or [scaled], key=lambda each: float(each.seen.mean()))


def between(before: Trial, choice: Trial, share: float = SHARE) -> dict[str, Tensor]:
    """Returns thresholds by site [C], some share of the way, in log θ, from one to the other."""
    thresholds = {}
    for name, neuron in choice.neurons.items():
        end = torch.as_tensor(neuron.threshold).flatten()
        start = torch.as_tensor(before.neurons[name].threshold).flatten().expand_as(end)
        thresholds[name] = (share * end.log() + (1 - share) * start.log()).exp()
    return thresholds


def nearest(choice: Trial, others: list[Trial]) -> Trial:
    """Returns the nearest to the ANN on all samples if it beats the choice by `SURE` errors."""
    found = min([choice, *others], key=lambda trial: float(trial.everywhere.mean()))
    return found if found.nearer_by(choice, everywhere=True) > SURE else choice
