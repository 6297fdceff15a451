"""The kept list of names: the same as a fresh one, and never older than what it lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adacal.methods import plugins
from adacal.suite import names

SCRIPT = """
import sys
from adacal.suite.names import registered
found = registered()
print('torch' in sys.modules, sorted(found), 'burst' in dict(found['methods']))
"""


def listed(cache: Path, **variables: str) -> str:
    """What a process of its own finds, and whether it imported torch for it."""
    environment = {**os.environ, "ADACAL_CACHE": str(cache), **variables}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


def test_names_are_kept_and_a_damaged_list_is_made_again(tmp_path: Path) -> None:
    kinds = "['datasets', 'methods', 'models', 'tasks'] True"
    assert listed(tmp_path) == f"True {kinds}"
    assert listed(tmp_path) == f"False {kinds}"
    path = tmp_path / "names.json"
    kept = json.loads(path.read_text())
    # in the order of import, which other tests have a say in here
    assert {title: sorted(map(tuple, pairs)) for title, pairs in kept["names"].items()} == {
        title: sorted(pair for pair in pairs if not pair[0].startswith("toy"))
        for title, pairs in names.registered().items()
    }
    path.write_text(path.read_text()[:-20])
    assert listed(tmp_path) == f"True {kinds}"
    assert listed(tmp_path) == f"False {kinds}"


def test_a_list_of_other_files_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(names, "PACKAGE", package)
    before = names._sources()
    (package / "method.py").write_text("one = 1\n")
    added = names._sources()
    (package / "method.py").write_text("three = 3\n")
    changed = names._sources()
    (package / "method.py").unlink()
    assert len({before, added, changed}) == 3 and names._sources() == before
    path = tmp_path / "names.json"
    path.write_text(
        json.dumps({"sources": added, "names": {key: [["a", ""]] for key in names.KINDS}})
    )
    assert names._read(path, added) == {key: [("a", "")] for key in names.KINDS}
    assert names._read(path, changed) is None and names._read(tmp_path / "none", added) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"sources": "x"}', "[" * 100_000]
    + [
        json.dumps({"sources": "x", "names": {title: wrong for title in names.KINDS}})
        for wrong in (["ab"], [["a"]], [["a", None]], [["a", "b", "c"]], 7)
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_list_of_names_is_not_taken_for_one(text: str, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(text)
    assert names._read(path, "x") is None


def test_a_file_that_cannot_be_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "PACKAGE", tmp_path)
    (tmp_path / ".#open.py").symlink_to(tmp_path / "nobody@host.1")  # an editor's lock
    assert names._sources() is not None
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert names._sources() is None
    assert names._read(tmp_path / "names.json", None) is None


def test_with_plug_ins_nothing_is_read_or_kept(tmp_path: Path) -> None:
    package = tmp_path / "plug_in-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[adacal.plugins]\nplug_in = plug_in\n")
    (tmp_path / "plug_in.py").write_text("")
    for _ in range(2):
        assert listed(tmp_path / "cache", PYTHONPATH=str(tmp_path)).startswith("True")
    assert not (tmp_path / "cache" / "names.json").exists()


def test_no_folder_to_keep_it_in_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert listed(tmp_path / "file").startswith("True")


def test_plug_ins_are_looked_for_under_one_name() -> None:
    assert names.PLUGINS == plugins.GROUP
