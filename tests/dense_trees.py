"""Small trees of detection and segmentation sets in the published layouts and byte formats.

Each writer returns what is true of the images, so that tests can compare with numbers of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

SIZES = ((64, 48), (40, 56), (72, 72))
"""Widths and heights, of which images take turns."""
VOID = 255
COCO_IDS = (
    *range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70, *range(72, 83),
    *range(84, 91),
)  # fmt: skip
"""Numbers of COCO's 80 categories, which leave out ten."""


@dataclass(frozen=True)
class Thing:
    """One object: class, corners (x1, y1, x2, y2) in pixels, whether evaluators pass over it."""

    label: int
    box: tuple[float, float, float, float]
    ignored: bool = False


Things = dict[str, list[Thing]]
"""Objects by image, named as its file without suffix."""
Masks = dict[str, np.ndarray]
"""Classes of pixels as networks learn them, [height, width], by image; `VOID` counts nowhere."""


def picture(path: Path, size: tuple[int, int], seed: int) -> None:
    """Writes an image of coarse random colours; the suffix decides how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    options = {"quality": 95} if path.suffix == ".jpg" else {}
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(path, **options)


def text(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


# ---- detection: VOC 2007 and 2012 ---------------------------------------------------------------


def voc_tree(root: Path, classes: Sequence[str]) -> Things:
    """Writes VOCdevkit with both years; returns the objects of VOC 2007's test images.

    Corners count from 1 in the files and from 0 in what is returned. Of three images the second
    has no object, the third one that is difficult besides another of its class.
    """
    found = {}
    for year, part, first, count in (
        (2007, "trainval", 1, 3), (2007, "test", 11, 3), (2012, "trainval", 21, 4)
    ):  # fmt: skip
        folder = root / f"VOC{year}"
        names = [f"{number:06d}" if year == 2007 else f"2008_{number:06d}"
                 for number in range(first, first + count)]  # fmt: skip
        for number, name in enumerate(names):
            things = _things(number)
            size = SIZES[number % 3]
            picture(folder / "JPEGImages" / f"{name}.jpg", size, first + number)
            _xml(folder / "Annotations" / f"{name}.xml", name, size, things, classes)
            if part == "test":
                found[name] = things
        text(folder / "ImageSets" / "Main" / f"{part}.txt", names)
    return found


def _things(number: int) -> list[Thing]:
    if number % 3 == 0:
        return [Thing(0, (4, 3, 40, 40)), Thing(14, (20, 6, 60, 44))]
    if number % 3 == 1:
        return []
    return [Thing(0, (2, 2, 38, 50)), Thing(0, (40, 30, 71, 69), ignored=True)]


def _xml(
    path: Path, name: str, size: tuple[int, int], things: list[Thing], classes: Sequence[str]
) -> None:
    root = ElementTree.Element("annotation")
    _fields(root, folder=path.parent.parent.name, filename=f"{name}.jpg")
    _fields(ElementTree.SubElement(root, "source"), database="The VOC2007 Database", image="flickr")
    _fields(ElementTree.SubElement(root, "size"), width=size[0], height=size[1], depth=3)
    _fields(root, segmented=0)
    for thing in things:
        part = ElementTree.SubElement(root, "object")
        _fields(part, name=classes[thing.label], pose="Unspecified", truncated=0)
        _fields(part, difficult=int(thing.ignored))
        corners = [value + 1 for value in thing.box]
        names = ("xmin", "ymin", "xmax", "ymax")
        _fields(ElementTree.SubElement(part, "bndbox"), **dict(zip(names, corners, strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path)


def _fields(parent: ElementTree.Element, **values: object) -> None:
    for key, value in values.items():
        ElementTree.SubElement(parent, key).text = str(value)


# ---- detection: COCO 2017 -----------------------------------------------------------------------


def coco_tree(root: Path, classes: Sequence[str]) -> Things:
    """Writes COCO 2017; returns the objects of its validation images.

    Of three images the second has no object and the third a crowd besides a single person.
    """
    found = {}
    for part, first, count in (("train2017", 9, 4), ("val2017", 139, 3)):
        names = [f"{number:012d}" for number in range(first, first + count)]
        things = {name: _things(number) for number, name in enumerate(names)}
        sizes = {name: SIZES[number % 3] for number, name in enumerate(names)}
        for name, size in sizes.items():
            picture(root / part / f"{name}.jpg", size, int(name))
        content = coco_json(things, sizes, classes)
        target = root / "annotations" / f"instances_{part}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))
        found = things
    return found


def coco_json(
    things: Things, sizes: dict[str, tuple[int, int]], classes: Sequence[str]
) -> dict[str, Any]:
    """Returns COCO's annotation file: polygons of single objects, run lengths of crowds."""
    rows: list[dict[str, Any]] = []
    for name, objects in things.items():
        for thing in objects:
            x1, y1, x2, y2 = thing.box
            width, height = x2 - x1, y2 - y1
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": int(name),
                    "category_id": COCO_IDS[thing.label],
                    "bbox": [x1, y1, width, height],
                    "area": width * height,
                    "iscrowd": int(thing.ignored),
                    "segmentation": _runs(thing, sizes[name])
                    if thing.ignored
                    else [[x1, y1, x2, y1, x2, y2, x1, y2]],
                }
            )
    images = [
        {"id": int(name), "file_name": f"{name}.jpg", "width": width, "height": height,
         "license": 1, "date_captured": "2013-11-14 17:02:52"}
        for name, (width, height) in sizes.items()
    ]  # fmt: skip
    categories = [
        {"id": number, "name": name, "supercategory": "thing"}
        for number, name in zip(COCO_IDS, classes, strict=True)
    ]
    return {
        "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
        "licenses": [{"id": 1, "name": "made up", "url": ""}],
        "images": images,
        "annotations": rows,
        "categories": categories,
    }


