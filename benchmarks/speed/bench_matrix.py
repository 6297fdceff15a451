"""What does sharing between the cells of a matrix save, and where does a cell's time go?

The cells of the embedded matrix on one network and set, once each in a session of its own (as
`adacal run` would, the start of Python left out) and once all in one session, as `adacal matrix`
runs them. Numbers are compared, too: sharing must change none.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from timing import Row, arguments, show

from adacal.suite.matrix import load_matrix
from adacal.suite.runner import measure
from adacal.suite.session import Session, computing


def main() -> None:
    """Measures both ways and prints the stages of all cells as shares of the whole."""
    options = arguments(__doc__ or "")
    limits = ["seeds=[0]", "T=[2]" if options.smoke else "T=[2,4]"]
    network = "mnist5k lenet" if options.smoke else "mnist_photos lenet"
    cells = [cell for cell in load_matrix("embedded", limits) if cell.network == network]
    if options.smoke:
        cells = cells[:3]
    now = time.process_time if options.clock == "process" else time.perf_counter
    rows: list[Row] = []
    records: dict[str, list[Any]] = {}
    session = Session()
    makers: dict[str, Callable[[], Session]] = {
        "each in a session of its own": Session,
        "all in one session": lambda: session,
    }
    with computing(1):
        measure(cells[0].config, Session())  # loads what is loaded once
        for name, session_of in makers.items():
            begin = now()
            records[name] = [measure(cell.config, session_of()) for cell in cells]
            seconds = now() - begin
            rows.append(Row.of(name, [seconds]))
    alone, together = records.values()
    same = all(a.numbers() == b.numbers() for a, b in zip(alone, together, strict=True))
    show(
        rows,
        options.json,
        "other networks, the start of a process, several workers",
        case=f"{len(cells)} cells of {network}, seed 0",
        same_numbers=same,
        times_faster=round(rows[0].median_s / rows[1].median_s, 2),
        alone=_shares(alone),
        together=_shares(together),
    )


def _shares(records: list[Any]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for record in records:
        wall = record.wall.model_dump()
        total.update({stage: seconds for stage, seconds in wall.items() if stage != "total_s"})
    whole = sum(total.values())
    return {stage: round(seconds / whole, 3) for stage, seconds in total.items()}


if __name__ == "__main__":
    main()
