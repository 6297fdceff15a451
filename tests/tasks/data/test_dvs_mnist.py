"""The simulated event camera: physics by laws, one pixel by hand, cache and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adacal.core.errors import ConfigError
from tasks.data import dvs_mnist
from tasks.data.dvs_mnist import DURATION_US, SIDE, DvsMnist, Events, load, saccades, simulate


def bar() -> np.ndarray:
    """A bright upright bar on black, one image [1, 28, 28]."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[:, :, 12:16] = 255
    return image


@pytest.fixture(scope="module")
def events() -> Events:
    return simulate(np.concatenate([bar(), np.zeros_like(bar()), bar()]), seed=1)


def test_the_path_is_a_closed_triangle_of_three_pixels_a_side():
    path = saccades()
    corners = path[[0, 33, 34, 66, 67, 100]]
    assert np.allclose(path[0], path[-1])
    sides = [np.linalg.norm(path[i] - path[j]) for i, j in ((0, 100 // 3 + 1), (0, 67))]
    assert np.allclose(sides, 3.0, atol=0.02)
    assert np.abs(path).max() < 2  # the digit stays on the sensor
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.2
    assert len(corners) == 6


def test_a_dark_scene_gives_noise_alone_at_the_stated_rate():
    dark = simulate(np.zeros((200, 28, 28), np.uint8), seed=3)
    rate = len(dark.x) / (200 * SIDE * SIDE * DURATION_US / 1e6)
    assert rate == pytest.approx(0.5, rel=0.03)
    assert dark.p.mean() == pytest.approx(0.5, abs=0.02)


def test_edges_fire_and_opposite_edges_fire_opposite_polarities(events):
    sample = events[0]
    # Third saccade: the window moves right, so the bar moves left (or the reverse): one edge grows
    # brighter, the other darker.
    late = sample[sample["t"] >= 200_000]
    middle = (SIDE - 1) / 2
    left, right = late[late["x"] < middle], late[late["x"] > middle]
    assert len(late) > 200
    assert abs(left["p"].mean() - right["p"].mean()) > 0.6


def test_a_pixel_fires_at_most_once_in_a_millisecond_and_in_order(events):
    for index in range(len(events)):
        sample = events[index]
        assert (np.diff(sample["t"]) >= 0).all()
        assert 0 <= sample["t"].min() <= sample["t"].max() < DURATION_US
        pixel = sample["y"].astype(int) * SIDE + sample["x"]
        order = np.lexsort((sample["t"], pixel))
        same = np.diff(pixel[order]) == 0
        assert (np.diff(sample["t"][order])[same] >= 1000).all()


def test_a_pixel_counts_its_change_of_log_intensity_in_thresholds():
    """Over the closed path nothing has changed: brighter and darker events nearly cancel."""
    sample = simulate(bar(), seed=1)[0]
    pixel = sample["y"].astype(int) * SIDE + sample["x"]
    net = np.bincount(pixel, np.where(sample["p"], 1, -1), SIDE * SIDE)
    total = np.bincount(pixel, minlength=SIDE * SIDE)
    assert total.max() >= 6
    assert np.abs(net).max() <= 3
    # black to white is log((0.1 + 1) / 0.1) = 2.4, eight thresholds of 0.29
    assert total.max() <= 2 * 8 * 3


def test_the_same_seed_gives_the_same_events_and_the_sensor_is_the_same_for_all(events):
    again = simulate(np.concatenate([bar(), np.zeros_like(bar()), bar()]), seed=1)
    assert again.checksum() == events.checksum()
    other = simulate(bar(), seed=2)
    assert other.checksum() != simulate(bar(), seed=1).checksum()


def test_images_of_another_size_are_refused():
    with pytest.raises(ConfigError, match=r"\[N, 28, 28\]"):
        simulate(np.zeros((1, 32, 32), np.uint8), seed=0)


def test_the_cache_is_read_when_sound_and_made_again_when_damaged(tmp_path: Path, monkeypatch):
    made = []
    few = {part: (images[:5], labels[:5]) for part, (images, labels) in dvs_mnist.digits().items()}
    monkeypatch.setattr(dvs_mnist, "digits", lambda: few)
    real = dvs_mnist.simulate
    monkeypatch.setattr(dvs_mnist, "simulate", lambda *a: made.append(1) or real(*a))
    fresh = load.__wrapped__
    first = fresh("test", tmp_path)
    assert fresh("test", tmp_path).checksum() == first.checksum() and len(made) == 1
    path = next(tmp_path.glob("*.npz"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert fresh("test", tmp_path).checksum() == first.checksum() and len(made) == 2
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert fresh("test", blocked / "below").checksum() == first.checksum()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_sample_is_a_structured_array_as_in_tonic(tmp_path: Path, monkeypatch):
    few = {part: (images[:3], labels[:3]) for part, (images, labels) in dvs_mnist.digits().items()}
    monkeypatch.setattr(dvs_mnist, "digits", lambda: few)
    dvs_mnist.load.cache_clear()
    dataset = DvsMnist("test", cache=tmp_path, transform=len, target_transform=str)
    plain = DvsMnist("test", cache=tmp_path)
    dvs_mnist.load.cache_clear()
    assert len(plain) == 3 and plain[1][0].dtype.names == ("x", "y", "t", "p")
    assert dataset[1] == (len(plain[1][0]), str(plain[1][1]))
    assert [label for _, label in plain] == few["test"][1].tolist()
    with pytest.raises(ConfigError):
        DvsMnist("val")
