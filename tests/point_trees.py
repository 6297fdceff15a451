"""Point-cloud sets in small, written in their official forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tasks.data.modelnet import CLASSES
from tasks.data.shapenet_part import CLASSES as SHAPES
from tasks.data.shapenet_part import PARTS_OF_CLASS, SYNSETS

COUNTS = {"train": 2, "test": 1}
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
SHAPE_COUNTS = {"train": 2, "val": 1, "test": 1}
TABLE = "".join(f"{name}\t{synset}\n" for name, synset, _ in SHAPES)


def box(sides: np.ndarray, *, glued: bool, quads: bool) -> str:
    """Returns a box as an OFF file, in triangles or in squares."""
    faces = SIDES if quads else [part for s in SIDES for part in ([*s[:3]], [s[0], s[2], s[3]])]
    lines = [f"OFF{'' if glued else chr(10)}8 {len(faces)} 0"]
    lines += [" ".join(f"{number:.6f}" for number in corner) for corner in CORNERS * sides + 5]
    lines += [" ".join(map(str, [len(face), *face])) for face in faces]
    return "\n".join(lines) + "\n"


def write_meshes(root: Path, classes: int) -> Path:
    """Writes `ModelNet10` or `ModelNet40`: boxes, those of a class of like shape."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES[classes]):
        number = 0
        for part, count in COUNTS.items():
            folder = root / f"ModelNet{classes}" / name / part
            folder.mkdir(parents=True)
            (folder / ".DS_Store").write_bytes(b"\0")
            for _ in range(count):
                number += 1
                sides = np.array([1.0, 1.0 + label, 2.0]) * rng.uniform(0.9, 1.1, 3)
                text = box(sides, glued=number == 2, quads=number == 3)
                (folder / f"{name}_{number:04}.off").write_text(text)
    (root / f"ModelNet{classes}" / "README.txt").write_text("as shipped")
    return root


def write_tables(root: Path, points: int = 40) -> Path:
    """Writes `modelnet40_normal_resampled`, with the lists of both numbers of classes."""
    rng = np.random.default_rng(0)
    folder = root / "modelnet40_normal_resampled"
    for name in CLASSES[40]:
        (folder / name).mkdir(parents=True)
        for number in (1, 2, 3):
            table = np.concatenate([rng.uniform(-1, 1, (points, 3)), np.zeros((points, 3))], 1)
            np.savetxt(folder / name / f"{name}_{number:04}.txt", table, "%.6f", delimiter=",")
    for classes, names in CLASSES.items():
        lists = {
            "train": [f"{name}_{number:04}" for name in names for number in (1, 2)],
            "test": [f"{name}_0003" for name in names],
            "shape_names": names,
        }
        for part, lines in lists.items():
            (folder / f"modelnet{classes}_{part}.txt").write_text("\n".join(lines) + "\n")
    return root


def shape(label: int, points: int, rng: np.random.Generator) -> np.ndarray:
    """A table whose part can be told from x: the first part lies lowest."""
    parts = rng.choice(PARTS_OF_CLASS[label], points)
    table = np.concatenate([rng.uniform(0, 1, (points, 3)), np.zeros((points, 3))], 1)
    table[:, 0] += 10 * parts
    return np.concatenate([table, parts[:, None]], 1)


def write_shapes(root: Path) -> Path:
    """Writes ShapeNetPart in tables of 20 to 59 points."""
    rng = np.random.default_rng(0)
    folder = root / FOLDER
    (folder / "train_test_split").mkdir(parents=True)
    (folder / "synsetoffset2category.txt").write_text(TABLE)
    lists: dict[str, list[str]] = {part: [] for part in SHAPE_COUNTS}
    for label, synset in enumerate(SYNSETS):
        (folder / synset).mkdir()
        for part, count in SHAPE_COUNTS.items():
            for number in range(count):
                name = f"{part}{number}e8d1"
                rows = shape(label, int(rng.integers(20, 60)), rng)
                np.savetxt(folder / synset / f"{name}.txt", rows, "%.6f")
                lists[part].append(f"shape_data/{synset}/{name}")
    for part, entries in lists.items():
        rng.shuffle(entries)
        path = folder / "train_test_split" / f"shuffled_{part}_file_list.json"
        path.write_text(json.dumps(entries))
    return root
