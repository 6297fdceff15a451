"""Steps taken over from an earlier method are what the method would have computed itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

from adacal.core.divergence import symmetric_kl
from adacal.core.network import SpikingNetwork
from adacal.methods.base import METHODS, Calibration, load_methods
from adacal.methods.stages import Stages
from core.energy_toys import trained_small

load_methods()
ANN, INPUTS, LABELS = trained_small()
SEARCH = {"max_spikes": (1, 3), "budget": 2}


def built(stages: Stages, name: str, seed: int = 0, T: int = 3, **options: Any) -> SpikingNetwork:
    calibration = Calibration(
        T=T,
        batches=[(INPUTS[:48], LABELS[:48])],
        forward=lambda module, inputs: module(inputs),
        divergence=symmetric_kl,
        generator=torch.Generator().manual_seed(seed),
        stages=stages,
    )
    stages.begin()
    network = METHODS.get(name)(**options).build(ANN, INPUTS[:1], calibration)
    network.drawn_next = torch.rand(4, generator=calibration.generator)
    return network


def same(one: SpikingNetwork, other: SpikingNetwork) -> bool:
    for a, b in zip(one.neurons.values(), other.neurons.values(), strict=True):
        for key in (each.name for each in fields(a) if each.compare):
            value, alike = getattr(a, key), getattr(b, key)
            if not (torch.equal(value, alike) if torch.is_tensor(value) else value == alike):
                return False
    outputs = torch.equal(one(INPUTS[:8]), other(INPUTS[:8]))
    random = torch.equal(one.drawn_next, other.drawn_next)
    return outputs and random and one.search_log == other.search_log


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (("adafire", SEARCH), ("adafire_ssc", SEARCH), ["AdaFire"]),
        (
            ("adafire_ssc", SEARCH),
            ("adaptive_calibration", {"adafire": SEARCH}),
            ["AdaFire", "SSC"],
        ),
        (
            ("burst", {"max_spikes": 2}),
            ("rate_distortion", {"budget": 2, "max_spikes": 4}),
            ["light calibration"],
        ),
    ],
)
def test_a_method_that_takes_steps_over_builds_the_same_network(
    first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]], taken: list[str]
) -> None:
    stages = Stages()
    before = built(stages, first[0], **first[1])
    assert stages.taken == [] and stages.seconds == 0
    threshold = next(iter(before.neurons.values())).threshold.clone()
    over = built(stages, second[0], **second[1])
    assert stages.taken == taken and stages.seconds > 0
    assert same(over, built(Stages(), second[0], **second[1]))
    assert torch.equal(next(iter(before.neurons.values())).threshold, threshold)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"T": 4}, {"budget": 1}, {"max_spikes": (1, 4)}, {"cost": "spikes"}]
)
def test_a_step_that_differs_in_anything_is_computed(change: dict[str, Any]) -> None:
    stages = Stages()
    built(stages, "adafire", **SEARCH)
    other = built(stages, "adafire", **{**SEARCH, **change})
    assert stages.taken == []
    assert same(other, built(Stages(), "adafire", **{**SEARCH, **change}))
