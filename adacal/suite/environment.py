"""Where a run happened: versions, processor, threads, commit. Goes into every record."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adacal.suite.places import CHECKOUT

LIBRARIES = (
    "h5py", "mlxtend", "mmcv", "mmcv-lite", "mmdet", "mmengine", "mmsegmentation", "numba",
    "opencv-python", "opencv-python-headless", "pillow", "pycocotools", "scikit-image", "scipy",
    "tonic", "torchvision",
)  # fmt: skip
"""Packages besides torch and NumPy that move data, boxes, masks or metrics, as pip calls them."""

MISSING = "not installed"


class Environment(BaseModel):
    """What may move a number without any setting having changed.

    Attributes:
        device: torch device of the run.
        processor: model name of the CPU; on a virtual machine that of a whole family.
        instructions: the vector instructions that torch computes with there, as it calls them
            (AVX2, AVX512); None in records from before they were noted.
        accelerator: model name of the GPU in use, or an empty string.
        threads: torch's intra-op threads.
        commit: git commit of the checkout, or an empty string.
        dirty: whether tracked files outside of `results/` differed from that commit.
        libraries: versions of those of `LIBRARIES` that are installed; None in records from before
            they were noted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adacal: str
    python: str
    torch: str
    numpy: str
    platform: str
    device: str
    processor: str
    instructions: str | None
    accelerator: str
    threads: int
    commit: str
    dirty: bool
    libraries: dict[str, str] | None

    def versions(self) -> dict[str, str]:
        """Returns the versions of Python and of all libraries that are known."""
        known = {"python": self.python, "torch": self.torch, "numpy": self.numpy}
        return {**known, **(self.libraries or {})}

    def computes_like(self, other: Environment) -> bool:
        """Says whether the same program should give the same bits in both places."""
        keys = ("torch", "device", "processor", "instructions", "accelerator", "threads")
        known = self.instructions is not None
        return known and all(getattr(self, key) == getattr(other, key) for key in keys)


def capture(device: str) -> Environment:
    """Returns the present environment for a run on `device`."""
    import numpy
    import torch

    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    commit, dirty = _git()
    return Environment(
        adacal=_version("adacal"),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=numpy.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        processor=_processor(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        accelerator=accelerator,
        threads=torch.get_num_threads(),
        commit=commit,
        dirty=dirty,
        libraries=_libraries(),
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return MISSING


@cache  # of what is installed, which stays while it runs
def _libraries() -> dict[str, str]:
    """Returns the versions by what the installer noted, so that nothing is imported for it."""
    found = {name: _version(name) for name in LIBRARIES}
    return {name: version for name, version in found.items() if version != MISSING}


def _processor() -> str:
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache  # of the code that runs, which is what was loaded, whatever the checkout is changed to
def _git() -> tuple[str, bool]:
    if not (CHECKOUT / ".git").exists():
        return "", False
    try:
        commit = _run_git("rev-parse", "--verify", "HEAD")
        status = _run_git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    except (OSError, subprocess.SubprocessError):
        return "", False
    return commit, bool(status)


def commit_is_known(commit: str) -> bool:
    """Says whether this checkout's history holds the commit; False outside of a checkout."""
    if not commit or not (CHECKOUT / ".git").exists():
        return False
    try:
        _run_git("cat-file", "-e", f"{commit}^{{commit}}")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _run_git(*words: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
