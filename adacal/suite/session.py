"""What runs share: the task, its ANN, the ANN's own evaluation. Held by an object, not a module."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from adacal.core.allocator import keep_freed_memory
from adacal.core.errors import ConfigError
from adacal.suite.config import RunConfig, digest
from adacal.suite.redraws import Redraws, paired, redrawn
from adacal.suite.registry import TASKS, build, load_tasks
from adacal.suite.task import Batch, Evaluation, Task, to_device

if TYPE_CHECKING:
    from adacal.methods.stages import Stages

Progress = Callable[[str, int, int], None]
OUTPUT_LIMIT_MB = 256.0
DRAWS_LIMIT_MB = 128.0


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignores progress."""


@dataclass
class Prepared:
    """A task with its ANN, evaluated.

    Attributes:
        task: the task.
        ann: its network in eval mode, on the session's device.
        fingerprint: of the dataset.
        checkpoint_sha256: of the weights in use.
        evaluation: the ANN's own, None until it is needed.
        redrawn: the ANN's main metric on redrawn test sets, where the task gives it.
        outputs: the ANN's raw outputs, one entry a test batch, on the CPU; None where they are
            too large to keep.
        ann_seconds: wall time of the ANN's evaluation.
        build_seconds: wall time of reading the dataset and building the ANN.
        runs: how many runs have used it.
        draws: calibration batches on the session's device by (samples, seed), as many as
            `DRAWS_LIMIT_MB` holds.
        stages: steps of methods that others take over, by number of calibration samples and seed.
    """

    task: Task
    ann: nn.Module
    fingerprint: str
    checkpoint_sha256: str
    batch_size: int
    evaluation: Evaluation | None = None
    redrawn: np.ndarray | None = field(default=None, repr=False)
    outputs: list[Any] | None = None
    ann_seconds: float = 0.0
    build_seconds: float = 0.0
    runs: int = 0
    draws: OrderedDict[tuple[int, int], list[Batch]] = field(
        default_factory=OrderedDict, repr=False
    )
    stages: dict[tuple[int, int], Stages] = field(default_factory=dict, repr=False)


@dataclass
class Session:
    """Builds tasks and ANNs once and keeps the most recent ones.

    Attributes:
        device: torch device of all networks.
        keep: how many (task, model) pairs stay in memory.
    """

    device: str = "cpu"
    keep: int = 2
    _prepared: OrderedDict[str, Prepared] = field(default_factory=OrderedDict, repr=False)

    def prepare(self, config: RunConfig) -> Prepared:
        """Returns the config's task with its ANN, built if it is not in memory.

        Raises:
            ConfigError: an unknown task, dataset, model or option.
            DataError: data or checkpoint are missing or damaged.
        """
        key = share_key(config)
        if key in self._prepared:
            self._prepared.move_to_end(key)
            return self._prepared[key]
        start = time.perf_counter()
        task = build_task(config)
        fingerprint = task.data_fingerprint()  # missing data first: without it nothing can be run
        ann = task.build_ann().to(self.device).eval()
        prepared = Prepared(
            task=task,
            ann=ann,
            fingerprint=fingerprint,
            checkpoint_sha256=task.checkpoint_sha256(),
            batch_size=config.evaluation.batch_size,
            build_seconds=time.perf_counter() - start,
        )
        self._prepared[key] = prepared
        while len(self._prepared) > self.keep:
            self._prepared.popitem(last=False)
        return prepared

    def evaluate_ann(self, prepared: Prepared, progress: Progress = no_progress) -> Evaluation:
        """Returns the ANN's evaluation on the whole test set, computed at the first call."""
        if prepared.evaluation is not None:
            return prepared.evaluation
        outputs: list[Any] = []
        kept_mb = 0.0

        def predict(inputs: Tensor) -> Any:
            nonlocal kept_mb
            raw = ann_output(prepared, inputs.to(self.device))
            output = to_cpu(raw)
            kept_mb += megabytes(output)
            if kept_mb <= OUTPUT_LIMIT_MB:
                outputs.append(output)
            return output

        start = time.perf_counter()
        prepared.evaluation = prepared.task.evaluate(
            predict, prepared.batch_size, lambda done, total: progress("ANN", done, total)
        )
        prepared.ann_seconds = time.perf_counter() - start
        prepared.outputs = outputs if kept_mb <= OUTPUT_LIMIT_MB else None
        return prepared.evaluation


