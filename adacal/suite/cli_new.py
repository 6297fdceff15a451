"""`adacal new`: the first draft of a method, dataset or task."""

from __future__ import annotations

from pathlib import Path

import click

from adacal.suite.cli_base import examples, shared_options


@click.command(
    epilog=examples(
        "adacal new method my_method",
        "adacal new task my_task --folder my_plugin && pip install ./my_plugin",
    )
)
@click.argument("kind", type=click.Choice(["method", "dataset", "task"]))
@click.argument("name")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path),
    help="Write a package there that can be installed, instead of files of the checkout.",
)  # fmt: skip
@shared_options()
def new(kind: str, name: str, folder: Path | None) -> None:
    """Write a METHOD, DATASET or TASK that runs as it is, to be changed into your own.

    An adacal that was installed from a checkout (pip install -e) writes into that checkout, where
    their kind lives, from whatever folder it is called. Any other, or with --folder, writes a
    package that adacal finds once it is installed. docs/how-to explains each line.
    """
    from adacal.suite.scaffold import start

    started = start(kind, name, folder)
    for path in started.paths:
        click.echo(f"wrote {path}")
    click.echo(started.hint)
