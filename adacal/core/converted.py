"""What every method hands back: something that predicts, reports and lets itself be metered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from adacal.core.energy import EnergyMeter


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Raw outputs and what they took.

    Attributes:
        output: mean over the steps run, same nest as the ANN's output.
        timesteps: steps used by each sample, shape [B]; 0 for an ANN.
        by_step: running mean of logits after 1 … T steps, shape [T, B, K], of those after a
            warm-up; None for other outputs, for networks without steps, and where samples left
            early.
    """

    output: Any
    timesteps: Tensor
    by_step: Tensor | None = None


@dataclass(kw_only=True)
class SiteReport:
    """What became of one call of an activation or of an operation that stays analogue.

    Attributes:
        name, function: where and what it was.
        kind: `burst`, `capped`, `signed` (negative spikes) or `analogue`.
        shape: shape of one sample.
        threshold_mean, threshold_min, threshold_max: over channels, activation units.
        max_spikes: φ; of neurons of several levels the largest, in units of the smallest.
        ratio: ρ that SSC multiplied the threshold by.
        rate: spikes a neuron and step in the last metered run, if there was one.
    """

    name: str
    kind: str
    function: str
    shape: tuple[int, ...]
    threshold_mean: float | None = None
    threshold_min: float | None = None
    threshold_max: float | None = None
    max_spikes: int | None = None
    ratio: float = 1.0
    rate: float | None = None


class Converted(ABC):
    """A network ready to be measured.

    Attributes:
        T: steps of a full run, those of a warm-up included.
        warmup: those of them whose output is not used.
        search_log: JSON-able notes of what a search chose.
        memory_mb: what the activations of a run may take; None leaves it open.
    """

    T: int
    warmup: int = 0
    search_log: dict[str, Any]
    memory_mb: float | None = None

    @abstractmethod
    def predict(self, inputs: Tensor, meter: EnergyMeter | None = None) -> Prediction:
        """Runs a batch [B, ...]; counts into `meter` if one is given."""

    @abstractmethod
    def report(self) -> list[SiteReport]:
        """Lists every site and what became of it."""

    def strictness(self) -> str:
        """Names the class of spikes used: what a reader must know before comparing rows."""
        sites = self.report()
        kinds = {site.kind for site in sites}
        if not sites:
            return "none"
        if "analogue" in kinds:
            return "analogue parts"
        if "signed" in kinds:
            return "signed"
        return "burst" if any((site.max_spikes or 1) > 1 for site in sites) else "binary"

    def mean_max_spikes(self) -> float | None:
        """Mean φ over sites; None without spikes."""
        known = [site.max_spikes for site in self.report() if site.max_spikes is not None]
        return sum(known) / len(known) if known else None
