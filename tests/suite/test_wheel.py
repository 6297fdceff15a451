"""The wheel holds what is shipped: by name it works in an empty folder, where it writes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("adacal", "tasks", "configs", "benchmarks", "results/checkpoints", "results/published")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
COMMANDS = """
import sys
from click.testing import CliRunner
from adacal.suite.cli import main
small = ("--cfg-options", "task.max_test_samples=50", "calibration.n_samples=16")
config = "classification2d/mnist5k_lenet_light"
run = ["--threads", "1", *small, "evaluation.latency_repeats=0"]
for code, words in (
    (0, ["list"]),
    (0, ["run", config, *run]),
    (0, ["new", "method", "my_rule"]),
    (0, ["run", "my_rule/run_my_rule.py", *run]),
    (0, ["report"]),
    (0, ["matrix", "smoke", "--dry-run", "--cfg-options", "tasks=[mnist5k]", "models=[lenet]"]),
    (2, ["train", config, "--overwrite"]),
):
    result = CliRunner().invoke(main, words)
    print(result.output)
    if words[0] == "new":
        sys.path.append("my_rule")  # what `pip install ./my_rule` would do
    if result.exit_code != code:
        sys.exit(f"{words} ended with {result.exit_code}")
"""


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy and unpacked as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(
            CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in FILES:
        shutil.copyfile(CHECKOUT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    build = [*pip, "--disable-pip-version-check", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("adacal-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_an_installed_adacal_finds_what_is_shipped_and_writes_to_the_working_folder(
    site: Path, tmp_path: Path
) -> None:
    before = digests(site)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("classification2d/mnist5k_lenet_light", "embedded", "snn_calibration_advanced"):
        assert name in done.stdout
    assert "3 cells: 3 to run" in done.stdout
    assert "is part of the installed adacal and is not replaced" in done.stdout
    assert digests(site) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_rule", "results"]
    assert len(list(tmp_path.glob("results/records/mnist5k-lenet-*.json"))) == 2
    assert len(list(tmp_path.glob("results/records/mnist5k-lenet-my_rule*.json"))) == 1
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert "2 records of networks" in page and "my_rule" in done.stdout


@pytest.mark.slow
def test_the_wheel_holds_every_shipped_file(site: Path) -> None:
    shipped = site / "adacal" / "shipped"
    for folder, pattern in (
        ("configs", "**/*.py"),
        ("benchmarks", "*.py"),
        ("results/checkpoints", "*.safetensors"),
    ):
        wanted = {path.relative_to(CHECKOUT) for path in (CHECKOUT / folder).glob(pattern)}
        found = {path.relative_to(shipped) for path in (shipped / folder).glob(pattern)}
        assert wanted == found and wanted
