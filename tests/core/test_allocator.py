"""Memory that is freed is handed out again, where glibc can be told so."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from adacal.core import allocator

PROGRAM = """
import resource, sys, torch
from adacal.core.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() and keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def once():
    several = [torch.ones(5 << 20) for _ in range(8)]  # 20 MB each
for _ in range(int(sys.argv[2])):
    once()
before = faults()
once()
print(faults() - before)
"""


def pages_mapped(how: str, rounds: int) -> int:
    command = [sys.executable, "-c", PROGRAM, how, str(rounds)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_process_that_was_told_maps_no_page_again() -> None:
    # a heap needs some rounds to settle, in which glibc may learn by itself to keep memory; what
    # small objects lie between may move a tensor elsewhere, too: so it is tried more than once
    assert any(pages_mapped("keep", 8) < 100 for _ in range(5))
    assert any(pages_mapped("leave", 2) > 1000 for _ in range(5))


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert allocator.keep_freed_memory.__wrapped__() is False
