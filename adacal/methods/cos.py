"""A warm-up first, in which each neuron learns whether it fires one spike too few or too many.

Card:   data: calibration inputs, no labels | weights: untouched | passes: 2 | spikes: binary
Source: Hao et al., "Bridging the gap between ANNs and SNNs by calibrating offset spikes" (ICLR
        2023), and its code: one shift of the initial potential, layer after layer. The T of a row
        are the steps whose output is used, as in the paper; the `warmup` steps before them are run,
        counted and paid: steps are warmup + T. A layer hears its warm-up from the corrected layer
        before it, so on a machine where layers run in step the warm-ups add up over the depth; the
        row counts one, as the paper does. As published on a network trained with quantised
        activations (QCFS) and threshold="trained". Differs elsewhere: the thresholds that training
        would find are estimated: least squared error at T steps, by channel (the paper has one a
        layer). A neuron that fires at every step of the warm-up and has a threshold left is raised
        by ρθ, enough to fire through another warm-up; the code raises it by about 1001θ, a
        placeholder left in, after which it never stops. In the code a layer hears its warm-up in
        the first ρ of the steps that it then runs, which takes T >= ρ; here the ρ steps are sent
        apart.
        Guessed: that they are to be paid for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from adacal.methods.base import METHODS
from adacal.methods.two_phases import TwoPhases


@METHODS.register_module(name="cos")
@dataclass(frozen=True, kw_only=True)
class Cos(TwoPhases):
    """Offset spikes, calibrated at run time for each sample; `warmup` is the paper's ρ."""

    name: ClassVar[str] = "cos"
    dynamics: ClassVar[Literal["gated", "offset"]] = "offset"
