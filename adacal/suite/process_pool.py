"""Workers as processes of this machine, started anew (spawn), each with its threads and its GPU.

Nothing heavy is imported at the top: a worker sets its environment before torch is loaded.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from adacal.suite.executors import Executor, Hear, share_out, throttled, usable_cores

if TYPE_CHECKING:
    from adacal.suite.config import RunConfig
    from adacal.suite.worker import Answer, Ask

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ProcessPool(Executor):
    """Computes in processes; one that dies is replaced."""

    def __init__(self, workers: int | None, device: str = "auto", threads: int | None = None):
        """Shares out cores and GPUs; see `make_executor`."""
        self.gpus = visible_gpus(device)
        self.workers, self.threads = share_out(usable_cores(), len(self.gpus), workers, threads)
        self.device = device
        self._processes: dict[int, BaseProcess] = {}
        self._connections: dict[int, Connection] = {}
        self._hear: Hear | None = None

    def open(self, hear: Hear) -> None:
        """Notes where progress goes; a process starts with its first request."""
        self._hear = hear

    def send(self, worker: int, ask: Ask, config: RunConfig) -> None:
        """Gives a worker a request, and starts it where it does not run."""
        if worker not in self._processes:
            self._start(worker)
        with contextlib.suppress(OSError):  # it has just died: `receive` says so
            self._connections[worker].send((ask, config.plain()))

    def receive(self, timeout: float) -> Sequence[tuple[int, Answer]]:
        """Returns what the workers have answered, after at most so many seconds."""
        if not self._connections:
            time.sleep(timeout)
            return []
        ready = connection.wait(list(self._connections.values()), timeout)
        answers = []
        for worker, end in list(self._connections.items()):
            if end in ready and (answer := self._read(worker, end)) is not None:
                answers.append((worker, answer))
        return answers

    def close(self) -> None:
        """Kills the processes: records are not theirs to write, so nothing is cut short."""
        for process in self._processes.values():
            process.kill()
        for worker in list(self._processes):
            self._end(worker)

    def process_ids(self) -> dict[int, int]:
        """Returns the process of each running worker, for who looks for it with `ps`."""
        return {worker: process.pid or 0 for worker, process in self._processes.items()}

    def _start(self, worker: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        gpu = self.gpus[worker % len(self.gpus)] if self.gpus else None
        settings = Settings(self.device, self.threads, gpu)
        process = context.Process(
            target=serve, args=(theirs, settings), name=f"adacal worker {worker}"
        )
        process.start()
        theirs.close()  # so that our end notices when the worker's is gone
        self._processes[worker], self._connections[worker] = process, ours

    def _read(self, worker: int, end: Connection) -> Answer | None:
        """Returns a worker's answer, or None where it only said how far it is."""
        from adacal.suite.worker import Answer

        try:
            word, value = end.recv()
        except (EOFError, OSError):
            return Answer("died", self._end(worker))
        if word == "progress":
            if self._hear is not None:
                self._hear(worker, *value)
            return None
        return Answer(*value)

    def _end(self, worker: int) -> str:
        """Ends a worker and returns in words how it ended."""
        process = self._processes.pop(worker)
        self._connections.pop(worker).close()
        process.join(timeout=1.0)  # its end is closed, so it is about to go
        process.kill()
        process.join()
        code = process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


@dataclass(frozen=True)
class Settings:
    """What a worker process is told at its start; `gpu` is the one it may see, or None."""

    device: str
    threads: int
    gpu: str | None


def serve(end: Connection, settings: Settings) -> None:
    """Answers requests until the other end is closed; what a worker process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: whoever drives ends us
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(settings.threads)))
    if settings.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = settings.gpu
    from adacal.suite.worker import Answer, Failed, Worker, make_worker

    worker: Worker | None = None
    while True:
        try:
            ask, plain = end.recv()
        except (EOFError, OSError):
            return
        try:
            worker = worker or make_worker(settings.device, settings.threads)
        except Exception as error:
            answer = Answer("failed", Failed(f"the worker cannot start: {error}", ""))
        else:
            tell = throttled(lambda *words: end.send(("progress", words)))
            answer = worker.answer_plain(ask, plain, tell)
        end.send(("answer", tuple(answer)))


def visible_gpus(device: str) -> list[str]:
    """Returns the names of the GPUs that workers may be given, as CUDA_VISIBLE_DEVICES knows them.

    None where the work is for a CPU or for one GPU by number.
    """
    if device not in ("auto", "cuda"):
        return []
    import torch

    # Counts without touching a GPU, where torch can: this process uses none.
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return (named if any(named) else [str(number) for number in range(count)])[:count]


def _leave_with_parent() -> None:
    """Ends this process when the one that drives it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
