"""What every registered method keeps, whatever it does inside."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adacal.core.converted import Converted
from adacal.core.divergence import symmetric_kl
from adacal.core.energy import MODELS, EnergyMeter
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.methods.base import METHODS, Calibration, Method, load_methods
from core.energy_toys import trained_small
from toys import quantised

load_methods()
NAMES = sorted(
    name for name, kind in METHODS.module_dict.items() if kind.__module__.startswith("adacal.")
)
QUICK: dict[str, dict[str, Any]] = {
    "snn_calibration_advanced": {"iterations": 10},
    "adafire": {"max_spikes": (1, 4), "budget": 2},
    "adafire_ssc": {"max_spikes": (1, 4), "budget": 2},
    "adaptive_calibration": {"adafire": {"max_spikes": (1, 4), "budget": 2}},
}
CLASSES = {
    "ann": "none", "quantized_ann": "quantised", "max_norm": "binary", "percentile_norm": "binary",
    "snn_calibration_light": "binary", "snn_calibration_advanced": "binary", "burst": "burst",
    "adafire": "burst", "adafire_ssc": "burst", "adaptive_calibration": "burst",
    "srp": "binary", "cos": "binary", "snm": "signed", "burst_lipooling": "burst",
    "multi_threshold": "signed", "dcgs": "signed",
    "rate_distortion": "burst", "qcfs": "binary", "qcfs_ann": "quantised",
}  # fmt: skip
ANN, INPUTS, LABELS = trained_small()
QUANTISED = quantised(ANN, INPUTS, levels=8)


def net_of(name: str) -> nn.Module:
    return QUANTISED if name.startswith("qcfs") else ANN


def made(name: str, **options: Any) -> Method:
    return METHODS.get(name)(**{**QUICK.get(name, {}), **options})


def built(
    name: str, seed: int = 0, T: int = 4, net: nn.Module | None = None, **options: Any
) -> Converted:
    batches = [(INPUTS[:48], LABELS[:48]), (INPUTS[48:96], LABELS[48:96])]
    calibration = Calibration(
        T=T,
        batches=batches,
        forward=lambda module, inputs: module(inputs),
        divergence=symmetric_kl,
        generator=torch.Generator().manual_seed(seed),
    )
    return made(name, **options).build(net or net_of(name), INPUTS[:1], calibration)


def test_every_method_of_the_paper_and_its_baselines_is_registered() -> None:
    assert set(CLASSES) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_builds_predicts_meters_and_reports(name: str) -> None:
    ann = net_of(name)
    before = {key: value.clone() for key, value in ann.state_dict().items()}
    network, meter = built(name), EnergyMeter()
    plain = network.predict(INPUTS[:20])
    metered = network.predict(INPUTS[:20], meter)
    assert tuple(plain.output.shape) == (20, 3) and tuple(plain.timesteps.shape) == (20,)
    assert torch.allclose(plain.output, metered.output, atol=1e-5)
    assert torch.equal(plain.timesteps, metered.timesteps)
    spiking = network.strictness() not in {"none", "quantised"}
    assert bool((plain.timesteps >= 1).all()) == spiking
    assert int(plain.timesteps.max()) <= network.T
    report = meter.report()
    assert report.samples == 20 and set(report.energy_pj) == set(MODELS)
    assert report.ann_macs == pytest.approx(ann_macs())
    assert all(value > 0 for value in report.energy_pj.values())
    sites = network.report()
    assert [site.name for site in sites] == ([] if name == "ann" else ["act1", "act2", "act3"])
    for site in sites:
        assert site.threshold_min and 0 < site.threshold_min <= (site.threshold_max or 0)
        assert site.max_spikes is not None and site.max_spikes >= 1
    for key, value in before.items():
        assert torch.equal(ann.state_dict()[key], value), key
    assert not ann.training and all(p.requires_grad for p in ann.parameters())


def ann_macs() -> float:
    meter = EnergyMeter()
    built("ann").predict(INPUTS[:2], meter)
    return meter.report().macs


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_right_where_the_ann_is(name: str) -> None:
    with torch.no_grad():
        wanted = net_of(name)(INPUTS).argmax(1)
    found = built(name, T=8).predict(INPUTS).output.argmax(1)
    assert float((found == wanted).float().mean()) > (0.75 if "norm" in name else 0.85)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_method_names_its_class_of_spikes(name: str) -> None:
    network = built(name)
    assert network.strictness() == CLASSES[name]
    phi = network.mean_max_spikes()
    assert phi is None if name == "ann" else phi is not None and phi >= 1
    if CLASSES[name] == "binary":
        assert phi == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_gives_the_same_network(name: str) -> None:
    first, second = built(name, seed=3), built(name, seed=3)
    a, b = first.predict(INPUTS[:40]), second.predict(INPUTS[:40])
    assert torch.equal(a.output, b.output) and torch.equal(a.timesteps, b.timesteps)
    assert first.search_log == second.search_log


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_frozen_keyword_only_and_has_defaults(name: str) -> None:
    kind = METHODS.get(name)
    method = kind()
    assert kind.name == name and dataclasses.is_dataclass(kind)
    with pytest.raises(TypeError):
        kind(1)
    for field in dataclasses.fields(method):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, field.name, 1)


@pytest.mark.parametrize("name", NAMES)
def test_notes_of_a_search_are_json(name: str) -> None:
    import json

    json.dumps(built(name).search_log)


WRONG: list[tuple[str, dict[str, Any]]] = [
    *[
        (name, {"max_spikes": value})
        for name in ("burst", "max_norm", "percentile_norm", "quantized_ann",
                     "snn_calibration_light", "snn_calibration_advanced")
        for value in (0, -1, 2.5, True, "4")
    ],
    ("percentile_norm", {"level": 0.0}),
    ("percentile_norm", {"level": 99.9}),
    ("burst", {"calibration": "heavy"}),
    ("snn_calibration_light", {"repeats": 0}),
    ("snn_calibration_advanced", {"iterations": -1}),
    ("snn_calibration_advanced", {"learning_rate": 0.0}),
    ("adafire", {"calibration": "heavy"}),
    ("adafire", {"budget": 9}),
    ("adafire", {"max_spikes": (0, 4)}),
    ("adafire", {"max_spikes": (1, 2, 3)}),
    ("adafire", {"ratio": 0.0}),
    ("adafire", {"samples": 0}),
    ("adafire", {"sensitivity": "guess"}),
    ("adafire_ssc", {"cost": "joule"}),
    ("adafire_ssc", {"calibration": "heavy"}),
    ("adafire_ssc", {"ssc": {"ratio": 2}}),
    ("adafire_ssc", {"ssc": {"ratios": (0.1, 2.0, 0.5)}}),
    ("adaptive_calibration", {"ssc": {"tolerance": 0.5}}),
    ("adaptive_calibration", {"adafire": {"budgett": 2}}),
    ("adaptive_calibration", {"adafire": {"budget": 0}}),
    ("adaptive_calibration", {"iat": {"rule": "vote"}}),
    ("adaptive_calibration", {"iat": {"score": "margin"}}),
    ("adaptive_calibration", {"iat": {"base": 3.0}}),
    ("adaptive_calibration", {"iat": {"bass": 0.6}}),
    ("adaptive_calibration", {"iat": {"rule": "change", "tolerance": 0.0}}),
    ("adaptive_calibration", {"calibration": "heavy"}),
    *[(name, {"warmup": value}) for name in ("srp", "cos") for value in (0, 2.5, True, "4")],
    *[
        (name, {"threshold": "matched"})
        for name in ("srp", "cos", "snm", "multi_threshold", "dcgs")
    ],
    *[
        (name, {"level": 99.9})
        for name in ("srp", "cos", "snm", "multi_threshold", "burst_lipooling")
    ],
    ("srp", {"threshold": "train"}),
    ("burst_lipooling", {"max_spikes": 0}),
    ("multi_threshold", {"levels": 0}),
    ("multi_threshold", {"levels": 2.0}),
    ("dcgs", {"levels": True}),
    ("quantized_ann", {"thresholds": "trained"}),
    ("quantized_ann", {"thresholds": "rate_distortion", "ratio": 0.0}),
    ("quantized_ann", {"ratio": 0.5}),
    *[("rate_distortion", wrong) for wrong in (
        {"budget": 2.5}, {"ratio": 0.0}, {"max_drop": -1.0}, {"max_spikes": 0}, {"unit": "joule"},
        {"samples": 0}, {"check": 1.0}, {"calibration": "heavy"}, {"iat": {"rule": "vote"}},
        {"scales": "octave"},
    )],
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), WRONG)
def test_options_check_themselves_in_one_sentence(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        METHODS.get(name)(**options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 20


@pytest.mark.parametrize("part", ["ssc", "iat"])
def test_each_part_of_adaptive_calibration_can_be_left_out(part: str) -> None:
    network = built("adaptive_calibration", **{part: None})
    assert part not in network.search_log and "adafire" in network.search_log
    if part == "iat":
        assert network.predict(INPUTS[:5]).timesteps.tolist() == [4] * 5


def test_rate_distortion_takes_an_exit_rule_and_a_limit_of_what_may_be_lost() -> None:
    network = built("rate_distortion", T=8, max_drop=5.0, iat={"rule": "accuracy"})
    assert network.search_log["rate_distortion"]["drop"] <= 5
    assert network.search_log["iat"]["score"] == "entropy"
    assert network.predict(INPUTS).timesteps.float().mean() < 8
    assert built("rate_distortion").predict(INPUTS[:5]).timesteps.tolist() == [4] * 5


def test_adaptive_calibration_saves_steps() -> None:
    network = built("adaptive_calibration", T=8, iat={"rule": "accuracy"})
    assert network.predict(INPUTS).timesteps.float().mean() < 8


class Maps(nn.Module):
    """A dense network: two maps in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.heads = nn.ModuleList([nn.Conv2d(6, 3, 1), nn.Conv2d(6, 4, 1)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        stem = self.stem(x).relu()
        return tuple(head(stem) for head in self.heads)


def on_maps(**options: Any) -> Converted:
    torch.manual_seed(0)
    calibration = Calibration(
        T=8,
        batches=[(INPUTS[:48], ["no", "labels"])],
        forward=lambda module, inputs: module(inputs),
        divergence=lambda a, b: sum(symmetric_kl(*pair) for pair in zip(a, b, strict=True)),
        generator=torch.Generator().manual_seed(0),
    )
    return made("adaptive_calibration", **options).build(Maps(), INPUTS[:2], calibration)


def test_adaptive_calibration_stops_early_on_maps_by_their_change() -> None:
    adafire = {"max_spikes": (1, 2), "budget": 2, "sensitivity": "exact"}
    network = on_maps(adafire=adafire, iat={"rule": "change", "tolerance": 0.5}, ssc=None)
    found = network.predict(INPUTS[:40])
    assert [tuple(part.shape) for part in found.output] == [(40, 3, 6, 6), (40, 4, 6, 6)]
    assert 2 <= float(found.timesteps.float().mean()) < 8
    assert set(network.search_log["iat"]) == {"allowed", "thresholds"}


def test_a_score_of_maps_is_refused_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adacal.methods.adaptive_calibration.run_adafire", None)
    with pytest.raises(UnsupportedModelError, match=r"iat=dict\(rule='change'\)"):
        on_maps()


def test_the_change_rule_has_no_score_among_its_options() -> None:
    method = made("adaptive_calibration", iat={"rule": "change", "score": "confidence"})
    assert method.iat == {"rule": "change", "tolerance": 0.1}


def test_burst_needs_fewer_steps_than_single_spikes() -> None:
    def gap(name: str) -> float:
        output: Tensor = built(name, T=2).predict(INPUTS).output
        with torch.no_grad():
            return float(symmetric_kl(ANN(INPUTS), output).mean())

    assert gap("burst") < gap("snn_calibration_light")
