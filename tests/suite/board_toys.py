"""Records whose tables can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from adacal.suite.config import resolve
from adacal.suite.records import RunRecord, pack
from adacal.suite.runner import measure
from adacal.suite.session import Session
from suite.suite_toys import raw_config

N = 1000
ANN_PJ = 4.0e6


def toy_record() -> RunRecord:
    """Measures the toy task once."""
    return measure(resolve(raw_config()), Session())


def board_records(template: RunRecord) -> list[RunRecord]:
    """An ANN with 98.0 %, a quantised one, three methods; 1,000 samples, hand-set energies."""
    make = record_maker(template)
    return [
        make("ann", "none", lost=0, energy_uj=4.0, T=1, uses_T=False, mean_max_spikes=None),
        make("quantized_ann", "quantised", lost=2, energy_uj=1.0, T=2, mean_max_spikes=4.0),
        make("good", "binary", lost=3, energy_uj=2.0, T=8, seed=0),
        make("good", "binary", lost=5, energy_uj=2.2, T=8, seed=1),
        make("cheap", "burst", lost=100, energy_uj=0.5, T=2, mean_max_spikes=4.0),
        make("poor", "binary", lost=120, energy_uj=3.0, T=4),
    ]


def record_maker(template: RunRecord) -> Any:
    """Returns a function that makes records which lose so many samples against an ANN with 98 %."""
    ann = np.ones(N, dtype=bool)
    ann[:20] = False

    def make(label: str, strictness: str, *, lost: int, energy_uj: float, **more: Any) -> RunRecord:
        snn = ann.copy()
        snn[20 : 20 + lost] = False
        pj = dict.fromkeys(("per_spike", "per_event", "memory", "reference"), energy_uj * 1e6)
        energy = template.energy.model_copy(
            update={"energy_pj": pj, "ann_energy_pj": dict.fromkeys(pj, ANN_PJ)}
        )
        values = {
            "id": f"{label}{more.get('seed', 0)}".ljust(16, "0"),
            "method": label,
            "label": label,
            "strictness": strictness,
            "n_test": N,
            "ann": {"accuracy_pct": 98.0},
            "snn": {"accuracy_pct": 98.0 - lost / 10},
            "ann_correct": pack(ann),
            "snn_correct": pack(snn),
            "energy": energy,
            "calibration": template.calibration.model_copy(update={"samples": 128}),
            **more,
        }
        return template.model_copy(update=values)

    return make
