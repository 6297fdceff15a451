"""`adacal verify`, `diff` and `submit-check`. Heavy modules are imported inside commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adacal.suite.cli_base import EXIT_FAILED, examples, shared_options

if TYPE_CHECKING:
    from adacal.suite.store import RecordStore
    from adacal.suite.verify_many import Entry, Verdict

_SAMPLE = click.option(
    "--sample", type=click.IntRange(min=1), metavar="N",
    help="Only N records, drawn by --sample-seed.",
)  # fmt: skip
_SAMPLE_SEED = click.option(
    "--sample-seed", type=int, default=0, show_default=True, help="Which N records are drawn."
)


@click.command(
    epilog=examples(
        "adacal verify 3f2a",
        "adacal verify results --sample 10",
        "adacal verify 3f2a 9b1c /tmp/results --sample-seed 7 --sample 5",
    )
)
@click.argument("records", nargs=-1, required=True, metavar="RECORD…")
@_SAMPLE
@_SAMPLE_SEED
@shared_options("device", "threads", "results")
@click.pass_context
def verify(
    ctx: click.Context,
    records: Sequence[str],
    sample: int | None,
    sample_seed: int,
    device: str,
    threads: int | None,
    results: Path,
) -> None:
    """Run RECORDs (paths, first digits of ids, folders) again and compare the numbers.

    The exit code is 1 if any differs or cannot be run. One record is shown number by number.
    """
    from adacal.suite.session import pick_device
    from adacal.suite.store import RecordStore
    from adacal.suite.verify_many import collect, draw

    store = RecordStore(results)
    chosen = pick_device(device)
    if len(records) == 1 and not Path(records[0]).is_dir():
        _verify_one(ctx, store, records[0], chosen, threads)
        return
    entries = draw(collect(records, store), sample, sample_seed)
    verdicts = _verify_all(entries, chosen, threads)
    bad = sum(not verdict.ok for verdict in verdicts)
    click.echo(f"{len(verdicts) - bad} of {len(verdicts)} records verified")
    if bad:
        ctx.exit(EXIT_FAILED)


def _verify_one(
    ctx: click.Context, store: RecordStore, name: str, device: str, threads: int | None
) -> None:
    from adacal.suite import console, console_records
    from adacal.suite.verify import verify as verify_record

    found, path = store.find(name)
    with console.progress_bars() as bars:
        outcome = verify_record(found, device, threads, bars.stage(found.label))
    console_records.show_verification(outcome, path)
    if not outcome.ok:
        ctx.exit(EXIT_FAILED)


def _verify_all(entries: Sequence[Entry], device: str, threads: int | None) -> list[Verdict]:
    """Verifies with a bar on stderr and prints each verdict as soon as it is known."""
    from adacal.suite import console
    from adacal.suite.verify_many import verify_many

    verdicts = []
    with console.progress_bars() as bars:
        total = len(entries)

        def watch(position: int, entry: Entry) -> console.Progress:
            return bars.stage(f"{position + 1} of {total}: {entry.path.name}")

        for verdict in verify_many(entries, device, threads, watch):
            verdicts.append(verdict)
            click.echo(f"{verdict.entry.path.name}: {verdict.sentence()}")
    return verdicts


@click.command(
    epilog=examples("adacal diff 3f2a 9b1c", "adacal diff old/records/a.json new/records/b.json")
)
@click.argument("first")
@click.argument("second")
@shared_options("results")
def diff(first: str, second: str, results: Path) -> None:
    """Compare two records (paths, or first digits of ids): what differs, and the numbers.

    Config, code, plug-ins, data, checkpoint, machine and versions first, then what came out.
    Nothing is run.
    """
    from adacal.suite import console_records
    from adacal.suite.diff import diff as compare
    from adacal.suite.store import RecordStore

    store = RecordStore(results)
    (own, _), (other, _) = store.find(first), store.find(second)
    console_records.show_diff(own, other, compare(own, other))


@click.command(
    name="submit-check",
    epilog=examples(
        "adacal submit-check my_results --no-verify", "adacal submit-check my_results --sample 5"
    ),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--no-verify", is_flag=True, help="Run nothing again.")
@click.option("--trust-imports", is_flag=True, help="Import the modules that configs name.")
@_SAMPLE
@_SAMPLE_SEED
@shared_options("device", "threads")
@click.pass_context
def submit_check(
    ctx: click.Context,
    folder: Path,
    no_verify: bool,
    trust_imports: bool,
    sample: int | None,
    sample_seed: int,
    device: str,
    threads: int | None,
) -> None:
    """Say whether the records of a results FOLDER can enter the leaderboards, and what they lack.

    Schema, ids, numbers, code, versions, data, weights, controls, plug-ins, published claims; then
    the records are run again. The exit code is 1 if anything fails; notes are for the reviewer.
    """
    from adacal.core.errors import DataError
    from adacal.suite import console_records
    from adacal.suite.labels import counted
    from adacal.suite.session import pick_device
    from adacal.suite.store import RecordStore
    from adacal.suite.submission import (
        Finding,
        check_claims,
        check_submission,
        runnable,
        verified,
    )
    from adacal.suite.verify_many import collect, draw

    if not folder.is_dir():
        raise DataError(f"no folder {folder}; name a results folder")
    entries = collect([str(folder)], RecordStore(folder))
    whole = sum(entry.record is not None for entry in entries)
    findings = check_submission(entries, folder, trust_imports)
    findings.append(check_claims(entries, folder))
    if no_verify:
        findings.append(Finding("verify", "note", "not run (--no-verify)"))
    else:
        drawn = draw(runnable(entries, trust_imports), sample, sample_seed)
        verdicts = _verify_all(drawn, pick_device(device), threads)
        findings.append(verified(verdicts, whole))
    others = len(entries) - whole
    also = f", {counted(others, 'file')} without one" if others else ""
    console_records.show_findings(findings, f"{folder}: {counted(whole, 'record')}{also}")
    console_records.show_claims(entries, folder)
    if any(finding.state == "fail" for finding in findings):
        ctx.exit(EXIT_FAILED)


COMMANDS = (verify, diff, submit_check)
