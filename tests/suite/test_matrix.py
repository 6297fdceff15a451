"""Matrices: what they expand to, what they skip, what a failure does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adacal.core.errors import ConfigError, DataError
from adacal.suite import matrix as matrices
from adacal.suite import worker
from adacal.suite.dispatch import plan, run_matrix
from adacal.suite.executors import InProcess
from adacal.suite.matrix import expand
from adacal.suite.runner import measure
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from suite.suite_toys import write_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "_base_")


def a_matrix(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tasks": ["toy_data"],
        "models": ["toy_net"],
        "methods": ["toy_ann", {"name": "toy_spiking", "misses": 2}, "toy_spiking"],
        "T": [2, 4],
        "seeds": [0, 1],
        "calibration": {"n_samples": 8},
        "evaluation": {"batch_size": 20, "latency_repeats": 0},
    }
    return {**values, **changes}


def test_a_matrix_expands_to_every_cell_once(base: Path) -> None:
    cells = expand(a_matrix(), base=base)
    assert [cell.name for cell in cells] == [
        "toy_data toy_net toy_ann seed=0",
        *(
            f"toy_data toy_net {label} T={T} seed={seed}"
            for label in ("toy_spiking(misses=2)", "toy_spiking")
            for T in (2, 4)
            for seed in (0, 1)
        ),
    ]
    assert all(cell.config.calibration.n_samples == 8 for cell in cells[1:])


@pytest.mark.parametrize(
    ("models", "seeds"),
    [("toy_net", 0), ("[toy_net]", [0]), ("['toy_net']", (0,)), (["toy_net"], [0])],
)
def test_one_entry_needs_no_brackets_and_shells_may_eat_the_quotes(
    base: Path, models: Any, seeds: Any
) -> None:
    wanted = expand(a_matrix(models=["toy_net"], seeds=[0]), base=base)
    assert expand(a_matrix(models=models, seeds=seeds), base=base) == wanted


def test_exclusions_match_names_patterns_and_lists(base: Path) -> None:
    rules = [{"method": "*misses=2*"}, {"method": "toy_spiking", "T": [4, 8], "seed": 1}]
    names = [cell.name for cell in expand(a_matrix(exclude=rules), base=base)]
    assert names == [
        "toy_data toy_net toy_ann seed=0",
        "toy_data toy_net toy_spiking T=2 seed=0",
        "toy_data toy_net toy_spiking T=2 seed=1",
        "toy_data toy_net toy_spiking T=4 seed=0",
    ]


def test_cells_override_what_they_match(base: Path) -> None:
    rule = {"when": {"T": 4, "method": "toy_spiking"}, "set": {"conversion": {"misses": 3}}}
    cells = expand(a_matrix(methods=["toy_spiking"], seeds=[0], cells=[rule]), base=base)
    assert [cell.config.label() for cell in cells] == ["toy_spiking", "toy_spiking(misses=3)"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": []}, "no matrix key named 'method'; did you mean 'methods'?"),
        ({"T": []}, "'T' must be a list with at least one entry"),
        ({"T": [0]}, "conversion.T must be above 0; got 0"),
        ({"methods": ["toy_ann", "toy_spikin"]}, "no method named 'toy_spikin'; did you mean"),
        ({"tasks": [{"type": "x"}]}, "a matrix entry is a name or a dict with a 'name'"),
        ({"exclude": [{"modell": "x"}]}, "no rule key named 'modell'; did you mean 'model'?"),
        ({"cells": [{"when": {}}]}, "an entry of 'cells' is dict(when=dict(...), set=dict(...))"),
        ({"exclude": [{"T": [2, 4]}]}, "nothing is left to run"),
        ({"exclude": [{"method": "toy_anx"}]}, "in a rule named 'toy_anx'; did you mean"),
        ({"exclude": [{"model": ["toy_net", "net"]}]}, "no model in a rule named 'net'"),
        ({"exclude": None}, "'exclude' must be a list of dicts; got None"),
        ({"exclude": "toy_ann"}, "'exclude' must be a list of dicts; got 'toy_ann'"),
        ({"exclude": {"T": 2}}, "'exclude' must be a list of dicts"),
        ({"cells": [3]}, "'cells' must be a list of dicts; got [3]"),
        ({"cells": [{"when": {}, "set": 3}]}, "an entry of 'cells' is"),
        ({"conversion": 3}, "'conversion' must be a dict; got 3"),
    ],
)
def test_a_wrong_matrix_gets_one_sentence(
    changes: dict[str, Any], sentence: str, base: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(a_matrix(**changes), base=base)
    assert sentence in str(caught.value)


def test_a_second_run_skips_what_is_recorded(base: Path, tmp_path: Path) -> None:
    cells, store = expand(a_matrix(), base=base), RecordStore(tmp_path / "results")
    first = run_matrix(cells, store)
    assert (len(first.done), len(first.skipped), len(first.failed)) == (9, 0, 0)
    before = {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    second = run_matrix(cells, store)
    assert (len(second.done), len(second.skipped)) == (0, 9)
    assert {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before
    assert {state for _, state in plan(cells, store)} == {"recorded"}


def test_a_failing_cell_is_noted_and_the_rest_goes_on(base: Path, tmp_path: Path) -> None:
    methods = [{"name": "toy_spiking", "broken": True}, "toy_spiking"]
    matrix = a_matrix(tasks=["toy_gone", "toy_data"], methods=methods, T=[2], seeds=[0])
    store = RecordStore(tmp_path / "results")
    outcome = run_matrix(expand(matrix, base=base), store)
    assert len(outcome.done) == 1
    reasons = [failure.reason for failure in outcome.failed]
    assert reasons == [
        "no checkpoint at 'nowhere'; train one",
        "no checkpoint at 'nowhere'; train one",
        "RuntimeError: the toy broke",
    ]
    notes = [json.loads(path.read_text()) for path in store.failed_folder.iterdir()]
    assert sorted(note["reason"] for note in notes) == sorted(reasons)
    assert all("Traceback" in note["traceback"] for note in notes)
    planned = [state for _, state in plan(expand(matrix, base=base), store)]
    assert planned[0].startswith("cannot run: no checkpoint")


def test_the_note_of_a_failure_goes_when_the_cell_succeeds(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = expand(a_matrix(methods=["toy_spiking"], T=[2], seeds=[0]), base=base)
    store = RecordStore(tmp_path / "results")

    def broken(*_: Any, **__: Any) -> None:
        raise DataError("the file of the samples is damaged")

    with monkeypatch.context() as patched:
        patched.setattr(worker, "measure", broken)
        assert run_matrix(cells, store).failed
    assert len(list(store.failed_folder.iterdir())) == 1
    assert not run_matrix(cells, store).failed
    assert not list(store.failed_folder.iterdir())


def test_an_interrupted_matrix_goes_on_where_it_was(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, store = expand(a_matrix(), base=base), RecordStore(tmp_path / "results")
    calls = 0

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return measure(*args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(worker, "measure", interrupted)
        run_matrix(cells, store)
    assert len(store.read_all()[0]) == 3
    outcome = run_matrix(cells, store)
    assert (len(outcome.done), len(outcome.skipped)) == (6, 3)


def test_a_matrix_builds_each_ann_once(base: Path, tmp_path: Path) -> None:
    cells, session = expand(a_matrix(), base=base), Session()
    store = RecordStore(tmp_path / "results")
    run_matrix(cells, store, InProcess(session))
    assert session.prepare(cells[0].config).task.built == 1  # type: ignore[attr-defined]
    records = sorted(store.read_all()[0], key=lambda record: (record.uses_T, record.T, record.seed))
    assert records[0].shared == []
    assert all("dataset and ANN" in (record.shared or []) for record in records[1:])
    assert all(record.wall and record.wall.prepare_s == 0 for record in records[1:])


def test_what_cells_share_changes_no_number(base: Path, tmp_path: Path) -> None:
    cells = expand(a_matrix(), base=base)
    store = RecordStore(tmp_path / "results")
    run_matrix(cells, store)
    together = {record.id: record.numbers() for record in store.read_all()[0]}
    alone = [measure(cell.config, Session()) for cell in cells]
    assert {record.id: record.numbers() for record in alone} == together


def test_every_shipped_matrix_expands() -> None:
    for path in sorted(matrices.MATRIX_FOLDER.glob("*.py")):
        assert path.read_text().startswith("# ")
        assert matrices.load_matrix(path.stem)
