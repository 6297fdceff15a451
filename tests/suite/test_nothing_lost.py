"""A matrix is killed, interrupted, starved of space, run twice at once: no record is lost."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adacal.suite.store import RecordStore
from suite.nursery import Nursery, children, runs
from suite.suite_toys import write_base

KILLS = 20
CELL_S = 0.05
GONE_S = 20.0
MATRIX = """# toys
tasks = ["toy_data"]
models = ["toy_net"]
methods = ["toy_ann", "toy_spiking", dict(name="toy_spiking", misses=2)]
T = [2, 3, 4, 5, 6, 7]
seeds = [0, 1, 2, 3]
calibration = dict(n_samples=8)
evaluation = dict(batch_size=20, latency_repeats=0)
custom_imports = dict(imports=["suite.suite_toys"])
"""
CELLS = 2 * 6 * 4 + 1
CPU = ("--device", "cpu")  # where sums have one order


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nursery")
    write_base(path / "_base_")
    (path / "toys.py").write_text(MATRIX)
    return path


@pytest.fixture(scope="module")
def nursery(folder: Path) -> Iterator[Nursery]:
    nursery = Nursery(folder)
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, folder: Path) -> dict[str, Any]:
    """The numbers of a run that nothing disturbs, by record id."""
    output = nursery.run(folder, "matrix", folder / "toys.py", "--results", folder / "calm", *CPU)
    assert output.startswith("exit code 0"), output
    return numbers(folder / "calm")


def numbers(results: Path) -> dict[str, Any]:
    """Returns what was recorded, without times; fails unless every file there is a record."""
    store = RecordStore(results)
    records, warnings = store.read_all()
    assert warnings == []
    assert len(records) == len(list(store.folder.glob("*.json")))
    assert not store.quarantine_folder.exists()
    return {record.id: record.numbers() for record in records}


def test_a_matrix_killed_twenty_times_ends_with_the_records_of_an_undisturbed_run(
    nursery: Nursery, folder: Path, undisturbed: dict[str, Any]
) -> None:
    results = folder / "killed"
    words = ("matrix", folder / "toys.py", "--results", results, *CPU)
    delays = random.Random(20261126)
    found = [0]
    for _ in range(KILLS):
        pid = nursery.start(folder, *words, seconds=CELL_S)
        more = delays.randrange(4)  # 0: it is killed while it starts, else during a cell or after
        assert found[-1] + more < CELLS, "it would end by itself"
        while len(list(results.glob("records/*.json"))) < found[-1] + more:
            time.sleep(0.002)
        time.sleep(delays.uniform(0.0, CELL_S if more else 0.15))
        os.kill(pid, signal.SIGKILL)
        assert nursery.wait(pid) == -signal.SIGKILL  # it had not ended by itself
        found.append(len(numbers(results)))
    assert found == sorted(found)
    assert KILLS < found[-1] < CELLS
    output = nursery.run(folder, *words)
    assert output.startswith("exit code 0"), output
    assert f"{CELLS - found[-1]} cells run, {found[-1]} recorded before, 0 failed" in output
    assert len(undisturbed) == CELLS
    assert numbers(results) == undisturbed
    assert not (results / "locks").exists()
    print(f"records after each kill: {found[1:]}")  # noqa: T201


@pytest.mark.slow
def test_a_killed_driver_takes_its_workers_along_and_what_they_sent_is_kept(
    nursery: Nursery, folder: Path, undisturbed: dict[str, Any]
) -> None:
    results = folder / "workers"
    words = ("matrix", folder / "toys.py", "--results", results, *CPU)
    words += ("--workers", 2, "--threads", 1)
    delays = random.Random(20261127)
    found = 0
    # It is killed while the workers start, amid short cells, and amid two that would not end.
    for seconds, wanted, delay in (
        (CELL_S, "", delays.uniform(0.0, 1.5)),
        (CELL_S, "records/*.json", delays.uniform(0.0, 10 * CELL_S)),
        (10 * GONE_S, "locks/*", delays.uniform(0.0, 0.5)),
    ):
        shutil.rmtree(results / "locks", ignore_errors=True)
        pid = nursery.start(folder, *words, seconds=seconds)
        while wanted and len(list(results.glob(wanted))) < 2:
            time.sleep(0.002)
        time.sleep(delay)
        started = children(pid)
        os.kill(pid, signal.SIGKILL)
        assert nursery.wait(pid) == -signal.SIGKILL  # it had not ended by itself
        workers = [line for line in started.values() if "spawn_main" in line]
        assert len(workers) == 2 or not wanted
        until = time.monotonic() + GONE_S
        while left := {one: line for one, line in started.items() if runs(one)}:
            assert time.monotonic() < until, f"still there: {left}"
            time.sleep(0.01)
        assert len(numbers(results)) >= found
        found = len(numbers(results))
    assert 0 < found < CELLS
    output = nursery.run(folder, *words)
    assert output.startswith("exit code 0"), output
    assert f"{CELLS - found} cells run, {found} recorded before, 0 failed" in output
    assert numbers(results) == undisturbed
    assert not (results / "locks").exists()


def test_two_matrices_on_one_folder_share_the_work(
    nursery: Nursery, folder: Path, undisturbed: dict[str, Any]
) -> None:
    results = folder / "shared"
    words = ("matrix", folder / "toys.py", "--results", results, *CPU)
    pids = [nursery.start(folder, *words, seconds=0.02) for _ in range(2)]
    assert [nursery.wait(pid) for pid in pids] == [0, 0]
    runs = [(folder / f"{pid}.log").read_text() for pid in pids]
    counts = [re.search(r"(\d+) cells run, (\d+) recorded before, 0 failed", run) for run in runs]
    done = [int(count[1]) for count in counts if count]
    assert sum(done) == CELLS  # none was computed twice
    assert min(done) > 0
    assert numbers(results) == undisturbed
    assert not (results / "locks").exists()


def test_ctrl_c_says_how_to_go_on_and_keeps_what_is_done(nursery: Nursery, folder: Path) -> None:
    results = folder / "interrupted"
    pid = nursery.start(folder, "matrix", folder / "toys.py", "--results", results, seconds=CELL_S)
    while not list(results.glob("records/*.json")):
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    assert nursery.wait(pid) == 130
    last = (folder / f"{pid}.log").read_text().strip().splitlines()[-1]
    assert last == "stopped; what was finished is recorded, run it again to go on"
    assert 0 < len(numbers(results)) < CELLS
    assert not (results / "locks").exists()


def test_a_file_system_that_takes_no_more_ends_the_matrix_in_one_sentence(
    nursery: Nursery, folder: Path, undisturbed: dict[str, Any]
) -> None:
    results = folder / "full"
    words = ("matrix", folder / "toys.py", "--results", results, "--cfg-options", "T=[2]")
    output = nursery.run(folder, *words, limit=1000)  # a record is larger
    assert output.startswith("exit code 2"), output
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "cannot be written (File too large); free space and run the same command" in error
    assert "Traceback" not in output
    assert list((results / "records").iterdir()) == []
    assert not (results / "locks").exists()
    assert nursery.run(folder, *words).startswith("exit code 0")
    found = numbers(results)
    assert len(found) == 9
    assert found.items() <= undisturbed.items()
