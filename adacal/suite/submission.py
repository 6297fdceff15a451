"""What a stranger's records need to enter the leaderboards, checked one by one.

`docs/submit-results.md` says it to people. Nothing here changes a file.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adacal.core.errors import AdacalError
from adacal.suite.config import RunConfig, digest, resolve
from adacal.suite.environment import commit_is_known
from adacal.suite.foreign import LOCAL, OWN, PlugIn, imported
from adacal.suite.labels import counted
from adacal.suite.leaderboard import CONTROLS, Board, boards
from adacal.suite.places import CHECKPOINT_FOLDER, ROOT
from adacal.suite.published import read_names, read_published
from adacal.suite.published_tables import Beside, beside
from adacal.suite.ranking import Ranking
from adacal.suite.record_checks import complaints
from adacal.suite.records import RunRecord, record_id
from adacal.suite.verify_many import Entry, Verdict

State = Literal["pass", "fail", "note"]
WANTED_SEEDS = 3
_REGISTRY_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)  # PEP 508
MOST_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One check: `fail` keeps the records out, `note` is for whoever reviews them."""

    check: str
    state: State
    what: str


def check_submission(
    entries: Sequence[Entry], folder: Path, trust_imports: bool = False
) -> list[Finding]:
    """Checks records without running them: schema to seeds, a finding or more a check.

    Args:
        entries: the records of the folder, from `verify_many.collect`.
        folder: where checkpoints are looked for, beside the shipped ones.
        trust_imports: whether modules that configs name are imported; without it such configs are
            left alone and the records fail.
    """
    records = [entry.record for entry in entries if entry.record is not None]
    safe = [entry.record for entry in runnable(entries, trust_imports) if entry.record is not None]
    findings = [_schema(entries)]
    if not records:
        return findings
    files = {entry.record.id: entry.path.name for entry in entries if entry.record is not None}
    findings += [
        _each("config", safe, _config_complaint, "builds here and gives the record's label"),
        _each("id", safe, lambda r: _id_complaint(r, files[r.id]), "is that of what was run"),
        _each("numbers", records, _number_complaint, "agree with one another"),
        _each("code", records, _code_complaint, "was committed, all of it"),
        _commits(records),
        _each("versions", records, _version_complaint, "of machine and libraries are named"),
        _each("data", records, _data_complaint, "and calibration samples have fingerprints"),
        _checkpoints(records, folder),
        _controls(records),
        _seeds(records),
        _plug_ins(records),
        *_imports(records, trust_imports),
    ]
    return findings


def runnable(entries: Sequence[Entry], trust_imports: bool) -> list[Entry]:
    """Returns the entries whose configs import nothing of their own, or all where that is fine."""
    return [
        entry
        for entry in entries
        if trust_imports or entry.record is None or not imported(entry.record.config)
    ]


def verified(verdicts: Sequence[Verdict], of: int) -> Finding:
    """Returns the finding of `verify`; `of` says how many records there are."""
    bad = [f"{it.entry.path.name}: {it.sentence()}" for it in verdicts if not it.ok]
    if bad:
        return Finding("verify", "fail", _some(bad))
    return Finding(
        "verify", "pass", f"{len(verdicts)} of {counted(of, 'record')} ran again and agree"
    )


def _schema(entries: Sequence[Entry]) -> Finding:
    bad = [entry.reason for entry in entries if entry.record is None]
    if bad:
        return Finding("schema", "fail", _some(bad))
    ids = [entry.record.id for entry in entries if entry.record is not None]
    if len(set(ids)) < len(ids):
        return Finding("schema", "fail", "the same id in two files; keep one")
    return Finding("schema", "pass", f"{counted(len(entries), 'record')} can be read")


def _each(
    check: str,
    records: Sequence[RunRecord],
    complaint: Callable[[RunRecord], str],
    praise: str,
) -> Finding:
    by_text: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if text := complaint(record):
            by_text[text].append(record.id[:8])
    bad = [f"{_ids(ids)}: {text}" for text, ids in by_text.items()]
    return Finding(check, "fail" if bad else "pass", _some(bad) if bad else praise)


def _config(record: RunRecord) -> RunConfig:
    return resolve(record.config, origin=f"record {record.id}")


def _config_complaint(record: RunRecord) -> str:
    try:
        config = _config(record)
    except AdacalError as error:
        return str(error)
    asked = (config.method_name, config.label(), config.conversion.T, config.seed)
    if asked != (record.method, record.label, record.T, record.seed):
        return f"the config is that of {config.label()}, T={config.conversion.T}, not of the record"
    return ""


