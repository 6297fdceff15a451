"""Images with boxes or masks on them, panels side by side, and how far two answers agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart on grey and on each other, also with a few classes only: the first ones differ most.
HUES = (
    "#4477AA", "#EE7733", "#228833", "#CC3311", "#AA3377", "#CCBB44",
    "#66CCEE", "#8B5A2B", "#F28CB1", "#332288", "#AADD22", "#000000",
)  # fmt: skip
SURE = 0.3
"""Boxes of a lower score are neither drawn nor compared; detectors give many such."""
SAME_PLACE = 0.5
"""Boxes of at least this IoU are of one thing."""
BACKGROUND = ("background", "_background_")
"""Classes that masks leave clear."""
_OPACITY = 0.55
_INCHES = 2.9
_LABEL = 0.06
"""Height of a label as a share of the image's."""
_LEGEND_COLUMNS = 8


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Boxes on one image.

    Attributes:
        corners: x1, y1, x2, y2 in pixels of the image, shape [N, 4].
        classes: shape [N], int64.
        scores: shape [N], in [0, 1]; None for true boxes.
    """

    corners: Tensor
    classes: Tensor
    scores: Tensor | None = None

    def sure(self) -> Boxes:
        """Returns the boxes worth showing, best first."""
        if self.scores is None:
            return self
        order = self.scores.argsort(descending=True)
        order = order[self.scores[order] >= SURE]
        return Boxes(
            corners=self.corners[order], classes=self.classes[order], scores=self.scores[order]
        )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """An image with what is drawn on it.

    Attributes:
        title: above it.
        pixels: shape [H, W, 3], uint8.
        boxes: drawn with class and score; None for none.
        mask: class of each pixel, shape [H, W]; None for none. What is no class stays clear.
    """

    title: str
    pixels: NDArray[np.uint8]
    boxes: Boxes | None = None
    mask: Tensor | None = None


def draw_panels(
    figure: Figure,
    rows: Sequence[Sequence[Panel]],
    class_names: Sequence[str],
    palette: Sequence[Sequence[int]] | None = None,
) -> None:
    """Draws panels, a row for each image; masks get a legend of the classes that are there.

    Args:
        figure: empty; its size is changed.
        rows: the same number of panels in each.
        class_names: of boxes and masks.
        palette: red, green and blue of each class, 0 to 255; used where there are more classes
            than colours that stay apart.
    """
    colours = class_colours(len(class_names), palette)
    heights = [max(_height(panel) for panel in row) for row in rows]
    legend = any(panel.mask is not None for row in rows for panel in row)
    below = 0.5 if legend else 0.2
    figure.set_size_inches(_INCHES * len(rows[0]), sum(heights) + 0.45 * len(rows) + below)
    grid = figure.add_gridspec(len(rows), len(rows[0]), height_ratios=heights)
    for number, row in enumerate(rows):
        for column, panel in enumerate(row):
            axes = figure.add_subplot(grid[number, column])
            # colours of a mask can be told apart on grey only
            shown = panel.pixels if panel.mask is None else grey(panel.pixels)
            axes.imshow(shown, interpolation="nearest")
            axes.set_title(panel.title, fontsize=8)
            axes.set_axis_off()
            if panel.mask is not None:
                axes.imshow(_overlay(panel.mask, class_names, colours), interpolation="nearest")
            if panel.boxes is not None:
                _draw_boxes(axes, panel.boxes.sure(), class_names, colours)
    _legend(figure, [panel for row in rows for panel in row], class_names, colours)


def class_colours(
    count: int, palette: Sequence[Sequence[int]] | None = None
) -> list[tuple[float, float, float]]:
    """Returns a colour for each class, red, green and blue from 0 to 1.

    >>> class_colours(2)[1] == class_colours(14)[1] == class_colours(14)[13]
    True
    """
    if palette is not None and len(palette) >= count > len(HUES):
        return [(r / 255, g / 255, b / 255) for r, g, b in palette]
    hues = [tuple(int(hue[i : i + 2], 16) / 255 for i in (1, 3, 5)) for hue in HUES]
    return [(r, g, b) for r, g, b in (hues[number % len(hues)] for number in range(count))]


def matched_boxes(wanted: Boxes, found: Boxes) -> int:
    """Returns how many sure boxes are met by one of the same class at an IoU of 0.5 or more.

    The surest choose first, and no box meets two.

    Args:
        wanted: of the ANN.
        found: of the conversion.
    """
    import torchvision

    wanted, found = wanted.sure(), found.sure()
    overlap = torchvision.ops.box_iou(wanted.corners.float(), found.corners.float())
    overlap[wanted.classes[:, None] != found.classes[None]] = 0.0
    met = 0
    for row in range(len(overlap) if overlap.numel() else 0):
        best, place = overlap[row].max(0)
        if float(best) >= SAME_PLACE:
            met += 1
            overlap[:, place] = 0.0
    return met


def boxes_in_words(wanted: Boxes, found: Boxes) -> str:
    """Says how many boxes of the ANN a conversion finds, and how many it has beside them."""
    met, total = matched_boxes(wanted, found), len(wanted.sure().classes)
    others = len(found.sure().classes) - met
    more = f", {others} other{'s' if others > 1 else ''}" if others else ""
    if not total:
        return f"the ANN has no box{more}"
    return f"{met} of the ANN's {total} box{'es' if total > 1 else ''}{more}"


def same_pixels(wanted: Tensor, found: Tensor) -> float:
    """Returns the share of pixels of the same class, in [0, 1]; masks [H, W].

    >>> same_pixels(torch.tensor([[1, 2]]), torch.tensor([[1, 3]]))
    0.5
    """
    return float((wanted == found).double().mean())


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns an image [H, W, 3] without its colours, in the same form."""
    brightness = pixels @ np.array([0.299, 0.587, 0.114])
    return np.repeat(brightness.round().astype(np.uint8)[..., None], 3, 2)


