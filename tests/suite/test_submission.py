"""Verifying folders and checking submissions: what passes, what is caught, the exit code."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adacal.core.errors import ConfigError, DataError
from adacal.suite.cli import main
from adacal.suite.config import resolve
from adacal.suite.environment import capture, commit_is_known
from adacal.suite.foreign import LOCAL
from adacal.suite.published import COLUMNS
from adacal.suite.registry import TASKS
from adacal.suite.runner import measure
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from adacal.suite.submission import check_claims, check_submission
from adacal.suite.verify_many import collect, draw, verify_many
from suite.suite_toys import raw_config

WEIGHTS = b"toy weights"
STRANGE = {
    "name": "strange-package", "version": "1.2", "source": "", "modules": ["strange_module"],
    "parts": [], "sha256": "ab" * 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that passes: three seeds, both controls, weights, a clean commit."""
    folder = tmp_path_factory.mktemp("submission")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "toy.safetensors").write_bytes(WEIGHTS)
    session, store = Session(), RecordStore(folder)
    store.prepare()
    with pytest.MonkeyPatch.context() as patch:
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        # By name: pytest imports the toys once more to look for doctests, and the last one counts.
        patch.setattr(TASKS.get("toy_task"), "checkpoint_sha256", lambda self: digest)
        runs = [("toy_spiking", seed) for seed in (0, 1, 2)]
        for method, seed in [*runs, ("toy_ann", 0), ("toy_quantised", 0)]:
            config = resolve(raw_config(method={"type": method}, seed=seed))
            record = measure(config, session)
            clean = record.environment.model_copy(
                update={"dirty": False, "commit": capture("cpu").commit or "0" * 40}
            )
            # The toys lie in no package; a method of this checkout needs none.
            store.add(record.model_copy(update={"environment": clean, "plug_ins": []}))
        yield folder


@pytest.fixture
def folder(shipped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped, tmp_path / "mine"))


