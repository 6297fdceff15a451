"""Who computes which cell, what is done when a worker dies or another process is at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from adacal.core.errors import ConfigError
from adacal.suite import session as sessions
from adacal.suite.claims import Claims
from adacal.suite.config import resolve
from adacal.suite.console_matrix import shares
from adacal.suite.dispatch import plan, run_matrix
from adacal.suite.environment import capture
from adacal.suite.estimate import estimate, not_recorded
from adacal.suite.executors import Executor, Hear, InProcess, make_executor, usable_cores
from adacal.suite.matrix import load_matrix
from adacal.suite.migrations import SCHEMA_VERSION
from adacal.suite.process_pool import ProcessPool, visible_gpus
from adacal.suite.records import RunRecord, WallTime
from adacal.suite.registry import TASKS
from adacal.suite.runner import identify, measure
from adacal.suite.schedule import Schedule
from adacal.suite.session import Session, draw
from adacal.suite.store import RecordStore
from adacal.suite.worker import Answer
from suite.matrix_toys import Listening, cells_of, numbers
from suite.suite_toys import SECONDS, raw_config


def test_cells_that_share_stay_on_a_worker_until_another_has_nothing_to_do() -> None:
    items = [f"{group}{n}" for group in "abc" for n in range(4)]
    schedule = Schedule(items, group=lambda item: item[0])
    taken: dict[int, list[str]] = {0: [], 1: []}
    for turn in range(12):
        item = schedule.take(turn % 2)
        assert item is not None
        taken[turn % 2].append(item)
    assert "".join(item[0] for item in taken[0]) == "aaaacc"
    assert "".join(item[0] for item in taken[1]) == "bbbbcc"
    assert schedule.take(0) is None
    schedule.put_back("b3")
    assert len(schedule) == 1
    assert schedule.take(0) == "b3"


def test_one_worker_takes_everything_in_order() -> None:
    items = ["a1", "b1", "a2", "b2"]
    schedule = Schedule(items, group=lambda item: item[0])
    assert [schedule.take(0) for _ in items] == ["a1", "a2", "b1", "b2"]


def test_a_cell_that_another_process_computes_is_waited_for_then_found(tmp_path: Path) -> None:
    cells, store = cells_of(tmp_path), RecordStore(tmp_path / "results")
    wanted = measure(cells[0].config, Session())
    other = Claims(store.results / "locks")
    assert other.take(wanted.id)

    def finish() -> None:
        store.add(wanted)
        other.release(wanted.id)

    listener = Listening("waiting for 1 cell", finish)
    outcome = run_matrix(cells, store, listener=listener)
    assert listener.act is None
    assert listener.states[0] == "waits"
    assert sorted(listener.states[1:]) == [*["done"] * 4, "skipped"]
    assert [cell.name for cell in outcome.skipped] == [cells[0].name]
    assert len(numbers(store)) == 5


def test_a_cell_that_another_process_gives_up_is_computed_here(tmp_path: Path) -> None:
    cells, store = cells_of(tmp_path), RecordStore(tmp_path / "results")
    other = Claims(store.results / "locks")
    key = identify(cells[1].config, Session().prepare(cells[1].config))
    assert other.take(key)
    listener = Listening("waiting for 1 cell", lambda: other.release(key))
    outcome = run_matrix(cells, store, listener=listener)
    assert [cell.name for cell in outcome.done][-1] == cells[1].name
    assert (len(outcome.done), len(numbers(store))) == (5, 5)


class Mortal(InProcess):
    """Two workers; the answers to the requests of these numbers are that the worker has died."""

    def __init__(self, deaths: Sequence[int]) -> None:
        super().__init__()
        self.workers, self.deaths, self.asked = 2, set(deaths), 0
        self.requests: list[tuple[int, Any, Any]] = []

    def open(self, hear: Hear) -> None:
        super().open(lambda *words: None)

    def send(self, worker: int, ask: Any, config: Any) -> None:
        self.requests.append((worker, ask, config))

    def receive(self, timeout: float) -> Sequence[tuple[int, Answer]]:
        worker, ask, config = self.requests.pop(0)
        self.asked += 1
        if self.asked in self.deaths:
            return [(worker, Answer("died", "signal 9"))]
        return [(worker, self._worker.answer(ask, config))]


def test_the_cell_of_a_worker_that_died_is_tried_again(tmp_path: Path) -> None:
    cells, store = cells_of(tmp_path), RecordStore(tmp_path / "results")
    outcome = run_matrix(cells, store, Mortal([1, 4]))
    assert (len(outcome.done), outcome.failed) == (5, [])
    assert [note.partition(" at ")[0] for note in outcome.notes] == ["a worker died (signal 9)"] * 2
    assert len(numbers(store)) == 5
    assert not (store.results / "locks").exists()


def test_a_cell_that_costs_three_workers_has_failed(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, methods=["toy_spiking"], T=[2], seeds=[0])
    store = RecordStore(tmp_path / "results")
    outcome = run_matrix(cells, store, Mortal(range(1, 10)))
    (failure,) = outcome.failed
    assert failure.reason.startswith("3 workers died of it, the last one with signal 9; if memory")
    assert len(list(store.failed_folder.iterdir())) == 1


@pytest.mark.slow
def test_processes_share_the_cells_and_one_that_is_killed_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(tmp_path, T=[2, 3, 4])
    calm, store = RecordStore(tmp_path / "calm"), RecordStore(tmp_path / "results")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what a worker is told below
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    run_matrix(cells, calm)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv(SECONDS, "0.3")
    pool = ProcessPool(2, device="cpu", threads=1)
    pool.gpus = ["7", "7"]  # as on a machine that has them; the work itself is for the CPU
    pids: list[int] = []

    def kill_one() -> None:
        pids.extend(pool.process_ids().values())
        os.kill(pids[0], signal.SIGKILL)

    outcome = run_matrix(cells, store, pool, Listening("done", kill_one))
    assert len(pids) == 2
    assert (len(outcome.done), outcome.failed) == (7, [])
    assert [note.partition(" at ")[0] for note in outcome.notes] == ["a worker died (signal 9)"]
    assert numbers(store) == numbers(calm)
    assert all(record.environment.threads == 1 for record in store.read_all()[0])
    assert pool.process_ids() == {}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_process_loads_torch_only_after_its_environment_is_set() -> None:
    code = "import sys, adacal.suite.process_pool; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("device", "variable", "names"),
    [
        ("auto", None, ["0", "1"]),
        ("cuda", "3,5", ["3", "5"]),
        ("auto", "GPU-a,GPU-b", ["GPU-a", "GPU-b"]),
        ("cuda:1", None, []),
        ("cpu", None, []),
    ],
)
def test_workers_take_turns_on_the_gpus_that_are_visible(
    device: str, variable: str | None, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus(device) == names
    pool = ProcessPool(None, device)
    assert pool.workers == (len(names) or max(1, usable_cores() // 4))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"name": "in-process", "workers": 2}, "has one worker; got 2; take --executor process"),
        ({"name": "process", "ray_address": "auto"}, "a Ray address needs --executor ray"),
        ({"name": "ry"}, "no executor named 'ry'; known: in-process, process, ray"),
        ({"name": None, "workers": 0}, "workers must be at least 1; got 0"),
    ],
)
def test_executors_that_cannot_be_are_refused(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_executor(device="cpu", **words)


def test_several_workers_are_processes_and_one_is_this_process() -> None:
    kinds: list[Executor] = [
        make_executor(None, device="cpu"),
        make_executor(None, 2, device="cpu"),
    ]
    assert [type(kind) for kind in kinds] == [InProcess, ProcessPool]


def test_a_damaged_file_does_not_stop_a_matrix(tmp_path: Path) -> None:
    cells, store = cells_of(tmp_path), RecordStore(tmp_path / "results")
    run_matrix(cells, store)
    victim = sorted(store.folder.iterdir())[0]
    victim.write_text("{")
    outcome = run_matrix(cells, store)
    assert (len(outcome.done), len(outcome.skipped)) == (1, 4)
    assert outcome.notes == [
        f"moved to {store.quarantine_folder / victim.name}: {victim} is not JSON (Expecting "
        "property name enclosed in double quotes: line 1 column 2 (char 1)); it was damaged or "
        "cut short"
    ]
    assert victim.is_file()  # measured again, under the same name


def test_a_record_of_a_newer_adacal_fails_its_cell_with_both_versions(tmp_path: Path) -> None:
    cells, store = cells_of(tmp_path), RecordStore(tmp_path / "results")
    run_matrix(cells, store)
    path = sorted(store.folder.iterdir())[0]
    own, newer = f'"schema_version": {SCHEMA_VERSION}', f'"schema_version": {SCHEMA_VERSION + 1}'
    path.write_text(path.read_text().replace(own, newer))
    assert [state for _, state in plan(cells, store) if state.startswith("cannot run")]
    outcome = run_matrix(cells, store)
    (failure,) = outcome.failed
    sentence = f"has schema {SCHEMA_VERSION + 1}; this adacal reads up to {SCHEMA_VERSION}; install"
    assert sentence in failure.reason
    assert newer in path.read_text()


def with_wall(record: RunRecord, total_s: float, shared: list[str]) -> RunRecord:
    first = 0.0 if shared else 5.0
    wall = WallTime(
        total_s=total_s + 2 * first, prepare_s=first, ann_s=first,
        convert_s=0.0, evaluate_s=total_s, latency_s=0.0,
    )  # fmt: skip
    return record.model_copy(update={"wall": wall, "shared": shared})


def test_times_are_those_of_other_seeds_else_of_the_nearest_T_else_unknown(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, methods=["toy_spiking", "toy_ann"], T=[2, 3, 8], seeds=[0, 1, 2])
    by_name = {cell.name.removeprefix("toy_data toy_net "): cell for cell in cells}
    records = [
        with_wall(measure(by_name[f"toy_spiking T={T} seed={seed}"].config, Session()), s, shared)
        for T, seed, s, shared in (
            (2, 0, 20.0, []), (2, 1, 22.0, ["dataset and ANN"]), (8, 0, 90.0, ["dataset and ANN"]),
        )
    ]  # fmt: skip
    others = ("T=2 seed=2", "T=3 seed=0", "T=8 seed=2")
    wanted = [by_name[f"toy_spiking {other}"] for other in others] + [by_name["toy_ann seed=0"]]
    here = capture("cpu")
    found = estimate(wanted, records, here)
    assert found.cells == pytest.approx([21.0, 31.5, 90.0, None], nan_ok=True)
    assert (found.shared_s, found.records, found.unknown) == (10.0, 3, 1)
    sentence = found.sentence(workers=2)
    assert sentence.startswith("time: about 76 s with 2 workers for 3 cells, unknown for 1 (median")
    assert len(not_recorded(cells, records)) == len(cells) - 3
    elsewhere = here.model_copy(update={"processor": "another"})
    assert estimate(wanted, records, elsewhere).sentence().startswith("time: unknown")
    old = [record.model_copy(update={"wall": None}) for record in records]
    assert estimate(wanted, old, here).unknown == 4


def test_whatever_one_cell_raises_is_its_reason_and_the_others_are_planned(tmp_path: Path) -> None:
    rule = {"when": {"method": "toy_ann"}, "set": {"task": {"crash": True}}}
    cells = cells_of(tmp_path, cells=[rule])
    store = RecordStore(tmp_path / "results")
    states = {cell.config.method_name: state for cell, state in plan(cells, store)}
    reason = "RuntimeError: the toy network broke"
    assert states == {"toy_ann": f"cannot run: {reason}", "toy_spiking": "to run"}
    (failure,) = run_matrix(cells, store).failed
    assert failure.reason == reason  # the run says the same


def test_what_is_recorded_is_told_by_ids_before_a_run_as_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, store = cells_of(tmp_path), RecordStore(tmp_path / "results")
    assert len(not_recorded(cells, [])) == len(cells)
    run_matrix(cells, store)
    records, _ = store.read_all()
    # Batches, timings and options that say the default are no part of what a record is.
    same = cells_of(
        tmp_path,
        methods=["toy_ann", {"name": "toy_spiking", "misses": 1}],
        evaluation={"batch_size": 10, "latency_repeats": 2},
    )
    other = cells_of(tmp_path, methods=[{"name": "toy_spiking", "misses": 2}], T=[2], seeds=[0])
    for wanted, left in ((same, 0), (other, 1), (cells_of(tmp_path, tasks=["toy_gone"]), 5)):
        assert len(not_recorded(wanted, records)) == left
    told = [state for _, state in plan([*same, *other], store)]
    assert told == [*["recorded"] * 5, "to run"]
    # By name: pytest may have imported the toys twice, and the last one counts.
    monkeypatch.setattr(TASKS.get("toy_task"), "checkpoint_sha256", lambda self: "cd" * 32)
    assert len(not_recorded(same, records)) == 5  # trained again since


def test_a_stream_is_prepared_for_each_T_and_the_plan_says_so(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    assert "shared: 5 cells with 1 pair of dataset and ANN, each built" in shares(cells)
    assert "stream" not in shares(cells)
    assert "shared: 1 cell with 1 pair of" in shares(cells[:1])
    streams = [cell for cell in load_matrix("smoke") if "dvs" in cell.name]
    assert [cell.config.conversion.T for cell in streams] == [1, 4, 4]
    assert "3 cells with 1 pair" in shares(streams)
    assert "once a worker (streams once for each T, whose inputs differ: 2 in all)" in shares(
        streams
    )


def test_calibration_samples_are_drawn_once_and_forgotten_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = Session().prepare(resolve(raw_config()))
    first = draw(prepared, 8, 0, "cpu")
    assert draw(prepared, 8, 0, "cpu") is first
    assert draw(prepared, 8, 1, "cpu") is not first
    monkeypatch.setattr(sessions, "DRAWS_LIMIT_MB", 0.0)
    again = draw(prepared, 8, 2, "cpu")
    assert len(again) == 1 and not prepared.draws
