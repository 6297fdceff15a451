"""Workers as Ray actors: on this machine, or on every node of a cluster that runs already.

The nodes need adacal installed in the same version, and the datasets and checkpoints under the same
paths; they need not see the results folder. Only Ray's public interface is used.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adacal.core.errors import ConfigError
from adacal.suite.executors import Executor, Hear, share_out, throttled, usable_cores

if TYPE_CHECKING:
    from adacal.suite.config import RunConfig
    from adacal.suite.worker import Answer, Ask

ANSWER_S = 10.0
Turn = tuple[int, int]
"""A request: of which worker, and its number among that worker's."""


class RayCluster(Executor):
    """Computes on Ray actors; one whose process or node dies is replaced."""

    def __init__(
        self,
        workers: int | None = None,
        device: str = "auto",
        threads: int | None = None,
        address: str | None = None,
    ) -> None:
        """Checks that Ray is there; see `make_executor` for the arguments.

        Raises:
            ConfigError: Ray is not installed.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                f"the executor ray needs the package ray ({error}); install it with "
                "pip install 'adacal[ray]'"
            ) from error
        self._ray = ray
        self.device, self.address = device, address
        self._workers, self._threads = workers, threads
        self.workers = workers or 1  # until the cluster is known
        self._gpus_each = 0.0
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}
        self._asked: Counter[int] = Counter()
        self._hear: Hear | None = None
        self._board: Any = None
        self._news: Any = None
        self._started_here = False

    def open(self, hear: Hear) -> None:
        """Connects to the cluster, or starts one of this machine's cores, and counts what it has.

        Ray tells how far a call is only when it is done, so the workers write that on a board, an
        actor of its own, at which `receive` looks.

        Raises:
            ConfigError: there is no cluster at the address, none can be started, or it has too
                few cores.
        """
        ray = self._ray
        if not ray.is_initialized():
            self._connect()
        resources = ray.cluster_resources()
        cores = int(resources.get("CPU", 0))
        gpus = int(resources.get("GPU", 0)) if self.device in ("auto", "cuda") else 0
        self.workers, self.threads = share_out(cores, gpus, self._workers, self._threads)
        if self.workers * self.threads > cores:
            raise ConfigError(
                f"the Ray cluster has {cores} cores; {self.workers} workers of {self.threads} "
                "threads need more; lower --workers or --threads"
            )
        self._gpus_each = min(1.0, gpus / self.workers)
        self._hear = hear
        self._board = ray.remote(num_cpus=0)(_Board).remote()

    def _connect(self) -> None:
        ray = self._ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers else
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            cores = usable_cores()
            workers, threads = share_out(cores, 0, self._workers, self._threads)
            options |= {"num_cpus": max(cores, workers * threads), "include_dashboard": False}
        try:
            _require_answer(self.address)
            ray.init(address=self.address or "local", **options)
        except Exception as error:  # Ray raises a bare one where a busy machine is too slow for it
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            cure = (
                "start one with ray start --head, give both sides the same RAY_AUTH_MODE and "
                "token, or leave the address out"
                if self.address
                else "wait until the machine is less busy, or take --executor process"
            )
            where = f"at '{self.address}'" if self.address else "could be started on this machine"
            raise ConfigError(f"no Ray cluster {where} ({reason}); {cure}") from error
        self._started_here = True

    def send(self, worker: int, ask: Ask, config: RunConfig) -> None:
        """Gives a worker a request, and starts it where it does not run."""
        if worker not in self._actors:
            self._actors[worker] = self._start()
        self._asked[worker] += 1
        turn = (worker, self._asked[worker])
        reference = self._actors[worker].answer.remote(ask, config.plain(), turn)
        self._pending[reference] = worker

    def receive(self, timeout: float) -> Sequence[tuple[int, Answer]]:
        """Returns what the workers have answered, after at most so many seconds."""
        from adacal.suite.worker import Answer

        if not self._pending:
            time.sleep(timeout)
            return []
        self._look_at_board()
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=timeout)
        answers = []
        for reference in done:
            worker = self._pending.pop(reference)
            try:
                answer = Answer(*self._ray.get(reference))
            except self._ray.exceptions.RayError as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._kill(worker)
                answer = Answer("died", reason.rstrip("."))
            answers.append((worker, answer))
        return answers

    def _look_at_board(self) -> None:
        """Passes on what the last look brought, if it is there, and looks again; never waits."""
        if self._board is None:
            return
        if self._news is not None:
            if not self._ray.wait([self._news], timeout=0)[0]:
                return
            try:
                news = self._ray.get(self._news)
            except self._ray.exceptions.RayError:  # its node is gone: the cells go on without bars
                self._board = None
                return
            for (worker, turn), words in news.items():
                if self._hear is not None and turn == self._asked[worker]:  # not of an earlier cell
                    self._hear(worker, *words)
        self._news = self._board.take.remote()

    def close(self) -> None:
        """Ends the workers, and the cluster if it was started here."""
        for worker in list(self._actors):
            self._kill(worker)
        self._pending.clear()
        if self._board is not None:
            self._ray.kill(self._board)
            self._board = self._news = None
        if self._started_here:
            self._ray.shutdown()

    def process_ids(self) -> dict[int, int]:
        """Returns the process of each running worker, for who looks for it with `ps`."""
        ids = {worker: actor.process_id.remote() for worker, actor in self._actors.items()}
        return {worker: self._ray.get(reference) for worker, reference in ids.items()}

    def _kill(self, worker: int) -> None:
        self._ray.kill(self._actors.pop(worker))

    def _start(self) -> Any:
        """Starts an actor with its share of cores and GPUs; Ray sets CUDA_VISIBLE_DEVICES."""
        variables = {
            name: str(self.threads)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        actor = self._ray.remote(
            num_cpus=self.threads,
            num_gpus=self._gpus_each,
            max_restarts=0,
            runtime_env={"env_vars": variables},
        )(_Actor)
        return actor.remote(self.device, self.threads, self._board)


def _require_answer(address: str | None) -> None:
    """Raises an OSError where nothing listens at host:port; Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()


class _Board:
    """Holds how far each worker is until the driver takes it; knows nothing else."""

    def __init__(self) -> None:
        self._words: dict[Turn, tuple[Any, ...]] = {}

    def write(self, turn: Turn, words: tuple[Any, ...]) -> None:
        self._words[turn] = words

    def take(self) -> dict[Turn, tuple[Any, ...]]:
        words, self._words = self._words, {}
        return words


class _Actor:
    """A worker in a process of Ray's; torch is loaded with the first request."""

    def __init__(self, device: str, threads: int, board: Any) -> None:
        self.device, self.threads, self.board = device, threads, board
        self._worker: Any = None

    def answer(self, ask: str, plain: dict[str, Any], turn: Turn) -> tuple[str, Any]:
        from adacal.suite.worker import Failed, make_worker

        try:
            self._worker = self._worker or make_worker(self.device, self.threads)
        except Exception as error:
            return ("failed", Failed(f"the worker cannot start: {error}", ""))
        board = self.board
        tell = throttled(lambda *words: board and board.write.remote(turn, words))
        return tuple(self._worker.answer_plain(ask, plain, tell))

    def process_id(self) -> int:
        return os.getpid()
