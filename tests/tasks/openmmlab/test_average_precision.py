"""Average precision on redrawn images against pycocotools on images that really are duplicated."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tasks.openmmlab.average_precision import average_precision, match_boxes

IMAGES, CATEGORIES = 12, (1, 3, 4)
THRESHOLDS = np.linspace(0.5, 0.95, 10)
EVERY = np.ones((1, IMAGES), np.int64)


class Scenes:
    """Things and boxes around them, some off, some of nothing; crowds and an empty image."""

    def __init__(self, seed: int, tied: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.things: list[list[dict[str, Any]]] = []
        self.boxes: list[list[dict[str, Any]]] = []
        for image in range(IMAGES):
            things, boxes = [], []
            for _ in range(0 if image == 4 else random.integers(1, 6)):
                corner, size = random.uniform(0, 60, 2), random.uniform(8, 40, 2)
                kind = int(random.choice(CATEGORIES[: 2 if image else 3]))
                crowd = int(random.random() < 0.15)
                things.append({"category_id": kind, "bbox": [*corner, *size], "iscrowd": crowd})
                for _ in range(random.integers(0, 4)):
                    off = random.normal(0, 2, 4)
                    boxes.append(
                        {"category_id": kind, "bbox": [*corner + off[:2], *size + off[2:]]}
                    )
            for _ in range(random.integers(0, 8)):
                kind, box = int(random.choice(CATEGORIES)), random.uniform(5, 50, 4)
                boxes.append({"category_id": kind, "bbox": box.tolist()})
            for box in boxes:
                score = random.random()
                box["score"] = float(round(score, 1) if tied else score)
            self.things.append(things)
            self.boxes.append(boxes)

    def truth(self, drawn: list[int]) -> COCO:
        """The annotations of those images; a copy of an image is an image of its own."""
        truth = COCO()
        truth.dataset = {
            "images": [{"id": 10 + place} for place in range(len(drawn))],
            "categories": [{"id": kind} for kind in CATEGORIES],
            "annotations": [
                {**thing, "image_id": 10 + place, "area": thing["bbox"][2] * thing["bbox"][3]}
                for place, image in enumerate(drawn)
                for thing in self.things[image]
            ],
        }
        for number, thing in enumerate(truth.dataset["annotations"], 1):
            thing["id"] = number
        truth.createIndex()
        return truth

    def results(self, drawn: list[int]) -> list[dict[str, Any]]:
        return [
            {**box, "image_id": 10 + place}
            for place, image in enumerate(drawn)
            for box in self.boxes[image]
        ]

    def by_pycocotools(self, counts: NDArray[np.int64]) -> float:
        drawn = np.repeat(np.arange(IMAGES), counts).tolist()
        judge = COCOeval(self.truth(drawn), self.truth(drawn).loadRes(self.results(drawn)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        return float(judge.stats[0])

    def ours(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        every = list(range(IMAGES))
        ids = [10 + place for place in every]
        matches = match_boxes(self.truth(every), self.results(every), ids, CATEGORIES, THRESHOLDS)
        return average_precision(matches, counts)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tied", [False, True])
def test_every_image_once_gives_the_number_of_pycocotools(seed: int, tied: bool) -> None:
    scenes = Scenes(seed, tied)
    (value,) = scenes.ours(EVERY)
    assert 0.02 < value < 0.98
    assert value == pytest.approx(scenes.by_pycocotools(EVERY[0]), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_redraw_gives_what_pycocotools_gives_on_duplicated_images(seed: int) -> None:
    scenes, random = Scenes(seed), np.random.default_rng(100 + seed)
    counts = random.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=12)
    expected = [scenes.by_pycocotools(row) for row in counts]
    assert len(set(expected)) > 6
    assert scenes.ours(counts) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_no_drawn_image_has_is_left_out() -> None:
    """Only the first image has things of the last class."""
    scenes = next(scenes for scenes in map(Scenes, range(99)) if _kinds(scenes) == {1, 3, 4})
    without = EVERY[0] * 2
    without[0] = 0
    (value,) = scenes.ours(without[None])
    assert value == pytest.approx(scenes.by_pycocotools(without), abs=1e-12)


def test_nothing_to_find_has_no_value_and_no_box_has_none_right() -> None:
    scenes = Scenes(0)
    nothing = np.zeros((1, IMAGES), np.int64)
    nothing[0, 4] = IMAGES
    assert np.isnan(scenes.ours(nothing)).all()
    scenes.boxes = [[] for _ in range(IMAGES)]
    assert scenes.ours(EVERY).tolist() == [0.0]


def _kinds(scenes: Scenes) -> set[int]:
    return {thing["category_id"] for thing in scenes.things[0] if not thing["iscrowd"]}
