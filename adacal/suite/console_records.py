"""What the commands about records and published numbers print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from adacal.suite.console import output
from adacal.suite.markup import Grid

if TYPE_CHECKING:
    from adacal.suite.diff import Effect, RecordDiff
    from adacal.suite.records import RunRecord
    from adacal.suite.submission import Finding
    from adacal.suite.verify import Verification
    from adacal.suite.verify_many import Entry


def show_grid(grid: Grid, title: str, styles: Sequence[str] = ()) -> None:
    """Prints a table with its notes; `styles` has one a row."""
    table = Table(title=escape(title), title_justify="left")
    for head, left in zip(grid.heads, grid.left, strict=True):
        table.add_column(escape(head), justify="left" if left else "right", overflow="fold")
    for number, row in enumerate(grid.cells):
        style = styles[number] if styles else ""
        table.add_row(*map(escape, row), style=style)
    console = output()
    console.print(table)
    for note in grid.notes:
        console.print(note, soft_wrap=True, markup=False)


def show_verification(outcome: Verification, path: Path) -> None:
    """Prints the comparison of a record with its second run."""
    cells = [
        [entry.quantity, plain(entry.recorded), plain(entry.measured), entry.allowed,
         "ok" if entry.ok else "differs"]
        for entry in outcome.comparisons
    ]  # fmt: skip
    grid = Grid(
        heads=["quantity", "recorded", "now", "may differ by", ""],
        left=[True, False, False, False, True],
        cells=cells,
        notes=[
            outcome.explanation,
            "verified" if outcome.ok else "not verified: the marked numbers differ",
        ],
    )
    styles = ["" if entry.ok else "bold red" for entry in outcome.comparisons]
    show_grid(grid, f"verify {path.name}", styles)


def show_diff(first: RunRecord, second: RunRecord, found: RecordDiff) -> None:
    """Prints what differs between two records and what that did to the numbers."""
    console = output()
    for title, record in (("first", first), ("second", second)):
        steps = f", T={record.T}" if record.uses_T else ""
        console.print(
            f"{title:7} {record.id} {record.dataset} / {record.model}: {record.label}{steps}, "
            f"seed {record.seed}, {record.created}",
            markup=False,
            soft_wrap=True,
        )
    if found.causes:
        causes = Grid(
            heads=["", "what", "first", "second"],
            left=[True] * 4,
            cells=[[cause.kind, cause.what, cause.first, cause.second] for cause in found.causes],
        )
        show_grid(causes, "what is not the same")
    show_grid(_effects(found.effects, found.notes), "what came out")
    if found.layers:
        show_grid(_effects(found.layers), "SOPs of the layers that moved most")


def _effects(effects: Sequence[Effect], notes: Sequence[str] = ()) -> Grid:
    cells = []
    for effect in effects:
        change = effect.difference
        cells.append(
            [
                effect.quantity,
                _count(effect.first),
                _count(effect.second),
                "=" if change == 0 else ("–" if change is None else f"{change:+,.5g}"),
                "–" if effect.ratio is None or change == 0 else f"{effect.ratio:.3f}",
            ]
        )
    heads = ["", "first", "second", "second - first", "second / first"]
    return Grid(heads=heads, left=[True, *[False] * 4], cells=cells, notes=notes)


def show_findings(findings: Sequence[Finding], title: str) -> None:
    """Prints the checks of a submission and what comes of them."""
    fails = sum(finding.state == "fail" for finding in findings)
    verdict = f"{fails} of {len(findings)} checks failed" if fails else "nothing failed"
    grid = Grid(
        heads=["check", "", "what"],
        left=[True] * 3,
        cells=[[finding.check, finding.state, finding.what] for finding in findings],
        notes=[verdict],
    )
    styles = {"fail": "bold red", "note": "yellow", "pass": ""}
    show_grid(grid, title, [styles[finding.state] for finding in findings])


def show_claims(entries: Sequence[Entry], folder: Path) -> None:
    """Prints the published claims of a submission beside its measured rows."""
    from adacal.suite.published_tables import beside_grid
    from adacal.suite.submission import compared

    for board, found in compared(entries, folder):
        if found:
            show_grid(beside_grid(board, found), f"claimed and measured: {board.title}")


def _count(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.5g}"


def plain(value: float | str | None) -> str:
    """Returns a value as tables of records show it."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.6g}"
