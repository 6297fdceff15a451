"""Contests in words: who leads, who beats ours and why, whether the aim is reached."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adacal.suite import markup
from adacal.suite.columns import number, points, three_digits
from adacal.suite.fronts import Contest, Verdict
from adacal.suite.fronts_causes import KINDS, Defeat
from adacal.suite.leaderboard import CONTROLS, Board
from adacal.suite.records import metric_words

SHOWN = 3
"""Rivals that a summary names, at most."""


@dataclass(frozen=True)
class Fronts:
    """The boards of one network under every reading, rows of the front and controls only.

    Attributes:
        boards: by reading.
        all_boards: the same with every row.
        verdicts: by reading; empty if the method of the contest was not run here.
        defeats: by reading, the beaten rows of the verdicts.
    """

    boards: dict[str, Board]
    all_boards: dict[str, Board]
    verdicts: dict[str, Verdict]
    defeats: dict[str, list[Defeat]]

    @property
    def first(self) -> Board:
        """Returns the board under the first reading."""
        return next(iter(self.boards.values()))

    @property
    def name(self) -> str:
        """Returns dataset and network."""
        return f"{self.first.dataset} / {self.first.model}"


def summary(found: Sequence[Fronts], contest: Contest) -> markup.Grid:
    """Returns who beats whom, a line a network and reading."""
    cells = []
    for fronts in found:
        for reading, verdict in fronts.verdicts.items():
            own, front = _on_front(fronts.boards[reading], contest)
            cells.append(
                [
                    fronts.name,
                    reading,
                    f"{own} of {front}",
                    _names(verdict.beaten),
                    _names(verdict.stricter),
                    _saved(verdict),
                ]
            )
    return markup.Grid(
        heads=[
            "set / network", "energy", "front rows", "beaten by", "beaten by a stricter class",
            f"energy at equal accuracy, × {contest.reference}",
        ],
        left=[True, True, False, True, True, True],
        cells=cells,
        notes=[
            f"Of {contest.ours} at T ≤ {contest.max_steps}: how many rows of the front are its "
            "own; how many of its rows lose more and need more energy than a rival's, by means "
            "over seeds; the energy of its cheapest row that loses at most "
            f"{contest.tolerance:g} points more than a row of {contest.reference}, over the energy "
            "of that row, for each T. Quantised ANNs are not among the rivals: the tables of each "
            "network have them."
        ],
        long=[3],
    )  # fmt: skip


def verdict_lines(fronts: Fronts, contest: Contest) -> list[str]:
    """Returns a sentence or two a reading: whether ours leads, or who beats it."""
    lines = []
    for reading, verdict in fronts.verdicts.items():
        own, front = _on_front(fronts.boards[reading], contest)
        against = f"the {verdict.rivals} rows of other methods of an equal or weaker class"
        if verdict.leads:
            said = f"leads: none of its {verdict.own} rows is beaten by one of {against}"
        else:
            said = (
                f"does not lead: {len(verdict.beaten)} of its {verdict.own} rows are beaten by "
                f"{_rivals(verdict.beaten)}, of {against}"
            )
        if verdict.stricter:
            said += (
                f"; of a stricter class {_rivals(verdict.stricter)} beats "
                f"{len(verdict.stricter)} of its rows"
            )
        equal = _saved(verdict)
        lines.append(
            f"Energy `{reading}`: {contest.ours} {said}. {own} of the {front} rows of the front "
            f"are its own. Energy at equal accuracy, × {contest.reference}: "
            + (f"{equal}." if equal != "–" else f"no row of {contest.reference} here.")
        )
    return lines


def defeat_grid(fronts: Fronts, contest: Contest) -> markup.Grid | None:
    """Returns who beats which row, by how much and why; None where nobody does."""
    board, cells = fronts.first, []
    for reading, found in fronts.defeats.items():
        for defeat in found:
            ours, rival = defeat.ours, defeat.rival
            less = 100 * (1 - rival["energy_uj"] / ours["energy_uj"])
            cells.append(
                [
                    reading,
                    _row_name(ours),
                    _row_name(rival),
                    rival["strictness"],
                    f"{three_digits(ours['energy_uj'])} against "
                    f"{three_digits(rival['energy_uj'])} (−{number(less, 0)} %)",
                    f"{number(ours['drop'], 2)} against {number(rival['drop'], 2)}",
                    _loss(defeat),
                    "; ".join(cause.text for cause in defeat.causes) or "nothing",
                ]
            )
    if not cells:
        return None
    unit = points(board)
    return markup.Grid(
        heads=[
            "energy", f"row of {contest.ours}", "beaten by", "its spikes are", "energy (µJ)",
            f"drop ({unit})", f"ours loses more by ({unit}) [95 %]", "what the records say of it",
        ],
        left=[True, True, True, True, False, False, False, True],
        cells=cells,
        notes=[
            "A row is beaten where another needs less energy and loses less, by means over seeds; "
            "of several the one that loses least is named. The interval is a bootstrap over "
            f"test samples and seeds, both paired ({metric_words(board.metric)} of one row less "
            "that of the other)."
        ],
    )  # fmt: skip


def aim_grid(found: Sequence[Fronts], contest: Contest) -> markup.Grid:
    """Returns for each network and reading whether both halves of the aim are met."""
    readings = list(found[0].boards) if found else []
    cells, halves = [], Counter[str]()
    for fronts in found:
        first = [_half_one(fronts.verdicts[reading]) for reading in readings]
        second = [_half_two(fronts.verdicts[reading], contest) for reading in readings]
        cells.append([fronts.name, *first, *second])
        met = [all(cell.startswith("met") for cell in half) for half in (first, second)]
        halves.update({"first": met[0], "second": met[1], "both": all(met)})
    return markup.Grid(
        heads=[
            "set / network", *(f"no rival better in both, {name}" for name in readings),
            *(f"energy at equal accuracy ≤ {contest.aim:g}, {name}" for name in readings),
        ],
        left=[True] * (1 + 2 * len(readings)),
        cells=cells,
        notes=[
            f"The aim: at T ≤ {contest.max_steps} no row of another method of an equal or weaker "
            f"strictness class has both less energy and a smaller drop than any row of "
            f"{contest.ours}; and at equal accuracy (−{contest.tolerance:g} points) its energy is "
            f"at most {contest.aim:g} × that of every row of {contest.reference}. Under every "
            f"reading the first half is met on {halves['first']} of {len(found)} networks, the "
            f"second on {halves['second']}, both on {halves['both']}."
        ],
    )  # fmt: skip


def cause_lines(found: Sequence[Fronts]) -> list[str]:
    """Returns how often each kind of cause was found, the most frequent first."""
    every = [defeat for fronts in found for each in fronts.defeats.values() for defeat in each]
    counts = Counter(cause.kind for defeat in every for cause in defeat.causes)
    lines = [f"- {count}: {KINDS[kind]}." for kind, count in counts.most_common()]
    bare = sum(not defeat.causes for defeat in every)
    if bare:
        lines.append(f"- {bare}: the records hold no cause.")
    if not every:
        return []
    cases = "case" if len(every) == 1 else "cases"
    return [
        f"Of {len(every)} {cases} (a row of ours, beaten under one reading), more than one cause "
        "may hold in one:",
        "",
        *lines,
    ]


def _on_front(board: Board, contest: Contest) -> tuple[int, int]:
    """Returns how many rows of the front are ours, and how many it has."""
    front = board.rows[board.rows["pareto"] & ~board.rows["strictness"].isin(CONTROLS)]
    return int((front["method"] == contest.ours).sum()), len(front)


def _names(pairs: Sequence[tuple[Any, Any]]) -> str:
    if not pairs:
        return "none"
    rows = "1 row" if len(pairs) == 1 else f"{len(pairs)} rows"
    return f"{rows}: {_rivals(pairs)}"


def _rivals(pairs: Sequence[tuple[Any, Any]]) -> str:
    different = list(dict.fromkeys(_row_name(rival) for _, rival in pairs))
    more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
    return f"{', '.join(different[:SHOWN])}{more}"


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{row['label']} T={row['T']}"


def _loss(defeat: Defeat) -> str:
    mean = number(defeat.loss, 2)
    if defeat.interval is None:
        return mean
    low, high = (f"{round(value, 2) + 0.0:.2f}" for value in defeat.interval)
    return f"{mean} [{low}, {high}]"


def _saved(verdict: Verdict) -> str:
    parts = [f"T={row['T']}: {number(ratio, 2)}" for row, ratio in verdict.saved]
    parts += [f"T={row['T']}: none as accurate" for row in verdict.unmatched]
    mean = "" if math.isnan(verdict.mean_saved) else f"; mean {number(verdict.mean_saved, 2)}"
    return ", ".join(parts) + mean if parts else "–"


def _half_one(verdict: Verdict) -> str:
    return "met" if verdict.leads else f"missed: {len(verdict.beaten)} of {verdict.own} rows"


def _half_two(verdict: Verdict, contest: Contest) -> str:
    reached = verdict.reaches(contest.aim)
    if reached is None:
        return f"not measured: no {contest.reference}"
    ratios = sorted(ratio for _, ratio in verdict.saved)
    ends = list(dict.fromkeys(number(ratio, 2) for ratio in (ratios[:1] + ratios[-1:])))
    found = [" to ".join(ends)] if ends else []
    if verdict.unmatched:
        found.append(", ".join(f"none as accurate at T={row['T']}" for row in verdict.unmatched))
    return f"{'met' if reached else 'missed'}: {', '.join(found)}"
