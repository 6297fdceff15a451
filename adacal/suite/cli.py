"""The `adacal` command. Heavy modules are imported inside commands: `--help` must be quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adacal.suite.cli_base import (
    EXIT_FAILED,
    OneSentence,
    SpreadOverrides,
    examples,
    shared_options,
)
from adacal.suite.cli_matrix import matrix

if TYPE_CHECKING:
    from adacal.suite.leaderboard import Board, Filters, Ranking
    from adacal.suite.store import RecordStore


@click.group(
    cls=OneSentence,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "adacal list",
        "adacal run classification2d/mnist5k_resnet20_light",
        "adacal matrix embedded",
        "adacal leaderboard --by energy",
    ),
)
@click.version_option(package_name="adacal")
@shared_options()
def main() -> None:
    """Convert trained networks into spiking ones and measure what that costs and saves."""


@main.command(
    cls=SpreadOverrides,
    epilog=examples(
        "adacal run classification2d/mnist5k_resnet20_light",
        "adacal run classification2d/mnist5k_resnet20_light --cfg-options conversion.T=8 seed=1",
        "adacal run my_config.py --device cuda --results /tmp/results",
    ),
)
@click.argument("config")
@shared_options("cfg", "device", "threads", "results")
def run(
    config: str, overrides: Sequence[str], device: str, threads: int | None, results: Path
) -> None:
    """Run one CONFIG (a path or a shipped name) and write its record.

    Configs are code: python files that are executed. Run only those you trust.
    """
    from adacal.suite import config as configs
    from adacal.suite import console
    from adacal.suite.runner import run as run_config
    from adacal.suite.session import pick_device

    loaded = configs.load(config, overrides)
    store = _store(results)
    with console.progress_bars() as bars:
        record = run_config(loaded, store, pick_device(device), threads, bars.stage(loaded.label()))
    _, path = store.find(record.id)
    console.show_summary(record, path)


@main.command(
    epilog=examples(
        "adacal leaderboard --dataset mnist5k --by energy --max-drop 0.2",
        "adacal leaderboard --energy-model memory --format csv > table.csv",
        "adacal leaderboard --write --plot",
    )
)
@click.option(
    "--by", type=click.Choice(["accuracy", "energy", "pareto"]), default="accuracy",
    show_default=True, help="What ranks: accuracy, energy at equal accuracy, or the Pareto front.",
)  # fmt: skip
@click.option(
    "--energy-model", type=click.Choice(["per_spike", "per_event", "memory", "reference"]),
    default="per_spike", show_default=True, help="Which reading of the energy counts.",
)  # fmt: skip
@click.option("--max-energy", type=float, help="Rank rows of at most this many µJ a sample.")
@click.option(
    "--max-drop", type=float, default=0.5, show_default=True,
    help="With --by energy: rank rows that lose at most this much against the ANN.",
)  # fmt: skip
@click.option("--task", multiple=True, help="Only this task (repeatable, as the next four).")
@click.option("--dataset", multiple=True, help="Only this dataset.")
@click.option("--model", multiple=True, help="Only this model.")
@click.option("--method", multiple=True, help="Only this method or label.")
@click.option("--T", "steps", type=int, multiple=True, help="Only this number of steps.")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "md", "csv"]), default="terminal",
    show_default=True, help="What to print.",
)  # fmt: skip
@click.option("--write", is_flag=True, help="Write the tables to RESULTS/leaderboards.")
@click.option("--plot", is_flag=True, help="Draw accuracy against energy there, too.")
@click.option("--check", is_flag=True, help="Fail unless the written tables fit the records.")
@shared_options("results")
def leaderboard(
    by: str,
    energy_model: str,
    max_energy: float | None,
    max_drop: float,
    task: Sequence[str],
    dataset: Sequence[str],
    model: Sequence[str],
    method: Sequence[str],
    steps: Sequence[int],
    form: str,
    write: bool,
    plot: bool,
    check: bool,
    results: Path,
) -> None:
    """Rank what is recorded."""
    from adacal.suite.leaderboard import Filters, Ranking

    filters = Filters(task=task, dataset=dataset, model=model, method=method, T=steps)
    ranking = Ranking(
        by=by,  # type: ignore[arg-type]
        energy_model=energy_model,
        max_energy_uj=max_energy,
        max_drop=max_drop,
    )
    _leaderboard(_store(results), ranking, filters, form, write, plot, check)


@main.command(name="list", epilog=examples("adacal list", "adacal list methods"))
@click.argument(
    "what", required=False,
    type=click.Choice(["tasks", "models", "methods", "datasets", "configs", "matrices"]),
)  # fmt: skip
@shared_options()
def list_names(what: str | None) -> None:
    """Name the tasks, models, methods, datasets, configs and matrices there are."""
    from adacal.suite import console

    console.show_names(what)


@main.command(
    epilog=examples(
        "adacal show 3f2a",
        "adacal show results/records/mnist5k-resnet20-burst-T4-s0-0123456789abcdef.json",
        "adacal show 3f2a --pictures --samples 8",
    )
)
@click.argument("record")
@click.option("--pictures", is_flag=True, help="Convert again and draw some test samples.")
@click.option("--samples", default=6, show_default=True, help="How many samples to draw.")
@shared_options("device", "threads", "results")
def show(
    record: str, pictures: bool, samples: int, device: str, threads: int | None, results: Path
) -> None:
    """Explain one RECORD (a path, or the first digits of its id) layer by layer."""
    from adacal.suite import console

    store = _store(results)
    found, path = store.find(record)
    console.show_record(found, path)
    if not pictures:
        return
    from adacal.suite.pictures import draw_record
    from adacal.suite.session import pick_device

    with console.progress_bars() as bars:
        drawn = draw_record(
            found,
            store.results / "pictures",
            samples=samples,
            device=pick_device(device),
            threads=threads,
            progress=bars.stage(found.label),
        )
    click.echo(f"wrote {drawn}")


@main.command(
    cls=SpreadOverrides,
    epilog=examples(
        "adacal train classification2d/mnist5k_resnet20_light --overwrite",
        "adacal train classification2d/mnist5k_resnet20_light --cfg-options schedule.epochs=3"
        " model.checkpoint=/tmp/mine.safetensors",
    ),
)
@click.argument("config")
@click.option("--overwrite", is_flag=True, help="Replace a trained network that is there already.")
@shared_options("cfg", "device", "threads")
def train(
    config: str, overwrite: bool, overrides: Sequence[str], device: str, threads: int | None
) -> None:
    """Train the network of a CONFIG by its schedule and write its checkpoint.

    A network that is there is kept, since its records could not be verified without it.
    """
    from adacal.suite import config as configs
    from adacal.suite import console
    from adacal.suite.session import build_task, pick_device, thread_limit

    loaded = configs.load(config, overrides)
    task = build_task(loaded)
    with thread_limit(threads):
        result = task.train(
            console.training_log(),
            seed=loaded.seed,
            device=pick_device(device),
            overwrite=overwrite,
        )
    console.show_training(result)


@main.command(epilog=examples("adacal verify 3f2a"))
@click.argument("record")
@shared_options("device", "threads", "results")
@click.pass_context
def verify(
    ctx: click.Context, record: str, device: str, threads: int | None, results: Path
) -> None:
    """Run a RECORD again and compare the numbers; the exit code is 1 if they differ."""
    from adacal.suite import console
    from adacal.suite.session import pick_device
    from adacal.suite.verify import verify as verify_record

    found, path = _store(results).find(record)
    with console.progress_bars() as bars:
        outcome = verify_record(found, pick_device(device), threads, bars.stage(found.label))
    console.show_verification(outcome, path)
    if not outcome.ok:
        ctx.exit(EXIT_FAILED)


def _store(results: Path) -> RecordStore:
    from adacal.suite.store import RecordStore

    return RecordStore(results)


def _boards(store: RecordStore, ranking: Ranking, filters: Filters) -> list[Board]:
    from adacal.suite.leaderboard import boards

    records, warnings = store.read_all()
    for warning in warnings:
        click.echo(warning, err=True)
    return boards(records, ranking, filters)


def _leaderboard(
    store: RecordStore,
    ranking: Ranking,
    filters: Filters,
    form: str,
    write: bool,
    plot: bool,
    check: bool,
) -> None:
    from adacal.suite import console, tables

    found = _boards(store, ranking, filters)
    folder = store.results / "leaderboards"
    if check:
        wrong = tables.check_files(store.read_all()[0], folder)
        for sentence in wrong:
            click.echo(sentence, err=True)
        if wrong:
            raise click.exceptions.Exit(EXIT_FAILED)
        click.echo(f"{folder} is what the records give")
        return
    if write or plot:
        store.prepare()
    paths = tables.write_files(store.read_all()[0], folder) if write else []
    if plot:
        from adacal.suite.plots import write_plots

        paths += write_plots(found, folder)
    if form == "terminal":
        console.show_boards(found, str(store.results))
    for board in found if form != "terminal" else []:
        text = tables.csv(board) if form == "csv" else tables.markdown(board, str(store.results))
        click.echo(text if form == "csv" else f"## {board.title}\n\n{text}")
    for path in paths:
        click.echo(f"wrote {path}", err=True)


main.add_command(matrix)


def entry() -> None:
    """Runs the command line; what `adacal` starts."""
    try:
        main(prog_name="adacal")
    except BrokenPipeError:
        # The reader of a pipe has gone (`adacal list | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    entry()
