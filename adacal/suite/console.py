"""What the commands print: bars, summaries, one run layer by layer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from adacal.suite import names

if TYPE_CHECKING:
    from adacal.suite.leaderboard import Board
    from adacal.suite.matrix import Cell
    from adacal.suite.records import RunRecord, WallTime
    from adacal.suite.session import Progress

OFF_TERMINAL_WIDTH = 220


def output() -> Console:
    """Returns a console on stdout, wide where no terminal limits it."""
    wide = None if sys.stdout.isatty() else OFF_TERMINAL_WIDTH
    return Console(width=wide, soft_wrap=False, highlight=False)


class Bars:
    """Progress bars on stderr: one a cell under way, one for all; lines off a terminal."""

    def __init__(self, progress: RichProgress) -> None:
        """Wraps a started rich progress."""
        self.progress = progress
        self.interactive = progress.console.is_terminal
        self._all = progress.add_task("matrix", total=None, visible=False)
        self._total = self._ended = 0
        self._cells: dict[str, tuple[TaskID, float]] = {}

    def stage(self, name: str) -> Progress:
        """Returns a progress function that shows (stage, done, total) of a run."""
        task, _ = self._cells.setdefault(
            name, (self.progress.add_task("", total=None, visible=False), time.perf_counter())
        )

        def update(stage: str, done: int, total: int) -> None:
            text = stage if stage == name else f"{name}: {stage}"
            self.progress.update(
                task, description=escape(text), completed=done, total=total, visible=True
            )

        return update

    def listener(self, total: int) -> Bars:
        """Returns itself as a matrix listener of so many cells."""
        self._total = total
        self.progress.update(self._all, total=total, completed=0, visible=True)
        return self

    def cell_started(self, cell: Cell) -> Progress:
        """Shows that the cell runs."""
        return self.stage(cell.name)

    def cell_ended(self, cell: Cell, state: str, note: str) -> None:
        """Moves the overall bar; prints a line for what failed, or for each cell off a terminal."""
        task, started = self._cells.pop(cell.name, (None, time.perf_counter()))
        if task is not None:
            self.progress.remove_task(task)
        if state == "waits":
            return
        self._ended += 1
        words = f"{self._ended} of {self._total} cells"
        self.progress.update(self._all, completed=self._ended, description=words)
        line = f"{state:8} {cell.name} ({time.perf_counter() - started:.1f} s)"
        if state == "failed":
            line += f": {note}"
        if state == "failed" or not (self.interactive or state == "skipped"):
            self.note(line)

    def note(self, sentence: str) -> None:
        """Prints a line above the bars."""
        self.progress.console.print(escape(sentence), highlight=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Shows progress bars on stderr for the length of a block."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with RichProgress(*columns, console=console, transient=True) as progress:
        bars = Bars(progress)
        yield bars


def show_summary(record: RunRecord, path: Path) -> None:
    """Prints what a run found in a few lines."""
    console = output()
    name, unit, words = record.metric.name, record.metric.unit, record.metric.words
    energy, ann_energy = record.energy.energy_pj, record.energy.ann_energy_pj
    steps = f", T={record.T}" if record.uses_T else ""
    console.print(
        f"[bold]{escape(record.label)}[/bold]{steps} on {record.dataset} / {record.model} "
        f"({record.strictness}, seed {record.seed}, {record.n_test:,} test samples)"
    )
    table = Table(show_header=True, box=None, pad_edge=False)
    table.add_column("")
    for column in ("ANN", "converted"):
        table.add_column(column, justify="right")
    rows = [
        (f"{words} ({unit})", f"{record.ann[name]:.2f}", f"{record.snn[name]:.2f}"),
        ("MACs a sample", f"{record.energy.ann_macs:,.0f}", f"{record.energy.macs:,.0f}"),
        ("SOPs a sample", "–", f"{record.energy.sops:,.0f}"),
        ("spikes a sample", "–", f"{record.energy.spikes:,.0f}"),
    ]
    for model in energy:
        rows.append(
            (
                f"energy, {model} (µJ)",
                f"{ann_energy[model] / 1e6:.3f}",
                f"{energy[model] / 1e6:.3f}",
            )
        )
    if record.latency is not None:
        latency = record.latency
        rows.append(("wall time (ms/sample)", f"{latency.ann_ms:.3f}", f"{latency.snn_ms:.3f}"))
    rows.append(("mean steps", "–", f"{record.timesteps.mean:.2f}"))
    if (seen := record.timesteps.recording_ms()) is not None:
        rows.append(("recording seen (ms)", "–", f"{seen:.0f}"))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    divergence = "–" if record.divergence is None else f"{record.divergence:.4f}"
    console.print(
        f"divergence {divergence}; calibrated in {record.calibration.seconds:.1f} s "
        f"on {record.calibration.samples} samples"
    )
    console.print(f"record {record.id}: {escape(str(path))}", soft_wrap=True)


def show_record(record: RunRecord, path: Path) -> None:
    """Prints one run layer by layer."""
    show_summary(record, path)
    console = output()
    if record.sites:
        console.print(_sites(record))
    if record.layers:
        console.print(_layers(record))
    if record.search_log:
        console.print(f"search: {escape(str(record.search_log))}", soft_wrap=True)
    histogram = record.timesteps.histogram
    exits = {t: n for t, n in enumerate(histogram) if n}
    if record.uses_T and len(exits) > 1:
        text = ", ".join(f"{t}: {n:,}" for t, n in exits.items())
        console.print(f"samples by exit step: {text}")
    if record.timesteps.metric_by_step:
        console.print(_by_step(record))
    if record.wall is not None:
        console.print(_wall(record.wall, record.shared or []))
    env = record.environment
    place = env.accelerator or env.processor + (
        f" ({env.instructions})" if env.instructions else ""
    )
    commit = (env.commit[:10] or "no commit") + (" with changes" if env.dirty else "")
    console.print(
        f"{record.created}, {place}, {env.threads} threads, torch {env.torch}, "
        f"adacal {env.adacal} ({commit})",
        soft_wrap=True,
    )
    if env.libraries:
        libraries = (f"{name} {version}" for name, version in env.libraries.items())
        console.print(escape(", ".join(libraries)), soft_wrap=True)
    for plug_in in record.plug_ins or ():
        console.print(f"plug-in {escape(plug_in.words())}", soft_wrap=True)


def _wall(wall: WallTime, shared: Sequence[str]) -> str:
    stages = (
        ("dataset and ANN", wall.prepare_s),
        ("ANN evaluation", wall.ann_s),
        ("conversion", wall.convert_s),
        ("evaluation", wall.evaluate_s),
        ("latency", wall.latency_s),
    )
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages if name not in shared)
    taken = f"; shared with an earlier run: {', '.join(shared)}" if shared else ""
    return f"took {wall.total_s:.1f} s ({parts}){taken}"


def _by_step(record: RunRecord) -> Table:
    """Lists the metric after each step; thresholds are those set for all T steps."""
    steps = record.timesteps
    table = Table(title="after each step (calibrated for the last)", title_justify="left")
    table.add_column("step", justify="right")
    if steps.ms_per_step is not None:
        table.add_column("recording seen (ms)", justify="right")
    table.add_column(f"{record.metric.words} ({record.metric.unit})", justify="right")
    for number, value in enumerate(steps.metric_by_step or [], start=1):
        seen = [] if steps.ms_per_step is None else [f"{number * steps.ms_per_step:.0f}"]
        table.add_row(str(number), *seen, f"{value:.2f}")
    return table


def _sites(record: RunRecord) -> Table:
    table = Table(title="neurons (one a call of an activation)", title_justify="left")
    for column in ("site", "kind", "function", "shape"):
        table.add_column(column)
    for column in ("θ mean", "θ min … max", "φ", "ρ", "spikes / neuron / step", "spikes", "share"):
        table.add_column(column, justify="right")
    spikes = {layer.name: layer.spikes for layer in record.layers}
    total = record.energy.spikes
    for site in record.sites:
        own = spikes.get(site.name)
        span = "–"
        if site.threshold_min is not None and site.threshold_max is not None:
            span = f"{site.threshold_min:.3g} … {site.threshold_max:.3g}"
        table.add_row(
            escape(site.name),
            site.kind,
            site.function,
            "x".join(map(str, site.shape)),
            _or_dash(site.threshold_mean, ".3g"),
            span,
            _or_dash(site.max_spikes, "d"),
            f"{site.ratio:g}",
            _or_dash(site.rate, ".4f"),
            _or_dash(own, ",.0f"),
            _share(own, total),
        )
    return table


def _layers(record: RunRecord) -> Table:
    table = Table(title="operations of a sample", title_justify="left")
    table.add_column("layer")
    for column in ("SOPs", "share", "MACs", "share"):
        table.add_column(column, justify="right")
    for layer in record.layers:
        if layer.sops or layer.macs:
            table.add_row(
                escape(layer.name),
                f"{layer.sops:,.0f}",
                _share(layer.sops, record.energy.sops),
                f"{layer.macs:,.0f}",
                _share(layer.macs, record.energy.macs),
            )
    return table


def show_boards(found: Sequence[Board], results: str, wanted: Sequence[str] = ()) -> None:
    """Prints leaderboards, those columns if any are named, with the command to run a row again."""
    from adacal.suite.tables import reproduce, terminal

    console = output()
    for board in found:
        console.print(terminal(board, console.width, wanted))
        console.print(
            f"energy: {board.ranking.energy_model}; run a row again: {reproduce(board, results)}\n",
            soft_wrap=True,
            markup=False,
        )


def show_names(what: str | None) -> None:
    """Prints the names of everything registered or shipped, or of one kind."""
    shipped: dict[str, Callable[[], names.Named]] = {"configs": _configs, "matrices": _matrices}
    known = {} if what in shipped else names.registered()
    console = output()
    for title in (*names.KINDS, *shipped):
        if what not in (None, title):
            continue
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for name, text in sorted(known[title] if title in known else shipped[title]()):
            table.add_row(escape(name), escape(text))
        console.print(table)


def _configs() -> list[tuple[str, str]]:
    from adacal.suite import config as configs
    from adacal.suite.places import CONFIG_FOLDER

    return [(name, _comment(CONFIG_FOLDER / f"{name}.py")) for name in configs.shipped()]


def _matrices() -> list[tuple[str, str]]:
    from adacal.suite.places import MATRIX_FOLDER

    return [(path.stem, _comment(path)) for path in sorted(MATRIX_FOLDER.glob("*.py"))]


def training_log() -> Callable[[dict[str, float]], None]:
    """Returns a function that prints an epoch's numbers on a line."""
    console = Console(stderr=True, highlight=False)

    def log(numbers: dict[str, float]) -> None:
        console.print("  ".join(f"{key} {value:.6g}" for key, value in numbers.items()))

    return log


def show_training(result: Any) -> None:
    """Prints what training returned: plain numbers and paths, one a line."""
    console = output()
    if isinstance(result, dict):
        for key, value in result.items():
            if isinstance(value, str | int | float | Path):
                console.print(f"{key}: {value}", markup=False, soft_wrap=True)


def _comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.strip('"# ')


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _share(part: float | None, total: float) -> str:
    return f"{100 * part / total:.1f} %" if part is not None and total else "–"
