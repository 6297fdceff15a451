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
    from adacal.suite.verify import Verification


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


def plain(value: float | str | None) -> str:
    """Returns a value as tables of records show it."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.6g}"
