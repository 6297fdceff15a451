"""The README's table is what the records give; nobody types a number."""

from __future__ import annotations

import importlib.util
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_table_of_the_readme_is_made_from_the_records() -> None:
    spec = importlib.util.spec_from_file_location("readme_table", CHECKOUT / "docs/readme_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    committed = text.split(module.BEGIN)[1].split(module.END)[0].strip()
    assert committed == module.table(CHECKOUT / "results")
