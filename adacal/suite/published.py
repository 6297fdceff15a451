"""The literature's numbers: read from `results/published`, checked, never mixed with measured ones.

Columns are documented in `results/published/README.md`.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adacal.core.errors import DataError, unknown_name
from adacal.suite.places import PUBLISHED_FOLDER

COLUMNS = (
    "paper", "year", "source", "task", "dataset", "model", "method", "T", "metric", "value",
    "ann_value", "energy_pct_saved", "note",
)  # fmt: skip
REQUIRED = ("paper", "source", "task", "method", "metric", "value")
TASKS = (
    "classification2d", "classification3d", "events", "detection", "segmentation",
    "part_segmentation3d", "video_classification", "nlp",
)  # fmt: skip
NAMES = "names.json"
_STEPS = re.compile(r"(<|<=|>|>=)?\d+(\.\d+)?")
_SAMPLES = re.compile(r" \[\d+ samples\]$")
_PLACES = {
    r"\barXiv:(\d{4}\.\d{4,5})": "https://arxiv.org/abs/",
    r"\bgithub:([\w.-]+/[\w.-]*\w)": "https://github.com/",
    r"\b(10\.\d{4,9}/[\w.()/-]*\w)": "https://doi.org/",
}
_KINDS = ("methods", "models", "datasets", "metrics")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One published number with its source.

    Attributes:
        T: as written: a number, or one with `<`, `<=`, `>`, `>=`; empty if not given.
        value, ann_value: in the unit that the metric's name ends with; the ANN's may be unknown.
        place: file and line.
    """

    paper: str
    year: int | None
    source: str
    task: str
    dataset: str
    model: str
    method: str
    T: str
    metric: str
    value: float
    ann_value: float | None
    energy_pct_saved: float | None
    note: str
    place: str

    @property
    def secondary(self) -> bool:
        """Whether the number was not read in the work that measured it."""
        return self.note.startswith("secondary")

    @property
    def steps(self) -> float | None:
        """Returns T where it is one number."""
        return float(self.T) if self.T and self.T[0].isdigit() else None


@dataclass(frozen=True)
class Names:
    """What published files call things, to what ours are called; see `names.json`."""

    methods: dict[str, dict[str, str]]
    models: dict[str, str]
    datasets: dict[str, str]
    metrics: dict[str, str]

    def same_place(self, row: PublishedRow, task: str, dataset: str, model: str) -> bool:
        """Says whether a row is about our task, dataset and model of these names."""
        file = row.place.partition(":")[0]
        its_model = self.models.get(f"{file}/{row.model}", self.models.get(row.model, row.model))
        its_dataset = self.datasets.get(row.dataset, row.dataset)
        return (
            row.task == task
            and plain(its_dataset) == plain(dataset) != ""
            and plain(its_model) == plain(model) != ""
        )

    def same_metric(self, row: PublishedRow, metric: str) -> bool:
        """Says whether a row has our metric of this name."""
        return self.metrics.get(row.metric, row.metric) == metric

    def same_method(self, row: PublishedRow, method: str, label: str) -> bool:
        """Says whether a row is about our method; an entry with a `label` wants those options.

        How many calibration samples a label names does not matter.
        """
        ours = self.methods.get(row.method, {})
        if "label" in ours:
            return ours["label"] == _SAMPLES.sub("", label)
        return ours.get("method") == method


def plain(name: str) -> str:
    """Returns a name without case and punctuation.

    >>> plain("VGG-16"), plain("CIFAR-10")
    ('vgg16', 'cifar10')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def address(source: str) -> str:
    """Returns where a source can be opened; empty where its words name no such place.

    >>> address("arXiv:2106.06984 (ICML 2021)"), address("github:hzc1208/ANN2SNN_COS README, table")
    ('https://arxiv.org/abs/2106.06984', 'https://github.com/hzc1208/ANN2SNN_COS')
    """
    for pattern, place in _PLACES.items():
        if found := re.search(pattern, source):
            return place + found[1]
    return ""


def published_folder(results: Path) -> Path:
    """Returns the `published` folder of a results folder, or the shipped one."""
    own = results / "published"
    return own if own.is_dir() else PUBLISHED_FOLDER


def read_published(folder: Path) -> tuple[list[PublishedRow], list[str]]:
    """Reads all CSV files of a folder.

    Returns:
        The sound rows, by file and line, and a sentence for everything that is wrong: a header, a
        missing source, a value out of the range of its unit, a number given twice.

    Raises:
        DataError: there is no CSV file.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise DataError(f"no published CSV file in {folder}; name a folder that has some")
    rows: list[PublishedRow] = []
    wrong: list[str] = []
    for path in files:
        for place, cells, sentences in _lines(path):
            sentences = sentences or list(_complaints(cells))
            wrong += [f"{place}: {sentence}" for sentence in sentences]
            if not sentences:
                rows.append(_row(cells, place))
    return rows, wrong + list(_repeated(rows))


def select(rows: Sequence[PublishedRow], **wanted: Sequence[str]) -> list[PublishedRow]:
    """Returns the rows whose `task`, `dataset`, `model` and `method` are among the names wanted.

    Case and punctuation do not matter; a method may be cut short; no names mean all.

    Raises:
        DataError: a name that no row has; the near one is offered.
    """
    for kind, names in wanted.items():
        known = {str(getattr(row, kind)) for row in rows}
        for name in names:
            if not any(_fits(kind, other, name) for other in known):
                raise DataError(unknown_name(f"published {kind}", name, known - {""}))
    return [
        row
        for row in rows
        if all(
            not names or any(_fits(kind, getattr(row, kind), name) for name in names)
            for kind, names in wanted.items()
        )
    ]


