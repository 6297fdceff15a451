"""What `adacal new` writes runs, keeps the contract and stands in the tables; guides show it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner, Result

import adacal.methods
import tasks
import tasks.data
from adacal.core.errors import ConfigError, DataError
from adacal.methods.base import METHODS, load_methods
from adacal.suite.cli import main
from adacal.suite.registry import DATASETS, MODELS, TASKS, build, load_tasks
from adacal.suite.scaffold import SCAFFOLDS, start

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = {"method": "my_method_1", "dataset": "my_dataset_1", "task": "my_task_1"}


def adacal_(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the files that a scaffold needs, with one of each kind started in it."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    shutil.copytree(CHECKOUT / "configs" / "_base_", folder / "configs" / "_base_")
    for kind, name in NAMES.items():
        start(kind, name, checkout=folder)
    return folder


@pytest.fixture
def found(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the packages `adacal.methods`, `tasks` and `tasks.data` reach into that checkout."""
    load_methods()
    load_tasks()
    registries = (METHODS, DATASETS, MODELS, TASKS)
    before = [set(registry.module_dict) for registry in registries]
    for package, place in (
        (adacal.methods, "adacal/methods"), (tasks, "tasks"), (tasks.data, "tasks/data"),
    ):  # fmt: skip
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(checkout / place)])
    yield
    for registry, known in zip(registries, before, strict=True):
        for name in set(registry.module_dict) - known:
            sys.modules.pop(registry.module_dict[name].__module__, None)
            del registry.module_dict[name]


def load_guides() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guides", CHECKOUT / "docs" / "guides.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guides_show_what_is_written() -> None:
    guides = load_guides()
    shown = set()
    for path in guides.GUIDES.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert guides.filled(text) == text, f"{path.name} is old; run make guides"
        shown |= {block[1] for block in guides.BLOCK.findall(text)}
    there = (CHECKOUT / "adacal" / "suite" / "scaffolds").glob("*.txt")
    assert shown == {path.name.removesuffix(".txt") for path in there}


def test_a_block_that_was_changed_in_a_guide_is_put_right() -> None:
    guides = load_guides()
    path = CHECKOUT / "docs" / "how-to" / "add-a-method.md"
    text = path.read_text(encoding="utf-8")
    assert guides.filled(text.replace("max_spikes: int = 2", "max_spikes: int = 3")) == text


