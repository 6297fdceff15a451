"""COCO's average precision as a function of how often each image occurs, matched once.

Which box hits which thing is decided image by image, so pycocotools' own `COCOeval` decides it
once for all redraws; only its sum over images is done again here, many times at once. Drawing every
image once gives its number (Lin et al. 2014; `COCOeval.accumulate` of pycocotools).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
MOST_BOXES = 100
AT_ONCE = 2_000_000
"""Boxes times redraws that are held at once: 16 MB an array."""


@dataclass(frozen=True)
class ClassMatches:
    """The boxes of one class over all images, best score first, and what there was to find.

    Attributes:
        images: position of each box's image, shape [D].
        hits: whether a box found a thing, by IoU threshold, shape [K, D].
        counted: whether it is a hit or a miss, and not to be ignored, shape [K, D].
        things: how many there are to find in each image, shape [N].
    """

    images: NDArray[np.int64]
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    things: NDArray[np.int64]


def average_precision(
    classes: Sequence[ClassMatches], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the mean over classes and IoU thresholds of the precision at 101 recalls.

    A class that no drawn image has is left out, as COCO does.

    Args:
        classes: the matches of each class.
        counts: how often each image occurs, shape [R, N].

    Returns:
        Between 0 and 1, shape [R]; NaN where no class has anything to find.
    """
    total, known = np.zeros(len(counts)), np.zeros(len(counts))
    for matches in classes:
        rows = max(1, AT_ONCE // max(1, matches.images.size))
        parts = [_one_class(matches, part) for part in _split(counts, rows)]
        precision = np.concatenate(parts)
        there = ~np.isnan(precision)
        total[there] += precision[there]
        known += there
    with np.errstate(invalid="ignore"):
        return np.where(known > 0, total / known, np.nan)


def _split(counts: NDArray[np.int64], rows: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(counts), rows):
        yield counts[first : first + rows]


def _one_class(matches: ClassMatches, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the mean precision of a class, shape [R]; NaN where nothing is to be found."""
    things = counts @ matches.things
    needed = _hits_needed(things)
    drawn = counts[:, matches.images]
    all_seen = np.cumsum(drawn, axis=1)
    by_threshold = []
    for hits, counted in zip(matches.hits, matches.counted, strict=True):
        seen = all_seen if counted.all() else np.cumsum(drawn * counted, axis=1)
        by_threshold.append(_mean_precision(drawn[:, hits], seen[:, hits], needed))
    return np.where(things > 0, np.mean(by_threshold, axis=0), np.nan)


def _hits_needed(things: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns how many hits reach each recall, shape [R, 101], compared as COCO compares."""
    values, place = np.unique(things, return_inverse=True)
    table = [np.searchsorted(np.arange(n + 1) / max(n, 1), RECALLS, side="left") for n in values]
    return np.stack(table)[place.reshape(-1)]


def _mean_precision(
    drawn: NDArray[np.int64], seen: NDArray[np.int64], needed: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Returns the mean over recalls of the best precision from there on, shape [R].

    Only hits are looked at: between two of them precision falls and recall stays. A box of an image
    that was not drawn stands in no list, but changes nothing either: it repeats the recall of the
    hit before, at no better precision. Copies of one image stand one after another, and the last
    hit of such a block has the best precision of them.

    Args:
        drawn: how often the image of each hit occurs, best score first, shape [R, H].
        seen: how many boxes there are down to that one, shape [R, H].
        needed: hits that reach each recall, shape [R, 101].
    """
    redraws, hits = drawn.shape
    if not hits:
        return np.zeros(redraws)
    found = np.cumsum(drawn, axis=1)
    precision = found / (seen + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # One search for all rows: each gets a range of whole numbers of its own.
    most = int(max(found.max(), needed.max())) + 1
    offset = most * np.arange(redraws)[:, None]
    place = np.searchsorted((found + offset).ravel(), (needed + offset).ravel()).reshape(
        needed.shape
    )
    place -= hits * np.arange(redraws)[:, None]
    reached = place < hits
    at_recall = np.take_along_axis(best, np.minimum(place, hits - 1), axis=1)
    return np.where(reached, at_recall, 0.0).mean(axis=1)


def match_boxes(
    truth: Any,
    boxes: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    thresholds: NDArray[np.float64],
) -> list[ClassMatches]:
    """Lets pycocotools match boxes with the truth, image by image.

    Args:
        truth: a `pycocotools.coco.COCO`.
        boxes: COCO's results: `image_id`, `category_id`, `bbox` (x, y, width, height), `score`.
        image_ids: of the images, in the order of samples.
        category_ids: of the classes.
        thresholds: IoU thresholds.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = truth.loadRes([dict(box) for box in boxes]) if boxes else COCO()
    judge = COCOeval(truth, found, "bbox")
    judge.params.imgIds, judge.params.catIds = list(image_ids), list(category_ids)
    judge.params.iouThrs, judge.params.maxDets = np.asarray(thresholds), [MOST_BOXES]
    judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], ["all"]
    judge.evaluate()
    ids = judge.params.imgIds  # evaluate() sorted them
    places = {identity: position for position, identity in enumerate(image_ids)}
    images = [judge.evalImgs[first : first + len(ids)]
              for first in range(0, len(judge.evalImgs), len(ids))]  # fmt: skip
    return [_of_class([one for one in row if one], places, len(thresholds)) for row in images]


def _of_class(
    found: Sequence[Mapping[str, Any]], places: Mapping[int, int], thresholds: int
) -> ClassMatches:
    things = np.zeros(len(places), np.int64)
    images, scores = [], []
    hits: list[NDArray[np.bool_]] = [np.zeros((thresholds, 0), bool)]
    counted: list[NDArray[np.bool_]] = [np.zeros((thresholds, 0), bool)]
    for one in found:
        place = places[one["image_id"]]
        things[place] = int((np.asarray(one["gtIgnore"]) == 0).sum())
        images += [place] * len(one["dtScores"])
        scores += one["dtScores"]
        ignored = np.asarray(one["dtIgnore"], bool).reshape(thresholds, -1)
        hits.append((np.asarray(one["dtMatches"]).reshape(thresholds, -1) != 0) & ~ignored)
        counted.append(~ignored)
    # COCO's order: by score, equal ones as their images come.
    order = np.argsort(-np.asarray(scores, np.float64), kind="mergesort")
    return ClassMatches(
        images=np.asarray(images, np.int64)[order],
        hits=np.concatenate(hits, axis=1)[:, order],
        counted=np.concatenate(counted, axis=1)[:, order],
        things=things,
    )
