"""Trains a classifier: one cycle of SGD, seeded; writes safetensors and a log beside it.

The test split is looked at once, after the last epoch, and only reported. To compare settings,
keep back a part of the training split with `holdout`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adacal.core.checks import check_names, check_number, check_whole
from adacal.core.errors import ConfigError, DataError
from tasks.checkpoints import save_checkpoint
from tasks.data.base import LabelledDataset

Log = Callable[[dict[str, float]], None]
Targets = Callable[[str, Tensor], Tensor]
"""Returns what samples of a split, named and by positions, should be classified as."""
Pairs = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor]]
"""Returns augmented inputs and targets of training samples by positions, epoch and randomness."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a classifier is trained.

    Attributes:
        epochs: passes over the training split.
        batch_size: samples a step.
        lr: highest learning rate of the cycle.
        momentum: of SGD, with Nesterov's correction.
        weight_decay: on all parameters, or without `decay_all` on weights of layers only.
        decay_all: whether biases and batch-norm decay too, as in the papers' recipes. Networks
            trained so convert at fewer steps: their channels differ less in scale.
        label_smoothing: share of the target spread over all classes.
        warmup: share of the steps in which the learning rate rises.
        augment: whether the dataset's augmentation is used.
        holdout: share of each training class that is kept back and measured after each epoch.
        max_samples: trains on the first so many samples only, for quick trials.
    """

    epochs: int = 20
    batch_size: int = 64
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_all: bool = True
    label_smoothing: float = 0.0
    warmup: float = 0.2
    augment: bool = True
    holdout: float = 0.0
    max_samples: int | None = None

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        check_whole("schedule.epochs", self.epochs, example=20)
        check_whole("schedule.batch_size", self.batch_size, example=64)
        check_number("schedule.lr", self.lr, 0, above=True, example=0.1)
        check_number("schedule.weight_decay", self.weight_decay, 0, example=5e-4)
        for name in ("momentum", "warmup", "holdout", "label_smoothing"):
            value = getattr(self, name)
            check_number(f"schedule.{name}", value, 0)
            if value >= 1:
                raise ConfigError(f"schedule.{name} must lie in [0, 1); got {value}; correct it")
        for name in ("decay_all", "augment"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(
                    f"schedule.{name} must be True or False; got {getattr(self, name)!r}"
                )
        if self.max_samples is not None:
            check_whole("schedule.max_samples", self.max_samples)


def make_schedule(options: Mapping[str, Any] | None) -> Schedule:
    """Returns the schedule of a config.

    Raises:
        ConfigError: there is none, or it has an unknown or bad option.
    """
    if options is None:
        raise ConfigError("the config has no 'schedule', so nothing can be trained; add one")
    check_names("schedule option", options, Schedule.__dataclass_fields__)
    return Schedule(**options)


def train_classifier(
    module: nn.Module,
    dataset: LabelledDataset,
    schedule: Schedule,
    path: Path | None,
    *,
    targets: Targets | None = None,
    pairs: Pairs | None = None,
    log: Log | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    notes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Trains a freshly built network in place and writes `path` and its log `<name>.json`.

    Args:
        module: network that returns logits [B, num_classes], or [B, num_classes, *] where each
            place has a class.
        dataset: gives the splits and the augmentation.
        schedule: how to train.
        path: of the safetensors file; None writes nothing.
        targets: gives the classes [B] or [B, *] of samples of a split; its labels if None.
        pairs: gives augmented training samples; the dataset's training batches if None.
        log: called after each epoch with epoch, loss, train_accuracy_pct, lr, seconds and, if a
            part is held out, holdout_accuracy_pct.
        seed: of the order and the augmentation (the weights are drawn by the caller).
        device: where to train.
        notes: text for the header of the checkpoint.

    Returns:
        The training log as written.

    Raises:
        ConfigError: nothing is left to train on.
        DataError: training diverged, or the checkpoint cannot be written.
    """
    started = time.perf_counter()
    wanted = targets or (lambda part, indices: dataset.split(part).labels[indices])
    split = dataset.split("train")
    chosen, held_out = divide(split.labels, schedule)
    if not chosen.numel():
        raise ConfigError(
            f"schedule.holdout={schedule.holdout} leaves nothing of {held_out.numel()} samples to "
            "train on; lower it or raise schedule.max_samples"
        )
    generator = torch.Generator().manual_seed(seed)
    module.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        parameter_groups(module, schedule),
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=schedule.momentum > 0.0,
    )
    steps = -(-chosen.numel() // schedule.batch_size)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=schedule.lr,
        total_steps=max(2, steps * schedule.epochs),
        pct_start=schedule.warmup,
        cycle_momentum=False,
    )
    history: list[dict[str, float]] = []
    for epoch in range(schedule.epochs):
        module.train()
        total_loss, correct = 0.0, 0.0
        order = chosen[torch.randperm(chosen.numel(), generator=generator)]
        for indices in order.split(schedule.batch_size):
            if schedule.augment and pairs is not None:
                inputs, truth = pairs(indices, epoch, generator)
            elif schedule.augment:
                inputs = dataset.training_batch(indices, epoch, generator)
                truth = wanted("train", indices)
            else:
                inputs, truth = split.fetch(indices), wanted("train", indices)
            truth = truth.to(device)
            logits = module(channels_last(inputs.to(device)))
            loss = F.cross_entropy(logits, truth, label_smoothing=schedule.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total_loss += float(loss.detach()) * indices.numel()
            correct += correctness(logits, truth)
        if not math.isfinite(total_loss):
            raise DataError(
                f"training diverged in epoch {epoch + 1} (the loss is {total_loss}); nothing was "
                f"written; lower schedule.lr, now {schedule.lr:g}"
            )
        row = {
            "epoch": epoch + 1,
            "loss": total_loss / chosen.numel(),
            "train_accuracy_pct": 100.0 * correct / chosen.numel(),
            "lr": float(scheduler.get_last_lr()[0]),
            "seconds": time.perf_counter() - started,
        }
        if held_out.numel():
            row["holdout_accuracy_pct"] = accuracy(
                module, dataset, "train", held_out, wanted, device
            )
        history.append(row)
        if log is not None:
            log(row)
    if not all(bool(torch.isfinite(value).all()) for value in module.state_dict().values()):
        raise DataError(
            f"training diverged: weights are NaN or infinite; nothing was written; lower "
            f"schedule.lr, now {schedule.lr:g}"
        )
    module.to(memory_format=torch.contiguous_format).eval()
    test = torch.arange(len(dataset.split("test")))
    result: dict[str, Any] = {
        "test_accuracy_pct": accuracy(module, dataset, "test", test, wanted, device),
        "test_samples": len(test),
        "train_samples": chosen.numel(),
        "dataset": dataset.fingerprint(),
        "schedule": asdict(schedule),
        "seed": seed,
        "parameters": sum(p.numel() for p in module.parameters()),
        "seconds": round(time.perf_counter() - started, 1),
        "device": str(device),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "notes": dict(notes or {}),
        "epochs": history,
    }
    if path is not None:
        result["sha256"] = save_checkpoint(path, module, notes)
        write_json(path.with_suffix(".json"), result)
    return result


def divide(labels: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Returns the positions to train on and those held out (the last of each class).

    >>> [part.tolist() for part in divide(torch.tensor([0, 1, 0, 1]), Schedule(holdout=0.5))]
    [[0, 1], [2, 3]]
    """
    count = labels.numel()
    if schedule.max_samples is not None:
        count = min(count, schedule.max_samples)
    kept = torch.ones(count, dtype=torch.bool)
    if schedule.holdout > 0.0:
        for label in labels[:count].unique():
            members = torch.nonzero(labels[:count] == label).flatten()
            first = members.numel() - round(schedule.holdout * members.numel())
            kept[members[first:]] = False
    return torch.nonzero(kept).flatten(), torch.nonzero(~kept).flatten()


def parameter_groups(module: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """Splits the parameters into those with weight decay and the rest, which may be empty."""
    parameters = list(module.parameters())
    decayed = [p for p in parameters if schedule.decay_all or p.dim() > 1]
    plain = [p for p in parameters if not (schedule.decay_all or p.dim() > 1)]
    return [
        {"params": decayed, "weight_decay": schedule.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


@torch.no_grad()
def accuracy(
    module: nn.Module,
    dataset: LabelledDataset,
    part: str,
    indices: Tensor,
    targets: Targets,
    device: torch.device | str = "cpu",
    batch_size: int = 250,
) -> float:
    """Returns the share of these samples that the network, in eval mode, gets right, in percent.

    Where each place of a sample has a class, a sample counts by the share of its places.
    """
    module.eval()
    correct = 0.0
    for chosen in indices.split(batch_size):
        logits = module(dataset.split(part).fetch(chosen).to(device))
        correct += correctness(logits, targets(part, chosen).to(device))
    return 100.0 * correct / max(1, indices.numel())


def correctness(logits: Tensor, targets: Tensor) -> float:
    """Counts the samples that logits [B, K, *] get right, by the share of their places [B, *].

    >>> logits = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> correctness(logits, torch.tensor([[0, 0]]))
    0.5
    """
    right = (logits.argmax(1) == targets).double()
    return float(right.flatten(1).mean(1).sum() if right.dim() > 1 else right.sum())


def channels_last(inputs: Tensor) -> Tensor:
    """Lays images out with channels last, in which CPUs train faster; other inputs stay."""
    return inputs.to(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
