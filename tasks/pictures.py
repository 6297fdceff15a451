"""Test samples as pictures, with what the ANN and the converted network answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.converted import Prediction
from adacal.suite.task import Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RIGHT, WRONG = "#117733", "#CC3311"
MOST_COLUMNS = 8


def draw_images(figure: Figure, batch: Batch, ann: Tensor, snn: Prediction) -> None:
    """Draws images, each with its class and the answers of ANN and SNN.

    Args:
        figure: empty.
        batch: images [B, C, H, W] with one or three channels, classes [B].
        ann: the ANN's logits [B, K].
        snn: the converted network's logits, by step too if they are known.
    """
    images = batch.inputs.cpu()
    columns = min(len(images), MOST_COLUMNS)
    rows = -(-len(images) // columns)
    figure.set_size_inches(1.6 * columns, 2.2 * rows + 0.4)
    for place, image in enumerate(images):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(_to_pixels(image), cmap="gray", interpolation="nearest")
        label = int(batch.targets[place])
        answer = int(snn.output[place].argmax())
        text = f"class {label}\nANN {int(ann[place].argmax())}, SNN {answer}"
        if snn.by_step is not None:
            text += "\n" + answers_by_step(snn.by_step[:, place])
        elif int(snn.timesteps[place]):
            text += f"\nafter {int(snn.timesteps[place])} steps"
        _caption(axes, text, right=answer == label)


def draw_events(
    figure: Figure,
    batch: Batch,
    ann: Tensor,
    snn: Prediction,
    *,
    stream: bool,
    ms_per_step: float | None = None,
) -> None:
    """Draws recordings, a row each: what has been seen after each step, with the answer then.

    Args:
        figure: empty.
        batch: counts by bin [T, B, 2, H, W], or of whole recordings [B, 2, H, W]; classes [B].
        ann: the ANN's logits [B, K]; it sees whole recordings.
        snn: the converted network's logits, by step too if they are known.
        stream: whether inputs are bins.
        ms_per_step: of a recording, for the titles.
    """
    counts = batch.inputs.cpu()
    seen = counts.cumsum(0) if stream else counts[None]
    shown = torch.linspace(0, len(seen) - 1, min(len(seen), MOST_COLUMNS)).round().long().tolist()
    rows, columns = len(batch.targets), len(shown)
    figure.set_size_inches(1.45 * columns + 0.6, 1.8 * rows + 0.6)
    for row in range(rows):
        label, last = int(batch.targets[row]), int(snn.timesteps[row])
        for column, step in enumerate(shown):
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            axes.imshow(_polarities(seen[step, row], seen[-1, row]), interpolation="nearest")
            answer = _answer_at(snn, row, step, last or len(seen))
            sure = "–" if answer is None else f"{answer[0]} ({answer[1]:.0%})"
            text = f"SNN {sure}"
            if stream and step + 1 == last < len(seen):
                text += " ends"
            if row == 0:
                text = f"{_moment(step, ms_per_step, stream)}\n{text}"
            _caption(axes, text, right=None if answer is None else answer[0] == label)
            if column == 0:
                axes.set_ylabel(f"class {label}\nANN {int(ann[row].argmax())}", fontsize=8)


def _answer_at(snn: Prediction, row: int, step: int, last: int) -> tuple[int, float] | None:
    """Returns class and probability after a step (from 0); None where they are not known.

    Args:
        snn: what the network gave.
        row: the sample.
        step: number of steps before this one.
        last: steps after which the sample had its answer.
    """
    if step + 1 >= last:
        logits = snn.output[row]
    elif snn.by_step is not None:
        logits = snn.by_step[step, row]
    else:
        return None
    sure, answer = logits.softmax(0).max(0)
    return int(answer), float(sure)


def _moment(step: int, ms_per_step: float | None, stream: bool) -> str:
    if not stream:
        return "whole recording"
    return f"step {step + 1}" if ms_per_step is None else f"{(step + 1) * ms_per_step:.0f} ms"


def answers_by_step(logits: Tensor, class_names: Sequence[str] | None = None) -> str:
    """Returns the answers after each step, those that stay the same written once.

    >>> answers_by_step(torch.eye(3)[[0, 0, 2]])
    'SNN: 0 → 2'
    """
    answers = logits.argmax(1).tolist()
    changes = [
        str(answer) if class_names is None else class_names[answer]
        for place, answer in enumerate(answers)
        if place == 0 or answer != answers[place - 1]
    ]
    return "SNN: " + " → ".join(changes)


def _caption(axes: Axes, text: str, *, right: bool | None) -> None:
    colour = "black" if right is None else RIGHT if right else WRONG
    axes.set_title(text, fontsize=7.5, color=colour)
    axes.set_xticks([])
    axes.set_yticks([])


def _to_pixels(image: Tensor) -> Any:
    """Returns an image [C, H, W] of any scale as an array that matplotlib draws."""
    low, high = image.amin(), image.amax()
    scaled = ((image - low) / (high - low).clamp_min(1e-12)).permute(1, 2, 0).numpy()
    return scaled if scaled.shape[2] == 3 else scaled.mean(2)


def _polarities(counts: Tensor, whole: Tensor) -> Any:
    """Returns counts [2, H, W] as a picture: off events blue, on events red, none white."""
    strength = (counts / whole.amax().clamp_min(1)).sqrt().numpy()
    off, on = strength[0], strength[1]
    return np.stack([1 - off, 1 - np.maximum(off, on), 1 - on], 2)
