"""Configs: what is accepted, what is refused and with which sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from adacal.core.errors import ConfigError
from adacal.suite import config as configs
from adacal.suite.config import make_method, resolve
from adacal.suite.labels import method_label, plain_value
from adacal.suite.session import Session, build_task
from adacal.suite.task import Task
from suite.suite_toys import raw_config
from tasks.openmmlab import building
from tasks.openmmlab.task import DenseTask


def test_a_resolved_config_resolves_to_itself() -> None:
    first = resolve(raw_config())
    assert resolve(first.plain()).plain() == first.plain()


def test_conversion_options_override_the_methods() -> None:
    raw = raw_config(
        method={"type": "toy_spiking", "misses": 3, "nested": {"a": 1, "b": [1.0, 2.0]}},
        conversion={"T": 2, "misses": 2, "nested": {"a": 7}},
    )
    config = resolve(raw)
    assert config.conversion.T == 2
    method = config.build_method()
    assert method.misses == 2
    assert method.nested == {"a": 7, "b": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"conversions": {}}, "no config key named 'conversions'; did you mean 'conversion'?"),
        ({"method": {"type": "toy_spikin"}}, "no method named 'toy_spikin'; did you mean"),
        ({"method": {"type": "json"}}, "no method named 'json'"),  # a module of that name exists
        (
            {"method": {"type": "toy_spiking", "mises": 1}},
            "no option of method 'toy_spiking' named 'mises'; did you mean 'misses'?",
        ),
        ({"conversion": {"T": 0}}, "conversion.T must be above 0; got 0"),
        ({"conversion": {"T": 2.5}}, "conversion.T must be a whole number; got 2.5"),
        ({"conversion": {}}, "'conversion.T' is not set"),
        ({"conversion": 8}, "'conversion' must be a dict"),
        ({"calibration": {"n_samples": -1}}, "calibration.n_samples must be above 0; got -1"),
        (
            {"calibration": {"samples": 3}},
            "no calibration option named 'samples'; did you mean 'n_samples'?",
        ),
        ({"evaluation": {"batch_size": 0}}, "evaluation.batch_size must be above 0; got 0"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"seed": 2**70}, "seed must be below"),
        ({"seed": "abc"}, "seed must be a whole number; got 'abc'"),
        ({"calibration": 5}, "calibration must be a dict; got 5"),
        ({"method": {"type": "toy_spiking", "misses": "x"}}, "misses must be a whole number"),
        ({"task": {"dataset": {}}}, "'task' must be a dict with a 'type' string"),
        ({"method": {"type": "toy_spiking", "misses": -1}}, "misses must be 0 or more; got -1"),
    ],
)
def test_a_wrong_config_gets_one_sentence(change: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(raw_config(**change))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_is_named() -> None:
    config = resolve(raw_config(task={"type": "toy_tusk", "dataset": {"type": "x"}}))
    with pytest.raises(ConfigError, match="did you mean 'toy_task'"):
        Session().prepare(config)


def test_methods_without_time_or_chance_have_one_identity() -> None:
    configs_ = [
        resolve(raw_config(method={"type": "toy_ann"}, conversion={"T": T}, seed=T)) for T in (2, 8)
    ]
    assert configs_[0].plain() == configs_[1].plain()


def test_a_label_shows_only_what_is_not_the_default() -> None:
    assert resolve(raw_config()).label() == "toy_spiking"
    raw = raw_config(method={"type": "toy_spiking", "misses": 2, "nested": {"a": 1, "b": [3.0]}})
    assert resolve(raw).label() == "toy_spiking(misses=2, nested={b=[3]})"


def test_a_nested_option_that_repeats_a_default_is_the_same_run() -> None:
    spelt_out = resolve(raw_config(method={"type": "toy_spiking", "nested": {"a": 1}}))
    assert spelt_out.method_options() == resolve(raw_config()).method_options()
    assert spelt_out.label() == "toy_spiking"


def test_overrides_are_literals_or_strings(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text("a = dict(b=1, c='x')\n_helper = 3\n")
    assert configs.read(path, ["a.b=2", "a.c=new"]) == {"a": {"b": 2, "c": "new"}}
    with pytest.raises(ConfigError, match="takes key=value, got 'a.b'"):
        configs.read(path, ["a.b"])


def test_a_config_that_breaks_while_executed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("T = 1 / 0\n")
    with pytest.raises(ConfigError, match=r"broken\.py cannot be executed \(ZeroDivisionError"):
        configs.read(path)


def test_a_config_takes_only_what_json_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text("task = dict(type='x', thing={1, 2})\n")
    with pytest.raises(ConfigError, match=r"'task\.thing' holds a set"):
        configs.read(path)


def test_a_shipped_config_is_found_by_name_and_a_near_name_is_offered() -> None:
    name = "classification2d/mnist5k_resnet20_light"
    assert configs.find(name) == configs.find(f"{name}.py")
    with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
        configs.find("classification2d/mnist5k_resnet20_lihgt")


def dense_module(task: Task, model: Mapping[str, Any]) -> torch.nn.Module | None:
    """The model of a task whose models are another library's; its data need not be there."""
    if not isinstance(task, DenseTask):
        return None
    library, options = task.library, model.get("options")
    loaded = building.load_config(model["config"], library=library, options=options)
    return building._constructed(loaded, library)


