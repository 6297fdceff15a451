"""The command line: what it prints, how it fails, how quick its help is."""

from __future__ import annotations

import ast
import errno
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adacal.core.errors import DataError
from adacal.suite import matrix as matrices
from adacal.suite import runner
from adacal.suite.cli import main
from adacal.suite.columns import NEVER, all_columns
from adacal.suite.leaderboard import Ranking, boards
from suite.board_toys import toy_record
from suite.suite_toys import raw_config, write_base

COMMANDS = (
    "run", "matrix", "leaderboard", "list", "show", "train", "verify", "diff", "published",
    "submit-check", "predict", "convert-checkpoint",
)  # fmt: skip


def adacal(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy_config.py"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in raw_config().items()))
    return path


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(matrices, "CONFIG_FOLDER", tmp_path)
    write_base(tmp_path / "_base_")
    path = tmp_path / "toy_matrix.py"
    path.write_text(
        "tasks = ['toy_data']\nmodels = ['toy_net']\nmethods = ['toy_ann', 'toy_spiking']\n"
        "T = [2, 4]\nseeds = [0]\ncalibration = dict(n_samples=8)\n"
        "evaluation = dict(batch_size=20, latency_repeats=0)\n"
    )
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = adacal(command, "--help")
    assert result.exit_code == 0
    assert f"adacal {command}" in result.output.partition("Examples:")[2]


def test_the_help_of_leaderboards_names_the_columns_a_terminal_hides() -> None:
    (board,) = boards([toy_record()], Ranking())
    hidden = [column.key for column in all_columns(board) if column.above == NEVER]
    text = " ".join(adacal("leaderboard", "--help").output.split())
    for key in hidden:
        assert re.search(rf"\b{key}\b", text), key
    assert "--columns all" in text and "--columns method,score,spikes" in text


def test_the_help_of_new_says_where_an_editable_install_writes() -> None:
    text = " ".join(adacal("new", "--help").output.split())
    assert "(pip install -e) writes into that checkout" in text
    assert "from whatever folder it is called" in text


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    start = time.perf_counter()
    command = [sys.executable, "-X", "importtime", "-m", "adacal.suite.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 1.5
    assert "Convert trained networks" in done.stdout
    for heavy in ("torch", "pandas", "mmengine", "numpy", "matplotlib", "pydantic", "rich"):
        assert f" {heavy}\n" not in done.stderr


def test_listing_configs_and_matrices_needs_no_torch() -> None:
    script = (
        "import sys; from adacal.suite.console import show_names; show_names('configs'); "
        "show_names('matrices'); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "mnist5k_resnet20_light" in done.stdout and "embedded" in done.stdout
    assert done.stdout.endswith("False\n")


HEAVY = {"torchvision", "h5py", "cv2", "mmdet", "mmseg", "mmcv", "ray", "matplotlib", "pandas"}


def test_what_loads_slowly_is_imported_where_it_is_used() -> None:
    """Registering tasks and methods, which `adacal list` and every worker do, must stay quick."""
    root = Path(__file__).parents[2]
    for folder in ("adacal", "tasks"):
        for path in sorted((root / folder).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                heavy = HEAVY.intersection(name.partition(".")[0] for name in names)
                assert not heavy, f"{path.relative_to(root)} imports {heavy} at its top"


def test_run_then_show_verify_and_leaderboard(config: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = adacal("run", config, "--results", results, "--cfg-options", "conversion.T=2", "seed=3")
    assert done.exit_code == 0, done.output
    (path,) = (results / "records").glob("*.json")
    assert "T2-s3" in path.name
    identity = path.stem.rsplit("-", 1)[1]
    shown = adacal("show", identity[:6], "--results", results)
    assert shown.exit_code == 0
    assert "site" in shown.output
    verified = adacal("verify", identity, "--results", results)
    assert verified.exit_code == 0, verified.output
    assert "verified" in verified.output
    ranked = adacal("leaderboard", "--results", results, "--by", "energy", "--max-drop", "20")
    assert ranked.exit_code == 0
    assert "toy_spiking" in ranked.output
    table = adacal("leaderboard", "--results", results, "--format", "csv")
    assert table.output.startswith("task,dataset,model,rank")


def test_a_matrix_runs_resumes_and_writes_tables_that_check(matrix: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    dry = adacal("matrix", matrix, "--results", results, "--dry-run")
    assert "3 cells: 3 to run" in dry.output
    assert "shared: 3 cells with 1 pair of dataset and ANN" in dry.output
    assert "time: unknown; no cell like these has its wall time recorded here" in dry.output
    assert not results.exists()
    first = adacal("matrix", matrix, "--results", results)
    assert first.exit_code == 0, first.output
    assert "3 cells run, 0 recorded before, 0 failed" in first.output
    plan, _, _ = first.output.partition("3 cells run")
    assert "toy_data toy_net  3 cells: 0 recorded, 3 to run\n3 cells, 3 to run; time:" in plan
    again = adacal("matrix", matrix, "--results", results)
    assert "toy_data toy_net  3 cells: 3 recorded, 0 to run\n3 cells, 0 to run;" in again.output
    assert "0 cells run, 3 recorded before" in again.output
    assert (results / "leaderboards" / "toy_data_toy_net.png").is_file()
    more = adacal("matrix", matrix, "--results", results, "--dry-run", "--cfg-options", "T=[2,8]")
    assert "to run     toy_data toy_net toy_spiking T=8 seed=0  about 1 s" in more.output
    assert "time: about 1 s (medians of 2 records of the same cells with another" in more.output
    found = adacal("show", next(iter((results / "records").glob("*-T4-*"))), "--results", results)
    assert "shared with an earlier run: dataset and ANN, ANN evaluation" in found.output
    assert adacal("leaderboard", "--check", "--results", results).exit_code == 0
    (results / "leaderboards" / "README.md").write_text("typed")
    checked = adacal("leaderboard", "--check", "--results", results)
    assert checked.exit_code == 1
    assert "README.md is not what the records give" in checked.output


def test_a_matrix_with_a_failing_cell_exits_with_one(matrix: Path, tmp_path: Path) -> None:
    result = adacal(
        "matrix", matrix, "--results", tmp_path / "r", "--cfg-options", "tasks=['toy_gone']"
    )
    assert result.exit_code == 1
    assert "no checkpoint at 'nowhere'" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "nothing"], "no config named 'nothing'"),
        (["run", "CONFIG", "--cfg-options", "conversion.T=0"], "must be above 0; got 0"),
        (["run", "CONFIG", "--cfg-options", "method.type=toy_spikng"], "did you mean"),
        (["run", "CONFIG", "--device", "nowhere"], "device 'nowhere' cannot be used"),
        (["run", "CONFIG", "--device", "meta"], "device 'meta' cannot be used"),
        (["run", "CONFIG", "--cfg-options", "task.dataset=toy"], "dataset must be a dict"),
        (["run", "CONFIG", "--cfg-options", "task.fial=1"], "did you mean 'fail'"),
        (["show", "x" * 5000, "--results", "EMPTY"], "no record 'xxx"),
        (["run", "CONFIG", "--cfg-options", "task.fail=True"], "no checkpoint at 'nowhere'"),
        (["run", "CONFIG", "--results", "CONFIG/below"], "cannot be written"),
        (["matrix", "embeded"], "did you mean 'embedded'"),
        (["show", "123", "--results", "EMPTY"], "no record '123'"),
        (["verify", "123", "--results", "EMPTY"], "no record '123'"),
        (["leaderboard", "--results", "EMPTY"], "no folder EMPTY; run `adacal matrix embedded"),
        (["leaderboard", "--results", "BARE"], "no record in BARE/records; run `adacal matrix"),
        (["leaderboard", "--check", "--results", "BARE"], "no record in BARE/records; run"),
        (["submit-check", "EMPTY"], "no folder EMPTY; name a results folder"),
        (["train", "CONFIG"], "has no training schedule"),
    ],
)
def test_wrong_input_gets_one_sentence_and_exit_code_two(
    words: list[str], sentence: str, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    places = {
        "CONFIG": str(config), "EMPTY": str(tmp_path / "empty"), "BARE": str(tmp_path / "bare")
    }  # fmt: skip

    def fill(text: str) -> str:
        for key, place in places.items():
            text = text.replace(key, place)
        return text

    filled = list(map(fill, words))
    if filled[0] == "run" and "--results" not in filled:
        filled += ["--results", str(tmp_path / "results")]
    result = adacal(*filled)
    assert result.exit_code == 2, result.output
    assert fill(sentence) in result.output
    assert "filters" not in result.output
    assert result.output.strip().count("\n") == 0
    assert "Traceback" not in result.output


def test_a_dry_run_of_cells_that_cannot_run_exits_with_one(matrix: Path, tmp_path: Path) -> None:
    options = ("--dry-run", "--cfg-options", "tasks=['toy_gone']")
    result = adacal("matrix", matrix, "--results", tmp_path / "r", *options)
    assert result.exit_code == 1
    where = "cannot run toy_gone toy_net toy_ann seed=0: no checkpoint at 'nowhere'"
    assert where in result.output
    assert result.output.endswith(
        "nothing can be computed: of the cells not recorded none can run\n"
    )


def test_a_dry_run_outlives_an_unexpected_error(matrix: Path, tmp_path: Path) -> None:
    rule = "cells=[{'when': {'method': 'toy_ann'}, 'set': {'task': {'crash': True}}}]"
    result = adacal(
        "matrix", matrix, "--results", tmp_path / "r", "--dry-run", "--cfg-options", rule
    )
    assert result.exit_code == 1
    assert "toy_ann seed=0: RuntimeError: the toy network broke" in result.output
    assert "3 cells: 2 to run, 0 recorded, 1 that cannot run" in result.output


def test_results_whose_failed_folder_is_a_file_are_refused_before_any_computing(
    matrix: Path, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "failed").write_text("x")
    result = adacal("matrix", matrix, "--results", tmp_path / "r")
    assert result.exit_code == 2
    assert "failed is a file" in result.output


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] can't allocate memory: 5 bytes")]
)
def test_too_little_memory_gets_a_sentence_that_says_what_to_lower(
    error: Exception, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(runner, "measure", stop)
    result = adacal("run", config, "--results", tmp_path / "results")
    assert result.exit_code == 1
    assert "error: out of memory; lower evaluation.batch_size" in result.output


def test_a_disk_that_fills_while_pictures_are_drawn_gets_a_sentence(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adacal.suite import plots

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "board.png")

    monkeypatch.setattr(plots, "write_plots", full)
    result = adacal("matrix", matrix, "--results", tmp_path / "r")
    assert result.exit_code == 1
    assert "error: the disk is full (board.png); free space and run the same" in result.output
    assert len(list((tmp_path / "r" / "records").iterdir())) == 3


def test_an_unexpected_error_gets_a_sentence_and_a_traceback_on_demand(
    config: Path, tmp_path: Path
) -> None:
    words = ("run", config, "--results", tmp_path / "r", "--cfg-options", "method.broken=True")
    result = adacal(*words)
    assert result.exit_code == 1
    assert "unexpected error: RuntimeError: the toy broke; run it with --debug" in result.output
    assert "Traceback" not in result.output
    assert "Traceback" in adacal(*words, "--debug").output
    assert "Traceback" in adacal("--debug", *words).output


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (DataError("x"), 2)])
def test_an_interruption_exits_with_130(
    error: BaseException, code: int, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(runner, "measure", stop)
    result = adacal("run", config, "--results", tmp_path / "results")
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert code != 130 or "stopped; nothing was recorded, run it again" in result.output


def test_list_names_what_there_is() -> None:
    result = adacal("list")
    assert result.exit_code == 0
    for name in ("classification2d", "mnist_photos", "resnet_cifar", "toy_spiking", "embedded"):
        assert name in result.output
    assert "classification2d/mnist5k_resnet20_light" in adacal("list", "configs").output
    assert "mnist5k" not in adacal("list", "methods").output


def test_the_real_command_ends_with_two_and_one_line_for_a_wrong_name() -> None:
    command = [sys.executable, "-m", "adacal.suite.cli", "run", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no config named 'nothing'")
    assert done.stderr.count("\n") == 1
