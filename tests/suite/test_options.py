"""Options are checked by name and type before anything is built from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from adacal.core.errors import ConfigError
from adacal.methods.base import Method, later
from adacal.suite.config import make_method
from adacal.suite.options import check_options, check_types


def factory(
    *,
    size: int,
    share: float = 0.5,
    name: str | None = None,
    widths: Sequence[int] = (1, 2),
    pair: tuple[int, int] = (1, 2),
    part: Mapping[str, Any] | None = None,
    pool: Literal["avg", "max"] = "avg",
    odd: NotThere = None,  # type: ignore[name-defined]  # noqa: F821
) -> None: ...


class Thing:
    def __init__(self, size: int, share: float = 0.5, other: Any = None) -> None: ...


@dataclass
class Plain:
    size: int = 1
    pool: Literal["avg", "max"] = "avg"
    pair: tuple[int, int] = (1, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 1, "sahre": 1}, "no option of thing named 'sahre'; did you mean 'share'?"),
        ({}, "thing needs 'size'; add it to the config"),
        ({"size": "two"}, "thing: size must be a whole number; got 'two'"),
        ({"size": 1.5}, "thing: size must be a whole number; got 1.5"),
        ({"size": True}, "thing: size must be a whole number; got True"),
        ({"size": 1, "share": "x"}, "thing: share must be a number; got 'x'"),
        ({"size": 1, "share": float("nan")}, "thing: share must be a finite number; got nan"),
    ],
)
def test_a_wrong_option_gets_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_options("thing", Thing, options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pool": "mux"}, "no pool named 'mux'; did you mean 'max'? known: avg, max"),
        ({"pair": [1]}, "pair"),
        ({"size": None}, "size must be a whole number; got None"),
    ],
)
def test_fields_of_a_dataclass_are_checked_alike(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_types("plain", Plain, options)
    assert sentence in str(caught.value)


def test_lists_pass_for_tuples_and_sequences_and_whole_numbers_for_floats() -> None:
    check_types("plain", Plain, {"pair": [1, 2], "size": 3, "pool": "max"})
    check_options("thing", Thing, {"size": 1, "share": 1, "other": object()})


def test_annotations_that_cannot_be_read_are_not_checked() -> None:
    check_options("factory", factory, {"size": "anything"})
    with pytest.raises(ConfigError, match="did you mean 'widths'"):
        check_options("factory", factory, {"size": 1, "width": 3})


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("snn_calibration_light", {"repeats": "two"}, "repeats must be a whole number"),
        ("snn_calibration_light", {"repeats": 1.5}, "repeats must be a whole number"),
        ("snn_calibration_light", {"threshold": "mmsee"}, "did you mean 'mmse'"),
        ("burst", {"calibration": "lite"}, "did you mean 'light'"),
        ("burst", {"max_spikes": 1.5}, "burst.max_spikes must be a whole number"),
        ("percentile_norm", {"level": "x"}, "percentile_norm.level must be a number"),
        ("max_norm", {"per_channel": "x"}, "per_channel must be True or False; got 'x'"),
        ("snn_calibration_advanced", {"iterations": 1.5}, "iterations must be a whole number"),
        ("adafire", {"budget": 2.5}, "budget must be a whole number"),
        ("adafire", {"max_spikes": 4}, "max_spikes must be a range"),
        ("adafire", {"cost": "pJ"}, "did you mean 'pj'"),
        ("adafire_ssc", {"ssc": {"tolernce": 2}}, "did you mean 'tolerance'"),
        ("adafire_ssc", {"ssc": 3}, "ssc must be a dict; got 3"),
        ("adaptive_calibration", {"iat": {"rul": "paper"}}, "did you mean 'rule'"),
        ("adaptive_calibration", {"iat": {"rule": "papr"}}, "did you mean 'paper'"),
        ("adaptive_calibration", {"iat": {"base": "x"}}, "base must be a number in [0, 1]"),
        ("adaptive_calibration", {"iat": 3}, "iat must be a dict"),
        ("adaptive_calibration", {"adafire": {"budgt": 3}}, "did you mean 'budget'"),
        ("adaptive_calibration", {"adafire": 3}, "adafire must be a dict"),
    ],
)
def test_every_option_of_a_method_is_checked(
    method: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_method(method, options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Grown(Method):
    """A method that got an option when records of it existed."""

    level: float = 0.5
    shape: str = later("round")

    def build(self, ann: Any, example_input: Any, calibration: Any) -> Any:
        raise AssertionError("is not built here")


def test_an_option_added_later_is_part_of_a_run_only_where_it_is_set() -> None:
    assert Grown().options() == Grown(shape="round").options() == {"level": 0.5}
    assert Grown(shape="square").options() == {"level": 0.5, "shape": "square"}
