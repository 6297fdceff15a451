"""`adacal leaderboard` and `adacal published`. Heavy modules are imported inside commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adacal.suite.cli_base import EXIT_FAILED, examples, shared_options

if TYPE_CHECKING:
    from adacal.suite.leaderboard import Board
    from adacal.suite.markup import Grid
    from adacal.suite.published_tables import Beside
    from adacal.suite.store import RecordStore

FORMS = ("terminal", "md", "csv", "tex", "html")


def _keys(_: click.Context, __: click.Parameter, value: str | None) -> list[str]:
    return [word.strip() for word in (value or "").split(",") if word.strip()]


@click.command(
    epilog=examples(
        "adacal leaderboard --dataset mnist5k --by energy --max-drop 0.2",
        "adacal leaderboard --energy-model memory --format csv > table.csv",
        "adacal leaderboard --model resnet20 --format tex --columns method,T,score,drop,energy",
        "adacal leaderboard --published",
        "adacal leaderboard --write --plot",
    )
)
@click.option(
    "--by", type=click.Choice(["accuracy", "energy", "pareto"]), default="accuracy",
    show_default=True,
    help="What ranks: the metric, energy at a bounded loss, or the Pareto front.",
)  # fmt: skip
@click.option("--metric", help="Another recorded metric than the task's main one.")
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
    "--format", "form", type=click.Choice(FORMS), default="terminal", show_default=True,
    help="What to print.",
)  # fmt: skip
@click.option(
    "--columns", callback=_keys, metavar="NAME,NAME,…",
    help="Only these columns, in this order; a wrong name lists all, `all` shows all.",
)  # fmt: skip
@click.option(
    "--published", is_flag=True,
    help="Print published numbers below, apart, unranked; in CSV the column origin tells them.",
)  # fmt: skip
@click.option("--write", is_flag=True, help="Write the tables to RESULTS/leaderboards.")
@click.option("--plot", is_flag=True, help="Draw the metric against energy there, too.")
@click.option("--check", is_flag=True, help="Fail unless the written tables fit the records.")
@shared_options("results")
@click.pass_context
def leaderboard(
    ctx: click.Context,
    by: str,
    metric: str | None,
    energy_model: str,
    max_energy: float | None,
    max_drop: float,
    task: Sequence[str],
    dataset: Sequence[str],
    model: Sequence[str],
    method: Sequence[str],
    steps: Sequence[int],
    form: str,
    columns: Sequence[str],
    published: bool,
    write: bool,
    plot: bool,
    check: bool,
    results: Path,
) -> None:
    """Rank what is recorded.

    A terminal shows the columns it is wide enough for. Some it never shows unasked: divergence,
    spikes, calibration (seconds), wall and ann_wall (ms a sample), front (marks of the Pareto
    front), events_ratio and the other readings of the energy (per_spike, per_event, memory,
    reference). --columns all, or --columns method,score,spikes and so on, does.
    """
    from adacal.core.errors import DataError
    from adacal.suite import tables
    from adacal.suite.leaderboard import boards
    from adacal.suite.ranking import Filters, Ranking
    from adacal.suite.store import RecordStore

    store = RecordStore(results)
    records = _read(store)
    if not records:
        raise DataError(_empty(store))
    ranking = Ranking(
        by=by,  # type: ignore[arg-type]
        metric=metric,
        energy_model=energy_model,
        max_energy_uj=max_energy,
        max_drop=max_drop,
    )
    filters = Filters(task=task, dataset=dataset, model=model, method=method, T=steps)
    found = boards(records, ranking, filters)
    if check:
        _check(ctx, tables.check_files(records, store.results / "leaderboards"), store)
        return
    paths = _write(store, found, records, write, plot)
    tables_beside = _beside(found, results) if published else []
    if published and form == "csv":
        from adacal.suite.published_tables import joint_csv

        click.echo(joint_csv(tables_beside, columns), nl=False)
    else:
        _print(found, form, columns, str(store.results))
        _print_published(tables_beside, form)
    for path in paths:
        click.echo(f"wrote {path}", err=True)


def finish(store: RecordStore) -> None:
    """After a matrix: the tables to the terminal and to files."""
    from adacal.suite.leaderboard import boards
    from adacal.suite.ranking import Ranking

    records = _read(store)
    found = boards(records, Ranking())
    paths = _write(store, found, records, write=True, plot=True)
    _print(found, "terminal", (), str(store.results))
    for path in paths:
        click.echo(f"wrote {path}", err=True)


def _read(store: RecordStore) -> list[Any]:
    records, warnings = store.read_all()
    for warning in warnings:
        click.echo(warning, err=True)
    return records


def _empty(store: RecordStore) -> str:
    lack = (
        f"no record in {store.folder}" if store.results.is_dir() else f"no folder {store.results}"
    )
    where = "" if store.results == Path("results") else f" --results {store.results}"
    return f"{lack}; run `adacal matrix embedded{where}` first, or name another folder"


def _check(ctx: click.Context, wrong: Sequence[str], store: RecordStore) -> None:
    for sentence in wrong:
        click.echo(sentence, err=True)
    if wrong:
        ctx.exit(EXIT_FAILED)
    click.echo(f"{store.results / 'leaderboards'} is what the records give")


def _write(
    store: RecordStore, found: list[Board], records: Sequence[Any], write: bool, plot: bool
) -> list[Path]:
    from adacal.suite import tables

    folder = store.results / "leaderboards"
    if write or plot:
        store.prepare()
    paths = tables.write_files(records, folder) if write else []
    if plot:
        from adacal.suite.plots import write_plots

        paths += write_plots(found, folder)
    return paths


def _print(found: list[Board], form: str, columns: Sequence[str], results: str) -> None:
    from adacal.suite import console, tables

    if form == "terminal":
        console.show_boards(found, results, columns)
        return
    if form == "csv":
        click.echo(tables.one_csv(found, columns), nl=False)
        return
    for board in found:
        if form == "md":
            click.echo(f"## {board.title}\n\n{tables.markdown(board, results, columns)}")
        else:
            make = tables.latex if form == "tex" else tables.html
            click.echo(make(board, columns))


def _beside(found: list[Board], results: Path) -> list[tuple[Board, list[Beside]]]:
    """Returns each board with what is published of its task, dataset, model and metric."""
    from adacal.suite.published import published_folder, read_names, read_published
    from adacal.suite.published_tables import beside

    folder = published_folder(results)
    rows, wrong = read_published(folder)
    names = read_names(folder)
    _warn(wrong, folder)
    tables = [(board, beside(board, rows, names)) for board in found]
    if not any(entries for _, entries in tables):
        click.echo(
            f"nothing of {len(rows)} published rows is about the dataset and model of these "
            "tables; `adacal published` lists them",
            err=True,
        )
    return tables


def _print_published(tables: Sequence[tuple[Board, list[Beside]]], form: str) -> None:
    """Below the boards, apart: what is published beside them."""
    from adacal.suite.published_tables import beside_grid

    for board, entries in tables:
        if entries:
            title = f"Published, not measured here: {board.title}"
            _print_grid(beside_grid(board, entries), title, form)


@click.command(
    epilog=examples(
        "adacal published --dataset ImageNet --model ResNet-34",
        "adacal published --method QCFS --format md",
        "adacal published --check",
    )
)
@click.option("--task", multiple=True, help="Only this task (repeatable, as the next three).")
@click.option("--dataset", multiple=True, help="Only this dataset; case and hyphens do not matter.")
@click.option("--model", multiple=True, help="Only this model.")
@click.option("--method", multiple=True, help="Only methods that begin with this.")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "md", "tex", "html"]), default="terminal",
    show_default=True, help="What to print.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Check the files, print what is wrong and stop.")
@shared_options("results")
@click.pass_context
def published(
    ctx: click.Context,
    task: Sequence[str],
    dataset: Sequence[str],
    model: Sequence[str],
    method: Sequence[str],
    form: str,
    check: bool,
    results: Path,
) -> None:
    """List published numbers of RESULTS/published, or the shipped ones; nothing is measured."""
    from adacal.suite.published import (
        check_names,
        published_folder,
        read_names,
        read_published,
        select,
    )
    from adacal.suite.published_tables import list_grid

    folder = published_folder(results)
    rows, wrong = read_published(folder)
    if check:
        wrong += check_names(read_names(folder), rows)
        for sentence in wrong:
            click.echo(sentence, err=True)
        if wrong:
            ctx.exit(EXIT_FAILED)
        secondary = sum(row.secondary for row in rows)
        files = len({row.place.partition(":")[0] for row in rows})
        click.echo(f"{folder}: {len(rows)} rows of {files} files, {secondary} secondary, all sound")
        return
    _warn(wrong, folder)
    kept = select(rows, task=task, dataset=dataset, model=model, method=method)
    _print_grid(list_grid(kept), f"Published: {len(kept)} of {len(rows)} rows", form)


def _warn(wrong: Sequence[str], folder: Path) -> None:
    if wrong:
        click.echo(
            f"{len(wrong)} complaints about {folder}; `adacal published --check` lists them",
            err=True,
        )


def _print_grid(grid: Grid, title: str, form: str) -> None:
    from adacal.suite import markup

    if form == "terminal":
        from adacal.suite.console_records import show_grid

        show_grid(grid, title)
    elif form == "tex":
        click.echo(markup.latex(grid, title, "tab:published"))
    elif form == "html":
        click.echo(markup.html(grid, title))
    else:
        click.echo(f"### {title}\n\n{markup.markdown(grid)}")


COMMANDS = (leaderboard, published)
