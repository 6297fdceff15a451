"""A warm-up first, in which each neuron learns whether it fires one spike too few or too many.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: binary
Source: Hao et al., "Bridging the gap between ANNs and SNNs by calibrating offset spikes" (ICLR
        2023), and its code: one shift of the initial potential, layer after layer. The T of a row
        are the steps whose output is used, as in the paper; the `warmup` steps before them are run,
        counted and paid: steps are warmup + T. A layer hears its warm-up from the corrected layer
        before it, so on a machine where layers run in step the warm-ups add up over the depth; the
        row counts one, as the paper does. Differs: the ANN is not trained with quantised
        activations (QCFS), so the thresholds that training would find are estimated: least squared
        error at T steps, by channel (the paper has one a layer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.converted import Converted
from adacal.core.phases import set_dynamics
from adacal.methods.base import METHODS, Calibration, Method, calibrate, note_divergence, start


@METHODS.register_module(name="cos")
@dataclass(frozen=True, kw_only=True)
class Cos(Method):
    """Offset spikes, calibrated at run time for each sample.

    Attributes:
        warmup: the paper's ρ, steps of the first phase.
        threshold: `mmse`, `percentile` or `max`.
        level: quantile for `percentile`, in (0, 1].
        per_channel: one threshold a channel, else one a layer.
    """

    warmup: int = 4
    threshold: Literal["mmse", "percentile", "max"] = "mmse"
    level: float = 0.999
    per_channel: bool = True

    name: ClassVar[str] = "cos"

    def __post_init__(self) -> None:
        check_whole("cos.warmup", self.warmup, example=4)
        check_choice("cos.threshold", self.threshold, ("mmse", "percentile", "max"))
        check_number("cos.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds, then the offsets and the warm-up."""
        network = start(ann, example_input, calibration, max_spikes=1)
        options = {"level": self.level, "per_channel": self.per_channel}
        calibrate(network, calibration, "none", threshold=self.threshold, **options)
        set_dynamics(network, "offset", warmup=self.warmup)
        note_divergence(network, calibration)
        return network
