"""The page of `adacal report`: one HTML file of all records that loads nothing from outside."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError
from adacal.suite.reading import READING
from adacal.suite.records import RunRecord
from adacal.suite.report_data import page_data
from adacal.suite.report_pictures import Picture, find_pictures
from adacal.suite.report_published import NOTHING, Published, find_published
from adacal.suite.store import RecordStore, write_replacing

LIMIT_BYTES = 3_000_000
FIRST_SEEDS = "layers are shown of the first seed of each row only"
SCRIPTS = (
    "vendor/d3.min.js",
    "vendor/plot.min.js",
    "table.js",
    "charts.js",
    "lit.js",
    "published.js",
    "page.js",
)


@dataclass(frozen=True)
class Report:
    """What writing a page did: where it is, its size, and what a reader should know of it."""

    path: Path
    size_bytes: int
    notes: tuple[str, ...]


def write_report(results: Path, out: Path) -> Report:
    """Writes the page of a results folder.

    A page that would exceed 3 MB goes without the layers of all but a row's first seed, then
    without pictures, and says so.

    Raises:
        DataError: there is no record, or the page cannot be written.
    """
    records, warnings = RecordStore(results).read_all()
    pictures, unreadable = find_pictures(results, records)
    published, wrong = find_published(results)
    html = ""
    notes: tuple[str, ...] = ()
    for every_layer, shown, notes in (
        (True, pictures, ()),
        (False, pictures, (FIRST_SEEDS,)),
        (False, [], (FIRST_SEEDS, "no pictures fit")),
    ):
        html = render(
            records,
            results,
            published=published,
            pictures=shown,
            every_layer=every_layer,
            notes=notes,
        )
        if len(html.encode()) <= LIMIT_BYTES:
            break
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {out.parent} cannot be made ({error.strerror}); name another file with "
            "--out"
        ) from error
    write_replacing(out, html)
    size = len(html.encode())
    if size > LIMIT_BYTES:
        notes = (*notes, f"the page is larger than {LIMIT_BYTES / 1e6:g} MB all the same")
    return Report(out, size, (*warnings, *unreadable, *wrong, *notes))


def render(
    records: Sequence[RunRecord],
    results: Path,
    *,
    published: Published = NOTHING,
    pictures: Sequence[Picture] = (),
    every_layer: bool = True,
    notes: Sequence[str] = (),
) -> str:
    """Returns the page. The same records and pictures give the same text.

    Args:
        records: what is shown.
        results: folder named in the commands that run a row again.
        published: the literature's numbers, shown apart where a reader asks for them.
        pictures: shown below the tables.
        every_layer: as of `page_data`.
        notes: sentences on what was left out.
    """
    from jinja2 import Environment, PackageLoader

    template = Environment(
        loader=PackageLoader("adacal.suite", "page"), autoescape=True, trim_blocks=True
    ).get_template("page.html")
    data = page_data(records, every_layer=every_layer, published=published)
    data["results"] = "" if results == Path("results") else str(results)
    return template.render(
        style=_asset("page.css"),
        scripts=[_asset(name) for name in SCRIPTS],
        data=_packed(data),
        boards=[f"{board['dataset']} / {board['model']}" for board in data["boards"]],
        n_records=len(records),
        reading=_reading(),
        pictures=pictures,
        notes=notes,
    )


def _asset(name: str) -> str:
    """Returns a script or style sheet, safe between the tags of an HTML page."""
    text = (files("adacal.suite") / "page" / name).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("</style", "<\\/style")


def _packed(data: dict[str, Any]) -> str:
    """Returns JSON as base64 of gzip: a fifth of its size, and nothing in it ends a tag."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _reading() -> str:
    """Returns how to read the tables, as HTML; the text is that of the committed leaderboards."""
    from markdown_it import MarkdownIt

    _, _, text = READING.partition("\n\n")  # the page has a heading of its own
    return str(MarkdownIt().render(text))
