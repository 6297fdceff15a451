"""Plug-ins: a package installed for real does all that our own files do; a broken one is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from adacal.core.errors import ConfigError
from adacal.methods import plugins
from adacal.methods.base import METHODS, load_methods
from adacal.suite import foreign
from adacal.suite.cli import main
from adacal.suite.config import load, resolve
from adacal.suite.leaderboard import Ranking, boards
from adacal.suite.matrix import expand
from adacal.suite.registry import DATASETS, TASKS, load_tasks
from adacal.suite.runner import run
from adacal.suite.scaffold import start
from adacal.suite.session import build_task
from adacal.suite.store import RecordStore
from suite.suite_toys import raw_config, write_base

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "my_plugged_method"

# Runs where only PYTHONPATH leads to the package, as in a shell of whoever installed it.
USE = """
import sys
from pathlib import Path
from click.testing import CliRunner
from adacal.suite.cli import main
from adacal.suite.records import read_record

def adacal(*words):
    ran = CliRunner().invoke(main, list(words))
    assert ran.exit_code == 0, ran.output
    return ran.output

name, config, results = sys.argv[1:]
words = ("--results", results)
assert name in adacal("list", "methods")
adacal("run", config, *words, "--cfg-options", "task.max_test_samples=50", "conversion.T=2",
       "evaluation.latency_repeats=0")
table = adacal("leaderboard", *words, "--format", "md")
assert f"| {name}(max_spikes=2) | burst | 2 |" in table
brought = f"adacal-{name} 0.1.0: method {name}, from a folder of that machine"
assert f"with plug-ins {brought}." in table
(record,) = Path(results, "records").iterdir()
(found,) = read_record(record).plug_ins
assert (found.name, found.version, found.modules) == (f"adacal-{name}", "0.1.0", [name])
assert found.sha256 and f"plug-in {brought}" in adacal("show", str(record))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package that `adacal new` writes."""
    folder = tmp_path_factory.mktemp("plugin")
    start("method", NAME, folder / "source")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-index", "--disable-pip-version-check", "--target", str(folder / "site"),
        str(folder / "source"),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder / "site"


def test_an_installed_plug_in_is_listed_runs_and_is_ranked(site: Path, tmp_path: Path) -> None:
    paths = [site, CHECKOUT]
    config = site.parent / "source" / f"run_{NAME}.py"
    ran = subprocess.run(
        [sys.executable, "-c", USE, NAME, str(config), str(tmp_path / "results")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_an_installed_plug_in_keeps_the_contract_of_methods(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods import test_cards, test_contract

    load_methods()
    monkeypatch.syspath_prepend(str(site))
    plugins.installed.cache_clear()
    try:
        load_methods()
        assert METHODS.get(NAME).__module__ == NAME
        test_contract.test_a_method_builds_predicts_meters_and_reports(NAME)
        test_contract.test_a_method_is_right_where_the_ann_is(NAME)
        test_contract.test_the_same_generator_gives_the_same_network(NAME)
        test_contract.test_a_method_is_frozen_keyword_only_and_has_defaults(NAME)
        test_cards.test_every_method_has_a_complete_card(NAME)
    finally:
        monkeypatch.undo()
        plugins.installed.cache_clear()
        plugins._outcomes.pop(NAME, None)
        del METHODS.module_dict[NAME], sys.modules[NAME]


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs a module by hand, metadata included; everything is forgotten afterwards."""
    load_methods()
    load_tasks()

    def install(code: str) -> None:
        (tmp_path / "toy_plugin.py").write_text(code)
        about = tmp_path / "toy_package-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text("[adacal.plugins]\ntoy = toy_plugin\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        plugins.installed.cache_clear()

    yield install
    monkeypatch.undo()
    plugins.installed.cache_clear()
    plugins._outcomes.pop("toy_plugin", None)
    sys.modules.pop("toy_plugin", None)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import not_there_at_all", r"ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("def broken(:", r"SyntaxError: invalid syntax"),
        ("raise SystemExit('I leave')", r"SystemExit: I leave"),
        (
            "from adacal.methods import METHODS\n"
            "@METHODS.register_module(name='burst')\nclass Burst: ...\n",
            r"KeyError: 'burst is already registered",
        ),
    ],
)
def test_a_plug_in_that_fails_to_import_is_named_each_time(
    code: str, reason: str, plugged: Callable[[str], None]
) -> None:
    plugged(code)
    for load_all in (load_methods, load_tasks, load_methods):
        with pytest.raises(ConfigError) as caught:
            load_all()
        sentence = str(caught.value)
        assert sentence.startswith("the plug-in 'toy' of toy-package 1.2 fails to import (")
        assert reason.replace("\\", "") in sentence and "\n" not in sentence
        assert sentence.endswith("mend it, or leave it out: pip uninstall toy-package")
    ran = CliRunner().invoke(main, ["list", "methods"])
    assert ran.exit_code == 2 and "error: the plug-in 'toy'" in ran.output


