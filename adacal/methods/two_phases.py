"""What methods share whose neurons first run a warm-up and only then are listened to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.converted import Converted
from adacal.core.phases import set_dynamics
from adacal.methods.base import Calibration, Method, calibrate, note_divergence, start
from adacal.methods.trained_thresholds import use_trained_thresholds


@dataclass(frozen=True, kw_only=True)
class TwoPhases(Method):
    """Binary neurons with a warm-up; subclasses say what it changes.

    Attributes:
        warmup: steps of the first phase.
        threshold: `mmse`, `percentile`, `max`, or, of a network with activations quantised in
            training, the `trained` ones.
        level: quantile for `percentile`, in (0, 1].
        per_channel: one threshold a channel, else one a layer.
    """

    warmup: int = 4
    threshold: Literal["mmse", "percentile", "max", "trained"] = "mmse"
    level: float = 0.999
    per_channel: bool = True

    dynamics: ClassVar[Literal["gated", "offset"]]

    def __post_init__(self) -> None:
        check_whole(f"{self.name}.warmup", self.warmup, example=4)
        known = ("mmse", "percentile", "max", "trained")
        check_choice(f"{self.name}.threshold", self.threshold, known)
        check_number(f"{self.name}.level", self.level, 0, 1, above=True, example=0.999)

    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Sets thresholds, then what the warm-up does."""
        network = start(ann, example_input, calibration, max_spikes=1)
        if self.threshold == "trained":
            use_trained_thresholds(network, self)
        else:
            options = {"level": self.level, "per_channel": self.per_channel}
            calibrate(network, calibration, "none", threshold=self.threshold, **options)
        set_dynamics(network, self.dynamics, warmup=self.warmup)
        note_divergence(network, calibration)
        return network
