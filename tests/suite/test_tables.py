"""Tables in every form: what they say, what is escaped, which columns there are."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from adacal.core.errors import ConfigError, DataError
from adacal.suite.columns import PAPER, all_columns, choose
from adacal.suite.families import family_of
from adacal.suite.leaderboard import Board, Ranking, boards
from adacal.suite.markup import PAGE_LINES, Grid, latex, markdown, tex
from adacal.suite.records import RunRecord
from adacal.suite.tables import caption, csv, grid, html, one_csv, order_title, terminal
from adacal.suite.tables import latex as board_latex
from adacal.suite.tables import markdown as board_markdown
from suite.board_toys import board_records, toy_record


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return board_records(toy_record())


@pytest.fixture(scope="module")
def board(records: list[RunRecord]) -> Board:
    (found,) = boards(records, Ranking())
    return found


@pytest.fixture(scope="module")
def masks(records: list[RunRecord]) -> list[RunRecord]:
    """The same numbers as mIoU, which no per-sample right and wrong stands behind."""
    metric = records[0].metric.model_copy(update={"name": "miou_pct"})
    return [
        record.model_copy(
            update={
                "metric": metric,
                "ann": {"miou_pct": 98.0, "pixel_accuracy_pct": 99.0},
                "snn": {
                    "miou_pct": record.snn["accuracy_pct"],
                    "pixel_accuracy_pct": 98.0 + i / 10,
                },
                "ann_correct": None,
                "snn_correct": None,
            }
        )
        for i, record in enumerate(records)
    ]


def test_a_latex_table_has_booktabs_and_as_many_cells_in_each_row(board: Board) -> None:
    text = board_latex(board)
    lines = text.splitlines()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}", r"\end{table*}"):
        assert lines.count(rule) == 1
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == len(board.rows)
    assert {line.count(" & ") for line in body} == {len(PAPER) - 1}
    assert all(line.endswith(r" \tabularnewline") for line in body)
    assert text.count("{") == text.count("}")
    assert "97.60 $\\pm$ 0.14" in text
    assert text.isascii()


LONG_NAMES = [
    "rate_distortion(budget=1, ratio=0.5, max_spikes=16)",
    "snn_calibration_light(threshold=mmse, repeats=1) [512 samples]",
    "quantized_ann(max_spikes=4)",
    "cos",
]


def paper_grid(board: Board, rows: int) -> Grid:
    """Returns a board's LaTeX table with so many rows, whose names break into up to five lines."""
    short = grid(board, PAPER, [caption(board, PAPER)])
    wide = ["1", "", "quantised", "4", "16.00", "8.00", "98.40 ± 0.29", "0.03 [-0.30, 0.50]",
            "0.996", "0.63", "10.37", "0.91", "○"]  # fmt: skip
    cells = [[*wide[:1], LONG_NAMES[i % len(LONG_NAMES)], *wide[2:]] for i in range(rows)]
    return replace(short, cells=cells)


def floats_of(text: str) -> list[list[str]]:
    """Returns the rows of each table of a LaTeX text."""
    bodies = [part.partition("\\bottomrule")[0] for part in text.split("\\midrule\n")[1:]]
    return [body.strip().splitlines() for body in bodies]


def test_a_long_board_is_split_into_latex_tables_of_a_page(board: Board) -> None:
    long = paper_grid(board, 110)
    text = latex(long, "title", "tab:long")
    parts = floats_of(text)
    assert sum(map(len, parts)) == 110
    assert all(10 < len(part) <= PAGE_LINES for part in parts[:-1])
    heights = {"rate\\_": 4, "snn\\_": 4, "quantized\\_": 2, "cos": 1}  # lines, at least
    for part in parts:
        assert sum(h for row in part for name, h in heights.items() if name in row) <= PAGE_LINES
    count = len(parts)
    assert text.count("\\begin{table*}") == text.count("\\end{table*}") == count
    assert f"\\caption{{title (1 of {count}).}}" in text
    assert f"\\caption{{title (continued, {count} of {count}).}}" in text
    assert text.count("\\label{tab:long}") == 1
    assert text.count("\\addtocounter{table}{-1}") == count - 1  # one table, one number
    assert text.count("Ranked by accuracy") == 1
    plain = replace(long, cells=[[*row[:1], "cos", *row[2:]] for row in long.cells])
    assert [len(part) for part in floats_of(latex(plain, "title", "tab:x"))] == [45, 45, 20]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_a_long_board_fits_the_pages_of_a_paper(board: Board, tmp_path: Path) -> None:
    broken_last = Grid(
        heads=["n", "source"], left=[False, True], long=[1],
        cells=[["1", "github:someone/Some-Name README"], ["2", "a_b(c={d=1})"]],
    )  # fmt: skip
    long = paper_grid(board, 110)
    short = replace(long, cells=[[*row[:1], "cos", *row[2:]] for row in long.cells[:90]])
    texts = [
        latex(table, "title", f"tab:{i}") for i, table in enumerate((long, short, broken_last))
    ]
    (tmp_path / "board.tex").write_text("\n".join(texts))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\n"
        "\\begin{document}Table \\ref{tab:1}.\\input{board}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    overfull = re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)
    assert all(float(width) <= 10 for width in overfull), overfull