def _fits(kind: str, known: str, wanted: str) -> bool:
    if kind == "method":
        return plain(known).startswith(plain(wanted))
    return plain(known) == plain(wanted)


def read_names(folder: Path) -> Names:
    """Reads `names.json` of a folder of published rows; without one nothing but equal names match.

    Raises:
        DataError: it is damaged or has other keys.
    """
    path = folder / NAMES
    if not path.is_file():
        return Names({}, {}, {}, {})
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); mend or remove it") from error
    if not isinstance(values, dict) or set(values) - set(_KINDS):
        raise DataError(f"{path} must be a JSON object with the keys {', '.join(_KINDS)}")
    parts: list[Any] = [values.get(kind, {}) for kind in _KINDS]
    if not all(isinstance(part, dict) for part in parts):
        raise DataError(f"{path}: each of {', '.join(_KINDS)} must be an object of names")
    return Names(*parts)


def check_names(names: Names, rows: Sequence[PublishedRow]) -> list[str]:
    """Returns a sentence for each entry that nothing published has, or that names no method."""
    from adacal.methods.base import METHODS, load_methods

    load_methods()
    wrong = []
    seen = {
        "methods": {row.method for row in rows},
        "models": {row.model for row in rows},
        "datasets": {row.dataset for row in rows},
        "metrics": {row.metric for row in rows},
    }
    for kind in _KINDS:
        for name in getattr(names, kind):
            word = name.rpartition(".csv/")[2]
            if word not in seen[kind]:
                wrong.append(f"{NAMES}: {unknown_name(f'published {kind[:-1]}', word, seen[kind])}")
    for name, ours in names.methods.items():
        method = str(ours.get("label") or ours.get("method", "")).partition("(")[0]
        if method not in METHODS.module_dict:
            sentence = unknown_name("method", method, METHODS.module_dict)
            wrong.append(f"{NAMES}: '{name}': {sentence}")
    return wrong


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Yields file and line, the cells by column, and what is wrong before they can be looked at."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        yield path.name, {}, [f"cannot be read as CSV in UTF-8 ({error}); mend the file"]
        return
    if not lines or tuple(lines[0]) != COLUMNS:
        yield path.name, {}, [f"the first line must be {','.join(COLUMNS)}"]
        return
    for number, cells in enumerate(lines[1:], start=2):
        place = f"{path.name}:{number}"
        if len(cells) != len(COLUMNS):
            yield place, {}, [f"{len(cells)} cells; there must be {len(COLUMNS)}"]
        else:
            yield place, dict(zip(COLUMNS, cells, strict=True)), []


def _complaints(cells: dict[str, str]) -> Iterator[str]:
    for column, text in cells.items():
        if text != text.strip():
            yield f"{column} has blanks around '{text.strip()}'; remove them"
    for column in REQUIRED:
        if not cells[column].strip():
            yield f"no {column}; every number needs one"
    if cells["task"] not in TASKS:
        yield unknown_name("task", cells["task"], TASKS)
    if cells["year"] and not re.fullmatch(r"(19|20)\d\d", cells["year"]):
        yield f"year is '{cells['year']}'; write four digits, or nothing if it is not known"
    if cells["T"] and not _STEPS.fullmatch(cells["T"]):
        yield f"T is '{cells['T']}'; write a number, one with <, <=, >, >= before it, or nothing"
    low, high = _range(cells["metric"])
    if low > high:
        yield (
            f"metric '{cells['metric']}' tells no unit; end it with _pct, _h, _min, _s, _ms or "
            "have ratio or factor in it"
        )
        return
    for column in ("value", "ann_value"):
        yield from _bad_number(cells, column, low, high)
    yield from _bad_number(cells, "energy_pct_saved", -math.inf, 100.0)


def _bad_number(cells: dict[str, str], column: str, low: float, high: float) -> Iterator[str]:
    text = cells[column]
    if not text:
        return
    try:
        value = float(text)
    except ValueError:
        yield f"{column} is '{text}'; write a number"
        return
    if not math.isfinite(value) or not low <= value <= high:
        unit = cells["metric"] if column != "energy_pct_saved" else "per cent"
        yield f"{column} is {text}; {unit} lies from {low:g} to {high:g}"


def _range(metric: str) -> tuple[float, float]:
    """Returns what values a metric can have by its name; an empty range if it tells no unit."""
    if metric.endswith(("saving_pct", "reduction_pct")):
        return -math.inf, 100.0
    if metric.endswith("_pct"):
        return 0.0, 100.0
    if metric.endswith(("_h", "_min", "_s", "_ms")) or "ratio" in metric or "factor" in metric:
        return 0.0, math.inf
    return 1.0, 0.0


def _row(cells: dict[str, str], place: str) -> PublishedRow:
    def optional(column: str) -> float | None:
        return float(cells[column]) if cells[column] else None

    texts = {key: cells[key] for key in COLUMNS if key not in ("year", "value", "ann_value")}
    texts.pop("energy_pct_saved")
    return PublishedRow(
        **texts,
        year=int(cells["year"]) if cells["year"] else None,
        value=float(cells["value"]),
        ann_value=optional("ann_value"),
        energy_pct_saved=optional("energy_pct_saved"),
        place=place,
    )


def _repeated(rows: Sequence[PublishedRow]) -> Iterator[str]:
    """Two sources may say different things of one result; one source may not say it twice."""
    first: dict[tuple[str, ...], PublishedRow] = {}
    for row in rows:
        key = (row.paper, row.source, row.task, row.dataset, row.model, row.method, row.T)
        known = first.setdefault((*key, row.metric), row)
        if known is not row:
            same = "the same" if known.value == row.value else f"{known.value:g} there"
            yield f"{row.place}: given before at {known.place} ({same}); keep one"
