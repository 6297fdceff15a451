"""A warm-up first, after which neurons left without potential are silent (residual potential).

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: binary
Source: Hao et al., "Reducing ANN-SNN conversion error through residual membrane potential" (AAAI
        2023), and its code. The T of a row are the steps whose output is used, as in the paper; the
        `warmup` steps before them are run, counted and paid: steps are warmup + T. As published on
        a network trained with quantised activations (QCFS) and threshold="trained". Differs
        elsewhere: the thresholds that training would find are estimated: least squared error at T
        steps, by channel (the paper has one a layer). The paper's networks have average pools.
        Guessed: nothing of the neuron; that the warm-up is to be paid for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from adacal.methods.base import METHODS
from adacal.methods.two_phases import TwoPhases


@METHODS.register_module(name="srp")
@dataclass(frozen=True, kw_only=True)
class Srp(TwoPhases):
    """Residual membrane potential, in two phases; `warmup` is the paper's τ."""

    name: ClassVar[str] = "srp"
    dynamics: ClassVar[Literal["gated", "offset"]] = "gated"
