"""What `adacal matrix` prints: the plan with its estimate, and what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adacal.suite.console import output
from adacal.suite.dispatch import Outcome
from adacal.suite.estimate import Estimate, duration
from adacal.suite.labels import counted
from adacal.suite.matrix import Cell
from adacal.suite.session import pair_key, share_key
from adacal.suite.store import RecordStore


def show_plan(
    planned: Sequence[tuple[Cell, str]], estimated: Estimate, workers: int | None
) -> None:
    """Prints the cells of a matrix, what would happen to each and how long it would take.

    Args:
        planned: cells and their states, as `dispatch.plan` returns them.
        estimated: of the cells whose state is `to run`, in order.
        workers: how many compute at the same time; None if a cluster decides.
    """
    console = output()
    seconds = iter(estimated.cells)
    for cell, state in planned:
        time = ""
        if state == "to run":
            known = next(seconds)
            time = "  unknown" if known is None else f"  about {duration(known)}"
        word, _, reason = state.partition(": ")
        line = f"{word:10} {cell.name}{f': {reason}' if reason else time}"
        console.print(line, markup=False, soft_wrap=True)
    states = [state for _, state in planned]
    failing = sum(state.startswith("cannot") for state in states)
    console.print(
        f"{counted(len(states), 'cell')}: {states.count('to run')} to run, "
        f"{states.count('recorded')} recorded, {failing} that cannot run"
    )
    to_run = [cell for cell, state in planned if state == "to run"]
    if failing and not to_run:
        console.print("nothing can be computed: of the cells not recorded none can run")
        return
    console.print(shares(to_run), markup=False, soft_wrap=True)
    console.print(estimated.sentence(workers or 1), markup=False, soft_wrap=True)


def forecast(
    cells: Sequence[Cell], to_run: Sequence[Cell], estimated: Estimate, workers: int | None
) -> str:
    """Returns what a run is about to do: a line a network, then all cells and their time.

    Args:
        cells: of the matrix.
        to_run: those of them that have no record.
        estimated: of `to_run`.
        workers: how many compute at the same time; None if a cluster decides.
    """
    whole = Counter(cell.network for cell in cells)
    open_cells = Counter(cell.network for cell in to_run)
    width = max(map(len, whole), default=0)
    lines = [
        f"{network:{width}}  {counted(count, 'cell')}: {count - open_cells[network]} recorded, "
        f"{open_cells[network]} to run"
        for network, count in whole.items()
    ]
    total = f"{counted(len(cells), 'cell')}, {len(to_run)} to run"
    return "\n".join([*lines, f"{total}; {estimated.sentence(workers or 1)}"])


def shares(cells: Sequence[Cell]) -> str:
    """Says what cells will share."""
    built = {share_key(cell.config) for cell in cells}
    pairs = {pair_key(cell.config) for cell in cells}
    if not built:
        return "shared: nothing, as no cell is to run"
    streams = ""
    if len(built) > len(pairs):
        streams = f" (streams once for each T, whose inputs differ: {len(built)} in all)"
    return (
        f"shared: {counted(len(cells), 'cell')} with {counted(len(pairs), 'pair')} of dataset and "
        f"ANN, each built and its ANN evaluated once a worker{streams}; calibration samples are "
        "drawn once a seed; each record says what it shared"
    )


def show_outcome(outcome: Outcome, store: RecordStore) -> None:
    """Prints what a matrix did; failures with their reasons."""
    console = output()
    for failure in outcome.failed:
        console.print(
            f"failed: {failure.cell.name}: {failure.reason}", markup=False, soft_wrap=True
        )
    console.print(
        f"{len(outcome.done)} cells run, {len(outcome.skipped)} recorded before, "
        f"{len(outcome.failed)} failed; records in {store.folder}",
        markup=False,
        soft_wrap=True,
    )
    if outcome.failed:
        console.print(f"reasons in {store.failed_folder}", markup=False, soft_wrap=True)