def redraw_both(prepared: Prepared, snn: Evaluation, samples: int) -> Redraws | None:
    """Returns the main metric of ANN and converted network on redrawn test sets.

    None where the task gives none. The ANN's are computed at the first call.

    Raises:
        DataError: the task's `redraw` returns another number of values.
    """
    if prepared.redrawn is None and prepared.evaluation is not None:
        prepared.redrawn = redrawn(prepared.evaluation, prepared.fingerprint, samples)
    return paired(prepared.redrawn, redrawn(snn, prepared.fingerprint, samples))


def draw(prepared: Prepared, n_samples: int, seed: int, device: str) -> list[Batch]:
    """Returns the task's calibration samples on the device of its ANN, drawn once."""
    draws = prepared.draws
    if (n_samples, seed) not in draws:
        drawn = prepared.task.calibration_batches(n_samples, seed)
        draws[n_samples, seed] = [to_device(batch, device) for batch in drawn]
    draws.move_to_end((n_samples, seed))
    wanted = draws[n_samples, seed]
    while sum(megabytes([b.inputs for b in kept]) for kept in draws.values()) > DRAWS_LIMIT_MB:
        draws.popitem(last=False)
    return wanted


def share_key(config: RunConfig) -> str:
    """Returns what runs must have in common to share a task, its ANN and the ANN's evaluation."""
    return digest([*_pair(config), *_steps_of_inputs(config).values()])


def pair_key(config: RunConfig) -> str:
    """Returns the same for runs of one dataset and ANN; streams share only if T is the same, too.

    The inputs of a stream depend on T, and the last digits of its ANN's answers with them.
    """
    return digest(_pair(config))


def _pair(config: RunConfig) -> list[Any]:
    return [config.task, config.model, config.schedule, config.evaluation.batch_size]


def build_task(config: RunConfig) -> Task:
    """Builds the config's task; data and weights are read later."""
    load_tasks()
    extra: dict[str, Any] = {"model": config.model, **_steps_of_inputs(config)}
    if config.schedule is not None:
        extra["schedule"] = config.schedule
    task: Task = build(TASKS, "task", config.task, **extra)
    return task


def _steps_of_inputs(config: RunConfig) -> dict[str, int]:
    """Returns T for tasks whose inputs depend on it (streams), else nothing."""
    load_tasks()
    kind = TASKS.module_dict.get(str(config.task.get("type")))
    return {"T": config.conversion.T} if getattr(kind, "needs_T", False) else {}


@torch.no_grad()
def ann_output(prepared: Prepared, inputs: Tensor) -> Any:
    """Returns the ANN's raw output for inputs on its device; of a stream it sees the mean frame."""
    frame = inputs.mean(0) if prepared.task.stream else inputs
    return prepared.task.spiking_forward(prepared.ann, frame)


def pick_device(name: str) -> str:
    """Returns the torch device of that name; `auto` is a GPU where there is one.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()  # meta has no values to copy
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device '{name}' cannot be used here ({reason}); try cpu") from error
    return "cpu" if torch.device(name).type == "cpu" else name


@contextmanager
def computing(threads: int | None) -> Iterator[None]:
    """Runs a block with that many threads, and with exact, repeatable convolutions on GPUs.

    By default cuDNN rounds float32 operands to 10 bits (TF32) and picks kernels whose sums come in
    any order: both tip spikes. From then on the process keeps the memory that it frees.

    Raises:
        ConfigError: fewer than one thread.
    """
    keep_freed_memory()
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    with thread_limit(threads):
        try:
            cudnn.allow_tf32, cudnn.deterministic = False, True
            yield
        finally:
            cudnn.allow_tf32, cudnn.deterministic = before


@contextmanager
def thread_limit(threads: int | None) -> Iterator[None]:
    """Runs a block with that many torch threads, then puts the old number back.

    Raises:
        ConfigError: fewer than one.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1; got {threads}")
    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


def to_cpu(nest: Any) -> Any:
    """Returns a nest of lists, tuples and dicts with its tensors on the CPU."""
    return map_tensors(nest, lambda tensor: tensor.detach().cpu())


def map_tensors(nest: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns the nest with `change` applied to every tensor."""
    if isinstance(nest, Tensor):
        return change(nest)
    if isinstance(nest, dict):
        return {key: map_tensors(value, change) for key, value in nest.items()}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*(map_tensors(value, change) for value in nest))
    if isinstance(nest, list | tuple):
        return type(nest)(map_tensors(value, change) for value in nest)
    return nest


def megabytes(nest: Any) -> float:
    """Returns the size of all tensors of a nest in MB."""
    total = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    map_tensors(nest, count)
    return total / 1e6
