"""The README's tables are what the records give; nobody types a number."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_table", CHECKOUT / "docs/readme_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", list(script().BLOCKS))
def test_a_table_of_the_readme_is_made_from_the_records(name: str) -> None:
    module = script()
    begin, end = module.marks(name)
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    committed = text.split(begin)[1].split(end)[0].strip()
    assert committed == module.table(name, CHECKOUT / "results")
    lines = committed.splitlines()
    assert len(lines) == 2 + len(module.BLOCKS[name].rows)
    assert all(line.strip("| –").count("%") for line in lines[2:])  # no row without a number
