"""Whether the files of a real dataset lie where its config looks for them, and where to get them.

The libraries look late, or say nothing of a file that is cut short; a run would end in the middle
or, worse, with a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from adacal.core.errors import DataError

ORIGINS: Mapping[str, str] = {
    "CocoDataset": (
        "train2017.zip, val2017.zip and annotations_trainval2017.zip of https://cocodataset.org"
    ),
    "VOCDataset": (
        "VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar of "
        "http://host.robots.ox.ac.uk/pascal/VOC"
    ),
    "PascalVOCDataset": (
        "VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC; aug.txt and "
        "SegmentationClassAug are made of SBD by mmsegmentation's "
        "tools/dataset_converters/voc_aug.py"
    ),
    "CityscapesDataset": (
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of "
        "https://www.cityscapes-dataset.com; *_gtFine_labelTrainIds.png are made by "
        "csCreateTrainIdLabelImgs of cityscapesscripts"
    ),
    "ADE20KDataset": "ADEChallengeData2016.zip of http://sceneparsing.csail.mit.edu",
    "COCOStuffDataset": (
        "train2017.zip and val2017.zip of https://cocodataset.org and COCO-Stuff's "
        "stuffthingmaps_trainval2017.zip; *_labelTrainIds.png are made by mmsegmentation's "
        "tools/dataset_converters/coco_stuff164k.py"
    ),
}
"""Archives by the library's dataset class."""
_TAIL = 65536
"""Bytes at the end of an image file among which its last mark must be."""
_LAST_MARKS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}


def plain_datasets(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the configs of datasets that read files, below wrappers and concatenations."""
    if isinstance(config.get("dataset"), Mapping):
        yield from plain_datasets(config["dataset"])
    elif isinstance(config.get("datasets"), Sequence):
        for part in config["datasets"]:
            yield from plain_datasets(part)
    else:
        yield config


def require_places(config: Mapping[str, Any], what: str) -> None:
    """Raises unless the annotation files and folders that a config names are there.

    Args:
        config: of a dataset of mmdet or mmsegmentation, wrapped or not.
        what: `test` or `training`, for the message.

    Raises:
        DataError: one is missing; the sentence says where to get it.
    """
    for part in plain_datasets(config):
        root = str(part.get("data_root") or "")
        listed = part.get("ann_file")
        if listed and _local(listed) and not _place(root, listed).exists():
            raise DataError(_sentence(part, what, "file", _place(root, listed)))
        for prefix in (part.get("data_prefix") or {}).values():
            if isinstance(prefix, str) and _local(prefix) and not _place(root, prefix).is_dir():
                raise DataError(_sentence(part, what, "folder", _place(root, prefix)))


def require_files(dataset: Any, count: int, kind: str) -> None:
    """Raises unless images and masks of the first `count` samples are there.

    Args:
        dataset: of the library, opened.
        count: how many samples are looked at.
        kind: the dataset's class, for where to get the files.

    Raises:
        DataError: some are missing; the sentence names the first and says where to get it.
    """
    missing = [path for position in range(count) for path in _missing(dataset, position)]
    if missing:
        raise DataError(
            f"{len(missing)} of the files that the annotations of '{kind}' name are missing, "
            f"'{missing[0]}' first; {_advice(kind)}"
        )


def require_whole(path: Path) -> None:
    """Raises if an image file ends before its last mark, which decoders pass over in silence.

    Looks at JPEG and PNG files, whose last mark cannot occur in what comes before.

    Raises:
        DataError: it does, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            tail = stream.read()
    except OSError as error:
        raise DataError(
            f"the image '{path}' cannot be read ({error.strerror}); fetch it again"
        ) from error
    for first, last in _LAST_MARKS.items():
        if start.startswith(first) and last not in tail:
            raise DataError(f"the image '{path}' is cut short; fetch it again")


def damaged_annotation(config: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with the first XML annotation that cannot be parsed, or None.

    Their parser does not say which of thousands of files it was reading.
    """
    for part in plain_datasets(config):
        root = str(part.get("data_root") or "")
        listed = _place(root, str(part.get("ann_file") or ""))
        folder = _place(root, str((part.get("data_prefix") or {}).get("sub_data_root", "")))
        if listed.suffix != ".txt" or not listed.is_file():
            continue
        for name in listed.read_text().split():
            path = folder / str(part.get("ann_subdir", "Annotations")) / f"{name}.xml"
            try:
                ElementTree.parse(path)
            except ElementTree.ParseError as error:
                return f"'{path}' is damaged: {error}"
            except OSError:
                return f"'{path}' is missing"
    return None


def _sentence(part: Mapping[str, Any], what: str, kind: str, path: Path) -> str:
    name = str(part.get("type"))
    return f"the {what} dataset '{name}' needs the {kind} '{path}', which is not there; " + (
        _advice(name)
    )


def _advice(kind: str) -> str:
    origin = ORIGINS.get(kind)
    got = f"get {origin} yourself (nothing is downloaded)" if origin else "put it there"
    return f"{got}, or say where the data lies with task.dataset.data_root"


def _missing(dataset: Any, position: int) -> list[str]:
    info = dataset.get_data_info(position)
    paths = [str(info[key]) for key in ("img_path", "seg_map_path") if info.get(key)]
    return [path for path in paths if _local(path) and not Path(path).is_file()]


def _place(root: str, path: str) -> Path:
    return Path(root) / path


def _local(path: Any) -> bool:
    return "://" not in str(path)
