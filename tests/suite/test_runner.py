"""A run's record holds what was measured, and verifying it gives the same again."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from adacal.core.errors import ConfigError, DataError
from adacal.suite import session as sessions
from adacal.suite.config import resolve
from adacal.suite.runner import identify, measure, run
from adacal.suite.session import Session, computing, pick_device, thread_limit
from adacal.suite.store import RecordStore
from adacal.suite.verify import verify
from suite.suite_toys import ANN_WRONG, MACS, N_TEST, raw_config


def test_a_record_holds_the_numbers_worked_out_by_hand(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    record = run(resolve(raw_config()), store, threads=1)
    assert record.ann == {"accuracy_pct": 90.0}
    assert record.snn == {"accuracy_pct": 85.0}
    pair = record.correct()
    assert pair is not None
    ann, snn = pair
    assert np.flatnonzero(~ann).tolist() == list(range(ANN_WRONG))
    assert np.flatnonzero(~snn).tolist() == [*range(ANN_WRONG), 19, 39]
    assert record.energy.spikes == 40.0
    assert record.energy.sops == 400.0
    assert record.energy.macs == 0.0
    assert record.energy.ann_macs == MACS
    assert record.energy.energy_pj["per_spike"] == pytest.approx(0.9 * 400)
    assert record.energy.ann_energy_pj["per_spike"] == pytest.approx(4.6 * MACS)
    assert record.timesteps.mean == 4.0
    assert record.timesteps.histogram == [0, 0, 0, 0, N_TEST]
    assert record.mean_max_spikes == 1.0
    assert record.strictness == "binary"
    assert record.calibration.samples == 8
    assert record.divergence is not None
    assert 0.0 < record.divergence < 1.0
    assert record.latency is not None
    assert (record.latency.batch, record.latency.repeats, record.latency.threads) == (20, 1, 1)
    assert store.read_all() == ([record], [])


def test_the_id_depends_on_what_was_asked_and_not_on_how_it_was_run() -> None:
    session = Session()

    def identity(**changes: object) -> str:
        config = resolve(raw_config(**changes))
        return identify(config, session.prepare(config))

    same = [
        identity(),
        identity(evaluation={"batch_size": 10}),
        identity(method={"type": "toy_spiking", "misses": 1}),
    ]
    others = [
        identity(seed=1),
        identity(conversion={"T": 5}),
        identity(conversion={"T": 4, "misses": 2}),
        identity(calibration={"n_samples": 9}),
        identity(task={"type": "toy_task", "dataset": {"type": "other"}}),
        identity(method={"type": "toy_ann"}),
    ]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)


def test_runs_of_one_session_share_the_ann_and_its_evaluation() -> None:
    session = Session()
    first, second = (resolve(raw_config(seed=seed)) for seed in (0, 1))
    measure(first, session)
    prepared = session.prepare(second)
    evaluation = prepared.evaluation
    measure(second, session)
    assert session.prepare(first) is prepared
    assert prepared.evaluation is evaluation
    assert prepared.task.built == 1  # type: ignore[attr-defined]


def test_outputs_too_large_to_keep_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = measure(resolve(raw_config()), Session())
    monkeypatch.setattr(sessions, "OUTPUT_LIMIT_MB", 0.0)
    session = Session()
    again = measure(resolve(raw_config()), session)
    assert session.prepare(resolve(raw_config())).outputs is None
    assert again.divergence == kept.divergence


def test_a_session_forgets_the_oldest_pair() -> None:
    session = Session(keep=1)
    first = resolve(raw_config())
    before = session.prepare(first)
    session.prepare(resolve(raw_config(model={"type": "toy_net", "name": "other"})))
    assert session.prepare(first) is not before


def test_latency_can_be_left_out() -> None:
    record = measure(resolve(raw_config(evaluation={"latency_repeats": 0})), Session())
    assert record.latency is None


def test_verifying_gives_the_same_numbers() -> None:
    record = measure(resolve(raw_config()), Session())
    outcome = verify(record)
    assert outcome.exact
    assert outcome.ok
    names = [entry.quantity for entry in outcome.comparisons]
    assert {"id", "snn accuracy_pct", "sops", "samples got right", "divergence"} <= set(names)


def test_verifying_finds_a_number_that_was_changed() -> None:
    record = measure(resolve(raw_config()), Session())
    energy = record.energy.model_copy(update={"sops": record.energy.sops * 1.001})
    outcome = verify(record.model_copy(update={"energy": energy}))
    assert [entry.quantity for entry in outcome.comparisons if not entry.ok] == ["sops"]


def test_verifying_elsewhere_allows_what_rounding_may_tip() -> None:
    record = measure(resolve(raw_config()), Session())
    energy = record.energy.model_copy(update={"sops": record.energy.sops * 1.001})
    elsewhere = record.environment.model_copy(update={"processor": "another"})
    outcome = verify(record.model_copy(update={"energy": energy, "environment": elsewhere}))
    assert not outcome.exact
    assert outcome.ok
    assert "another processor" in outcome.explanation


def test_a_record_that_does_not_say_how_it_was_computed_need_not_agree_to_the_spike() -> None:
    record = measure(resolve(raw_config()), Session())
    assert record.environment.instructions and verify(record).exact
    for instructions, words in ((None, "does not say which vector"), ("NONE", "another processor")):
        known = record.environment.model_copy(update={"instructions": instructions})
        outcome = verify(record.model_copy(update={"environment": known}))
        assert outcome.ok and not outcome.exact and words in outcome.explanation


def test_verifying_names_libraries_of_other_versions_and_a_record_may_know_none() -> None:
    record = measure(resolve(raw_config()), Session())
    known = {**(record.environment.libraries or {}), "scipy": "0.1", "gone": "2"}
    moved = record.environment.model_copy(update={"libraries": known})
    outcome = verify(record.model_copy(update={"environment": moved}))
    assert outcome.ok and outcome.exact
    now = metadata.version("scipy")
    words = f"; other versions: gone 2 then, not installed now, scipy 0.1 then, {now} now"
    assert outcome.explanation.endswith(words)
    unknown = record.environment.model_copy(update={"libraries": None})
    older = verify(record.model_copy(update={"environment": unknown}))
    assert older.ok and older.exact and "versions" not in older.explanation


def test_verifying_with_other_data_is_refused() -> None:
    record = measure(resolve(raw_config()), Session())
    with pytest.raises(DataError, match="the dataset here"):
        verify(record.model_copy(update={"data_fingerprint": "toy_data:ffff"}))


def test_a_run_computes_in_full_float32_and_repeatably_and_leaves_things_as_they_were() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, torch.get_num_threads()
    with pytest.raises(KeyError), computing(1):
        assert (cudnn.allow_tf32, cudnn.deterministic, torch.get_num_threads()) == (False, True, 1)
        raise KeyError
    assert (cudnn.allow_tf32, cudnn.deterministic, torch.get_num_threads()) == before


def test_wrong_devices_and_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match="device 'tpu9' cannot be used here"):
        pick_device("tpu9")
    with pytest.raises(ConfigError, match="threads must be at least 1"), thread_limit(0):
        pass
