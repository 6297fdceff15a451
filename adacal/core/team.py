"""Who walks through compiled loops: the threads that torch computes with, or some of Python's.

Those of torch wait, awake for a while, for the next layer, and have in their caches what they made
of the last. To start one of Python's takes as long as a small layer.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from adacal.core.loops import Job

GRAIN = 1 << 15
"""Elements that are worth one more thread of torch, as for operations of its own."""
_PER_THREAD = 1 << 20
"""Elements that are worth a thread of Python, which takes some 0.15 ms to start."""


@dataclass(frozen=True, slots=True)
class Team:
    """The threads of torch.

    Attributes:
        start: runs a function of an address in so many threads, and waits for all.
        part, parts: addresses of functions that say which thread runs and how many there are.
        process: that has them; a child that is forked has none.
    """

    start: Any
    part: int
    parts: int
    process: int


class Loops:
    """Compiled loops that do a job.

    Args:
        function: takes the address of a job and does the part that falls to the caller's thread.
        address: of `function`, for the threads of torch; 0 where it has none.
        of: what holds the machine code.
    """

    def __init__(
        self, function: Callable[[int], None], address: int = 0, of: object = None
    ) -> None:
        self._function, self._address, self._of = function, address, of

    def divide(self, job: Job, lines: int, elements: int) -> None:
        """Tells a job in how many parts so many lines and elements are worth to be walked through.

        Args:
            job: what is to be done, with all that it is about.
            lines: of which no part takes less than one.
            elements: that are read.
        """
        team = _team_here() if self._address else None
        threads = torch.get_num_threads()
        worth = elements // (_PER_THREAD if team is None else GRAIN)
        job.lines, job.parts = lines, max(1, min(threads, lines, worth))
        if team is not None and job.parts > 1:
            # always all of them: a team that changes its size ends threads and starts others
            job.threads, job.ask_part, job.ask_parts = threads, team.part, team.parts

    def run(self, job: Job) -> None:
        """Does all parts of a job."""
        if job.parts == 1:
            self._function(ctypes.addressof(job))
            return
        team = _team_here() if job.threads else None
        if team is None:
            self._in_own_threads(job)
        else:
            team.start(self._address, ctypes.addressof(job), job.threads, 0)

    def _in_own_threads(self, job: Job) -> None:
        """Each part in a thread of Python, the first in the caller's."""
        jobs = [type(job).from_buffer_copy(job) for _ in range(job.parts)]
        for part, one in enumerate(jobs):
            one.part, one.ask_part = part, 0
        addresses = [ctypes.addressof(one) for one in jobs]
        threads = [threading.Thread(target=self._function, args=(at,)) for at in addresses[1:]]
        for thread in threads:
            thread.start()
        self._function(addresses[0])
        for thread in threads:
            thread.join()


@lru_cache(maxsize=1)
def torch_team() -> Team | None:
    """Returns the threads of torch; None where they cannot be called as GNU's OpenMP can."""
    if not torch.backends.openmp.is_available():
        return None
    own = sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"))
    for path in (None, *map(str, own)):  # what all see first, as where torch looks for it
        try:
            library = ctypes.CDLL(path)  # loaded long ago
            start, part, parts = (
                library[name]
                for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
            )
        except (OSError, AttributeError, TypeError):
            continue
        start.restype = None
        start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        return Team(start, _address(part), _address(parts), os.getpid())
    return None


def _team_here() -> Team | None:
    team = torch_team()
    return team if team is not None and team.process == os.getpid() else None


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
