"""Boxes and masks as pictures: which boxes meet, which colours, what stands where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tasks.dense_pictures import (
    HUES,
    SURE,
    Boxes,
    Panel,
    boxes_in_words,
    class_colours,
    draw_panels,
    matched_boxes,
    same_pixels,
)


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    """Boxes of (x1, y1, x2, y2, class, score)."""
    table = torch.tensor(rows).reshape(-1, 6)
    return Boxes(corners=table[:, :4], classes=table[:, 4].long(), scores=table[:, 5])


def test_a_box_meets_one_of_its_class_that_covers_half_of_their_union() -> None:
    ann = boxes((0, 0, 10, 10, 1, 0.9))
    assert matched_boxes(ann, boxes((0, 0, 10, 5, 1, 0.4))) == 1  # an IoU of just 0.5
    assert matched_boxes(ann, boxes((0, 0, 10, 4.9, 1, 0.4))) == 0
    assert matched_boxes(ann, boxes((0, 0, 10, 10, 2, 0.9))) == 0
    assert matched_boxes(ann, boxes((0, 0, 10, 10, 1, SURE - 0.01))) == 0
    assert matched_boxes(ann, boxes()) == matched_boxes(boxes(), ann) == 0


def test_no_box_meets_two_and_the_surest_chooses_first() -> None:
    twins = boxes((0, 0, 10, 10, 1, 0.5), (0, 0, 10, 9, 1, 0.9))
    assert matched_boxes(twins, boxes((0, 0, 10, 10, 1, 0.9))) == 1
    assert matched_boxes(twins, twins) == 2


def test_agreement_of_boxes_in_words() -> None:
    one, other = (0, 0, 10, 10, 1, 0.9), (50, 50, 60, 60, 2, 0.8)
    assert boxes_in_words(boxes(one, other), boxes(one)) == "1 of the ANN's 2 boxes"
    assert boxes_in_words(boxes(one), boxes(one, other)) == "1 of the ANN's 1 box, 1 other"
    assert boxes_in_words(boxes(), boxes()) == "the ANN has no box"
    assert boxes_in_words(boxes(), boxes(one, other)) == "the ANN has no box, 2 others"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 8))
def test_boxes_meet_themselves_in_any_order(seed: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    corner = 40 * torch.rand(count, 2, generator=random)
    corners = torch.cat([corner, corner + 2 + 8 * torch.rand(count, 2, generator=random)], 1)
    kinds = torch.randint(3, (count,), generator=random)
    found = Boxes(corners=corners, classes=kinds, scores=SURE + torch.rand(count, generator=random))
    order = torch.randperm(count, generator=random)
    shuffled = Boxes(corners=corners[order], classes=kinds[order], scores=torch.full((count,), 0.9))
    assert matched_boxes(found, shuffled) == matched_boxes(shuffled, found) == count


def test_pixels_agree_where_their_classes_are_the_same() -> None:
    mask = torch.tensor([[0, 1, 2], [3, 3, 3]])
    assert same_pixels(mask, mask) == 1.0
    assert same_pixels(mask, mask.clamp(max=2)) == pytest.approx(0.5)


def test_few_classes_have_colours_that_stay_apart_and_many_those_of_the_dataset() -> None:
    assert [to_hex(colour).upper() for colour in class_colours(12)] == list(HUES)
    palette = [[number, 0, 255] for number in range(20)]
    assert class_colours(20, palette)[5] == (5 / 255, 0.0, 1.0)
    assert to_hex(class_colours(5, palette)[0]).upper() == HUES[0]
    assert class_colours(20, palette[:3]) == class_colours(20)


def pixels(height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_sure_boxes_are_drawn_with_class_and_score_true_ones_without() -> None:
    found = boxes((2, 3, 12, 13, 1, 0.87), (5, 5, 9, 9, 0, 0.1))
    truth = Boxes(corners=found.corners, classes=found.classes)
    figure = Figure()
    row = [
        Panel(title="truth", pixels=pixels(), boxes=truth),
        Panel(title="ANN", pixels=pixels(), boxes=found),
    ]
    draw_panels(figure, [row], ["cat", "dog"])
    true, answered = figure.axes
    assert [text.get_text() for text in true.texts] == ["dog", "cat"]
    assert [text.get_text() for text in answered.texts] == ["dog 0.87"]
    (frame,) = answered.patches
    assert frame.get_bbox().bounds == (2, 3, 10, 10)
    assert to_hex(frame.get_edgecolor()).upper() == HUES[1]
    assert not figure.legends


def test_boxes_at_one_place_keep_their_labels_apart_the_surest_above() -> None:
    figure = Figure()
    both = boxes((5, 5, 15, 15, 0, 0.5), (5, 6, 15, 15, 1, 0.9), (18, 5, 28, 15, 0, 0.4))
    draw_panels(figure, [[Panel(title="", pixels=pixels(), boxes=both)]], ["cat", "dog"])
    (axes,) = figure.axes
    placed = {text.get_text(): text.get_position() for text in axes.texts}
    assert placed == {"dog 0.90": (5, 6), "cat 0.50": (5, 15), "cat 0.40": (18, 5)}
    assert [frame.get_linestyle() for frame in axes.patches] == ["solid", "dashed", "solid"]


def test_masks_leave_background_and_what_is_no_class_clear_and_have_a_legend() -> None:
    mask = torch.zeros(20, 30, dtype=torch.int64)
    mask[:5], mask[5:8] = 2, 255
    figure = Figure()
    draw_panels(
        figure,
        [[Panel(title="image", pixels=pixels()), Panel(title="ANN", pixels=pixels(), mask=mask)]],
        ["background", "cat", "dog"],
    )
    image, answered = figure.axes
    assert len(image.images) == 1
    overlay = answered.images[1].get_array()
    assert to_hex(overlay[0, 0, :3]).upper() == HUES[2]
    assert (overlay[:5, :, 3] > 0.3).all() and (overlay[5:, :, 3] == 0).all()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["dog"]


def test_panels_keep_the_form_of_their_images() -> None:
    figure = Figure()
    rows = [
        [Panel(title="", pixels=pixels(10, 40))] * 3,
        [Panel(title="", pixels=pixels(40, 20))] * 3,
    ]
    draw_panels(figure, rows, ["a"])
    low, high = figure.axes[0].get_subplotspec(), figure.axes[3].get_subplotspec()
    ratios = low.get_gridspec().get_height_ratios()
    assert high.get_gridspec() is low.get_gridspec()
    assert ratios[1] / ratios[0] == pytest.approx(8.0)
