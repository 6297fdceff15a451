"""`adacal fronts`: energy-accuracy fronts and a contest. Heavy modules are imported inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from adacal.suite.cli_base import EXIT_FAILED, examples, shared_options


@click.command(
    epilog=examples(
        "adacal fronts --dataset mnist_photos",
        "adacal fronts --ours dcgs --max-T 8",
        "adacal fronts --write",
    )
)
@click.option("--ours", default="rate_distortion", show_default=True, help="Who is challenged.")
@click.option(
    "--reference", default="snn_calibration_light", show_default=True,
    help="The row name whose energy at equal accuracy counts as 1.",
)  # fmt: skip
@click.option(
    "--max-T", "max_steps", type=int, default=4, show_default=True,
    help="Rows of more steps stay out.",
)  # fmt: skip
@click.option(
    "--tolerance", type=float, default=0.2, show_default=True,
    help="Loss against the reference that still counts as equal, points.",
)  # fmt: skip
@click.option(
    "--aim", type=float, default=0.4, show_default=True,
    help="Energy at equal accuracy to reach, × REFERENCE.",
)  # fmt: skip
@click.option("--dataset", multiple=True, help="Only this dataset (repeatable, as the next).")
@click.option("--model", multiple=True, help="Only this model.")
@click.option(
    "--write", is_flag=True, help="Write RESULTS/fronts: Markdown, LaTeX, HTML, pictures."
)
@click.option("--check", is_flag=True, help="Fail unless the written files fit the records.")
@shared_options("results")
@click.pass_context
def fronts(
    ctx: click.Context,
    ours: str,
    reference: str,
    max_steps: int,
    tolerance: float,
    aim: float,
    dataset: Sequence[str],
    model: Sequence[str],
    write: bool,
    check: bool,
    results: Path,
) -> None:
    """Say which rows no other beats in energy and accuracy, and who beats OURS.

    Three readings of the energy: every spike counted, a burst counted once, memory added.
    """
    from adacal.suite import fronts_tables, fronts_words
    from adacal.suite.console_records import show_grid
    from adacal.suite.fronts import Contest
    from adacal.suite.ranking import Filters
    from adacal.suite.store import RecordStore

    store = RecordStore(results)
    records, warnings = store.read_all()
    for warning in warnings:
        click.echo(warning, err=True)
    contest = Contest(
        ours=ours, reference=reference, max_steps=max_steps, tolerance=tolerance, aim=aim
    )
    folder = store.results / "fronts"
    if check:
        wrong = fronts_tables.check_files(records, contest, folder)
        for sentence in wrong:
            click.echo(sentence, err=True)
        if wrong:
            ctx.exit(EXIT_FAILED)
        click.echo(f"{folder} is what the records give")
        return
    found = fronts_tables.all_fronts(records, contest, Filters(dataset=dataset, model=model))
    show_grid(fronts_words.summary(found, contest), f"{ours} at T ≤ {max_steps}")
    contested = [each for each in found if each.verdicts]
    if contested:
        show_grid(fronts_words.aim_grid(contested, contest), "the aim")
    if write:
        store.prepare()
        for path in fronts_tables.write_files(records, contest, folder):
            click.echo(f"wrote {path}", err=True)
