"""Puts what lies beside the package into the wheel; everything else is said in pyproject.toml.

Configs, matrix files, checkpoints and published numbers have one place in the repository and go to
`adacal/shipped/` of a wheel, where `adacal/suite/places.py` finds them. An editable installation
reads them in the checkout.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = (
    "configs/**/*.py",
    "benchmarks/*.py",
    "results/checkpoints/*.safetensors",
    "results/checkpoints/*.json",
    "results/published/*.*",
)


class BuildWithShipped(build_py):
    """Builds the packages and copies what is shipped with them."""

    def run(self) -> None:
        """Copies into the build folder only: the checkout stays as it is."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "adacal" / "shipped"
        shutil.rmtree(target, ignore_errors=True)  # what an earlier build left there
        for pattern in SHIPPED:
            for source in ROOT.glob(pattern):
                copy = target / source.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)


setup(cmdclass={"build_py": BuildWithShipped})
