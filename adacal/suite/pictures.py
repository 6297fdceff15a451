"""Pictures of test samples with what the ANN and the converted network answer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError, DataError
from adacal.suite.config import resolve
from adacal.suite.records import RunRecord
from adacal.suite.runner import convert
from adacal.suite.session import (
    Progress,
    Session,
    ann_output,
    computing,
    no_progress,
    to_cpu,
)
from adacal.suite.task import Batch, Task
from adacal.suite.verify import require_same

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKED_AT = 100
"""Pictures show some of the first so many test samples."""
_LETTERS = 12
"""Letters of a title that an inch surely holds."""


def draw_record(
    record: RunRecord,
    folder: Path,
    *,
    samples: int = 6,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Converts the network of a record again and draws test samples; returns the picture's path.

    Up to half of the samples are ones that the converted network got wrong, if the record knows.

    Args:
        record: what to draw.
        folder: where the picture goes, named after the record.
        samples: how many.
        device, threads: as of a run.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: the task has nothing to draw, or no samples are asked for.
        DataError: data or checkpoint are not those of the record, or the folder cannot be written.
    """
    if samples < 1:
        raise ConfigError(f"pictures show 1 or more samples; got {samples}; try 6")
    session = Session(device=device)
    config = resolve(record.config, origin=f"record {record.id}")
    with computing(threads):
        prepared = session.prepare(config)
        require_same("dataset", record.data_fingerprint, prepared.fingerprint)
        require_same("checkpoint", record.checkpoint_sha256, prepared.checkpoint_sha256)
        converted, _ = convert(config, prepared, device, progress)
        positions = _worth_seeing(record, samples)
        if record.ann_correct is None:
            positions = _of_one_size(prepared.task, record, samples, config.evaluation.batch_size)
        batch = _some(prepared.task, positions, config.evaluation.batch_size)
        inputs = batch.inputs.to(device)
        with torch.no_grad():
            ann = to_cpu(ann_output(prepared, inputs))
            found = converted.predict(inputs)
    prediction = Prediction(
        output=to_cpu(found.output),
        timesteps=found.timesteps.cpu(),
        by_step=None if found.by_step is None else found.by_step.cpu(),
    )
    figure = new_figure()
    prepared.task.draw(figure, batch, ann, prediction)
    steps = f", T={record.T}" if record.uses_T else ""
    set_title(
        figure, f"{record.label}{steps} on {record.dataset} / {record.model}, seed {record.seed}"
    )
    path = folder / f"{Path(record.filename()).stem}.png"
    save_figure(figure, path, option="--results")
    return path


def new_figure() -> Figure:
    """Returns an empty figure that is drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def set_title(figure: Figure, text: str) -> None:
    """Puts a title above a figure of final size, in as many lines as it needs."""
    width = int(_LETTERS * float(figure.get_figwidth()))
    figure.suptitle("\n".join(textwrap.wrap(text, width)), fontsize=10)


def save_figure(figure: Figure, path: Path, *, option: str) -> None:
    """Writes a figure as PNG; makes its folder.

    Args:
        figure: what to write.
        path: where.
        option: of the command line, that names the folder.

    Raises:
        DataError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); name another folder with {option}"
        ) from error


def _worth_seeing(record: RunRecord, samples: int) -> np.ndarray:
    """Returns positions in the test split: up to half of them errors, the others right answers."""
    first = min(LOOKED_AT, record.n_test)
    pair = record.correct()
    if pair is None:
        return np.arange(min(samples, first))
    right = pair[1][:first]
    n_wrong = max(samples // 2, samples - int(right.sum()))
    wrong = np.flatnonzero(~right)[:n_wrong]
    others = np.flatnonzero(right)[: samples - wrong.size]
    return np.concatenate([others, wrong])


def _of_one_size(task: Task, record: RunRecord, samples: int, batch_size: int) -> np.ndarray:
    """Returns positions of samples of one size: the first of which there are enough, or most."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    sample_dim = int(task.stream)
    for batch in _until(task, min(LOOKED_AT, record.n_test) - 1, batch_size):
        for place, index in enumerate(batch.indices.tolist()):
            shape = tuple(batch.inputs.select(sample_dim, place).shape)
            same = by_size.setdefault(shape, [])
            same.append(index)
            if len(same) == samples:
                return np.array(same)
    return np.array(max(by_size.values(), key=len))


def _some(task: Task, positions: np.ndarray, batch_size: int) -> Batch:
    """Returns the test samples at these positions as one batch."""
    found: dict[int, tuple[Tensor, Any]] = {}
    sample_dim = int(task.stream)
    wanted = set(positions.tolist())
    for batch in _until(task, int(positions.max()), batch_size):
        for place, index in enumerate(batch.indices.tolist()):
            if index in wanted:
                of_sample = batch.inputs.select(sample_dim, place)
                found[index] = (of_sample, batch.targets[place])
    rows = [found[int(position)] for position in positions]
    targets = [target for _, target in rows]
    stacked = torch.stack(targets) if isinstance(targets[0], Tensor) else targets
    return Batch(
        inputs=torch.stack([inputs for inputs, _ in rows], sample_dim),
        targets=stacked,
        indices=torch.as_tensor(positions),
    )


def _until(task: Task, last: int, batch_size: int) -> Iterator[Batch]:
    for batch in task.test_batches(batch_size):
        yield batch
        if int(batch.indices[-1]) >= last:
            return
