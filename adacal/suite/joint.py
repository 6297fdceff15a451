"""One front over a network and its retrained versions: rows of several ANNs, by what they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adacal.core.errors import DataError
from adacal.suite.families import family_of
from adacal.suite.intervals import beaten, pareto_front
from adacal.suite.leaderboard import CONTROLS, metric_of, summarise
from adacal.suite.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd


def joint(records: Sequence[RunRecord], energy_model: str = "per_spike") -> pd.DataFrame:
    """Returns the rows of a family's networks together, as of `summarise` without intervals.

    Each row's `drop` is against its own ANN, so rows are compared by the metric itself: `pareto`
    marks those, controls aside, that no other of any of the networks equals or beats in energy and
    `score`, `beaten_by_quantised` those that a quantised version of any of them beats.

    Args:
        records: of one dataset and one family, on the same test samples.
        energy_model: what `energy_uj` means.
    Returns:
        The rows with `model` and `retrained` (bool) in front.
    Raises:
        DataError: there are none, or of several families, datasets or test samples.
    """
    import pandas as pd

    places = {(record.dataset, record.data_fingerprint, family_of(record)) for record in records}
    if len(places) != 1:
        found = ", ".join(sorted(f"{dataset} / {family}" for dataset, _, family in places))
        raise DataError(
            f"a joint table holds one family on one dataset; got {found or 'no record'}; choose "
            "records of one"
        )
    tables = []
    by_network: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        by_network.setdefault((record.model, record.checkpoint_sha256), []).append(record)
    for (model, _), group in sorted(by_network.items()):
        rows = summarise(group, energy_model, intervals=False)
        rows.insert(0, "model", model)
        rows.insert(1, "retrained", family_of(group[0]) != model)
        tables.append(rows)
    table = pd.concat(tables, ignore_index=True)
    sign = -1.0 if metric_of(records[0]).higher_is_better else 1.0
    cost, loss = table["energy_uj"].to_numpy(), sign * table["score"].to_numpy()
    spiking = ~table["strictness"].isin(CONTROLS).to_numpy()
    table["pareto"] = pareto_front(cost, loss, spiking)
    quantised = (table["strictness"] == "quantised").to_numpy()
    table["beaten_by_quantised"] = beaten(cost, loss, quantised)
    return table