def test_a_plug_in_is_imported_once_and_may_ask_for_the_registries(
    plugged: Callable[[str], None], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    plugged(
        "from adacal.methods import load_methods\nload_methods()\n"
        f"open({str(log)!r}, 'a').write('imported ')"
    )
    load_methods()
    load_tasks()
    assert log.read_text() == "imported "


def test_a_config_imports_the_module_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_imported.py").write_text("seen = True\n")
    config = tmp_path / "config.py"
    values = raw_config(custom_imports={"imports": ["toy_imported"]})
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    with pytest.raises(
        ConfigError, match=r"toy_imported.*failed \(ModuleNotFoundError.*PYTHONPATH"
    ):
        load(config)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load(config).custom_imports == {"imports": ["toy_imported"]}
    assert sys.modules.pop("toy_imported").seen
    (tmp_path / "toy_imported.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"failed \(ZeroDivisionError: division by zero\)"):
        resolve(values)


def test_a_run_names_the_package_of_a_module_or_the_hash_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once lone, once installed from a registry, once by pip from a repository."""
    (tmp_path / "toy_named.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = resolve(raw_config(custom_imports={"imports": ["toy_named"]}))

    def named() -> foreign.PlugIn:
        foreign._owner.cache_clear()
        foreign._sha256.cache_clear()
        (found,) = [it for it in foreign.plug_ins(config) if it.modules == ["toy_named"]]
        return found

    lone = named()
    assert (lone.name, lone.version, lone.source, lone.parts) == ("toy_named", "", "", [])
    assert lone.words() == f"toy_named (no package; sha256 {lone.sha256[:12]})"
    about = tmp_path / "toy_package-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.2\n")
    (about / "RECORD").write_text("toy_named.py,,\n")
    installed = named()
    assert installed.words() == "toy-package 1.2" and installed.sha256 == lone.sha256
    origin = {
        "url": "https://me:secret@host/it.git",
        "vcs_info": {"vcs": "git", "commit_id": "ab1"},
    }
    (about / "direct_url.json").write_text(json.dumps(origin))
    (tmp_path / "toy_named.py").write_text("changed = True\n")
    assert named().source == "git+https://host/it.git@ab1"
    assert named().sha256 != lone.sha256
    del sys.modules["toy_named"]


def test_a_folder_of_modules_and_an_editable_package_are_named_by_all_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "toy_folder").mkdir(parents=True)
    (source / "toy_folder" / "__init__.py").write_text("")
    about = site / "toy_edited-3.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-edited\nVersion: 3\n")
    origin = {"url": source.as_uri(), "dir_info": {"editable": True}}
    (about / "direct_url.json").write_text(json.dumps(origin))
    for place in (source, site):
        monkeypatch.syspath_prepend(str(place))
    config = resolve(raw_config(custom_imports={"imports": ["toy_folder"]}))
    (found,) = [it for it in foreign.plug_ins(config) if it.modules == ["toy_folder"]]
    assert (found.name, found.version, found.source) == ("toy-edited", "3", foreign.LOCAL)
    (source / "toy_folder" / "inner.py").write_text("")
    foreign._sha256.cache_clear()
    (again,) = [it for it in foreign.plug_ins(config) if it.modules == ["toy_folder"]]
    assert again.sha256 != found.sha256
    del sys.modules["toy_folder"]


@pytest.mark.parametrize("kind", ["task", "dataset"])
def test_a_task_or_dataset_of_a_folder_elsewhere_is_found_by_its_config(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_tasks()
    name = f"my_plugged_{kind}"
    started = start(kind, name, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load(next(path for path in started.paths if path.name == f"run_{name}.py"))
    try:
        task = build_task(config)
        assert task.dataset_name == name and len(task.example_input()) == 2
        if kind == "task":
            record = run(config, RecordStore(tmp_path / "results"))
            (board,) = boards([record], Ranking())
            assert board.title == f"{name} / mlp ({name})" and len(board.rows) == 1
    finally:
        del {"task": TASKS, "dataset": DATASETS}[kind].module_dict[name], sys.modules[name]


def test_a_matrix_takes_a_method_without_a_file_by_its_type(tmp_path: Path) -> None:
    write_base(tmp_path)
    entry = {"name": "mine", "type": "toy_spiking", "misses": 2}
    matrix = {
        "tasks": ["toy_data"], "models": ["toy_net"], "methods": [entry], "T": [4], "seeds": [0],
    }  # fmt: skip
    (cell,) = expand(matrix, base=tmp_path)
    assert cell.config.method == {"type": "toy_spiking", "misses": 2}
    with pytest.raises(ConfigError, match="no method named 'mine'"):
        expand({**matrix, "methods": [{"name": "mine", "misses": 2}]}, base=tmp_path)
