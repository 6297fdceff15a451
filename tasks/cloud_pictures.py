"""Point clouds as pictures: classes, or the parts of their points, ANN beside SNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from adacal.core.converted import Prediction
from adacal.suite.task import Batch
from tasks.pictures import MOST_COLUMNS, RIGHT, WRONG, answers_by_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Hues that stay apart for colour-blind readers, by Paul Tol (bright and muted sets).
HUES = (
    "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE",
    "#AA3377", "#EE7733", "#117733", "#882255", "#332288",
)  # fmt: skip
VIEW = {"elev": 62.0, "azim": -80.0}


def draw_clouds(
    figure: Figure, batch: Batch, ann: Tensor, snn: Prediction, class_names: Sequence[str]
) -> None:
    """Draws clouds, each with its class and the answers of ANN and SNN.

    Args:
        figure: empty.
        batch: clouds [B, P, 3], classes [B].
        ann: the ANN's logits [B, K].
        snn: the converted network's logits, by step too if they are known.
        class_names: for the titles.
    """
    clouds = batch.inputs.cpu()
    columns = min(len(clouds), MOST_COLUMNS)
    rows = -(-len(clouds) // columns)
    figure.set_size_inches(2.0 * columns, 2.6 * rows + 0.4)
    for place, cloud in enumerate(clouds):
        label, answer = int(batch.targets[place]), int(snn.output[place].argmax())
        text = (
            f"class {class_names[label]}\n"
            f"ANN {class_names[int(ann[place].argmax())]}, SNN {class_names[answer]}"
        )
        if snn.by_step is not None:
            text += "\n" + answers_by_step(snn.by_step[:, place], class_names)
        axes = _cloud(figure, (rows, columns, place + 1), cloud, cloud[:, 2], "viridis")
        axes.set_title(text, fontsize=7.5, color=RIGHT if answer == label else WRONG)


def draw_parts(
    figure: Figure,
    batch: Batch,
    answers: Mapping[str, Tensor],
    scores: Mapping[str, Tensor],
    part_names: Sequence[str],
) -> None:
    """Draws clouds, a row each, with the true parts and what each network takes them for.

    Args:
        figure: empty.
        batch: clouds [B, P, 3], parts [B, P].
        answers: network to its parts, shape [B, P].
        scores: network to the IoU of each cloud, shape [B], in [0, 1].
        part_names: for the legend.
    """
    from matplotlib.lines import Line2D

    clouds = batch.inputs.cpu()
    shown = {"true parts": batch.targets, **answers}
    figure.set_size_inches(2.4 * len(shown), 2.4 * len(clouds) + 0.7)
    for row, cloud in enumerate(clouds):
        for column, (name, parts) in enumerate(shown.items()):
            place = (len(clouds), len(shown), row * len(shown) + column + 1)
            colours = [HUES[int(part) % len(HUES)] for part in parts[row]]
            axes = _cloud(figure, place, cloud, colours, None)
            title = name if name not in scores else f"{name}, IoU {float(scores[name][row]):.2f}"
            axes.set_title(title, fontsize=8)
    present = sorted({int(part) for parts in shown.values() for part in parts.unique()})
    handles = [
        Line2D([], [], marker="o", ls="", color=HUES[part % len(HUES)], label=part_names[part])
        for part in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8, frameon=False)


def _cloud(
    figure: Figure, place: tuple[int, int, int], cloud: Tensor, colours: Any, colour_map: str | None
) -> Axes:
    axes: Any = figure.add_subplot(*place, projection="3d")
    x, y, z = cloud.numpy().T
    axes.scatter(x, y, z, c=colours, cmap=colour_map, s=3, linewidths=0, alpha=0.9)
    axes.view_init(**VIEW)
    spans = [float(axis.max() - axis.min()) for axis in (x, y, z)]
    axes.set_box_aspect([max(span, 0.05 * max(spans)) for span in spans], zoom=1.25)
    axes.set_axis_off()
    found: Axes = axes
    return found
