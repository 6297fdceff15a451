"""Where cells are computed: here, in processes of this machine, or on a Ray cluster.

An executor has numbered workers. It takes one request at a time for each and hands back answers as
they come; a worker that dies is an answer, too ("died"), and is replaced before the next request.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adacal.core.errors import ConfigError

if TYPE_CHECKING:
    from adacal.suite.config import RunConfig
    from adacal.suite.session import Session
    from adacal.suite.worker import Answer, Ask

Hear = Callable[[int, str, int, int], None]
Tell = Callable[[str, int, int], None]
NAMES = ("in-process", "process", "ray")
THREADS_OF_A_WORKER = 4
PROGRESS_EVERY_S = 0.2


class Executor(ABC):
    """Runs requests on workers 0 … `workers` - 1.

    Attributes:
        workers: how many requests run at the same time.
    """

    workers: int = 1

    @abstractmethod
    def open(self, hear: Hear) -> None:
        """Starts the workers.

        Args:
            hear: called with (worker, stage, samples done, samples in all) as a run goes on.
        """

    @abstractmethod
    def send(self, worker: int, ask: Ask, config: RunConfig) -> None:
        """Gives an idle worker a request."""

    @abstractmethod
    def receive(self, timeout: float) -> Sequence[tuple[int, Answer]]:
        """Waits at most so many seconds for answers, and returns (worker, answer) pairs."""

    @abstractmethod
    def close(self) -> None:
        """Ends the workers at once; what they were computing is lost."""


class InProcess(Executor):
    """Computes in this process, one cell after the other."""

    def __init__(self, session: Session | None = None, threads: int | None = None) -> None:
        """Takes the session to share; a new one by default."""
        from adacal.suite.session import Session
        from adacal.suite.worker import Worker

        self._worker = Worker(session or Session(), threads)
        self._request: tuple[Ask, RunConfig] | None = None

    def open(self, hear: Hear) -> None:
        """Notes where progress goes."""
        self._progress = lambda stage, done, total: hear(0, stage, done, total)

    def send(self, worker: int, ask: Ask, config: RunConfig) -> None:
        """Keeps the request for `receive`."""
        self._request = (ask, config)

    def receive(self, timeout: float) -> Sequence[tuple[int, Answer]]:
        """Computes the request there is."""
        if self._request is None:
            time.sleep(timeout)
            return []
        (ask, config), self._request = self._request, None
        return [(0, self._worker.answer(ask, config, self._progress))]

    def close(self) -> None:
        """Drops the request there may be; the session is kept."""
        self._request = None


def make_executor(
    name: str | None,
    workers: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    ray_address: str | None = None,
) -> Executor:
    """Builds the executor of that name.

    Args:
        name: one of `NAMES`; None is `in-process`, or what the other arguments can only mean.
        workers: how many; None is one a GPU where GPUs are used, else as many as have
            `THREADS_OF_A_WORKER` cores each (or `threads`, where given).
        device: `auto`, `cpu`, `cuda` or one GPU (`cuda:1`), which all workers then share.
        threads: torch threads of a worker; None is cores / workers, at least 1 (in process:
            torch's own choice).
        ray_address: of a running Ray cluster (`auto` finds it); None starts one on this machine.

    Raises:
        ConfigError: the arguments contradict each other, or Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1; got {workers}")
    if name is None:
        name = "ray" if ray_address else "process" if (workers or 1) > 1 else "in-process"
    if ray_address and name != "ray":
        raise ConfigError(f"a Ray address needs --executor ray; got --executor {name}")
    if name == "in-process":
        if (workers or 1) > 1:
            raise ConfigError(
                f"the executor in-process has one worker; got {workers}; take --executor process"
            )
        from adacal.suite.session import Session, pick_device

        return InProcess(Session(device=pick_device(device)), threads)
    if name == "process":
        from adacal.suite.process_pool import ProcessPool

        return ProcessPool(workers, device, threads)
    if name == "ray":
        from adacal.suite.ray_cluster import RayCluster

        return RayCluster(workers, device, threads, ray_address)
    raise ConfigError(f"no executor named '{name}'; known: {', '.join(NAMES)}")


def throttled(send: Tell) -> Tell:
    """Returns a progress function that sends a few messages a second, and each stage's last."""
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if done == total or now - last > PROGRESS_EVERY_S:
            last = now
            send(stage, done, total)

    return progress


def usable_cores() -> int:
    """Returns how many cores this process may use (a batch system may have lent it some only)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def share_out(
    cores: int, gpus: int, workers: int | None = None, threads: int | None = None
) -> tuple[int, int]:
    """Returns workers, and threads of each, that together take what there is.

    >>> share_out(16, 0), share_out(16, 0, workers=3), share_out(16, 2), share_out(2, 0, threads=1)
    ((4, 4), (3, 5), (2, 8), (2, 1))
    """
    if workers is None:
        workers = gpus or max(1, cores // (threads or THREADS_OF_A_WORKER))
    return workers, threads or max(1, cores // workers)