def _id_complaint(record: RunRecord, name: str) -> str:
    try:
        n_samples = _config(record).calibration.n_samples
    except AdacalError:
        return "cannot be worked out without the config"
    identity = record_id(
        task=record.task,
        data_fingerprint=record.data_fingerprint,
        model=record.model,
        checkpoint_sha256=record.checkpoint_sha256 or digest(record.config.get("model")),
        method=record.method,
        method_options=record.method_options,
        T=record.T,
        seed=record.seed,
        n_samples=n_samples,
    )
    if identity != record.id:
        return f"it should be {identity}; the record was changed by hand, or by other code"
    return "" if record.id in name else f"the file {name} is not named after it"


def _number_complaint(record: RunRecord) -> str:
    return "; ".join(complaints(record))


def _code_complaint(record: RunRecord) -> str:
    if not record.environment.commit:
        return "no git commit; run it from a checkout"
    return "made with changes that were not committed; commit, and run it again" * (
        record.environment.dirty
    )


def _version_complaint(record: RunRecord) -> str:
    environment = record.environment
    named = ("python", "torch", "numpy", "platform", "device", "processor")
    missing = [name for name in named if not getattr(environment, name)]
    return f"no {', '.join(missing)}" if missing else ""


def _data_complaint(record: RunRecord) -> str:
    if not record.data_fingerprint:
        return "no data fingerprint"
    return "" if record.calibration.indices_sha256 else "no hash of the calibration samples"


def _commits(records: Sequence[RunRecord]) -> Finding:
    commits = sorted({r.environment.commit for r in records if r.environment.commit})
    unknown = [commit[:10] for commit in commits if not commit_is_known(commit)]
    if unknown:
        text = f"not in this checkout's history: {', '.join(unknown)}; say where they are published"
        return Finding("commits", "note", text)
    return Finding("commits", "pass", f"in this history: {', '.join(c[:10] for c in commits)}")


def _checkpoints(records: Sequence[RunRecord], folder: Path) -> Finding:
    wanted = {record.checkpoint_sha256: f"{record.dataset} / {record.model}" for record in records}
    if "" in wanted:
        return Finding("checkpoint", "fail", f"no hash of the weights of {wanted['']}")
    there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in _weights(records, folder)}
    missing = [f"{place} ({sha[:10]})" for sha, place in wanted.items() if sha not in there]
    if missing:
        return Finding(
            "checkpoint", "fail", f"no file with these weights: {_some(missing)}; put it into "
            f"{folder / 'checkpoints'}",
        )  # fmt: skip
    return Finding(
        "checkpoint", "pass", f"the weights of {counted(len(wanted), 'network')} are there"
    )


def _weights(records: Sequence[RunRecord], folder: Path) -> Iterator[Path]:
    places = {folder, folder / "checkpoints", CHECKPOINT_FOLDER}
    for place in sorted(places):
        yield from (path for path in sorted(place.glob("*.safetensors")) if path.is_file())
    for name in sorted({str(r.config.get("model", {}).get("checkpoint") or "") for r in records}):
        for path in (Path(name), ROOT / name) if name else ():
            if path.is_file():
                yield path


def _network(record: RunRecord) -> tuple[str, ...]:
    return (record.task, record.dataset, record.model, record.checkpoint_sha256)


def _controls(records: Sequence[RunRecord]) -> Finding:
    """Beside converted networks stand their ANN and a quantised one: what spikes buy."""
    classes: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for record in records:
        classes[_network(record)].add(record.strictness)
    missing = [
        f"{dataset} / {model} has no {' and no '.join(lacking)}"
        for (_, dataset, model, _), found in sorted(classes.items())
        if (lacking := [_CONTROL_WORDS[kind] for kind in CONTROLS if kind not in found])
    ]
    if missing:
        return Finding("controls", "fail", f"{_some(missing)}; run them on the same network")
    return Finding("controls", "pass", "the ANN and a quantised ANN stand beside each network")


_CONTROL_WORDS = {"none": "ANN", "quantised": "quantised ANN"}


