"""Scenes of digits: the same from the same seed, parts apart, masks that fit what is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from adacal.core.errors import ConfigError
from tasks.data import mnist_photos, scenes
from tasks.data.mnist5k import digits
from tasks.data.scenes import SceneStyle, bounding_box, compose_scenes

STYLE = SceneStyle(side=64, counts=(1, 4), sizes=(24, 40))


@pytest.fixture(scope="module")
def composed():
    return {part: list(compose_scenes(part, 60, STYLE, seed=5)) for part in ("train", "test")}


def test_a_seed_gives_the_same_scenes_and_another_seed_gives_others(composed):
    again = list(compose_scenes("test", 60, STYLE, seed=5))
    assert all(
        np.array_equal(a.image, b.image) for a, b in zip(composed["test"], again, strict=True)
    )
    other = next(iter(compose_scenes("test", 1, STYLE, seed=6)))
    assert not np.array_equal(other.image, again[0].image)


def test_scenes_hold_as_many_digits_as_asked_for_and_none_is_without(composed):
    counts = {len(scene.digits) for scene in composed["train"] + composed["test"]}
    assert counts == {1, 2, 3, 4}
    for scene in composed["train"]:
        assert scene.image.shape == (64, 64, 3) and scene.image.dtype == np.uint8


def test_boxes_of_a_scene_do_not_overlap_and_no_mask_is_empty(composed):
    for scene in composed["train"] + composed["test"]:
        taken = np.zeros((64, 64), int)
        for digit in scene.digits:
            left, top, width, height = bounding_box(digit.mask)
            taken[top : top + height, left : left + width] += 1
            assert 8 <= height <= 40 and width >= 2
        assert taken.max() == 1


def test_only_ink_changes_the_photograph(monkeypatch):
    """On a black photograph what has colour is in a mask or, but for faint strokes, near one."""
    black = [{part: np.zeros((70, 70, 3), np.uint8) for part in ("train", "test")}]
    monkeypatch.setattr(scenes, "photographs", lambda least: black)
    near, far = 0, 0
    for scene in compose_scenes("train", 20, STYLE, seed=1):
        inside = np.any([digit.mask for digit in scene.digits], axis=0)
        rim = binary_dilation(inside, np.ones((3, 3)), iterations=4)
        coloured = scene.image.max(2) > 0
        assert scene.image[inside].max(1).min() > 40  # what is meant to be legible
        near += int((coloured & rim).sum())
        far += int((coloured & ~rim).sum())
    assert far < 0.02 * near


def test_every_digit_of_a_part_is_used_and_those_of_the_other_are_not(monkeypatch):
    used = []
    monkeypatch.setattr(scenes, "_ink", lambda glyph, *rest: used.append(glyph.tobytes()))
    one = SceneStyle(side=64, counts=(4, 4), sizes=(24, 40))
    for part, count in (("train", 4000), ("test", 1000)):
        used.clear()
        assert sum(1 for _ in compose_scenes(part, count // 4, one, seed=0)) == count // 4
        own = {image.tobytes() for image in digits()[part][0].numpy()}
        assert set(used) == own
        assert len(used) == count


def test_photographs_are_made_less_small_until_both_parts_hold_a_scene():
    plain = mnist_photos.photographs()
    large = mnist_photos.photographs(96)
    for small, strips in zip(plain, large, strict=True):
        for part, strip in strips.items():
            assert min(strip.shape[:2]) >= 96
            assert strip.shape[0] >= small[part].shape[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": (0, 3)}, "counts must be two rising numbers"),
        ({"counts": (3, 2)}, "counts must be two rising numbers"),
        ({"sizes": (30, 70)}, "from 8 to side=64"),
    ],
)
def test_a_style_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SceneStyle(**{"side": 64, "counts": (1, 2), "sizes": (24, 40)} | options)
