"""Folders of generated files: made once, checked, made again when anything in them has changed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from adacal.core.errors import DataError
from tasks.data import generated
from tasks.data.generated import generated_folder


class Writer:
    """Writes two files and counts how often it was asked to."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.times, self.seconds = 0, seconds

    def __call__(self, folder: Path) -> str:
        self.times += 1
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text("one")
        time.sleep(self.seconds)
        (folder / "b.txt").write_text("two")
        return "fingerprint"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def as_in_a_new_process() -> None:
    generated._checked.cache_clear()


def test_a_folder_is_made_once_and_found_again(cache):
    writer = Writer()
    first = generated_folder("set_v1", writer)
    as_in_a_new_process()
    again = generated_folder("set_v1", writer)
    assert first == again and writer.times == 1
    assert first.path == cache / "set_v1" and first.fingerprint == "fingerprint"
    assert (first.path / "deep" / "a.txt").read_text() == "one"
    assert not list(cache.glob("*.tmp"))


def change_a_byte(folder: Path) -> None:
    (folder / "b.txt").write_text("twO")


def take_a_file(folder: Path) -> None:
    (folder / "deep" / "a.txt").unlink()


def add_a_file(folder: Path) -> None:
    (folder / "deep" / "c.txt").write_text("three")


def break_the_list(folder: Path) -> None:
    (folder / generated.LIST).write_text("{")


def take_the_list(folder: Path) -> None:
    (folder / generated.LIST).unlink()


@pytest.mark.parametrize(
    "damage", [change_a_byte, take_a_file, add_a_file, break_the_list, take_the_list]
)
def test_a_damaged_folder_is_made_again(cache, damage):
    writer = Writer()
    folder = generated_folder("set_v1", writer).path
    damage(folder)
    as_in_a_new_process()
    assert generated_folder("set_v1", writer).path == folder
    assert writer.times == 2
    assert sorted(path.name for path in folder.rglob("*.txt")) == ["a.txt", "b.txt"]
    assert (folder / "b.txt").read_text() == "two"


def test_what_was_interrupted_leaves_nothing_that_is_taken_for_whole(cache):
    def interrupted(folder: Path) -> str:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generated_folder("set_v1", interrupted)
    assert not (cache / "set_v1").exists() and not list(cache.glob("*.tmp"))


def test_two_at_once_make_it_once(cache):
    writer = Writer(seconds=0.2)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(generated_folder("set_v1", writer)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.times == 1 and found[0] == found[1]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"'set_v1' cannot be kept in '.*file' .*ADACAL_CACHE"):
        generated_folder("set_v1", Writer())