def test_latex_takes_no_letter_of_a_name_for_a_command() -> None:
    assert tex("a_b{c} 5% & #1 $x ~ ^ \\n") == (
        r"a\_b\{c\} 5\% \& \#1 \$x \textasciitilde{} \textasciicircum{} \textbackslash{}n"
    )
    grid = Grid(heads=["x_1", "drop (points) [95 %]"], left=[True, False], cells=[["[a]", "%"]])
    text = latex(grid, "100 % of it", "tab:x")
    assert r"\caption{100 \% of it.}" in text
    assert r"\shortstack[r]{drop\\{}(points)\\{}[95 \%]}" in text
    assert "\n{}[a] & \\% \\tabularnewline\n" in text  # no row begins with a bracket


def test_markdown_keeps_a_bar_within_its_cell() -> None:
    text = markdown(Grid(heads=["a"], left=[True], cells=[["x|y"]], notes=["Note."]))
    assert text == "| a |\n|:--|\n| x\\|y |\n\nNote.\n"


def test_html_is_one_table_whose_rows_are_whole(records: list[RunRecord]) -> None:
    odd = records[-1].model_copy(update={"label": "poor<script>&co"})
    (board,) = boards([*records[:-1], odd], Ranking())
    counts: dict[str, int] = {}
    texts: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            counts[tag] = counts.get(tag, 0) + 1

        def handle_data(self, data: str) -> None:
            texts.append(data)

    Reader().feed(html(board))
    assert counts["table"] == 1
    assert counts["tr"] == 1 + len(board.rows)
    assert counts["td"] == counts["th"] * len(board.rows)
    assert "script" not in counts
    assert "poor<script>&co" in texts


def test_columns_are_chosen_by_name_and_order(board: Board) -> None:
    keys = ["method", "score", "energy"]
    assert [column.key for column in choose(board, keys)] == keys
    assert board_markdown(board, wanted=keys).startswith("| method | accuracy (%) | energy (µJ) |")
    assert csv(board, keys).splitlines()[0] == (
        "task,dataset,model,label,accuracy_pct,accuracy_pct_std,energy_per_spike_uj"
    )
    assert len(terminal(board, 40, keys).columns) == 3
    assert len(choose(board, ["all"])) == len(all_columns(board))
    with pytest.raises(ConfigError, match="did you mean 'energy'"):
        choose(board, ["enrgy"])


def test_several_boards_are_one_csv_with_one_head(
    records: list[RunRecord], masks: list[RunRecord]
) -> None:
    other = [record.model_copy(update={"dataset": "masks"}) for record in masks]
    found = boards([*records, *other], Ranking())
    table = pd.read_csv(io.StringIO(one_csv(found)))
    assert len(table) == sum(len(board.rows) for board in found)
    assert set(table["dataset"]) == {"masks", "toy_data"}
    own = table["dataset"] == "masks"
    assert table.loc[own, "accuracy_pct"].isna().all()
    assert table.loc[own, "miou_pct"].notna().all()
    assert one_csv(found[:1]) == csv(found[0])


def test_a_narrow_terminal_shows_fewer_columns(board: Board) -> None:
    shown = [len(terminal(board, width).columns) for width in (80, 120, 150, 220)]
    assert shown == sorted(set(shown))
    titles = [str(column.header) for column in terminal(board, 80).columns]
    assert titles[:4] == ["#", "method", "T", "accuracy (%)"]


def test_every_reading_of_the_energy_has_its_column(records: list[RunRecord]) -> None:
    dear = records[2].energy.energy_pj | {"memory": 9e6, "per_event": 1e6}
    energy = records[2].energy.model_copy(update={"energy_pj": dear})
    (board,) = boards([records[0], records[2].model_copy(update={"energy": energy})], Ranking())
    table = pd.read_csv(io.StringIO(csv(board))).set_index("label")
    assert table.loc["good", "energy_per_spike_uj"] == pytest.approx(2.0)
    assert table.loc["good", "energy_per_event_uj"] == pytest.approx(1.0)
    assert table.loc["good", "energy_memory_uj"] == pytest.approx(9.0)
    assert table.loc["good", "energy_memory_to_ann"] == pytest.approx(9.0 / 4.0)
    assert "× ANN, memory" in board_markdown(board)
    (by_memory,) = boards([records[0], records[2]], Ranking(energy_model="memory"))
    heads = [column.title for column in choose(by_memory)]
    assert heads.count("energy (µJ)") == 1
    assert "energy, per spike (µJ)" in heads
    assert "× ANN, memory" not in heads


