"""Task x model x method x T x seed: expands a matrix file into cells.

A matrix file is an mmengine python config (code, like every config):

    tasks = ["mnist5k"]                       # files of configs/_base_/tasks
    models = ["lenet", dict(name="resnet20")] # files of configs/_base_/models, plus options
    methods = ["ann", dict(name="burst", max_spikes=2)]
    T = [2, 4]
    seeds = [0, 1, 2]
    calibration = dict(n_samples=128)         # defaults of all cells: calibration, evaluation
    cells = [dict(when=dict(model="lenet"), set=dict(evaluation=dict(batch_size=500)))]
    exclude = [dict(method="burst*", T=8)]    # a rule's keys must all match; lists are "any of"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

from adacal.core.errors import ConfigError, unknown_name
from adacal.suite.config import RunConfig, digest, merge, read, resolve
from adacal.suite.places import CONFIG_FOLDER, MATRIX_FOLDER

LISTS = ("tasks", "models", "methods", "T", "seeds")
RULES = ("cells", "exclude")
DEFAULTS = ("calibration", "evaluation", "conversion", "custom_imports")
RULE_KEYS = ("task", "model", "method", "T", "seed")


@dataclass(frozen=True)
class Cell:
    """One run of a matrix; `name` is for people, and `network`, its task and model, begins it."""

    name: str
    config: RunConfig
    network: str


def find_matrix(source: str | Path) -> Path:
    """Returns the matrix file of a path or of a name below `benchmarks/`."""
    name = str(source)
    for path in (Path(name), MATRIX_FOLDER / name, MATRIX_FOLDER / f"{name}.py"):
        if path.is_file():
            return path
    shipped = [path.stem for path in MATRIX_FOLDER.glob("*.py")]
    raise ConfigError(unknown_name("matrix file", name, shipped))


def load_matrix(source: str | Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Reads and expands a matrix file.

    Raises:
        ConfigError: a name, a rule or a value is wrong.
    """
    return expand(read(find_matrix(source), overrides), origin=str(source))


def expand(
    matrix: Mapping[str, Any], origin: str = "matrix", base: Path | None = None
) -> list[Cell]:
    """Expands a matrix into cells, those of one (task, model) pair next to each other.

    Cells that come out equal (a method without T at several T) are kept once.

    Args:
        matrix: plain values of a matrix file.
        origin: what error messages call it.
        base: folder of the `_base_` files; the shipped one by default.

    Raises:
        ConfigError: a name, a rule or a value is wrong.
    """
    matrix = {key: _listed(value) if key in LISTS else value for key, value in matrix.items()}
    _check_keys(matrix, origin)
    base = base or CONFIG_FOLDER / "_base_"
    _check_rule_names(matrix, base, origin)
    defaults = {key: matrix[key] for key in DEFAULTS if key in matrix}
    cells: dict[str, Cell] = {}
    pieces = {
        kind: [(entry, _piece(base, kind, entry)) for entry in map(_entry, matrix[f"{kind}s"])]
        for kind in ("task", "model", "method")
    }
    for combination in product(*pieces.values()):
        entries = [entry for entry, _ in combination]
        if _pair_excluded(matrix, *(str(entry["name"]) for entry in entries[:2])):
            continue
        whole = reduce(merge, (piece for _, piece in combination), defaults)
        for cell in _grid(matrix, whole, entries, origin):
            cells.setdefault(digest(cell.config.plain()), cell)
    if not cells:
        raise ConfigError(f"{origin}: nothing is left to run; check 'exclude' and the lists")
    return list(cells.values())


def _pair_excluded(matrix: Mapping[str, Any], task: str, model: str) -> bool:
    """Whether a rule leaves out a network on a set whatever the rest: most rules, soonest told."""
    place = {"task": [task], "model": [model]}
    rules = (rule for rule in matrix.get("exclude", []) if rule.keys() <= place.keys())
    return any(_matches(rule, place) for rule in rules)


