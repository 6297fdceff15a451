"""Trains dense models by mmengine's Runner, as their configs say; writes tensors and a log."""

from __future__ import annotations

import copy
import importlib
import math
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.errors import ConfigError, DataError
from adacal.suite.config import merge
from tasks.checkpoints import save_checkpoint
from tasks.openmmlab.building import build_model, quiet, reason
from tasks.training import write_json

if TYPE_CHECKING:
    from tasks.openmmlab.task import DenseTask

REPORTS = 20
"""Rows of the log of a training that counts iterations instead of epochs."""


def train_model(
    task: DenseTask,
    log: Callable[[dict[str, float]], None],
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """Trains the task's model from its own initialisation and writes `task.checkpoint`.

    Args:
        task: says model, data and schedule.
        log: called after each epoch (or part of the iterations) with epoch, loss, lr, seconds.
        seed: of the weights, the order and the augmentation.
        device: `cpu` or `cuda`; mmengine takes the GPU where there is one, so nothing else can be
            asked for there.

    Returns:
        The training log as written beside the checkpoint.

    Raises:
        ConfigError: the config says nothing of training, or another device is asked for than
            mmengine takes.
        DataError: training diverged, data cannot be read, or the checkpoint cannot be written.
    """
    from mmengine.device import get_device

    here = get_device()
    if device is not None and torch.device(device).type != here:
        raise ConfigError(f"mmengine trains on '{here}' here; got device '{device}'; leave it out")
    config = _training_config(task)
    with _own_randomness(), tempfile.TemporaryDirectory(prefix="adacal-") as folder:
        _seed(seed)
        started = time.perf_counter()
        module = task.checked(build_model(config, library=task.library))
        history: list[dict[str, float]] = []
        _run(task, config, module, folder, seed, history, log)
        seconds = time.perf_counter() - started
    state = module.state_dict()
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise DataError("training diverged: weights are NaN or infinite; lower the learning rate")
    module.eval().cpu()
    task.use(module)
    with torch.no_grad():
        scores = task.evaluate(lambda inputs: task.spiking_forward(module, inputs)).metrics
    result: dict[str, Any] = {
        **{f"test_{name}": value for name, value in scores.items()},
        "test_samples": task.n_test(),
        "train_samples": len(task.training_dataset),
        "dataset": task.data_fingerprint(),
        "schedule": {
            key: copy.deepcopy(config.to_dict()[key])
            for key in ("train_cfg", "optim_wrapper", "param_scheduler")
            if config.get(key) is not None
        },
        "batch_size": config.train_dataloader.get("batch_size"),
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "seconds": round(seconds, 1),
        "device": here,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "epochs": history,
    }
    notes = {"dataset": task.dataset_name, "model": task.model_name}
    result["sha256"] = save_checkpoint(task.checkpoint, module, notes)
    write_json(task.checkpoint.with_suffix(".json"), result)
    return result


def _training_config(task: DenseTask) -> Any:
    """The task's config with its schedule laid over it, and nothing that is not for training.

    Raises:
        ConfigError: it says nothing of training.
    """
    from mmengine.config import Config

    values = merge(task.config.to_dict(), task.schedule or {})
    for key in ("train_cfg", "optim_wrapper"):
        if not values.get(key):
            raise ConfigError(
                f"neither the config of '{task.model_name}' nor the schedule has '{key}', so "
                "nothing can be trained; add one"
            )
    return Config(values)


def _run(
    task: DenseTask,
    config: Any,
    module: torch.nn.Module,
    folder: str,
    seed: int,
    history: list[dict[str, float]],
    log: Callable[[dict[str, float]], None],
) -> None:
    from mmengine.runner import Runner

    for part in ("datasets", "engine"):
        importlib.import_module(f"{task.library}.{part}")
    hook = _reporter(history, log)
    with quiet():
        try:
            runner = Runner(
                model=module,
                work_dir=folder,
                train_dataloader=config.train_dataloader,
                train_cfg=config.train_cfg,
                optim_wrapper=config.optim_wrapper,
                param_scheduler=config.get("param_scheduler"),
                default_hooks={"checkpoint": None, "logger": None, "timer": None},
                custom_hooks=[hook, *(config.get("custom_hooks") or [])],
                env_cfg={"mp_cfg": {"opencv_num_threads": 0}},
                default_scope=task.library,
                randomness={"seed": seed},
                log_level="ERROR",
                experiment_name=f"adacal_{task.model_name}_{time.monotonic_ns()}",
            )
            runner.train()
        except (DataError, ConfigError):
            raise
        except (KeyError, TypeError, ValueError, AttributeError, FileNotFoundError) as error:
            raise ConfigError(
                f"mmengine cannot train '{task.model_name}' ({reason(error)}); check the config"
            ) from error


def _reporter(history: list[dict[str, float]], log: Callable[[dict[str, float]], None]) -> Any:
    """Makes a hook that reports loss and learning rate, and stops where training diverged."""
    from mmengine.hooks import Hook
    from mmengine.runner import IterBasedTrainLoop

    class Reporter(Hook):
        """Sums losses and reports their mean after each epoch or part of the iterations."""

        priority = "VERY_LOW"

        def before_train(self, runner: Any) -> None:
            self.started, self.total, self.count = time.perf_counter(), 0.0, 0

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            loss = float(Tensor.detach(outputs["loss"]))
            if not math.isfinite(loss):
                raise DataError(
                    f"training diverged in iteration {runner.iter + 1} (the loss is {loss}); "
                    "nothing was written; lower the learning rate"
                )
            self.total, self.count = self.total + loss, self.count + 1
            part = max(1, runner.max_iters // REPORTS)
            if isinstance(runner.train_loop, IterBasedTrainLoop) and not (runner.iter + 1) % part:
                self.report(runner, (runner.iter + 1) // part)

        def after_train_epoch(self, runner: Any) -> None:
            if self.count:
                self.report(runner, runner.epoch + 1)

        def report(self, runner: Any, epoch: int) -> None:
            row = {
                "epoch": float(epoch),
                "loss": self.total / self.count,
                "lr": float(runner.optim_wrapper.get_lr()["lr"][0]),
                "seconds": time.perf_counter() - self.started,
            }
            self.total, self.count = 0.0, 0
            history.append(row)
            log(row)

    return Reporter()


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Puts the global random states back: mmengine and its pipelines draw from them."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
