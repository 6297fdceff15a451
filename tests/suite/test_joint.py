"""Networks and their retrained versions in one table: worked out by hand."""

from __future__ import annotations

import pytest

from adacal.core.errors import DataError
from adacal.suite.families import base_of
from adacal.suite.joint import joint
from adacal.suite.records import RunRecord
from suite.board_toys import board_records, record_maker, toy_record


@pytest.fixture(scope="module")
def template() -> RunRecord:
    return toy_record()


def retrained(template: RunRecord) -> list[RunRecord]:
    """Two rows of a network whose ANN has 97.5 %: energies set by hand."""
    make = record_maker(template)
    model = {**template.config["model"], "base": template.model, "levels": 4}
    update = {
        "model": f"{template.model}_qcfs4",
        "checkpoint_sha256": "another",
        "config": {**template.config, "model": model},
    }
    rows = [
        make("qcfs", "binary", lost=5, energy_uj=0.4, T=2),
        make("srp", "binary", lost=1, energy_uj=2.5, T=4),
        make("qcfs_ann", "quantised", lost=4, energy_uj=0.45, T=4),
    ]
    return [row.model_copy(update=update) for row in rows]


def test_one_front_is_drawn_over_all_networks_of_a_family(template: RunRecord) -> None:
    table = joint([*board_records(template), *retrained(template)])
    rows = {row["label"]: row for _, row in table.iterrows()}
    front = {label for label, row in rows.items() if row["pareto"]}
    # 97.5 % at 0.4 beats `cheap` (88 % at 0.5) and `good` (97.6 % at 2.1) stands above it
    assert front == {"qcfs", "good", "srp"}
    assert {label for label, row in rows.items() if row["retrained"]} == {"qcfs", "srp", "qcfs_ann"}
    assert rows["good"]["beaten_by_quantised"] and not rows["qcfs"]["beaten_by_quantised"]
    assert not rows["qcfs_ann"]["pareto"] and not rows["ann"]["pareto"]


def test_a_base_is_read_from_the_config_of_a_record(template: RunRecord) -> None:
    assert base_of(template) is None
    assert base_of(retrained(template)[0]) == template.model


def test_rows_that_are_no_family_are_refused(template: RunRecord) -> None:
    other = template.model_copy(update={"model": "another"})
    with pytest.raises(DataError, match="one family on one dataset") as caught:
        joint([template, other])
    assert "another" in str(caught.value)
    with pytest.raises(DataError, match="got no record"):
        joint([])
