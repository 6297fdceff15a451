"""The speed benchmarks run; how quick anything is, is not for tests to say."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "speed"
BENCHMARKS = sorted(path.stem for path in FOLDER.glob("bench_*.py"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_speed_benchmark_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [name, "--smoke", "--json"])
    importlib.import_module(name).main()
    told = json.loads(capsys.readouterr().out)
    rows = [row for part in (told if isinstance(told, list) else [told]) for row in part["rows"]]
    assert rows and all(row["median_s"] >= 0 for row in rows)


def test_make_bench_runs_every_speed_benchmark() -> None:
    makefile = (FOLDER.parents[1] / "Makefile").read_text(encoding="utf-8")
    assert "benchmarks/speed/bench_*.py" in makefile and len(BENCHMARKS) >= 6