def test_what_is_written_passes_the_linter_as_it_is(checkout: Path) -> None:
    written = [*checkout.glob("**/*my_*_1*.py"), *checkout.glob("configs/my_task_1/*.py")]
    assert len(written) == 3 + 2 + 1 + 1  # code, pieces, the dataset's run, the task's run
    for path in written:
        # As if it lay in the real checkout, where the linter knows which imports are our own.
        place = ["--no-cache", "--stdin-filename", str(CHECKOUT / path.relative_to(checkout)), "-"]
        for words in (["check"], ["format", "--check"]):
            ran = subprocess.run(
                [sys.executable, "-m", "ruff", *words, *place],
                input=path.read_text(), capture_output=True, text=True, cwd=CHECKOUT, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.usefixtures("found")
def test_a_new_method_keeps_the_contract_and_stands_in_the_tables(tmp_path: Path) -> None:
    from methods import test_cards, test_contract

    load_methods()
    name = NAMES["method"]
    assert METHODS.get(name).__name__ == "MyMethod1"
    test_contract.test_a_method_builds_predicts_meters_and_reports(name)
    test_contract.test_a_method_is_right_where_the_ann_is(name)
    test_contract.test_the_same_generator_gives_the_same_network(name)
    test_contract.test_a_method_is_frozen_keyword_only_and_has_defaults(name)
    test_contract.test_notes_of_a_search_are_json(name)
    test_cards.test_every_method_has_a_complete_card(name)
    test_cards.test_a_card_begins_its_spikes_with_its_strictness_class(name)
    test_cards.test_methods_that_need_labels_say_so(name)
    test_cards.test_the_file_of_a_method_is_named_after_it_and_says_what_it_is(name)
    words = ("method.type=" + name, "task.max_test_samples=50", "calibration.n_samples=32")
    run = ("run", "classification2d/mnist5k_lenet_light", "--results", tmp_path, "--cfg-options")
    ran = adacal_(*run, *words)
    assert ran.exit_code == 0, ran.output
    assert name in adacal_("list", "methods").output
    assert f"| {name}(max_spikes=2) [32 samples] | burst |" in table(tmp_path)


def table(results: Path) -> str:
    return adacal_("leaderboard", "--results", results, "--format", "md").output


@pytest.mark.usefixtures("found")
def test_a_new_dataset_trains_runs_and_stands_in_the_tables(checkout: Path, tmp_path: Path) -> None:
    load_tasks()
    name = NAMES["dataset"]
    dataset = build(DATASETS, "dataset", {"type": name})
    train, test = dataset.split("train"), dataset.split("test")
    assert dataset.name == name and dataset.fingerprint() == dataset.fingerprint()
    pixels = [
        {image.numpy().tobytes() for image in part.fetch(torch.arange(len(part)))}
        for part in (train, test)
    ]
    assert len(train) > len(test) > 0 and not pixels[0] & pixels[1]
    config = checkout / "configs" / "classification2d" / f"{name}_lenet_light.py"
    weights = f"model.checkpoint={tmp_path / 'weights.safetensors'}"
    trained = adacal_("train", config, "--cfg-options", weights, "schedule.epochs=1")
    assert trained.exit_code == 0, trained.output
    ran = adacal_("run", config, "--results", tmp_path, "--cfg-options", weights)
    assert ran.exit_code == 0, ran.output
    assert "snn_calibration_light" in table(tmp_path)
    assert f"{name} / lenet (classification2d)" in table(tmp_path)


@pytest.mark.usefixtures("found")
def test_a_new_task_runs_is_verified_and_stands_in_the_tables(
    checkout: Path, tmp_path: Path
) -> None:
    config = checkout / "configs" / NAMES["task"] / "burst.py"
    ran = adacal_("run", config, "--results", tmp_path)
    assert ran.exit_code == 0, ran.output
    (record,) = (tmp_path / "records").glob("*.json")
    verified = adacal_("verify", record, "--results", tmp_path)
    assert verified.exit_code == 0, verified.output
    assert f"{NAMES['task']} / mlp ({NAMES['task']})" in table(tmp_path)


@pytest.mark.parametrize("kind", SCAFFOLDS)
def test_nothing_is_overwritten(kind: str, checkout: Path) -> None:
    before = {path: path.read_text() for path in checkout.glob("**/*my_*_1*.py")}
    with pytest.raises(DataError, match=r"exists already; choose another name or folder"):
        start(kind, NAMES[kind], checkout=checkout)
    assert before == {path: path.read_text() for path in before}


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("method", "Mine", "small letters, digits and single _"),
        ("method", "", "small letters, digits and single _"),
        ("method", "lambda", "small letters, digits and single _"),
        ("method", "../escape", "small letters, digits and single _"),
        ("method", "a_name_that_is_really_too_long", "at most 24"),
        ("method", "burst", "there is a method named 'burst' already"),
        ("dataset", "mnist5k", "there is a dataset named 'mnist5k' already"),
        ("task", "events", "there is a task named 'events' already"),
        ("method", "tensor", "uses the name Tensor for something else; try 'my_tensor'"),
        ("task", "metric", "uses the name Metric for something else; try 'my_metric'"),
        ("method", "json", "a Python module named 'json' is there already"),
    ],
)
def test_a_name_that_cannot_be_used_gets_one_sentence(
    kind: str, name: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        start(kind, name, tmp_path / "plugin")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_without_a_checkout_a_package_is_written_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started = start("method", "my_other_1", checkout=tmp_path / "site-packages")
    names = sorted(path.relative_to("my_other_1").as_posix() for path in started.paths)
    assert names == ["my_other_1.py", "pyproject.toml", "run_my_other_1.py"]
    assert "half_peak" not in "".join(path.read_text() for path in started.paths)
    assert "pip install ./my_other_1 && adacal run my_other_1/run_my_other_1.py" in started.hint


def test_the_command_says_what_it_wrote_and_what_to_do_next(tmp_path: Path) -> None:
    ran = adacal_("new", "method", "my_third_1", "--folder", tmp_path)
    assert ran.exit_code == 0, ran.output
    *wrote, hint = ran.output.splitlines()
    assert wrote == [
        f"wrote {tmp_path / name}"
        for name in ("my_third_1.py", "run_my_third_1.py", "pyproject.toml")
    ]
    assert hint.endswith(f"pip install {tmp_path} && adacal run {tmp_path / 'run_my_third_1.py'}")
    again = adacal_("new", "method", "my_third_1", "--folder", tmp_path)
    assert again.exit_code == 2 and again.output.startswith("error: ")
    assert "exists already; choose another name or folder" in again.output


@pytest.mark.parametrize("command", ["new", "report"])
def test_the_help_of_a_command_shows_examples(command: str) -> None:
    ran = adacal_(command, "--help")
    assert ran.exit_code == 0 and f"adacal {command}" in ran.output.partition("Examples:")[2]
