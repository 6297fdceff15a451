"""`adacal report`: the page of a results folder."""

from __future__ import annotations

from pathlib import Path

import click

from adacal.suite.cli_base import examples, shared_options


@click.command(
    epilog=examples("adacal report", "adacal report --results /tmp/results --out page.html")
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; RESULTS/report.html without it.",
)  # fmt: skip
@shared_options("results")
def report(out: Path | None, results: Path) -> None:
    """Write one HTML page of all records: tables, curves, layers, provenance.

    The page opens from the file system and asks the network for nothing.
    """
    from adacal.suite.report import write_report

    written = write_report(results, out or results / "report.html")
    for note in written.notes:
        click.echo(note, err=True)
    click.echo(f"wrote {written.path} ({written.size_bytes / 1e6:.2f} MB)")
