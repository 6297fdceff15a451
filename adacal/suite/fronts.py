"""Energy-accuracy fronts: which rows no other beats, and whether one method leads its rivals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adacal.core.checks import check_number, check_whole
from adacal.core.errors import DataError, unknown_name
from adacal.suite.leaderboard import CONTROLS, ONE_SAMPLE, Board, boards
from adacal.suite.ranking import Filters, Ranking
from adacal.suite.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

READINGS = ("per_spike", "per_event", "memory")
"""Readings of the energy that fronts are drawn in."""

CLASSES = ("binary", "burst", "signed", "analogue parts")
"""Strictness classes, the strictest first."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Who is compared with whom.

    Attributes:
        ours: the method that is held against all others.
        reference: the label, as records have it, of the rows whose energy at equal accuracy counts
            as 1; the number of calibration samples that tables add to it does not matter.
        max_steps: rows of more steps stay out.
        tolerance: loss against the reference's row that still counts as equal, points.
        aim: the energy at equal accuracy that is to be reached, over the reference's.
    """

    ours: str = "rate_distortion"
    reference: str = "snn_calibration_light"
    max_steps: int = 4
    tolerance: float = 0.2
    aim: float = 0.4

    def __post_init__(self) -> None:
        """Checks the numbers."""
        check_whole("the largest number of steps", self.max_steps, 1)
        check_number("the tolerance", self.tolerance, 0, example=0.2)
        check_number("the aim", self.aim, 0, above=True, example=0.4)


@dataclass(frozen=True)
class Verdict:
    """What a contest found on one board under one reading of the energy.

    Attributes:
        beaten: our row and the first row, controls aside, of an equal or weaker strictness class
            that needs less energy and loses less, for each of our rows that has one.
        stricter: the same for rows of a stricter class.
        saved: rows of the reference, each with the energy of the cheapest of our rows that is
            within the tolerance, over its own.
        unmatched: rows of the reference that none of ours equals.
        own: how many rows ours has.
        rivals: how many rows other methods of an equal or weaker class have.
    """

    beaten: list[tuple[Any, Any]]
    stricter: list[tuple[Any, Any]]
    saved: list[tuple[Any, float]]
    unmatched: list[Any]
    own: int
    rivals: int

    @property
    def leads(self) -> bool:
        """Says whether no rival of an equal or weaker class beats any of our rows."""
        return not self.beaten

    @property
    def mean_saved(self) -> float:
        """Returns the geometric mean of the energies over the reference's; NaN if none equals."""
        if not self.saved:
            return math.nan
        return math.exp(sum(math.log(ratio) for _, ratio in self.saved) / len(self.saved))

    def reaches(self, aim: float) -> bool | None:
        """Says whether every row of the reference is equalled at that share of its energy.

        None where the reference has no row.
        """
        if not self.saved and not self.unmatched:
            return None
        return not self.unmatched and all(ratio <= aim for _, ratio in self.saved)


def front_boards(
    records: Sequence[RunRecord],
    reading: str = "per_spike",
    max_steps: int | None = None,
    filters: Filters | None = None,
) -> list[Board]:
    """Makes the boards whose rows can be compared, in the order of their fronts.

    Rows that were measured with fewer calibration seeds than others of their board are left out
    (a lucky seed is no lead), but for the ANN, quantised ANNs and methods that look at no sample.

    Args:
        records: all there are.
        reading: of the energy, one of `READINGS`.
        max_steps: rows of more steps stay out; None keeps all.
        filters: which records enter.

    Raises:
        DataError: no such reading, or no record is left.
    """
    if reading not in READINGS:
        raise DataError(unknown_name("reading of the energy", reading, READINGS))
    short = [
        record
        for record in records
        if not record.uses_T or max_steps is None or max_steps >= record.T
    ]
    return boards(_same_seeds(short), Ranking(by="pareto", energy_model=reading), filters)


def judge(rows: pd.DataFrame, contest: Contest) -> Verdict:
    """Holds one method against all others of a board.

    Raises:
        DataError: the board has no row of that method.
    """
    steps = rows[(rows["T"] <= contest.max_steps) & ~rows["strictness"].isin(CONTROLS)]
    ours = steps[steps["method"] == contest.ours]
    if ours.empty:
        raise DataError(
            f"no row of {contest.ours} with at most {contest.max_steps} steps; run it, or name "
            "another method with --ours"
        )
    rivals = steps[steps["method"] != contest.ours]
    own_class = max(CLASSES.index(name) for name in ours["strictness"])
    stricter = rivals["strictness"].map(CLASSES.index) < own_class
    saved, unmatched = _savings(ours, rivals, contest)
    return Verdict(
        beaten=_beaten(ours, rivals[~stricter]),
        stricter=_beaten(ours, rivals[stricter]),
        saved=saved,
        unmatched=unmatched,
        own=len(ours),
        rivals=int((~stricter).sum()),
    )


def _beaten(ours: pd.DataFrame, rivals: pd.DataFrame) -> list[tuple[Any, Any]]:
    found = []
    for _, row in ours.sort_values("energy_uj").iterrows():
        cheaper = (rivals["energy_uj"] < row["energy_uj"]) & (rivals["drop"] < row["drop"])
        if cheaper.any():
            found.append((row, rivals[cheaper].sort_values("drop").iloc[0]))
    return found


def _savings(
    ours: pd.DataFrame, rivals: pd.DataFrame, contest: Contest
) -> tuple[list[tuple[Any, float]], list[Any]]:
    saved, unmatched = [], []
    reference = rivals[rivals["record_label"] == contest.reference]
    for _, row in reference.sort_values("T").iterrows():
        equal = ours[ours["drop"] <= row["drop"] + contest.tolerance + 1e-9]
        if equal.empty:
            unmatched.append(row)
        else:
            saved.append((row, float(equal["energy_uj"].min() / row["energy_uj"])))
    return saved, unmatched


def _same_seeds(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Leaves out rows with fewer seeds than another row of the same board."""
    seeds: dict[tuple[Any, ...], set[int]] = {}
    most: dict[tuple[Any, ...], int] = {}
    for record in records:
        seeds.setdefault(_row_key(record), set()).add(record.seed)
    for key, found in seeds.items():
        most[key[:4]] = max(most.get(key[:4], 0), len(found))
    return [
        record
        for record in records
        if record.strictness in CONTROLS
        or record.calibration.samples == ONE_SAMPLE
        or len(seeds[_row_key(record)]) == most[_row_key(record)[:4]]
    ]


def _row_key(record: RunRecord) -> tuple[Any, ...]:
    board = (record.task, record.dataset, record.model, record.checkpoint_sha256)
    return (*board, record.label, record.T, record.calibration.samples)