def _grid(
    matrix: Mapping[str, Any],
    whole: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    origin: str,
) -> Iterable[Cell]:
    task, model, method = (str(entry["name"]) for entry in entries)
    where = f"{origin}: {task} {model} {method}"
    for T, seed in product(matrix["T"], matrix["seeds"]):
        raw = merge(whole, {"conversion": {"T": T}, "seed": seed})
        config = resolve(raw, origin=where)
        place: dict[str, list[Any]] = {
            "task": [task],
            "model": [model],
            "method": [method, config.label()],
            "T": [T],
            "seed": [seed],
        }
        if any(_matches(rule, place) for rule in matrix.get("exclude", [])):
            continue
        for rule in matrix.get("cells", []):
            if _matches(rule["when"], place):
                raw = merge(raw, rule["set"])
        config = resolve(raw, origin=where)
        steps = f" T={config.conversion.T}" if config.uses_T else ""
        network = f"{task} {model}"
        name = f"{network} {config.label()}{steps} seed={config.seed}"
        yield Cell(name, config, network)


def _entry(value: Any) -> dict[str, Any]:
    entry = {"name": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ConfigError(f"a matrix entry is a name or a dict with a 'name'; got {value!r}")
    return entry


def _piece(base: Path, kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the `_base_` file an entry names and lays the entry's options over it."""
    folder = base / f"{kind}s"
    path = folder / f"{entry['name']}.py"
    options = {key: value for key, value in entry.items() if key != "name"}
    if not path.is_file() and kind == "method" and "type" in entry:
        return {kind: options}  # of a plug-in, which needs no file here
    if not path.is_file():
        known = [file.stem for file in folder.glob("*.py")]
        raise ConfigError(unknown_name(kind, entry["name"], known))
    return merge(read(path), {kind: options} if options else {})


def _matches(rule: Mapping[str, Any], place: Mapping[str, list[Any]]) -> bool:
    for key, wanted in rule.items():
        choices = wanted if isinstance(wanted, list) else [wanted]
        if not any(_fits(choice, value) for choice in choices for value in place[key]):
            return False
    return True


def _fits(choice: Any, value: Any) -> bool:
    if isinstance(choice, str) and isinstance(value, str):
        return fnmatchcase(value, choice) or value == choice
    return bool(choice == value)


def _listed(value: Any) -> Any:
    """Returns a list for a single entry, and for words as a shell leaves them (`[lenet,vgg]`)."""
    if isinstance(value, str):
        return [word.strip(" \"'") for word in value.strip("[] ").split(",") if word.strip(" \"'")]
    if isinstance(value, list | tuple):
        return list(value)
    return [value]


def _check_keys(matrix: Mapping[str, Any], origin: str) -> None:
    known = [*LISTS, *RULES, *DEFAULTS]
    for key in matrix:
        if key not in known:
            raise ConfigError(f"{origin}: {unknown_name('matrix key', key, known)}")
    for key in LISTS:
        if not isinstance(matrix.get(key), list) or not matrix[key]:
            raise ConfigError(f"{origin}: '{key}' must be a list with at least one entry")
    for key in DEFAULTS:
        if not isinstance(matrix.get(key, {}), dict):
            raise ConfigError(f"{origin}: '{key}' must be a dict; got {matrix[key]!r}")
    for key in RULES:
        found = matrix.get(key, [])
        if not isinstance(found, list) or not all(isinstance(rule, dict) for rule in found):
            raise ConfigError(
                f"{origin}: '{key}' must be a list of dicts; got {found!r}; write {key}=[dict(...)]"
            )
    for rule in matrix.get("cells", []):
        if set(rule) != {"when", "set"} or not all(isinstance(x, dict) for x in rule.values()):
            raise ConfigError(
                f"{origin}: an entry of 'cells' is dict(when=dict(...), set=dict(...)); got {rule}"
            )
    for rule in _rules(matrix):
        for key in rule:
            if key not in RULE_KEYS:
                raise ConfigError(f"{origin}: {unknown_name('rule key', key, RULE_KEYS)}")


def _rules(matrix: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    cells = (rule["when"] for rule in matrix.get("cells", []))
    return [*matrix.get("exclude", []), *cells]


def _check_rule_names(matrix: Mapping[str, Any], base: Path, origin: str) -> None:
    """A rule with a misspelt name fits no cell, so it would do nothing without a word."""
    for rule in _rules(matrix):
        for kind in ("task", "model", "method"):
            known = [file.stem for file in (base / f"{kind}s").glob("*.py")]
            wanted = rule.get(kind, [])
            for name in wanted if isinstance(wanted, list) else [wanted]:
                plain = str(name).partition("(")[0]  # a label begins with the method's name
                if plain not in known and not any(sign in plain for sign in "*?["):
                    sentence = unknown_name(f"{kind} in a rule", plain, known)
                    raise ConfigError(f"{origin}: {sentence}")
