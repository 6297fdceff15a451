"""Thresholds fitted to a normal distribution by iteration (DCGS's threshold iteration).

It is Lloyd's way to a scalar quantiser, in one number. A neuron of threshold θ that can tell n
levels sends r(x) * θ of a pre-activation x, r being x/θ rounded to a multiple of 1/n from 0 to 1.
With the places kept where r changes, p_i = (2i - 1) / (2n) * θ for i = 1 … n, the θ of least
squared error is E[x r] / E[r²]; with that θ the places are elsewhere, and so on. Where x is normal
both means are sums over the places, since r = Σ [x > p_i] / n and r² = Σ (2i - 1) [x > p_i] / n²
(Huang et al. 2025; their code writes the same sums with the error function).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adacal.core.checks import check_whole
from adacal.core.errors import CalibrationError
from adacal.core.neuron import by_channel
from adacal.core.sites import Site
from adacal.core.thresholds import largest_of_runs
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

ITERATIONS = 100
"""Rounds of the public code; at many levels fewer than it takes to arrive."""
START = 1.0
"""Where the public code begins, in activation units, whatever the activations."""


def normal_threshold(
    mean: Tensor, variance: Tensor, levels: int, iterations: int = ITERATIONS
) -> Tensor:
    """Threshold near the least squared error for normally distributed pre-activations.

    The rounds are few for many levels: where they end depends on where they begin, at `START`.

    Args:
        mean, variance: of the pre-activations, shape [C], activation units (squared); computed with
            in double precision.
        levels: n, levels above 0 that the neuron can tell apart up to its threshold.
        iterations: rounds.
    Returns:
        Positive thresholds, shape and dtype of `mean`, activation units; `START` where the
        distribution is so far below 0 that no level is ever reached.
    Raises:
        CalibrationError: a mean or variance is NaN or infinite.
        ConfigError: `levels` or `iterations` is below 1.

    >>> normal_threshold(torch.tensor([0.0]), torch.tensor([1.0]), levels=1, iterations=1)
    tensor([1.1411])
    """
    check_whole("levels", levels, example=32)
    check_whole("iterations", iterations, example=ITERATIONS)
    if not bool(torch.isfinite(mean).all() and torch.isfinite(variance).all()):
        raise CalibrationError(
            "pre-activations must have a finite mean and variance to fit thresholds to; check the "
            "network's weights and the calibration inputs"
        )
    centre = mean.double()[:, None]
    spread = variance.double().clamp_min(1e-24).sqrt()[:, None]
    number = torch.arange(1, levels + 1, dtype=torch.float64, device=mean.device)
    odd = 2 * number - 1
    theta = torch.full_like(mean, START, dtype=torch.float64)
    for _ in range(iterations):
        distance = (odd / (2 * levels) * theta[:, None] - centre) / spread
        above = torch.special.ndtr(-distance)
        density = torch.exp(-distance.square() / 2) / math.sqrt(2 * math.pi)
        product = (centre * above + spread * density).sum(1) / levels
        square = (odd * above).sum(1) / levels**2
        theta = torch.where(square > 0, product / square, theta)
    return theta.to(mean)


@torch.no_grad()
def pre_activation_moments(
    network: SpikingNetwork, inputs: Tensor, *, per_channel: bool = True
) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns the mean and variance of what reaches each site in the ANN.

    Of a site that only max pools read they are those of what the pools let pass, as of the other
    estimators (`adacal.core.calibration`); the public code pools before the neuron.

    Args:
        network: a converted network.
        inputs: calibration inputs, shape [B, ...]; of a stream the mean frame.
        per_channel: one number a channel, else the same of the whole layer for all.
    Returns:
        Means and variances (over samples and places) by site, shapes [C].
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        neuron = network.neurons[site.name]
        values = by_channel(rows.detach(), neuron.channel_dim)
        channels = values.shape[0]
        if site.name in network.windows:
            values = largest_of_runs(values, network.windows[site.name], values.shape[1])
        if not per_channel:
            values = values.reshape(1, -1)
        variance, mean = torch.var_mean(values, dim=1, correction=0)
        found[site.name] = (mean.expand(channels), variance.expand(channels))
        return neuron.activation(rows), None

    network.reference_pass(inputs, record)
    return found