def adacal(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def edit(folder: Path, **changes: Any) -> Path:
    """Changes a record of the folder as a hand would, in its file."""
    path = next(iter(sorted(folder.glob("records/*toy_spiking*s0*.json"))))
    values = json.loads(path.read_text())
    for dotted, value in changes.items():
        *parents, key = dotted.split("__")
        part = values
        for parent in parents:
            part = part[parent]
        part[key] = value
    path.write_text(json.dumps(values))
    return path


def states(folder: Path) -> dict[str, str]:
    entries = collect([str(folder)], RecordStore(folder))
    return {finding.check: finding.state for finding in check_submission(entries, folder)}


def what(folder: Path, check: str) -> str:
    entries = collect([str(folder)], RecordStore(folder))
    return next(f.what for f in check_submission(entries, folder) if f.check == check)


def test_whole_and_honest_records_pass(folder: Path) -> None:
    found = states(folder)
    commits = found.pop("commits")
    assert commits == ("pass" if commit_is_known(capture("cpu").commit) else "note")
    assert {check: what(folder, check) for check in found if found[check] != "pass"} == {}
    done = adacal("submit-check", folder)
    assert done.exit_code == 0, done.output
    assert "5 of 5 records ran again and agree" in done.output
    assert "nothing failed" in done.output


@pytest.mark.parametrize(
    ("changes", "check", "sentence"),
    [
        ({"snn__accuracy_pct": 99.0}, "numbers", "snn accuracy is 99, but"),
        ({"energy__energy_pj__per_spike": 1.0}, "numbers", "energy per_spike is 1.0, but"),
        ({"energy__sops": 1.0}, "numbers", "but those of the layers add up to 400"),
        ({"timesteps__histogram": [0, 40]}, "numbers", "mean steps are 4, but the histogram"),
        ({"timesteps__histogram": [40]}, "numbers", "mean steps are 4"),
        ({"strictness": "tame"}, "numbers", "strictness 'tame' is none of"),
        ({"seed": 7}, "id", "the record was changed by hand"),
        ({"method_options__misses": 0}, "id", "the record was changed by hand"),
        ({"config__seed": 9}, "config", "the config is that of toy_spiking, T=4"),
        ({"config__method__type": "toy_spikin"}, "config", "did you mean 'toy_spiking'"),
        ({"environment__dirty": True}, "code", "changes that were not committed"),
        ({"environment__commit": ""}, "code", "no git commit"),
        (
            {"environment__commit": "1" * 40},
            "commits",
            "in this checkout's history: 1111111111",
        ),
        ({"environment__torch": ""}, "versions", "no torch"),
        ({"plug_ins": [{**STRANGE, "version": ""}]}, "plug-ins", "strange-package has no version"),
        (
            {"plug_ins": [{**STRANGE, "name": "a/b"}]},
            "plug-ins",
            "'a/b' is no name that a registry",
        ),
        ({"plug_ins": [{**STRANGE, "version": "1+me"}]}, "plug-ins", "1+me has a local version"),
        ({"plug_ins": [{**STRANGE, "source": LOCAL}]}, "plug-ins", "where nobody else finds it"),
        ({"data_fingerprint": ""}, "data", "no data fingerprint"),
        ({"checkpoint_sha256": "ab" * 32}, "checkpoint", "no file with these weights"),
        ({"checkpoint_sha256": "ab" * 32}, "controls", "has no ANN and no quantised ANN"),
        ({"checkpoint_sha256": ""}, "checkpoint", "no hash of the weights"),
        ({"schema_version": 99}, "schema", "this adacal reads up to"),
    ],
)
def test_what_is_amiss_is_named(
    folder: Path, changes: dict[str, Any], check: str, sentence: str
) -> None:
    edit(folder, **changes)
    assert states(folder)[check] == ("note" if check == "commits" else "fail")
    assert sentence in what(folder, check)


def test_a_record_from_before_libraries_were_noted_passes(folder: Path) -> None:
    edit(folder, environment__libraries=None)
    assert set(states(folder).values()) <= {"pass", "note"}


def test_modules_of_a_strangers_config_are_imported_only_when_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "it_ran"
    (tmp_path / "strange_module.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strange_module", raising=False)
    edit(folder, config__custom_imports={"imports": ["strange_module"]})
    assert "imports strange_module, which the record does not name" in what(folder, "plug-ins")
    path = edit(folder, plug_ins=[STRANGE])
    done = adacal("submit-check", folder)
    assert done.exit_code == 1
    assert not mark.exists()
    assert path.name not in done.output
    assert "4 of 5 records ran again" in done.output
    assert states(folder)["imports"] == "fail"
    assert "the configs import strange_module, and nothing was" in what(folder, "imports")
    assert not mark.exists()
    assert adacal("submit-check", folder, "--trust-imports").exit_code == 0
    assert mark.exists()


def test_a_missing_seed_is_noted_and_a_missing_control_fails(folder: Path) -> None:
    next(folder.glob("records/*toy_spiking*s2*.json")).unlink()
    next(folder.glob("records/*toy_quantised*.json")).unlink()
    found = states(folder)
    assert (found["seeds"], found["controls"]) == ("note", "fail")
    assert "toy_spiking T=4 has 2" in what(folder, "seeds")
    assert "has no quantised ANN" in what(folder, "controls")


def test_a_renamed_file_and_a_copy_are_found(folder: Path) -> None:
    path = next(folder.glob("records/*toy_ann*.json"))
    shutil.copy(path, path.with_name("copy.json"))
    assert states(folder)["schema"] == "fail"
    path.unlink()
    assert "the file copy.json is not named after it" in what(folder, "id")


def test_claims_are_checked_and_printed_beside(folder: Path) -> None:
    entries = collect([str(folder)], RecordStore(folder))
    assert check_claims(entries, folder).state == "note"
    claims = folder / "published"
    claims.mkdir()
    row = "A,2026,here,{task},toy_data,toy_net,mine,4,accuracy_pct,{value},,,"
    text = ",".join(COLUMNS) + "\n" + row + "\n"
    (claims / "mine.csv").write_text(text.format(task="events", value="195"))
    assert check_claims(entries, folder).state == "fail"
    (claims / "mine.csv").write_text(text.format(task="events", value="95"))
    assert check_claims(entries, folder).state == "note"  # of another task: beside nothing
    (claims / "names.json").write_text(json.dumps({"methods": {"mine": {"method": "toy_spiking"}}}))
    moved = [
        replace(entry, record=entry.record.model_copy(update={"task": "events"}))
        for entry in entries
        if entry.record is not None
    ]
    assert check_claims(moved, folder).state == "pass"


def test_a_false_number_fails_when_it_is_run_again(folder: Path) -> None:
    path = edit(folder, divergence=123.0)
    assert adacal("submit-check", folder, "--no-verify").exit_code == 0
    done = adacal("submit-check", folder)
    assert done.exit_code == 1
    assert f"{path.name}: differs: divergence" in done.output
    assert "1 of" in done.output


def test_verify_takes_folders_and_names_what_differs(folder: Path) -> None:
    whole = adacal("verify", folder)
    assert whole.exit_code == 0, whole.output
    assert whole.output.count(": verified") == 5
    assert "5 of 5 records verified" in whole.output
    path = edit(folder, energy__spikes=1.0, energy__sops=1.0, energy__macs=5.0, divergence=9.0)
    (folder / "records" / "broken.json").write_text("{")
    done = adacal("verify", folder / "records")
    assert done.exit_code == 1
    assert "4 of 6 records verified" in done.output
    assert f"{path.name}: differs: spikes, sops, macs and 1 more" in done.output
    assert "broken.json: not run: " in done.output


def test_one_record_is_shown_number_by_number_and_several_by_line(folder: Path) -> None:
    paths = sorted(folder.glob("records/*.json"))
    one = adacal("verify", paths[0])
    assert one.exit_code == 0
    assert "may differ by" in one.output
    two = adacal("verify", paths[0], paths[1], paths[0])
    assert two.exit_code == 0
    assert "2 of 2 records verified" in two.output


def test_a_record_that_cannot_run_does_not_stop_the_rest(folder: Path) -> None:
    edit(folder, data_fingerprint="toy:ffff")
    entries = collect([str(folder)], RecordStore(folder))
    verdicts = list(verify_many(entries))
    assert sum(verdict.ok for verdict in verdicts) == 4
    (bad,) = (verdict for verdict in verdicts if not verdict.ok)
    assert bad.sentence().startswith("not run: the dataset here")


def test_a_sample_is_the_same_for_the_same_seed(folder: Path) -> None:
    entries = collect([str(folder)], RecordStore(folder))
    assert draw(entries, 2, seed=1) == draw(list(reversed(entries)), 2, seed=1)
    assert len({tuple(e.path for e in draw(entries, 2, seed)) for seed in range(20)}) > 3
    assert draw(entries, None) == entries == draw(entries, 99)
    with pytest.raises(ConfigError, match="at least one record"):
        draw(entries, 0)
    done = adacal("verify", folder, "--sample", 2, "--sample-seed", 1)
    assert "2 of 2 records verified" in done.output


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record in"):
        collect([str(tmp_path)], RecordStore(tmp_path))
    done = adacal("submit-check", tmp_path)
    assert done.exit_code == 2
    assert "name a folder that holds records" in done.output


def test_records_and_files_without_one_are_counted_apart(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "records" / f"{name}.json").write_text("{")
    done = adacal("submit-check", folder, "--no-verify")
    assert f"{folder}: 5 records, 2 files without one" in " ".join(done.output.split())
    assert "the weights of 1 network are there" in done.output


def test_records_from_before_plug_ins_were_noted_are_no_proof_of_none(folder: Path) -> None:
    assert what(folder, "plug-ins") == "none was used"
    edit(folder, plug_ins=None)
    assert states(folder)["plug-ins"] == "note"
    assert what(folder, "plug-ins").startswith("1 of 5 records are from before plug-ins were noted")
    assert adacal("submit-check", folder, "--no-verify").exit_code == 0
    edit(folder, plug_ins=[STRANGE])
    assert states(folder)["plug-ins"] == "pass"
    assert "can be installed by name" in what(folder, "plug-ins")
