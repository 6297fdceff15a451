"""`adacal verify`, `diff` and `submit-check`. Heavy modules are imported inside commands."""

from __future__ import annotations

from pathlib import Path

import click

from adacal.suite.cli_base import EXIT_FAILED, examples, shared_options


@click.command(epilog=examples("adacal verify 3f2a"))
@click.argument("record")
@shared_options("device", "threads", "results")
@click.pass_context
def verify(
    ctx: click.Context, record: str, device: str, threads: int | None, results: Path
) -> None:
    """Run a RECORD again and compare the numbers; the exit code is 1 if they differ."""
    from adacal.suite import console, console_records
    from adacal.suite.session import pick_device
    from adacal.suite.store import RecordStore
    from adacal.suite.verify import verify as verify_record

    found, path = RecordStore(results).find(record)
    with console.progress_bars() as bars:
        outcome = verify_record(found, pick_device(device), threads, bars.stage(found.label))
    console_records.show_verification(outcome, path)
    if not outcome.ok:
        ctx.exit(EXIT_FAILED)


COMMANDS = (verify,)
