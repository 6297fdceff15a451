"""The whole of Adaptive Calibration: AdaFire, spike compression, input-aware timesteps.

Card:   data: calibration inputs and labels | weights: untouched (shifts of the current) | passes:
        5 to 10 and a few backwards | spikes: burst
Source: Adaptive Calibration (AAAI 2025, arXiv 2412.16219). Differs: as adafire and adafire_ssc;
        samples that may stop really leave the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from adacal.core.change_rule import ChangeRule
from adacal.core.converted import Converted
from adacal.core.network import SpikingNetwork
from adacal.core.timesteps import CHANGE_TOLERANCE, Rule, check_options, require_logits
from adacal.methods.adafire import AdaFireOptions, run_adafire
from adacal.methods.adafire_ssc import SSC_DEFAULTS, check_ssc, run_ssc
from adacal.methods.base import METHODS, Calibration, Method, check_calibration, check_dict, start

IAT_DEFAULTS: Mapping[str, Any] = {
    "score": "entropy",
    "rule": "paper",
    "base": 0.6,
    "tolerance": 0.0,
}
CHANGE_DEFAULTS: Mapping[str, Any] = {"rule": "change", "tolerance": CHANGE_TOLERANCE}


@METHODS.register_module(name="adaptive_calibration")
@dataclass(frozen=True, kw_only=True)
class AdaptiveCalibration(Method):
    """AdaFire + SSC + IAT.

    Attributes:
        calibration: none, light or advanced.
        adafire: options of `AdaFireOptions`; here and below, what is left out has its default.
        ssc: options of SSC, or None to leave it out.
        iat: `score` (entropy, confidence), `rule` (paper, accuracy, agreement, change), `base` (the
            paper's a), `tolerance` (points for rule accuracy; for rule change a share of the
            divergence between ANN and SNN); None to leave it out. Outputs other than logits need
            rule change, which has no score and no base.
    """

    calibration: Literal["none", "light", "advanced"] = "light"
    adafire: Mapping[str, Any] = field(default_factory=dict)
    ssc: Mapping[str, Any] | None = field(default_factory=lambda: dict(SSC_DEFAULTS))
    iat: Mapping[str, Any] | None = field(default_factory=dict)  # the defaults depend on the rule

    name: ClassVar[str] = "adaptive_calibration"

    def __post_init__(self) -> None:
        check_calibration(self, self.calibration)
        object.__setattr__(self, "adafire", asdict(self._adafire()))
        if self.ssc is not None:
            check_ssc(self.ssc)
            object.__setattr__(self, "ssc", {**SSC_DEFAULTS, **self.ssc})
        object.__setattr__(self, "iat", completed_iat(self.iat))

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Searches φ, then ρ, then fits the exit rule on the same calibration samples."""
        options = self._adafire()
        network = start(ann, example_input, calibration, options.budget)
        require_output_for(self.iat, network, example_input)  # before a long search
        run_adafire(network, calibration, options, self.calibration)
        if self.ssc is not None:
            sensitivity, cost = options.sensitivity, options.cost
            run_ssc(network, calibration, self.ssc, self.calibration, sensitivity, cost)
        run_iat(network, calibration, self.iat)
        return network

    def _adafire(self) -> AdaFireOptions:
        check_dict("adafire", self.adafire, [field.name for field in fields(AdaFireOptions)])
        return AdaFireOptions(**self.adafire)


def completed_iat(iat: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the options with defaults for what is left out; of rule change only its own.

    Raises:
        ConfigError: an unknown option, or one that makes no sense.
    """
    if iat is None:
        return None
    check_dict("iat", iat, IAT_DEFAULTS)
    check_options(**iat)
    given = {key: value for key, value in iat.items() if value is not None}
    if given.get("rule") != "change":
        return {**IAT_DEFAULTS, **given}
    return {**CHANGE_DEFAULTS, **{key: given[key] for key in CHANGE_DEFAULTS if key in given}}


def require_output_for(
    iat: Mapping[str, Any] | None, network: SpikingNetwork, example_input: Tensor
) -> None:
    """Raises UnsupportedModelError where the rule asked for needs logits and has none."""
    if iat is not None and iat["rule"] != "change":
        require_logits(network.ann(example_input.mean(0) if network.stream else example_input))


def run_iat(
    network: SpikingNetwork, calibration: Calibration, iat: Mapping[str, Any] | None
) -> None:
    """Fits the exit rule that completed options ask for, if any, and notes it."""
    if iat is None:
        return
    rule = network.fit_exit_rule(calibration.batches, **iat, divergence=calibration.divergence)
    network.exit_rule = rule
    network.search_log["iat"] = _notes(rule)


def _notes(rule: Rule) -> dict[str, Any]:
    what = {"allowed": rule.allowed} if isinstance(rule, ChangeRule) else {"score": rule.score}
    return {**what, "thresholds": [float(value) for value in rule.thresholds]}