def _runs(thing: Thing, size: tuple[int, int]) -> dict[str, Any]:
    """Lengths of runs of 0 and 1 in turn, column by column."""
    width, height = size
    mask = np.zeros((height, width), bool)
    x1, y1, x2, y2 = (int(value) for value in thing.box)
    mask[y1:y2, x1:x2] = True
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *changes, flat.size]).tolist()
    return {"size": [height, width], "counts": lengths if not flat[0] else [0, *lengths]}


# ---- segmentation -------------------------------------------------------------------------------


def voc12_tree(root: Path) -> Masks:
    """Writes VOCdevkit/VOC2012 with SBD's labels; returns the classes of its `val` images.

    Masks are indices into VOC's palette, objects are edged with 255; SBD's, as they are converted,
    have no palette.
    """
    folder = root / "VOC2012"
    found = {}
    for number, (part, name) in enumerate(
        [("train", "2007_000032"), ("train", "2007_000039"), ("val", "2007_000033"),
         ("val", "2007_000042"), ("val", "2007_000061"), ("aug", "2008_000002"),
         ("aug", "2008_000003")]
    ):  # fmt: skip
        size = SIZES[number % 3]
        mask = _rectangles(size, number, background=0, classes=(7, 15))
        picture(folder / "JPEGImages" / f"{name}.jpg", size, number)
        if part == "aug":
            _mask(folder / "SegmentationClassAug" / f"{name}.png", mask)
        else:
            _mask(folder / "SegmentationClass" / f"{name}.png", mask, palette=_voc_palette())
        if part == "val":
            found[name] = mask
    parts = {"train": ["2007_000032", "2007_000039"], "val": list(found),
             "aug": ["2008_000002", "2008_000003"]}  # fmt: skip
    for part, names in parts.items():
        text(folder / "ImageSets" / "Segmentation" / f"{part}.txt", names)
    return found


def cityscapes_tree(root: Path) -> Masks:
    """Writes Cityscapes with the labels its scripts make; returns the classes of `val`."""
    found = {}
    for part, city, count in (
        ("train", "aachen", 2),
        ("val", "frankfurt", 1),
        ("val", "lindau", 1),
    ):
        for number in range(count):
            name = f"{city}_{number:06d}_000019"
            size = (96, 48)
            seed = number + 10 * len(found)
            mask = _rectangles(size, seed, background=VOID, classes=(0, 13))
            picture(root / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", size, seed)
            labels = root / "gtFine" / part / city
            _mask(labels / f"{name}_gtFine_labelTrainIds.png", mask)
            # what lies beside it in the archive and is not to be read
            _mask(labels / f"{name}_gtFine_labelIds.png", np.full_like(mask, 33))
            _mask(labels / f"{name}_gtFine_color.png", np.full_like(mask, 200))
            text(labels / f"{name}_gtFine_polygons.json", ["{}"])
            if part == "val":
                found[name] = mask
    return found


def ade20k_tree(root: Path) -> Masks:
    """Writes ADEChallengeData2016; returns the classes of its validation images.

    In its files 0 is what belongs to no class, and classes count from 1.
    """
    found = {}
    for part, prefix, count in (("training", "train", 2), ("validation", "val", 3)):
        for number in range(count):
            name = f"ADE_{prefix}_{number + 1:08d}"
            size = SIZES[number % 3]
            mask = _rectangles(size, number, background=VOID, classes=(0, 149))
            picture(root / "images" / part / f"{name}.jpg", size, number)
            stored = np.where(mask == VOID, 0, mask + 1).astype(np.uint8)
            _mask(root / "annotations" / part / f"{name}.png", stored)
            if part == "validation":
                found[name] = mask
    return found


def coco_stuff_tree(root: Path) -> Masks:
    """Writes COCO-Stuff 164k with the labels mmsegmentation's converter makes; returns `val2017`'s.

    Beside them lie the archive's own masks, which count classes as COCO does.
    """
    found = {}
    for part, first, count in (("train2017", 9, 2), ("val2017", 139, 3)):
        for number in range(count):
            name = f"{first + number:012d}"
            size = SIZES[number % 3]
            mask = _rectangles(size, number, background=VOID, classes=(0, 170))
            picture(root / "images" / part / f"{name}.jpg", size, first + number)
            _mask(root / "annotations" / part / f"{name}_labelTrainIds.png", mask)
            _mask(root / "annotations" / part / f"{name}.png", np.full_like(mask, 181))
            if part == "val2017":
                found[name] = mask
    return found


def _rectangles(
    size: tuple[int, int], number: int, *, background: int, classes: tuple[int, int]
) -> np.ndarray:
    """Two rectangles on a background; the first is edged with 255."""
    width, height = size
    mask = np.full((height, width), background, np.uint8)
    mask[4 : height // 2, 6 : width // 2] = VOID
    mask[6 : height // 2 - 2, 8 : width // 2 - 2] = classes[0]
    mask[height // 2 + number % 4 :, width // 2 :] = classes[1]
    return mask


def _mask(path: Path, mask: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if palette is not None:
        image = image.convert("P")
        image.putdata(mask.ravel().tolist())
        image.putpalette(palette)
    image.save(path)


def _voc_palette() -> list[int]:
    """VOC's colours: bits of the index, three by three, from the highest bit of red, green, blue.

    Index 255 is the cream-coloured edge.
    """
    colours = []
    for index in range(256):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        colours += colour
    return colours
