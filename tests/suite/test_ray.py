"""A real Ray of this machine computes a matrix, one of its workers is killed on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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

    listener = Listening("done", kill_one)
    outcome = run_matrix(cells, store, cluster, listener)
    assert len(killed) == 1
    assert (len(outcome.done), outcome.failed) == (7, [])
    (note,) = outcome.notes
    assert note.startswith("a worker died (") and note.endswith("; the cell is tried again")
    assert numbers(store) == numbers(calm)
    assert {record.environment.threads for record in store.read_all()[0]} == {1}
    assert cluster.process_ids() == {}
    under_way = {name for name, stage, *at in listener.heard if (stage, at) == ("convert", [0, 1])}
    assert under_way and under_way < {cell.name for cell in cells}  # heard before they were done


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster that runs already, of two cores, with a token; ended with all its processes."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'adacal[ray]'")
    (tmp_path / "token").write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
            "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2", "--num-gpus=0",
            "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}",
            "--object-store-memory=100000000",
        ]  # fmt: skip
        with (tmp_path / "head.log").open("w") as log:
            head = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            until = time.monotonic() + 60.0
            while "Ray runtime started" not in (text := (tmp_path / "head.log").read_text()):
                assert head.poll() is None and time.monotonic() < until, text
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()  # `ray stop` would end every Ray of this machine
            head.wait(timeout=30.0)


ATTACH = """
import sys
from pathlib import Path
from adacal.suite.dispatch import run_matrix
from adacal.suite.ray_cluster import RayCluster
from adacal.suite.store import RecordStore
from suite.matrix_toys import cells_of
folder, address = Path(sys.argv[1]), sys.argv[2]
cluster = RayCluster(1, "cpu", 1, address)
outcome = run_matrix(cells_of(folder), RecordStore(folder / "results"), cluster)
print(cluster.workers, len(outcome.done), outcome.failed, outcome.notes)
"""


@pytest.mark.slow
def test_a_cluster_that_runs_already_computes_a_matrix_and_stays(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, store = RecordStore(tmp_path / "calm"), RecordStore(tmp_path / "results")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run_matrix(cells_of(tmp_path), calm)
    # A process of its own: Ray keeps the token of the first cluster for a process's whole life.
    command = [sys.executable, "-c", ATTACH, str(tmp_path), address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1 5 [] []"
    assert numbers(store) == numbers(calm)
    host, port = address.split(":")
    socket.create_connection((host, int(port)), timeout=5.0).close()  # only its guests have left


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
