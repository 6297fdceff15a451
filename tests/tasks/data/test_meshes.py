"""OFF files and points on their surfaces, checked against geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adacal.core.errors import ConfigError, DataError
from tasks.data.meshes import Mesh, fan, parse_off, read_off, sample_surface, triangle_areas

SQUARE = "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
TRIANGLES = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"


def draw(mesh: Mesh, count: int, seed: int = 0) -> np.ndarray:
    return sample_surface(mesh, count, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "text",
    [
        TRIANGLES,
        TRIANGLES.replace("OFF\n", "OFF"),
        TRIANGLES.replace("\n", "\r\n"),
        TRIANGLES.replace("\n", "\n\n").replace(" 0", "\t0"),
        TRIANGLES.replace("4 2 0\n", "# made by hand\n4 2 0 # counts\n"),
        TRIANGLES.replace("1 2\n", "1 2  255 0 0\n"),
        "  " + TRIANGLES.rstrip(),
    ],
    ids=["plain", "glued", "windows", "blank lines", "comments", "coloured face", "spaces"],
)
def test_every_spelling_of_a_mesh_is_read_alike(text):
    mesh = parse_off(text)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


@given(
    vertices=st.integers(3, 30),
    faces=st.integers(1, 30),
    glued=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(vertices, faces, glued, seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((vertices, 3)) * 10.0 ** rng.integers(-6, 6)
    polygons = [rng.integers(0, vertices, rng.integers(3, 6)).tolist() for _ in range(faces)]
    lines = [f"OFF{'' if glued else chr(10)}{vertices} {faces} 0"]
    lines += [" ".join(repr(float(number)) for number in point) for point in points]
    lines += [" ".join(map(str, [len(polygon), *polygon])) for polygon in polygons]
    mesh = parse_off("\n".join(lines))
    assert np.array_equal(mesh.vertices, points)
    assert mesh.triangles.tolist() == [part for polygon in polygons for part in fan(polygon)]


def test_a_fan_keeps_the_area_of_a_flat_convex_polygon():
    angles = np.arange(7) * 2 * np.pi / 7
    corners = np.stack([np.cos(angles), np.sin(angles), np.full(7, 3.0)], 1)
    triangles = np.array(fan(list(range(7))))
    assert triangles.shape == (5, 3)
    wanted = 7 / 2 * np.sin(2 * np.pi / 7)
    assert triangle_areas(corners[triangles]).sum() == pytest.approx(wanted)


def test_faces_of_one_or_two_corners_are_left_out():
    text = SQUARE.replace("4 1 0", "4 3 0") + "2 0 1\n1 3\n"
    assert parse_off(text).triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not begin with OFF"),
        ("ply\nformat ascii 1.0\n", "does not begin with OFF"),
        ("OFF\n", "not followed by three whole numbers"),
        ("OFF\n4 two 0\n", "not followed by three whole numbers"),
        ("NOFF\n1 1 0\n", "does not begin with OFF"),
        ("OFF\n0 0 0\n", "announces 0 vertices and 0 faces"),
        ("OFF\n-4 2 0\n", "announces -4 vertices"),
        (TRIANGLES[:-8], "has 5 lines for the 4 vertices and 2 faces"),
        (TRIANGLES[:-2], "a face announces 3 corners and has 2"),
        (TRIANGLES[:30], "has 4 lines for the 4 vertices and 2 faces"),
        (TRIANGLES + "3 0 1 3\n", "has 7 lines"),
        (TRIANGLES.replace("1 1 0", "1 nan 0"), "a coordinate is NaN or infinite"),
        (TRIANGLES.replace("1 1 0", "1 inf 0"), "a coordinate is NaN or infinite"),
        (TRIANGLES.replace("1 1 0", "1 x 0"), "something that is not a number"),
        (TRIANGLES.replace("3 0 1 2", "3 0 1 -2"), "name vertices -2 to 3"),
        (TRIANGLES.replace("3 0 1 2", "3 0 1 4"), "name vertices 0 to 4, and there are 0 to 3"),
        (TRIANGLES.replace("3 0 1 2", "3 0 1 1.5"), "not a whole number"),
        (TRIANGLES.replace("3 0 1 2", "3 0 1 nan"), "not a whole number"),
        (SQUARE.replace("4 0 1 2 3", "2 0 1"), "no face has three corners"),
        (SQUARE.replace("4 0 1 2 3", "0"), "announces 0 corners"),
        (SQUARE.replace("1 1 0", "1 1"), "fewer than three coordinates"),
        (SQUARE.replace("4 1 0", f"4 {10**15} 0"), "has 5 lines"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, text, sentence):
    path = tmp_path / "chair_0001.off"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"chair_0001.off' is not a sound OFF mesh \(.*{sentence}"):
        read_off(path)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.off' is not a sound OFF mesh \(.*No such file"):
        read_off(tmp_path / "gone.off")
    (tmp_path / "binary.off").write_bytes(b"OFF\xff\x00\x01" * 20)
    with pytest.raises(DataError, match=r"binary.off' is not a sound OFF mesh"):
        read_off(tmp_path / "binary.off")


def two_triangles(ratio: float) -> Mesh:
    """One triangle at z = 0 of area 1/2, one at z = 1 of `ratio` times that."""
    low = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    high = [[0, 0, 1], [ratio, 0, 1], [0, 1, 1]]
    return Mesh(np.array(low + high, float), np.array([[0, 1, 2], [3, 4, 5]]))


@pytest.mark.parametrize("ratio", [0.1, 1.0, 3.0, 25.0])
def test_a_triangle_gets_points_by_its_area(ratio):
    count = 20_000
    share = ratio / (1 + ratio)
    on_top = int((draw(two_triangles(ratio), count)[:, 2] > 0.5).sum())
    deviation = np.sqrt(count * share * (1 - share))
    assert abs(on_top - count * share) < 5 * deviation


def test_points_lie_on_their_plane_inside_the_triangle():
    corners = np.array([[1.0, 2.0, 3.0], [4.0, -1.0, 0.5], [-2.0, 0.0, 7.0]])
    points = draw(Mesh(corners, np.array([[0, 1, 2]])), 2_000)
    edges = np.stack([corners[1] - corners[0], corners[2] - corners[0]], 1)
    weights, residual, *_ = np.linalg.lstsq(edges, (points - corners[0]).T, rcond=None)
    assert residual.max() < 1e-20
    assert weights.min() > -1e-12 and weights.sum(0).max() < 1 + 1e-12


def test_points_are_even_within_a_triangle():
    points = draw(Mesh(np.eye(3), np.array([[0, 1, 2]])), 30_000)
    # The mean is the centre, and each corner's quarter (weight above 1/2) holds a quarter.
    assert points.mean(0) == pytest.approx([1 / 3] * 3, abs=5 * 0.24 / np.sqrt(30_000))
    quarters = (points > 0.5).mean(0)
    assert quarters == pytest.approx([0.25] * 3, abs=5 * 0.433 / np.sqrt(30_000))


def test_triangles_without_area_get_no_points():
    mesh = two_triangles(1.0)
    flat = np.array([[0, 0, 0], [0, 1, 1], [3, 4, 3]])
    degenerate = Mesh(mesh.vertices, np.concatenate([flat, mesh.triangles, flat]))
    assert np.array_equal(draw(degenerate, 500), draw(mesh, 500))


@pytest.mark.parametrize("triangles", [[[0, 0, 1]], [[0, 1, 2]], [[1, 1, 1]]])
def test_a_surface_without_area_is_refused(triangles):
    line = Mesh(np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]), np.array(triangles))
    with pytest.raises(ValueError, match="no area"):
        draw(line, 10)


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_the_size_of_a_mesh_does_not_change_its_sampling(size):
    mesh = two_triangles(2.0)
    scaled = Mesh(mesh.vertices * size, mesh.triangles)
    assert np.allclose(draw(scaled, 200) / size, draw(mesh, 200), rtol=1e-9, atol=1e-12)


def test_vertices_of_no_face_do_not_matter():
    mesh = two_triangles(2.0)
    more = Mesh(np.concatenate([mesh.vertices, [[1e30, 0, 0], [-1e20, 0, 0]]]), mesh.triangles)
    assert np.array_equal(draw(more, 200), draw(mesh, 200))


def test_points_follow_their_seed():
    mesh = two_triangles(2.0)
    assert np.array_equal(draw(mesh, 50, seed=3), draw(mesh, 50, seed=3))
    assert not np.array_equal(draw(mesh, 50, seed=3), draw(mesh, 50, seed=4))


def test_no_points_are_refused():
    with pytest.raises(ConfigError, match="1 point or more; got 0"):
        draw(two_triangles(1.0), 0)