@pytest.mark.parametrize("name", configs.shipped())
def test_every_shipped_config_builds_what_it_names(name: str) -> None:
    config = configs.load(name)
    assert configs.find(name).read_text().startswith("# ")
    config.build_method()
    task = build_task(config)
    suffix = "_backbone_only" if config.model.get("backbone_only") else ""
    assert task.model_name == config.model["name"] + suffix
    with torch.device("meta"):
        module = dense_module(task, config.model) or task.build_module()  # type: ignore[attr-defined]
    assert sum(parameter.numel() for parameter in module.parameters()) > 0


@pytest.mark.parametrize(
    "path", sorted((configs.CONFIG_FOLDER / "_base_").rglob("*.py")), ids=lambda path: path.stem
)
def test_every_base_piece_says_why_it_exists(path: Path) -> None:
    assert path.read_text().startswith("# ")
    if path.parent.name == "openmmlab":  # configs of mmdet and mmsegmentation
        assert {"default_scope", "model"} <= set(configs.read(path))
    else:
        assert set(configs.read(path)) == {path.parent.name.removesuffix("s")}


def test_defaults_spelled_out_are_the_same_method() -> None:
    short = make_method("adaptive_calibration", {"iat": {"rule": "agreement"}})
    spelled = {
        "adafire": {"max_spikes": [1, 8], "budget": 4},
        "ssc": {"tolerance": 1.0, "ratios": [1.0, 10.0, 0.5]},
        "iat": {"score": "entropy", "rule": "agreement"},
    }
    long = make_method("adaptive_calibration", spelled)
    options = [plain_value(dataclasses.asdict(method), "method") for method in (short, long)]
    assert options[0] == options[1]
    label = method_label("adaptive_calibration", options[0])
    assert label == "adaptive_calibration(iat={rule=agreement})"


def test_a_rule_on_changes_has_its_own_default_tolerance_in_a_config() -> None:
    method = make_method("adaptive_calibration", {"iat": {"rule": "change"}})
    options = plain_value(dataclasses.asdict(method), "method")
    assert options["iat"] == {"rule": "change", "tolerance": 0.1}
    label = method_label("adaptive_calibration", options)
    assert label == "adaptive_calibration(iat={rule=change, tolerance=0.1})"
    assert make_method("adaptive_calibration", options) == method


@pytest.mark.parametrize(
    "text", ["import sys; sys.exit(3)", "raise RuntimeError('a\\nb')", "x = ("]
)
def test_a_config_that_cannot_be_executed_gets_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be executed") as caught:
        configs.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_without_letters_is_no_config(name: str) -> None:
    with pytest.raises(ConfigError, match="no config named"):
        configs.load(name)


def test_overrides_that_do_not_fit_get_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "toy.py"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in raw_config().items()))
    with pytest.raises(ConfigError, match="--cfg-options conversion.T.x=4 do not fit"):
        configs.load(path, ["conversion.T.x=4"])


def test_a_schedule_on_the_command_line_beats_the_model_s_own() -> None:
    name = "classification2d/mnist5k_lenet_light"
    config = configs.load(name, ["schedule.epochs=3"])
    assert config.schedule is not None
    assert config.schedule["epochs"] == 3
    assert "schedule" not in config.model
    assert config.schedule["lr"] == configs.load(name).model["schedule"]["lr"]
