"""Point-cloud datasets: clouds from seeds, parts that mean what they say, augmentation in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from adacal.core.errors import ConfigError
from tasks.data import mnist_points
from tasks.data.mnist5k import digits
from tasks.data.mnist_points import END, JUNCTION, LOOP, STROKE, MnistPoints
from tasks.data.point_clouds import (
    PointDataset,
    StoredClouds,
    random_jitter,
    random_rotation,
    random_scale_and_shift,
    random_slant,
    unit_sphere,
)


@pytest.fixture
def dataset() -> MnistPoints:
    return MnistPoints()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*rows: str) -> np.ndarray:
    """An image of 28 x 28 pixels with a drawing of `#` in the middle."""
    image = np.zeros((1, 28, 28), np.uint8)
    for y, row in enumerate(rows):
        for x, mark in enumerate(row):
            image[0, 4 + y, 4 + x] = 255 * (mark == "#")
    return image


def parts_at(image: np.ndarray) -> dict[tuple[int, int], int]:
    parts = mnist_points.stroke_parts(image)[0]
    return {(y - 4, x - 4): int(parts[y, x]) for y, x in zip(*np.nonzero(image[0]), strict=True)}


def test_the_dataset_says_its_shape(dataset):
    assert (dataset.num_classes, dataset.num_points, dataset.num_parts) == (10, 1024, 4)
    assert dataset.input_shape == (1024, 3)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.part_names == ("stroke", "end", "junction", "loop")
    assert dataset.parts_of_class == {label: (0, 1, 2, 3) for label in range(10)}


@pytest.mark.parametrize(("part", "count"), [("train", 4000), ("test", 1000)])
def test_clouds_fill_the_unit_sphere_and_have_the_classes_of_mnist5k(dataset, part, count):
    split = dataset.split(part)
    indices = torch.arange(count)
    clouds, parts = split.fetch(indices), split.parts(indices)
    assert clouds.shape == (count, 1024, 3) and clouds.dtype == torch.float32
    assert parts.shape == (count, 1024) and parts.dtype == torch.int64
    assert torch.allclose(clouds.norm(dim=2).amax(1), torch.ones(count), atol=1e-3)
    assert float(clouds.mean(1).abs().max()) < 1e-3
    assert torch.equal(split.labels, digits()[part][1])
    assert set(parts.unique().tolist()) == {STROKE, END, JUNCTION, LOOP}


def test_no_cloud_is_in_both_splits(dataset):
    seen = {
        part: {cloud.numpy().tobytes() for cloud in dataset.split(part).clouds}
        for part in ("train", "test")
    }
    assert len(seen["train"]) == 4000 and len(seen["test"]) == 1000
    assert not seen["train"] & seen["test"]


def test_clouds_are_the_same_each_time_they_are_made(dataset):
    before = dataset.split("test").checksum()
    mnist_points.extruded.cache_clear()
    assert MnistPoints().split("test").checksum() == before


def test_the_fingerprint_follows_the_clouds(dataset):
    assert dataset.fingerprint() != MnistPoints(num_points=1023).fingerprint()
    assert dataset.fingerprint() == MnistPoints().fingerprint()
    assert dataset.fingerprint().startswith("mnist_points:")


def test_fewer_points_are_the_first_ones(dataset):
    few = MnistPoints(num_points=100)
    indices = torch.tensor([3, 0])
    whole, cut = dataset.split("test"), few.split("test")
    assert few.input_shape == (100, 3)
    assert torch.equal(cut.fetch(indices), whole.fetch(indices)[:, :100])
    assert torch.equal(cut.parts(indices), whole.parts(indices)[:, :100])


@pytest.mark.parametrize("count", [0, 1025])
def test_an_impossible_number_of_points_is_refused(count):
    with pytest.raises(ConfigError, match=f"num_points must be 1 to 1024; got {count}"):
        MnistPoints(num_points=count)


def test_pixels_are_drawn_in_proportion_to_their_intensity():
    images = np.zeros((2, 4, 4), np.uint8)
    images[0, 1, 2], images[0, 3, 3], images[1, 0, 0] = 200, 50, 9
    which = mnist_points.draw_pixels(images, 10_000, np.random.default_rng(0))
    assert set(which[0]) == {6, 15} and set(which[1]) == {0}
    assert np.mean(which[0] == 6) == pytest.approx(0.8, abs=0.02)


def test_points_lie_in_their_pixels_x_right_and_y_up():
    corners = np.tile([0, 27, 27 * 28], (1, 100))
    cloud = mnist_points.place(corners, 28, np.random.default_rng(0))[0].reshape(100, 3, 3)
    top_left, top_right, bottom_left = cloud.mean(0)
    assert top_right[0] > top_left[0] and abs(top_right[1] - top_left[1]) < 0.5
    assert bottom_left[1] < top_left[1] and abs(bottom_left[0] - top_left[0]) < 0.5


def test_a_line_has_two_ends_and_a_stroke_between_them():
    parts = parts_at(drawn("#" * 15))
    assert parts[0, 0] == parts[0, 3] == parts[0, 14] == parts[0, 11] == END
    assert parts[0, 4] == parts[0, 7] == parts[0, 10] == STROKE


def test_a_cross_has_a_junction_where_its_lines_meet():
    column, row = " " * 8 + "#", "#" * 17
    parts = parts_at(drawn(*[column] * 8, row, *[column] * 8))
    assert parts[8, 8] == parts[8, 9] == parts[6, 8] == JUNCTION
    assert parts[8, 4] == parts[4, 8] == STROKE
    assert parts[8, 0] == parts[0, 8] == parts[16, 8] == END


def test_a_ring_is_a_loop_and_its_tail_is_none():
    sides = "#" + " " * 7 + "#"
    ring = ["#" * 9, *[sides] * 7, "#" * 9]
    assert set(parts_at(drawn(*ring)).values()) == {LOOP}
    tail = [" " * 8 + "#"] * 9
    parts = parts_at(drawn(*ring, *tail))
    assert parts[0, 0] == parts[0, 4] == LOOP
    assert parts[8, 8] == JUNCTION and parts[12, 8] == STROKE and parts[17, 8] == END


def test_short_spurs_are_no_branches():
    bar = "#" * 19
    spur = " " * 9 + "#"
    assert parts_at(drawn(spur, spur, bar))[2, 9] == STROKE
    assert parts_at(drawn(*[spur] * 7, bar))[7, 9] == JUNCTION


def test_parts_of_a_digit_are_the_same_whatever_stands_beside_them_in_the_strip():
    images = digits()["test"][0][:12, 0].numpy()
    together = mnist_points.stroke_parts(images)
    alone = np.concatenate([mnist_points.stroke_parts(image[None]) for image in images])
    ink = images >= mnist_points.INK
    assert np.array_equal(together[ink], alone[ink])


def test_augmentation_keeps_points_in_their_order(dataset):
    indices = torch.arange(5)
    before = dataset.split("train").fetch(indices)
    after = dataset.training_batch(indices, 0, generator())
    assert after.shape == before.shape and not torch.equal(after, before)
    distance = (after - before).norm(dim=2)
    assert float(distance.max()) < 0.8
    again = dataset.training_batch(indices, 0, generator())
    assert torch.equal(after, again)


def cube() -> Tensor:
    return torch.rand(4, 50, 3, generator=generator(1)) - 0.5


def test_a_turned_cloud_keeps_its_distances_and_its_axis():
    clouds = cube()
    for axis in range(3):
        turned = random_rotation(clouds, generator(), degrees=180, axis=axis)
        assert torch.allclose(torch.cdist(turned, turned), torch.cdist(clouds, clouds), atol=1e-3)
        assert torch.allclose(turned[..., axis], clouds[..., axis])
        assert not torch.allclose(turned, clouds, atol=0.1)


def test_scale_shift_and_jitter_stay_within_their_limits():
    clouds = cube()
    moved = random_scale_and_shift(clouds, generator(), scale=0.0, shift=0.2)
    shift = moved - clouds
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-6)
    assert 0 < float(shift.abs().max()) <= 0.2
    scaled = random_scale_and_shift(clouds, generator(), scale=0.3, shift=0.0) / clouds
    assert 0.7 <= float(scaled.min()) < float(scaled.max()) <= 1.3
    noise = random_jitter(clouds, generator(), deviation=1.0, limit=0.05) - clouds
    assert float(noise.abs().max()) == pytest.approx(0.05, abs=1e-6)


def test_a_slanted_cloud_keeps_its_heights():
    clouds = cube()
    slanted = random_slant(clouds, generator(), slant=0.3)
    assert torch.equal(slanted[..., 1:], clouds[..., 1:])
    factor = (slanted - clouds)[..., 0] / clouds[..., 1]
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-3)
    assert 0.05 < float(factor.abs().max()) <= 0.3


def test_a_cloud_of_one_place_stays_finite():
    assert unit_sphere(torch.full((1, 4, 3), 7.0)).abs().max() == 0


class NoParts(PointDataset):
    def __init__(self) -> None:
        super().__init__(name="no_parts", class_names=("a", "b"), num_points=5)

    def split(self, part: str) -> StoredClouds:
        return StoredClouds(torch.zeros(2, 5, 3), torch.tensor([0, 1]))

    def fingerprint(self) -> str:
        return f"{self.name}:{self.split('train').checksum()[:16]}"


def test_a_dataset_without_parts_says_so():
    dataset = NoParts()
    assert dataset.num_parts is None and dataset.parts_of_class is None
    with pytest.raises(ConfigError, match="does not tell parts of its clouds; take one that does"):
        dataset.split("train").parts(torch.tensor([0]))
