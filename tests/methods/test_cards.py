"""Cards: what a reader must know of a method stands in its file, and the file must say it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import pytest
from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.core.errors import ConfigError
from adacal.methods.base import METHODS, Calibration, Method, load_methods

load_methods()
NAMES = sorted(
    name for name, kind in METHODS.module_dict.items() if kind.__module__.startswith("adacal.")
)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_a_complete_card(name: str) -> None:
    card = METHODS.get(name).card()
    for key, value in vars(card).items():
        assert value and value == value.strip() and "|" not in value, key
        assert "Source:" not in value and "Card:" not in value


@pytest.mark.parametrize("name", NAMES)
def test_a_card_begins_its_spikes_with_its_strictness_class(name: str) -> None:
    spikes = METHODS.get(name).card().spikes
    assert spikes.split(",")[0] in {
        "none",
        "binary",
        "burst",
        "signed",
        "analogue parts",
        "quantised",
    }


RIVALS = ("srp", "cos", "snm", "burst_lipooling", "multi_threshold", "dcgs", "qcfs")


@pytest.mark.parametrize("name", RIVALS)
def test_the_card_of_a_rival_says_what_differs_and_what_was_guessed(name: str) -> None:
    source = METHODS.get(name).card().source
    head, differs, rest = source.partition("Differs")
    _, guessed, guesses = rest.partition("Guessed:")
    assert head and differs and guessed and guesses.rstrip().endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_methods_that_need_labels_say_so(name: str) -> None:
    wants = METHODS.get(name).card().data
    assert ("labels" in wants and "no labels" not in wants) == (name == "adaptive_calibration")


@pytest.mark.parametrize("name", NAMES)
def test_the_file_of_a_method_is_named_after_it_and_says_what_it_is(name: str) -> None:
    kind = METHODS.get(name)
    assert kind.__module__ == f"adacal.methods.{name}"
    first = (sys.modules[kind.__module__].__doc__ or "").splitlines()[0]
    assert first.endswith(".") and len(first) > 20


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("No card.", "data, weights, passes, spikes, source"),
        ("Card: data: x | weights: y | passes: 1 | spikes: binary", "spikes, source"),
        ("Card: data: x | passes: 1 | spikes: binary\nSource: me", "weights"),
    ],
)
def test_an_incomplete_card_is_refused_by_name(text: str, missing: str) -> None:
    module = ModuleType("toy_card_module")
    module.__doc__ = text

    @dataclass(frozen=True, kw_only=True)
    class Toy(Method):
        name: ClassVar[str] = "toy"

        def build(self, ann: nn.Module, example: Tensor, calibration: Calibration) -> Converted:
            raise NotImplementedError

    Toy.__module__ = module.__name__
    sys.modules[module.__name__] = module
    try:
        with pytest.raises(ConfigError, match=f"method 'toy' has no {missing} in its card"):
            Toy.card()
    finally:
        del sys.modules[module.__name__]
