"""Where shipped things lie: in the checkout, or inside the installed package; one place says it.

A wheel carries `configs/`, the matrix files of `benchmarks/`, `results/checkpoints/` and
`results/published/` below `adacal/shipped/` (see `setup.py`). An installation is only read: what a
command writes goes to the working folder.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parent
SHIPPED = PACKAGE / "shipped"

INSTALLED = SHIPPED.is_dir()
ROOT = SHIPPED if INSTALLED else CHECKOUT

CONFIG_FOLDER = ROOT / "configs"
MATRIX_FOLDER = ROOT / "benchmarks"
CHECKPOINT_FOLDER = ROOT / "results" / "checkpoints"
PUBLISHED_FOLDER = ROOT / "results" / "published"


def writable_root() -> Path:
    """Returns the folder relative paths are written below: the checkout, or the working folder."""
    return Path.cwd() if INSTALLED else CHECKOUT


def cache_folder() -> Path:
    """Returns `$ADACAL_CACHE`, or else the folder `adacal` in the user's cache folder."""
    named = os.environ.get("ADACAL_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "adacal"
