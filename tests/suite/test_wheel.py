"""The wheel holds what is shipped: by name it works in an empty folder, where it writes."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("adacal", "tasks", "configs", "benchmarks", "results/checkpoints", "results/published")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
MATRIX = """# a few cells by the names of what is shipped
tasks = [dict(name="mnist5k", max_test_samples=50)]
models = ["lenet"]
methods = ["snn_calibration_light"]
T = [2, 4]
seeds = [0]
calibration = dict(n_samples=16)
evaluation = dict(latency_repeats=0)
"""
# In one process, since each loads torch; the program itself is called for the matrices.
COMMANDS = """
import sys
from click.testing import CliRunner
from adacal.suite.cli import main
run = ("--threads", "1", "--cfg-options", "task.max_test_samples=50", "calibration.n_samples=16")
for code, words in (
    (0, ["list"]),
    (0, ["new", "method", "my_rule"]),
    (0, ["run", "my_rule/run_my_rule.py", *run, "evaluation.latency_repeats=0"]),
    (0, ["report"]),
    (2, ["train", "classification2d/mnist5k_lenet_light", "--overwrite"]),
):
    result = CliRunner().invoke(main, words)
    print(result.output)
    if words[0] == "new":
        sys.path.append("my_rule")  # what `pip install ./my_rule` would do
    if result.exit_code != code:
        sys.exit(f"{words} ended with {result.exit_code}")
"""
# Modules whose package goes by another name on the registry.
PACKAGES = {
    "PIL": "pillow", "markdown_it": "markdown-it-py", "mmcv": "mmcv-lite",
    "mmseg": "mmsegmentation", "skimage": "scikit-image",
}  # fmt: skip
# Imported only where something else is there that brings them: mmdet COCO's evaluator, tonic's
# reader of AEDAT 4 the package, torch on CUDA the compiler of kernels, numba the one release of
# llvmlite that it is built on; Ray is asked for by name.
BROUGHT = {"pycocotools", "aedat", "triton", "llvmlite", "ray"}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def called(
    *words: object, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program without what the developer's environment adds to a Python."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in SOURCES:
        shutil.copytree(
            CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in FILES:
        shutil.copyfile(CHECKOUT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = called(*pip, "--disable-pip-version-check", "--wheel-dir", folder, source)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("adacal-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it, and what it depends on lent by ours."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    done = called(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    site = Path(
        called(python, "-c", "import site; print(site.getsitepackages()[0])").stdout.strip()
    )
    # Added as a folder, not as one whose .pth files count: the checkout's editable install is one.
    lent = "\n".join(path for path in site_packages() if Path(path) != site)
    (site / "lent.pth").write_text(lent + "\n")
    return folder


def site_packages() -> list[str]:
    return [path for path in sys.path if Path(path).name == "site-packages"]


@pytest.mark.slow
def test_an_installed_adacal_finds_what_is_shipped_and_writes_to_the_working_folder(
    installed: Path, tmp_path: Path
) -> None:
    adacal, python = installed / "bin" / "adacal", installed / "bin" / "python"
    found = called(python, "-c", "import adacal; print(adacal.__file__)", cwd=tmp_path).stdout
    package = Path(found.strip()).parent
    assert package.is_relative_to(installed)
    before = digests(package)
    matrix = tmp_path / "mine.py"
    matrix.write_text(MATRIX)
    lenet = ("--cfg-options", "models=[lenet]", "tasks=[mnist5k]")
    plan = called(adacal, "matrix", "embedded", "--dry-run", *lenet, cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    counts = re.search(r"(\d+) cells: (\d+) to run", plan.stdout)
    assert counts and int(counts[1]) == int(counts[2]) > 100
    done = called(adacal, "matrix", "mine.py", "--threads", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 cells run, 0 recorded before, 0 failed" in done.stdout + done.stderr
    done = called(python, "-c", COMMANDS, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("classification2d/mnist5k_lenet_light", "embedded", "snn_calibration_advanced"):
        assert name in done.stdout
    assert "is part of the installed adacal and is not replaced" in done.stdout
    assert digests(package) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "my_rule", "results"]
    names = [path.name for path in (tmp_path / "results" / "records").glob("*.json")]
    assert len(names) == 3 and sum("mnist5k-lenet-my_rule" in name for name in names) == 1
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert "3 records of networks" in page


@pytest.mark.slow
def test_the_wheel_holds_every_shipped_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name) for name in archive.namelist()}
    shipped = Path("adacal", "shipped")
    for folder, pattern in (
        ("configs", "**/*.py"),
        ("benchmarks", "*.py"),
        ("results/checkpoints", "*.safetensors"),
    ):
        wanted = {path.relative_to(CHECKOUT) for path in (CHECKOUT / folder).glob(pattern)}
        inside = {path for path in held if path.is_relative_to(shipped / folder)}
        found = {
            path.relative_to(shipped) for path in inside if path.suffix == Path(pattern).suffix
        }
        assert wanted == found and wanted


def imported(folder: Path) -> dict[str, str]:
    """Returns the foreign modules that a folder's files import, and one such file each."""
    own = {"adacal", "tasks", *sys.stdlib_module_names}
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                if (top := name.partition(".")[0]) not in own:
                    found.setdefault(top, str(path))
    return found


def test_every_package_that_is_imported_is_a_dependency() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[\[<>=!~; ]", line)[0] for line in project["dependencies"]}
    found = imported(CHECKOUT / "adacal") | imported(CHECKOUT / "tasks")
    missing = {
        module: where
        for module, where in found.items()
        if PACKAGES.get(module, module) not in named | BROUGHT
    }
    assert not missing
    assert {"torch", "click", "PIL", "scipy"} <= set(found)  # it does look


@pytest.mark.slow
def test_the_wheel_names_the_dependencies_that_pyproject_does(wheel: Path) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(name).decode()
    lines = [
        line.partition(": ")[2] for line in text.splitlines() if line.startswith("Requires-Dist")
    ]
    required = {line.replace(" ", "") for line in lines if "extra ==" not in line}
    assert {one.split("<")[0].split(">")[0] for one in required} == {
        re.split(r"[<>=]", line)[0] for line in project["dependencies"]
    }
