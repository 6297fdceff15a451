"""Triangle meshes: the OFF format of ModelNet, and points drawn evenly from a surface.

Format: http://www.geomview.org/docs/html/OFF.html, in ASCII, vertices without colours or normals.
Some files of ModelNet have no line break after the word OFF (`OFF490 518 0`); they are read too.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adacal.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """A surface made of triangles.

    Attributes:
        vertices: corners, shape [V, 3], the file's units.
        triangles: three vertices each, shape [F, 3]; some may have no area.
    """

    vertices: Floats
    triangles: Indices


def read_off(path: Path) -> Mesh:
    """Reads an OFF file; polygons of more than three corners become fans of triangles.

    A fan keeps the area of a polygon that is flat and convex. Faces of one or two corners have no
    area and are left out.

    Raises:
        DataError: the file is missing, cut off, or holds something else than numbers of a mesh;
            names it and says what is wrong.
    """
    try:
        return parse_off(path.read_bytes().decode("latin-1"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{path}' is not a sound OFF mesh ({error}); restore that file from the archive"
        ) from error


def parse_off(text: str) -> Mesh:
    """Returns the mesh that the text of an OFF file describes.

    Raises:
        ValueError: says what is wrong with it.

    >>> parse_off("OFF3 1 0 0 0 0 1 0 0 0 1 0 3 0 1 2").triangles.tolist()
    [[0, 1, 2]]
    """
    lines = text.splitlines()
    if "#" in text:
        lines = [line.partition("#")[0] for line in lines]
    body = "\n".join(lines).lstrip()
    if not body.startswith("OFF"):
        raise ValueError("it does not begin with OFF")
    words = body[3:].split(None, 3)
    try:
        vertex_count, face_count, _ = (int(word) for word in words[:3])
    except ValueError:
        raise ValueError("OFF is not followed by three whole numbers") from None
    if vertex_count < 1 or face_count < 1:
        raise ValueError(f"it announces {vertex_count} vertices and {face_count} faces")
    rest = words[3] if len(words) > 3 else ""
    vertices, triangles = _read_body(rest, vertex_count, face_count)
    _check(vertices, triangles)
    return Mesh(vertices, triangles)


def sample_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> Floats:
    """Draws points evenly from a surface: triangles by their area, points evenly within each.

    Args:
        mesh: the surface.
        count: points to draw.
        rng: source of randomness.

    Returns:
        Points, shape [count, 3], the mesh's units.

    Raises:
        ConfigError: no points are asked for.
        ValueError: the surface has no area.
    """
    if count < 1:
        raise ConfigError(f"a cloud has 1 point or more; got {count}; try 1024")
    # Areas of a mesh of side 1: those of a very small or large one would leave the floats' range.
    named = np.zeros(len(mesh.vertices), bool)
    named[mesh.triangles] = True
    used = mesh.vertices[named]
    centre = used.min(0) / 2 + used.max(0) / 2
    size = float(np.abs(used - centre).max())
    if size == 0.0:
        raise ValueError("the surface has no area")
    corners = ((mesh.vertices - centre) / size)[mesh.triangles]
    areas = triangle_areas(corners)
    bounds = np.cumsum(areas)
    if not bounds[-1] > 0.0:
        raise ValueError("the surface has no area")
    drawn = rng.random((3, count))
    # side="right" passes over triangles without area, whose bound is that of the one before.
    chosen = np.searchsorted(bounds, drawn[0] * bounds[-1], side="right")
    first, second, third = corners[np.minimum(chosen, np.flatnonzero(areas)[-1])].swapaxes(0, 1)
    # The root makes the lines parallel to the first corner's opposite side as likely as long.
    away, along = np.sqrt(drawn[1])[:, None], drawn[2][:, None]
    points = (1 - away) * first + away * ((1 - along) * second + along * third)
    scaled: Floats = points * size + centre
    return scaled


def triangle_areas(corners: Floats) -> Floats:
    """Returns the area of each triangle, shape [F], of corners [F, 3, 3].

    >>> triangle_areas(np.array([[[0.0, 0, 0], [2, 0, 0], [0, 3, 0]]])).tolist()
    [3.0]
    """
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas: Floats = np.linalg.norm(normals, axis=1) / 2
    return areas


def fan(polygon: list[int]) -> list[list[int]]:
    """Returns the triangles from the first corner of a polygon to each of its other sides.

    >>> fan([4, 5, 6, 7])
    [[4, 5, 6], [4, 6, 7]]
    """
    return [[polygon[0], *polygon[place : place + 2]] for place in range(1, len(polygon) - 1)]


def _read_body(text: str, vertex_count: int, face_count: int) -> tuple[Floats, Indices]:
    """Returns vertices [V, 3] and triangles [F, 3], not yet checked."""
    numbers = _numbers(text)
    head = 3 * vertex_count
    if numbers.size == head + 4 * face_count:
        faces = numbers[head:].reshape(-1, 4)
        if (faces[:, 0] == 3).all():
            return numbers[:head].reshape(-1, 3), _whole(faces[:, 1:])
    # Polygons, or colours after the corners: what a number means depends on its line.
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != vertex_count + face_count:
        raise ValueError(
            f"it has {len(lines)} lines for the {vertex_count} vertices and {face_count} faces "
            "that it announces"
        )
    if any(len(line) < 3 for line in lines[:vertex_count]):
        raise ValueError("a vertex has fewer than three coordinates")
    vertices = np.array([line[:3] for line in lines[:vertex_count]], np.float64)
    triangles = [part for line in lines[vertex_count:] for part in fan(_polygon(line))]
    return vertices, np.array(triangles, np.int64).reshape(-1, 3)


def _polygon(line: list[str]) -> list[int]:
    """Returns the corners of one face; what follows them on the line is its colour."""
    corners = int(line[0])
    if not 1 <= corners < len(line):
        raise ValueError(f"a face announces {corners} corners and has {len(line) - 1}")
    return [int(word) for word in line[1 : corners + 1]]


def _numbers(text: str) -> Floats:
    """Returns all numbers of a text, shape [N]."""
    with warnings.catch_warnings():
        # Older numpy warns of anything that is no number and stops there, newer raises.
        warnings.simplefilter("error")
        try:
            return np.fromstring(text, dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("it holds something that is not a number") from None


def _whole(numbers: Floats) -> Indices:
    if not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any():
        raise ValueError("a corner is not a whole number")
    return numbers.astype(np.int64)


def _check(vertices: Floats, triangles: Indices) -> None:
    """Raises a ValueError unless coordinates are numbers and corners are vertices."""
    if not np.isfinite(vertices).all():
        raise ValueError("a coordinate is NaN or infinite")
    if triangles.size == 0:
        raise ValueError("no face has three corners")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError(
            f"its faces name vertices {triangles.min()} to {triangles.max()}, and there are "
            f"0 to {len(vertices) - 1}"
        )