def test_other_metrics_are_never_called_accuracy(masks: list[RunRecord]) -> None:
    for ranking in (Ranking(), Ranking(by="energy"), Ranking(by="pareto")):
        (board,) = boards(masks, ranking)
        for text in (board_markdown(board), board_latex(board), html(board), order_title(board)):
            assert "accuracy" not in text
    (board,) = boards(masks, Ranking())
    assert order_title(board) == "by mIoU"
    assert "mIoU (%)" in board_markdown(board)


def test_what_is_no_bootstrap_interval_is_not_called_one(masks: list[RunRecord]) -> None:
    (board,) = boards(masks, Ranking())
    table = board_markdown(board)
    assert "drop (points) [range of seeds]" in table
    assert "95 %" not in table
    assert "No interval over test samples" in caption(board)
    rows = {row["label"]: row for row in board.rows.to_dict("records")}
    assert rows["good"]["interval"] == "range"
    assert (rows["good"]["drop_low"], rows["good"]["drop_high"]) == pytest.approx((0.3, 0.5))
    assert rows["cheap"]["interval"] == "none"
    assert "| 10.00 |" in table  # one seed, one number: nothing in brackets


def test_another_recorded_metric_can_rank(masks: list[RunRecord]) -> None:
    (board,) = boards(masks, Ranking(metric="pixel_accuracy_pct"))
    ranked = board.rows[board.rows["rank"] > 0]
    assert list(ranked["label"]) == ["poor", "cheap", "good"]
    assert board.metric == "pixel_accuracy_pct"
    assert board.rows.set_index("label").loc["poor", "drop"] == pytest.approx(0.5)
    with pytest.raises(DataError, match="did you mean 'miou_pct'"):
        boards(masks, Ranking(metric="mio_pct"))


def test_equal_accuracy_is_said_to_be_a_bounded_loss(records: list[RunRecord]) -> None:
    (board,) = boards(records, Ranking(by="energy", max_drop=0.2, max_energy_uj=3.0))
    assert order_title(board) == "by energy, at a loss of at most 0.2 points"
    assert "lose at most 0.2 points against the ANN in the mean and cost at most 3 µJ" in caption(
        board
    )


def test_a_table_says_what_its_network_was_retrained_from(records: list[RunRecord]) -> None:
    model = {"base": "lenet", "levels": 4, "schedule": {"epochs": 20}}
    config = {**records[0].config, "model": {**records[0].config["model"], **model}}
    retrained = [record.model_copy(update={"config": config}) for record in records]
    (board,) = boards(retrained, Ranking())
    sentence = (
        "retrained from `lenet` for 20 epochs with activations of 4 levels above 0: every row owes"
    )
    assert sentence in caption(board)
    assert sentence not in caption(boards(records, Ranking())[0])
    assert [family_of(retrained[0]), family_of(records[0])] == ["lenet", records[0].model]


def test_a_table_says_that_its_network_was_trained_from_scratch(records: list[RunRecord]) -> None:
    model = {"counterpart": "lenet", "levels": 4, "schedule": {"epochs": 300}}
    config = {**records[0].config, "model": {**records[0].config["model"], **model}}
    trained = [record.model_copy(update={"config": config}) for record in records]
    (board,) = boards(trained, Ranking())
    sentence = "trained from scratch for 300 epochs with activations of 4 levels above 0: it is no"
    assert sentence in caption(board)
    assert family_of(trained[0]) == "lenet"


def test_a_table_says_where_it_was_measured(records: list[RunRecord]) -> None:
    changed = records[1].environment.model_copy(
        update={"threads": 7, "dirty": True, "commit": "c0ffee" * 7}
    )
    clean = records[0].environment.model_copy(update={"dirty": False})
    pair = [
        records[0].model_copy(update={"environment": clean}),
        records[1].model_copy(update={"environment": changed}),
    ]
    (board,) = boards(pair, Ranking())
    text = board_markdown(board)
    assert "7 threads" in text
    assert "c0ffeec0ff" in text
    assert "1 of 2 records with changes not committed" in text
    assert "Wall times of different machines or threads do not compare." in text


def test_rows_of_one_seed_are_said_not_to_tie(
    records: list[RunRecord], masks: list[RunRecord]
) -> None:
    sentence = "Rows of one seed have no range: no ties among them, and noise may order them."
    several = [record for record in records if record.label in ("ann", "good")]
    assert sentence in caption(boards(records, Ranking(by="energy", max_drop=50.0))[0])
    assert sentence not in caption(boards(several, Ranking(by="energy"))[0])
    assert sentence not in caption(boards(records, Ranking())[0])  # intervals over samples
    assert sentence in caption(boards(masks, Ranking())[0])
    assert sentence not in caption(boards(masks, Ranking(by="pareto"))[0])