def _height(panel: Panel) -> float:
    return _INCHES * min(panel.pixels.shape[0] / panel.pixels.shape[1], 2.0)


def _overlay(
    mask: Tensor, class_names: Sequence[str], colours: Sequence[tuple[float, float, float]]
) -> Any:
    """Returns red, green, blue and opacity of each pixel, [H, W, 4]."""
    table = np.zeros((len(class_names) + 1, 4))  # the last row is of what is no class
    for number, name in enumerate(class_names):
        table[number] = (*colours[number], 0.0 if name in BACKGROUND else _OPACITY)
    classes = mask.numpy()
    known = (classes >= 0) & (classes < len(class_names))
    return table[np.where(known, classes, len(class_names))]


def _draw_boxes(
    axes: Axes,
    boxes: Boxes,
    class_names: Sequence[str],
    colours: Sequence[tuple[float, float, float]],
) -> None:
    from matplotlib.patches import Rectangle

    height = abs(axes.get_ylim()[1] - axes.get_ylim()[0])
    ranks = _ranks(boxes.corners)
    for number, (corners, kind) in enumerate(
        zip(boxes.corners.tolist(), boxes.classes.tolist(), strict=True)
    ):
        x1, y1, x2, y2 = corners
        colour, rank = colours[kind], ranks[number]
        frame = Rectangle(
            (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.4,
            linestyle="dashed" if rank else "solid",
        )  # fmt: skip
        axes.add_patch(frame)
        score = "" if boxes.scores is None else f" {float(boxes.scores[number]):.2f}"
        x, y, horizontal, vertical = _label_place(corners, rank, height)
        axes.text(
            x, y, f"{class_names[kind]}{score}", fontsize=6, color="white", clip_on=True,
            ha=horizontal, va=vertical, bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def _label_place(
    corners: Sequence[float], rank: int, height: float
) -> tuple[float, float, str, str]:
    """Returns where a label goes, and by which of its sides: the surest of a place above its box.

    The next one goes below, further ones to the right; inside where the image ends.
    """
    x1, y1, x2, y2 = corners
    x, horizontal = (max(x1, 0.0), "left") if rank < 2 else (x2, "right")
    if rank % 2 == 0:
        return x, max(y1, 0.0), horizontal, "top" if y1 < _LABEL * height else "bottom"
    low = y2 > (1 - _LABEL) * height
    return x, min(y2, height - 0.5), horizontal, "bottom" if low else "top"


def _ranks(corners: Tensor) -> list[int]:
    """Returns of each box how many before it lie at the same place."""
    import torchvision

    same = torchvision.ops.box_iou(corners, corners) >= SAME_PLACE
    return [int(same[number, :number].sum()) for number in range(len(corners))]


def _legend(
    figure: Figure,
    panels: Sequence[Panel],
    class_names: Sequence[str],
    colours: Sequence[tuple[float, float, float]],
) -> None:
    from matplotlib.patches import Patch

    masks = [panel.mask for panel in panels if panel.mask is not None]
    if not masks:
        return
    there = torch.cat([mask.unique() for mask in masks]).unique().tolist()
    handles = [
        Patch(facecolor=colours[kind], label=class_names[kind])
        for kind in there
        if 0 <= kind < len(class_names) and class_names[kind] not in BACKGROUND
    ]
    if handles:
        columns = min(_LEGEND_COLUMNS, 2 * len(panels))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, fontsize=7, frameon=False
        )
