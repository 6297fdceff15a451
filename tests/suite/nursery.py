"""A process that has everything imported and forks a command line at each request.

The children are real `adacal` processes, to be killed, interrupted or starved of space; only their
imports were done before. Requests are lines on stdin:

    start FOLDER SECONDS LIMIT WORD …   -> the child's pid; its output goes to FOLDER/PID.log
    wait PID                            -> its exit code, negative for a signal

SECONDS is how long a toy's conversion takes, LIMIT the largest file it may write (0: any).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


class Nursery:
    """The side of the test; `base` holds `_base_` pieces of the toys."""

    def __init__(self, base: Path) -> None:
        paths = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )

    def start(self, folder: Path, *words: object, seconds: float = 0.0, limit: int = 0) -> int:
        """Starts `adacal WORD …` and returns its process id."""
        return int(self._ask("start", folder, seconds, limit, *words))

    def wait(self, pid: int) -> int:
        """Returns the exit code, or minus the signal that ended it."""
        return int(self._ask("wait", pid))

    def run(self, folder: Path, *words: object, seconds: float = 0.0, limit: int = 0) -> str:
        """Runs `adacal WORD …` and returns its exit code and output."""
        pid = self.start(folder, *words, seconds=seconds, limit=limit)
        code = self.wait(pid)
        return f"exit code {code}\n" + (folder / f"{pid}.log").read_text()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _ask(self, *words: object) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


def children(pid: int) -> dict[int, str]:
    """Returns the running processes that a process started, each with its command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and _parent(int(folder.name)) == pid:
            with contextlib.suppress(OSError):  # it has just ended
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


def runs(pid: int) -> bool:
    """Says whether a process is there and no zombie that nobody has buried yet."""
    return _parent(pid) is not None


def _parent(pid: int) -> int | None:
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(parent)


def child(folder: str, seconds: str, limit: str, words: list[str]) -> None:
    """Becomes the command line."""
    from adacal.suite.cli import main
    from suite.suite_toys import SECONDS

    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(f"{folder}/{os.getpid()}.log", os.O_CREAT | os.O_WRONLY, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ[SECONDS] = seconds
    if int(limit):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    code = 0
    try:
        main(words, prog_name="adacal")
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve(base: Path) -> None:
    """Forks a child a request."""
    import matplotlib.figure
    import pandas

    from adacal.suite import cli_matrix, console, console_matrix, dispatch, plots, registry
    from adacal.suite import matrix as matrices

    registry.load_tasks()
    matrices.CONFIG_FOLDER = base
    assert cli_matrix and console and console_matrix and dispatch and plots  # imported, for all
    assert matplotlib.figure and pandas
    for line in sys.stdin:
        ask, *words = line.split()
        if ask == "start":
            pid = os.fork()
            if pid == 0:
                child(*words[:3], words[3:])
            print(pid, flush=True)  # noqa: T201
        else:
            _, status = os.waitpid(int(words[0]), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
