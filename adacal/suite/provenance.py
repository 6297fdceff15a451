"""Where numbers come from, said in sentences: machines, versions, commits."""

from __future__ import annotations

from collections.abc import Sequence

from adacal.suite.environment import Environment
from adacal.suite.records import RunRecord


def place(environment: Environment) -> str:
    """Returns machine, threads and versions in words."""
    threads = "1 thread" if environment.threads == 1 else f"{environment.threads} threads"
    return (
        f"{environment.accelerator or environment.processor}, {threads}, "
        f"torch {environment.torch}, Python {environment.python}"
    )


def measured_on(records: Sequence[RunRecord]) -> str:
    """Says where records were measured, by which code, and what does not compare.

    >>> measured_on([])
    ''
    """
    if not records:
        return ""
    places = sorted({place(record.environment) for record in records})
    commits = sorted({record.environment.commit[:10] or "no commit" for record in records})
    changed = sum(record.environment.dirty for record in records)
    text = f"Measured on {'; and on '.join(places)}; code at {', '.join(commits)}"
    if changed:
        text += f" ({changed} of {len(records)} records with changes not committed then)"
    brought = sorted({it.words() for record in records for it in record.plug_ins or ()})
    if brought:
        text += f"; with plug-ins {'; '.join(brought)}"
    text += "."
    if len(places) > 1:
        text += " Wall times of different machines or threads do not compare."
    return text
