"""What `adacal matrix` prints: the plan with its estimate, and what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adacal.suite.console import output
from adacal.suite.dispatch import Outcome
from adacal.suite.estimate import Estimate, duration
from adacal.suite.matrix import Cell
from adacal.suite.session import share_key
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
        console.print(f"{state:10} {cell.name}{time}", markup=False, soft_wrap=True)
    states = [state for _, state in planned]
    console.print(
        f"{len(states)} cells: {states.count('to run')} to run, "
        f"{states.count('recorded')} recorded, "
        f"{sum(state.startswith('cannot') for state in states)} that cannot run"
    )
    to_run = [cell for cell, state in planned if state == "to run"]
    console.print(shares(to_run), markup=False, soft_wrap=True)
    console.print(estimated.sentence(workers or 1), markup=False, soft_wrap=True)


def shares(cells: Sequence[Cell]) -> str:
    """Says what cells will share."""
    sizes = Counter(share_key(cell.config) for cell in cells)
    if not sizes:
        return "shared: nothing, as no cell is to run"
    return (
        f"shared: {len(cells)} cells have {len(sizes)} pairs of dataset and ANN, each built and "
        "its ANN evaluated once a worker; calibration samples are drawn once a seed; each record "
        "says what it shared"
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
