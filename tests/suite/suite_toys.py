"""A task and methods that take milliseconds and whose numbers can be worked out by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adacal.core.converted import Converted, Prediction, SiteReport
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError, DataError
from adacal.methods.base import METHODS, Card, Method
from adacal.suite.registry import TASKS
from adacal.suite.task import Batch, Evaluation, Metric, Task

N_TEST, N_TRAIN, CLASSES = 40, 100, 4
ANN_WRONG = 4
SECONDS = "ADACAL_TOY_SECONDS"  # how long a conversion takes, where the environment says so
MACS = 1000.0


@TASKS.register_module(name="toy_task", force=True)
class ToyTask(Task):
    """Samples whose first numbers are their logits; the ANN misses the first four."""

    metric = Metric(name="accuracy_pct", unit="%")

    def __init__(
        self,
        dataset: Mapping[str, Any],
        model: Mapping[str, Any],
        schedule: Mapping[str, Any] | None = None,
        fail: bool = False,
        crash: bool = False,
    ) -> None:
        self.name = "toy"
        self.dataset_name = str(dataset["type"])
        self.model_name = str(model.get("name", model["type"]))
        self.schedule, self.fail, self.crash, self.built = schedule, fail, crash, 0

    def build_ann(self) -> nn.Module:
        if self.fail:
            raise DataError("no checkpoint at 'nowhere'; train one")
        if self.crash:
            raise RuntimeError("the toy network broke")
        self.built += 1
        return nn.Identity()

    def example_input(self) -> Tensor:
        return torch.zeros(2, CLASSES)

    def calibration_batches(self, n_samples: int, seed: int) -> list[Batch]:
        indices = torch.randperm(N_TRAIN, generator=torch.Generator().manual_seed(seed))[:n_samples]
        return [Batch(inputs=torch.zeros(n_samples, CLASSES), targets=indices, indices=indices)]

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        for indices in torch.arange(N_TEST).split(batch_size):
            targets = indices % CLASSES
            shown = torch.where(indices < ANN_WRONG, (targets + 1) % CLASSES, targets)
            inputs = nn.functional.one_hot(shown, CLASSES).float() * 5.0
            yield Batch(inputs=inputs, targets=targets, indices=indices)

    def evaluate(self, predict: Any, batch_size: int = 100, progress: Any = None) -> Evaluation:
        correct = np.zeros(N_TEST, dtype=bool)
        for batch in self.test_batches(batch_size):
            right = predict(batch.inputs).argmax(1) == batch.targets
            correct[batch.indices.numpy()] = right.numpy()
            if progress is not None:
                progress(int(batch.indices[-1]) + 1, N_TEST)
        return Evaluation(metrics={"accuracy_pct": 100.0 * correct.mean()}, correct=correct)

    def data_fingerprint(self) -> str:
        return f"{self.dataset_name}:0123456789abcdef"

    def checkpoint_sha256(self) -> str:
        return "ab" * 32


class ToyConverted(Converted):
    """Gets the last `misses` samples of each batch wrong; each sample fires ten spikes a step."""

    def __init__(self, T: int, misses: int, kind: str) -> None:
        self.T, self.misses, self.kind = T, misses, kind
        variables = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        self.search_log = {name: os.environ.get(name, "") for name in variables}

    def predict(self, inputs: Tensor, meter: EnergyMeter | None = None) -> Prediction:
        output = inputs.clone()
        if self.misses:
            output[-self.misses :] = output[-self.misses :].roll(1, dims=1)
        steps = torch.full((len(inputs),), 0 if self.kind == "none" else self.T)
        if meter is not None:
            count = meter.layers["site"]
            meter.samples += len(inputs)
            count.spikes += 10.0 * float(steps.sum())
            count.events += 10.0 * float(steps.sum())
            count.sops += 100.0 * float(steps.sum())
            count.event_sops += 100.0 * float(steps.sum())
            count.macs += MACS * len(inputs) if self.kind == "none" else 0.0
            count.ann_macs += MACS * len(inputs)
        return Prediction(output=output, timesteps=steps)

    def report(self) -> list[SiteReport]:
        if self.kind == "none":
            return []
        return [
            SiteReport(
                name="site",
                kind="burst",
                function="relu",
                shape=(4,),
                threshold_mean=1.0,
                max_spikes=1,
            )
        ]


class _Carded(Method):
    @classmethod
    def card(cls) -> Card:
        return Card(data="none", weights="untouched", passes="0", spikes="binary", source="toy")


@METHODS.register_module(name="toy_spiking", force=True)
@dataclass(frozen=True, kw_only=True)
class ToySpiking(_Carded):
    """Misses as many samples a batch as it is told, and can be told to break."""

    name = "toy_spiking"
    misses: int = 1
    broken: bool = False
    nested: dict[str, Any] = field(default_factory=lambda: {"a": 1, "b": (1.0, 2.0)})

    def __post_init__(self) -> None:
        if self.misses < 0:
            raise ConfigError(f"toy_spiking.misses must be 0 or more; got {self.misses}; try 1")

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Any) -> Converted:
        time.sleep(float(os.environ.get(SECONDS, "0")))
        if self.broken:
            raise RuntimeError("the toy broke")
        return ToyConverted(calibration.T, self.misses, "binary")


class ToyQuantisedConverted(ToyConverted):
    """The control: no steps, no neurons."""

    def strictness(self) -> str:
        return "quantised"


@METHODS.register_module(name="toy_quantised", force=True)
@dataclass(frozen=True, kw_only=True)
class ToyQuantised(_Carded):
    """Stands beside the toy rows as the quantised ANN does."""

    name = "toy_quantised"

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Any) -> Converted:
        return ToyQuantisedConverted(calibration.T, 0, "none")


@METHODS.register_module(name="toy_ann", force=True)
@dataclass(frozen=True, kw_only=True)
class ToyAnn(_Carded):
    """The network itself: neither T nor the seed matter."""

    name = "toy_ann"
    uses_T = False
    deterministic = True

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Any) -> Converted:
        return ToyConverted(calibration.T, 0, "none")


def raw_config(**changes: Any) -> dict[str, Any]:
    """Returns the plain values of a toy run."""
    values: dict[str, Any] = {
        "task": {"type": "toy_task", "dataset": {"type": "toy_data"}},
        "model": {"type": "toy_net", "name": "toy_net"},
        "method": {"type": "toy_spiking"},
        "conversion": {"T": 4},
        "calibration": {"n_samples": 8},
        "evaluation": {"batch_size": 20, "latency_repeats": 1},
        "seed": 0,
    }
    return {**values, **changes}


def write_base(folder: Path) -> Path:
    """Writes `_base_` pieces of the toy task and methods and returns their folder."""
    pieces = {
        "tasks/toy_data": "task = dict(type='toy_task', dataset=dict(type='toy_data'))",
        "tasks/toy_gone": "task = dict(type='toy_task', dataset=dict(type='toy_gone'), fail=True)",
        "models/toy_net": "model = dict(type='toy_net', name='toy_net')",
        "methods/toy_spiking": "method = dict(type='toy_spiking')",
        "methods/toy_ann": "method = dict(type='toy_ann')",
    }
    for name, text in pieces.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return folder
