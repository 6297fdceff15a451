"""A real Ray of this machine computes a matrix, one of its workers is killed on the way."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from adacal.core.errors import ConfigError
from adacal.suite.dispatch import run_matrix
from adacal.suite.executors import make_executor
from adacal.suite.store import RecordStore
from suite.matrix_toys import Listening, cells_of, numbers
from suite.suite_toys import SECONDS

TESTS = Path(__file__).resolve().parents[1]


def test_without_ray_the_executor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"needs the package ray .*pip install 'adacal\[ray\]'"):
        make_executor("ray")


@pytest.mark.slow
def test_ray_workers_share_the_cells_and_one_that_is_killed_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'adacal[ray]'")
    from adacal.suite.ray_cluster import RayCluster

    cells = cells_of(tmp_path, T=[2, 3, 4])
    calm, store = RecordStore(tmp_path / "calm"), RecordStore(tmp_path / "results")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run_matrix(cells, calm)
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # Ray's processes inherit it
    monkeypatch.setenv(SECONDS, "0.5")
    cluster = RayCluster(2, "cpu", threads=1)
    killed: list[int] = []

    def kill_one() -> None:
        killed.append(min(cluster.process_ids().values()))
        os.kill(killed[0], signal.SIGKILL)

    outcome = run_matrix(cells, store, cluster, Listening("done", kill_one))
    assert len(killed) == 1
    assert (len(outcome.done), outcome.failed) == (7, [])
    (note,) = outcome.notes
    assert note.startswith("a worker died (") and note.endswith("; the cell is tried again")
    assert numbers(store) == numbers(calm)
    assert {record.environment.threads for record in store.read_all()[0]} == {1}
    assert cluster.process_ids() == {}


@pytest.mark.slow
def test_a_ray_cluster_that_is_not_there_is_one_sentence() -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'adacal[ray]'")
    from adacal.suite.ray_cluster import RayCluster

    with pytest.raises(ConfigError, match="no Ray cluster at '127.0.0.1:1'") as caught:
        RayCluster(1, "cpu", 1, "127.0.0.1:1").open(lambda *words: None)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_ray_that_does_not_start_in_time_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'adacal[ray]'")
    from adacal.suite.ray_cluster import RayCluster

    def slow(**options: object) -> None:
        raise Exception("The current node timed out during startup.\nMore words.")  # as Ray does

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(ConfigError, match="timed out during startup.*less busy") as caught:
        RayCluster(1, "cpu", 1).open(lambda *words: None)
    assert "\n" not in str(caught.value)
