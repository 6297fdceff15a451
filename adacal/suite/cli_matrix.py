"""The command that runs a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adacal.suite.cli_base import EXIT_FAILED, SpreadOverrides, examples, shared_options

if TYPE_CHECKING:
    from adacal.suite.matrix import Cell
    from adacal.suite.store import RecordStore


@click.command(
    cls=SpreadOverrides,
    epilog=examples(
        "adacal matrix smoke --dry-run",
        "adacal matrix embedded --workers 2",
        "adacal matrix my_matrix.py --results /tmp/results --cfg-options T=[4] seeds=[0]",
        "adacal matrix my_matrix.py --executor ray --ray-address auto --threads 4",
    ),
)
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Print the cells and how long they take, and stop.")
@click.option(
    "--executor", type=click.Choice(["in-process", "process", "ray"]),
    help="Where cells are computed: in this process (default), in several of this machine, on Ray.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(min=1),
    help="How many cells at a time; more than one is --executor process. Without it: one a GPU, "
    "or one for every 4 cores.",
)  # fmt: skip
@click.option(
    "--ray-address", metavar="ADDRESS",
    help="A Ray cluster that runs, host:port or auto; without it Ray is started here.",
)  # fmt: skip
@shared_options("cfg", "device", "threads", "results")
@click.pass_context
def matrix(
    ctx: click.Context,
    file: str,
    dry_run: bool,
    executor: str | None,
    workers: int | None,
    ray_address: str | None,
    overrides: Sequence[str],
    device: str,
    threads: int | None,
    results: Path,
) -> None:
    """Run a matrix FILE (a path, or a name below benchmarks/): what is recorded is skipped.

    Ctrl-C loses nothing but the cells under way; the same command goes on. Two matrices may share
    RESULTS: a cell that one computes is left to it. A cell that fails is noted in RESULTS/failed
    and the rest goes on; the exit code is then 1. A file in RESULTS/records that is no record is
    moved to RESULTS/quarantine. Matrix files are code: run only those you trust.

    A run begins with how many cells of each task and model are recorded and how long the others
    take, estimated from wall times of the same cells with another seed, or another T, recorded on
    this processor. --dry-run says it of every cell. To know which cells cannot run it reads all
    datasets and builds all ANNs, which takes a while: a run itself does not judge so far ahead.
    """
    from adacal.suite import console, console_matrix
    from adacal.suite import matrix as matrices
    from adacal.suite.cli_boards import finish
    from adacal.suite.dispatch import run_matrix
    from adacal.suite.executors import make_executor
    from adacal.suite.store import RecordStore

    cells = matrices.load_matrix(file, overrides)
    store = RecordStore(results)
    chosen = make_executor(executor, workers, device, threads, ray_address)
    if dry_run:
        if not _show_plan(cells, store, device, chosen.workers):
            ctx.exit(EXIT_FAILED)
        return
    click.echo(_forecast(cells, store, device, chosen.workers), err=True)
    with console.progress_bars() as bars:
        outcome = run_matrix(cells, store, chosen, bars.listener(len(cells)))
    console_matrix.show_outcome(outcome, store)
    if outcome.done or outcome.skipped:
        finish(store)
    if outcome.failed:
        ctx.exit(EXIT_FAILED)


def _show_plan(cells: Sequence[Cell], store: RecordStore, device: str, workers: int) -> bool:
    """Prints what would happen; says whether every cell can run."""
    from adacal.suite import console_matrix, environment
    from adacal.suite.dispatch import plan
    from adacal.suite.estimate import estimate
    from adacal.suite.session import Session, pick_device

    place = pick_device(device)
    planned = plan(cells, store, Session(device=place))
    to_run = [cell for cell, state in planned if state == "to run"]
    records, warnings = store.read_all()
    for warning in warnings:
        click.echo(warning, err=True)
    estimated = estimate(to_run, records, environment.capture(place))
    console_matrix.show_plan(planned, estimated, workers)
    return not any(state.startswith("cannot run") for _, state in planned)


def _forecast(cells: Sequence[Cell], store: RecordStore, device: str, workers: int) -> str:
    """Says what a matrix will do and how long that takes; reads records and weights, no data."""
    from adacal.suite import environment
    from adacal.suite.console_matrix import forecast
    from adacal.suite.estimate import estimate, not_recorded
    from adacal.suite.session import pick_device

    records, _ = store.read_all()
    to_run = not_recorded(cells, records)
    here = environment.capture(pick_device(device))
    return forecast(cells, to_run, estimate(to_run, records, here), workers)
