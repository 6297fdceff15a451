"""Pictures of the tasks on the page of `adacal report`: of records, else the documentation's."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adacal.suite.places import CHECKOUT
from adacal.suite.records import RunRecord

PICTURE_WIDTH = 1000
MOST_PICTURES = 24


@dataclass(frozen=True)
class Picture:
    """A picture of the page: what it shows, and itself as a data URI."""

    title: str
    uri: str
    width: int
    height: int


def find_pictures(results: Path, records: Sequence[RunRecord]) -> tuple[list[Picture], list[str]]:
    """Returns the pictures there are, shrunk, and a sentence for each file that is not shown.

    Shown are what `adacal show --pictures` drew of these records, and in a checkout one picture of
    the documentation for each of their tasks that no record has one of.
    """
    of = {f"{Path(record.filename()).stem}.png": record for record in records}
    paths = sorted((results / "pictures").glob("*.png"))
    warnings = [
        f"ignored: {path} belongs to no record here; delete it, or draw one that is with "
        "adacal show RECORD --pictures"
        for path in paths
        if path.name not in of
    ]
    wanted = [(path, _title(of[path.name])) for path in paths if path.name in of]
    left_out = len(wanted) - MOST_PICTURES
    if left_out > 0:
        warnings.append(f"{left_out} more pictures are left out")
    found, drawn = [], set()
    for path, title in wanted[:MOST_PICTURES]:
        if (picture := _shrunk(path, title, warnings)) is not None:
            found.append(picture)
            drawn.add(of[path.name].task)
    for task, path in documented().items():
        if task in {record.task for record in records} - drawn and (
            picture := _shrunk(path, f"{task}, an example of the documentation", warnings)
        ):
            found.append(picture)
    return found, warnings


def documented() -> dict[str, Path]:
    """Returns the documentation's picture of each task that has one; none outside of a checkout.

    `docs/pictures/tasks.json` names them; plots lie in the same folder and are not among them.
    """
    folder = CHECKOUT / "docs" / "pictures"
    listed = folder / "tasks.json"
    if not listed.is_file():
        return {}
    names: dict[str, str] = json.loads(listed.read_text(encoding="utf-8"))
    return {task: folder / name for task, name in sorted(names.items())}


def shrink(path: Path, title: str) -> Picture:
    """Returns a picture as WebP of at most `PICTURE_WIDTH` pixels across.

    Raises:
        OSError: the file is no picture.
    """
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=72)
    text = base64.b64encode(buffer.getvalue()).decode()
    return Picture(title, f"data:image/webp;base64,{text}", small.width, small.height)


def _shrunk(path: Path, title: str, warnings: list[str]) -> Picture | None:
    """Returns a picture, or None and one warning more."""
    try:
        return shrink(path, title)
    except OSError as error:
        warnings.append(f"ignored: {path} is no picture ({error}); draw it again")
        return None


def _title(record: RunRecord) -> str:
    steps = f", T={record.T}" if record.uses_T else ""
    return f"{record.dataset} / {record.model}: {record.label}{steps}"
