"""The `adacal` command. Heavy modules are imported inside commands: `--help` must be quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adacal.suite import cli_boards, cli_records
from adacal.suite.cli_base import (
    OneSentence,
    SpreadOverrides,
    examples,
    shared_options,
)
from adacal.suite.cli_checkpoints import convert_checkpoint
from adacal.suite.cli_fronts import fronts
from adacal.suite.cli_matrix import matrix
from adacal.suite.cli_new import new
from adacal.suite.cli_predict import predict
from adacal.suite.cli_report import report

if TYPE_CHECKING:
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


def _store(results: Path) -> RecordStore:
    from adacal.suite.store import RecordStore

    return RecordStore(results)


for _command in (
    matrix,
    *cli_boards.COMMANDS,
    *cli_records.COMMANDS,
    predict,
    convert_checkpoint,
    new,
    report,
    fronts,
):
    main.add_command(_command)


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