def _seeds(records: Sequence[RunRecord]) -> Finding:
    rows: dict[tuple[object, ...], set[int]] = defaultdict(set)
    for record in records:
        if record.strictness not in CONTROLS:
            rows[(*_network(record), record.label, record.T, record.calibration.samples)].add(
                record.seed
            )
    few = [
        f"{key[1]} / {key[2]} {key[4]} T={key[5]} has {len(seeds)}"
        for key, seeds in sorted(rows.items(), key=lambda item: str(item[0]))
        if len(seeds) < WANTED_SEEDS
    ]
    if few:
        text = f"fewer than {WANTED_SEEDS} seeds, so no spread: {_some(few)}"
        return Finding("seeds", "note", text)
    return Finding("seeds", "pass", f"at least {WANTED_SEEDS} a row")


def _plug_ins(records: Sequence[RunRecord]) -> Finding:
    """Older records do not say which plug-ins they used, so nobody knows that there were none."""
    found = _each("plug-ins", records, _plug_in_complaint, "none was used")
    if found.state == "fail":
        return found
    silent = sum(record.plug_ins is None for record in records)
    if silent:
        text = (
            f"{silent} of {counted(len(records), 'record')} are from before plug-ins were noted; "
            "run them again to have them named"
        )
        return Finding("plug-ins", "note", text)
    if any(record.plug_ins for record in records):
        return Finding("plug-ins", "pass", "can be installed by name, in that version")
    return found


def _plug_in_complaint(record: RunRecord) -> str:
    """What ran must be what others can install: a name of a registry, or a commit, and a version.

    A record from before plug-ins were noted has no complaint unless its config imports something.
    """
    named = {module for it in record.plug_ins or () for module in it.modules}
    wanted = {name.partition(".")[0] for name in imported(record.config)} - set(OWN)
    if missing := sorted(wanted - named):
        return (
            f"the config imports {', '.join(missing)}, which the record does not name; run it again"
        )
    found = {text: None for it in record.plug_ins or () if (text := _not_installable(it))}
    return "; ".join(found)


def _not_installable(plug_in: PlugIn) -> str:
    name, version = plug_in.name, plug_in.version
    cure = "publish it as a package, install that and run it again"
    if not version:
        return f"{name} has no version, it is part of no installed package; {cure}"
    if not _REGISTRY_NAME.fullmatch(name):
        return f"'{name}' is no name that a registry could have; {cure}"
    if "+" in version:  # PEP 440: local versions are for no registry
        return f"{name} {version} has a local version, which no registry takes; {cure}"
    if plug_in.source == LOCAL:
        return f"{name} {version} was installed from {LOCAL}, where nobody else finds it; {cure}"
    return ""


def _imports(records: Sequence[RunRecord], trusted: bool) -> Iterator[Finding]:
    """Importing is running: a stranger's config must not before somebody has read that code."""
    modules = sorted({name for record in records for name in imported(record.config)})
    if modules and trusted:
        yield Finding("imports", "note", f"{', '.join(modules)} were imported: code of the records")
    elif modules:
        text = (
            f"the configs import {', '.join(modules)}, and nothing was; read that code, then say "
            "--trust-imports"
        )
        yield Finding("imports", "fail", text)


def _ids(ids: Sequence[str]) -> str:
    more = len(ids) - MOST_NAMED
    return ", ".join(ids[:MOST_NAMED]) + (f" and {more} more records" if more > 0 else "")


def _some(texts: Iterable[str]) -> str:
    """Joins the first few and says how many more there are."""
    listed = list(texts)
    more = len(listed) - MOST_NAMED
    return "; ".join(listed[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def check_claims(entries: Sequence[Entry], folder: Path) -> Finding:
    """Returns whether the published rows that came along are sound; none is only noted."""
    claims = folder / "published"
    if not any(claims.glob("*.csv")):
        text = f"none in {claims}; if these numbers are printed somewhere, add them with the source"
        return Finding("claims", "note", text)
    rows, wrong = read_published(claims)
    if wrong:
        return Finding("claims", "fail", _some(wrong))
    met = sum(entry.ours is not None for _, found in compared(entries, folder) for entry in found)
    text = f"{counted(len(rows), 'published row')}, {met} of them beside a measured one"
    return Finding("claims", "pass" if met else "note", text)


def compared(entries: Sequence[Entry], folder: Path) -> list[tuple[Board, list[Beside]]]:
    """Returns the boards of the records with the published rows that came along beside them."""
    records = [entry.record for entry in entries if entry.record is not None]
    claims = folder / "published"
    if not records or not any(claims.glob("*.csv")):
        return []
    rows, names = read_published(claims)[0], read_names(claims)
    return [(board, beside(board, rows, names)) for board in boards(records, Ranking())]
