"""Rate-distortion thresholds: θ of every channel chosen as a codec spends bits (METHOD section 11).

What costs spikes is θ, not φ: a neuron fires about T·a/θ of them, and a small φ only clips. So φ is
high and fixed, and each channel takes the θ that minimises `S(θ) + λ E(θ)`: S the divergence of the
output that its error causes, E what its spikes cost (`adacal.core.channel_tables`). Both add up
over channels, so one λ, found by bisection, spends a budget best on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from adacal.core import calibration
from adacal.core.channel_tables import GRID, ChannelTables, Scales, measure_channels
from adacal.core.checks import check_choice, check_number, check_whole
from adacal.core.divergence import symmetric_kl
from adacal.core.errors import ConfigError
from adacal.core.inputs import joined_inputs
from adacal.core.sensitivity import Cost
from adacal.core.shrinkage import Tried, halfway, in_doubt, nearest
from adacal.core.trials import Judge, Trial

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

_OPTIONS = (
    "budget", "max_drop", "unit", "max_spikes", "mode", "samples", "check", "noise", "grid",
    "scales",
)  # fmt: skip
CLOSE = 0.01
"""How near the measured cost must come to the budget, as a fraction of it."""
ROUNDS = 6
"""Most points of the hull that are calibrated and measured to come so near; where none does, as
many choices that spend what is left: twelve in all."""
HALVINGS = 6
"""Choices that are calibrated and measured to find the cheapest network that loses little."""
POINTS = 16
"""Points of the curve that is noted."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search found.

    Attributes:
        tables: what it chose from.
        before: the network as it was.
        after: its choice.
        tried: sets thresholds by site, calibrates and measures.
    """

    tables: ChannelTables
    before: Trial
    after: Trial
    tried: Tried


def rate_distortion(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    budget: float | None = None,
    max_drop: float | None = None,
    unit: Cost = "pj",
    **options: Any,
) -> dict[str, Any]:
    """Chooses θ per channel: the least change at a given cost, or the least cost at a given change.

    A choice under a budget that has not halved the divergence of the network as it was, on samples
    the tables have not seen, is in doubt. It is then compared with that network and with one
    halfway between both; whichever is nearest to the ANN on all samples is kept in its place if it
    is so by a standard error. Under a drop the network as it was stays if it is within it for less.

    Args:
        network: changed in place: thresholds and `max_spikes`, then recalibrated. What it was
            calibrated to before is what the result must beat.
        batches, budget, max_drop, unit, options: of `search`.
    Returns:
        JSON-able notes: the limit, whether it is kept, what was spent, whether the network was left
        as it was, whether it is the one halfway (None: not tried), both divergences (mean of
        d / (1 + d)) on the samples kept back, by how many standard errors the choice is nearer
        there and on all samples, both drops on all samples, mean θ by site, and the predicted
        curve. Where the network halfway is kept, it is the choice.
    Raises:
        ConfigError: no budget and no `max_drop`, both, or another option that makes no sense.
    """
    found = search(network, batches, budget=budget, max_drop=max_drop, unit=unit, **options)
    before, choice = found.before, found.after
    middle = None
    if budget is not None:
        limit = (1 + CLOSE) * budget
        fits = [trial.cost <= limit for trial in (before, choice)]
        kept = choice if fits[1] or not fits[0] else before
        if all(fits) and in_doubt(before, choice):
            others = [before]
            if found.tables.family is None:  # what is halfway is in no family
                middle = halfway(before, choice, budget, limit, found.tried)
                others += [middle] if middle.cost <= limit else []
            kept = nearest(choice, others)
    else:
        assert max_drop is not None
        fits = [trial.drop <= max_drop for trial in (before, choice)]
        stays = fits[0] and (before.cost <= choice.cost or not fits[1])
        kept = before if stays else choice
    kept.restore(network)
    after = choice if kept is before else kept
    return {
        "budget": budget,
        "max_drop": max_drop,
        "within_limit": any(fits),
        "cost_unit": unit,
        "cost": after.cost,
        "cost_before": before.cost,
        "kept_as_it_was": kept is before,
        "halfway": None if middle is None else kept is middle,
        "check_samples": len(after.divergences),
        "divergence_before": before.divergence,
        "divergence": after.divergence,
        "nearer_by": after.nearer_by(before),
        "nearer_by_everywhere": after.nearer_by(before, everywhere=True),
        "drop_before": before.drop,
        "drop": after.drop,
        "mean_threshold": {
            name: float(torch.as_tensor(neuron.threshold).mean())
            for name, neuron in network.neurons.items()
        },
        "curve": curve(found.tables),
    }


def search(
    network: SpikingNetwork,
    batches: Sequence[Any],
    *,
    budget: float | None = None,
    max_drop: float | None = None,
    unit: Cost = "pj",
    max_spikes: int = 16,
    mode: Literal["none", "light", "advanced"] = "light",
    samples: int = 128,
    check: float = 0.25,
    noise: float = 1.0,
    grid: Sequence[float] = GRID,
    scales: Scales = "channel",
    divergence: Callable[[Any, Any], Tensor] = symmetric_kl,
    generator: torch.Generator | None = None,
    **calibration_options: Any,
) -> Search:
    """Searches θ per channel; the network is left as the last trial made it.

    The tables know the ANN's activations; what the converted network really spends and loses is
    measured after each choice, and the next aims nearer.

    Args:
        network: calibrated to what the result must beat; changed in place.
        batches: calibration inputs, or (inputs, targets) pairs.
        budget: what the spikes of a sample may cost over T steps, in `unit`; analogue operations
            (the first layer) are not counted.
        max_drop: instead of a budget, percent of all these samples whose class may differ from the
            ANN's, and accuracy on them falls by no more. A percent of it needs 100 samples. Of
            other outputs than logits [B, K], 100 times the mean of d / (1 + d).
        unit: `pj` (accumulates with fan-out) or `spikes`.
        max_spikes: φ of every site; high, so that it hardly clips.
        mode: calibration afterwards.
        samples: calibration samples that the tables are measured on, at most.
        check: share of the calibration samples kept from the tables for the comparison.
        noise: weight of the error that lumps of current cause; see `adacal.core.channel_tables`.
        grid: θ tried, in quarters of octaves from the channel's largest activation.
        scales: `channel` gives every channel its own θ; with `power_of_two` those of a layer are
            one scale times powers of two, a multiplier a layer and a shift a channel in hardware;
            with `layer` they are all the same.
        divergence, generator, calibration_options: as in `calibrate`.
    Returns:
        The tables, the network as it was and as it was chosen, and how to try others.
    Raises:
        ConfigError: no budget and no `max_drop`, both, or another option that makes no sense.
    """
    check_options(budget, max_drop, unit, max_spikes, samples, check)
    check_number("noise", noise, 0, example=1)
    check_choice("scales", scales, get_args(Scales))
    calibration.options_of(mode, calibration_options, also=_OPTIONS)
    if "threshold" in calibration_options:
        raise ConfigError("rate_distortion chooses the thresholds; leave out 'threshold'")
    inputs = joined_inputs(batches, network)
    seen, unseen = _parted(inputs, int(network.stream), samples, check)
    judge = Judge(network, seen, unseen, unit, divergence)
    before = judge.measure()
    seed = 0 if generator is None else int(torch.randint(2**31, (1,), generator=generator))
    tables = measure_channels(
        network,
        seen,
        max_spikes=max_spikes,
        cost=unit,
        divergence=divergence,
        remove_mean=mode != "none",
        noise=noise,
        grid=grid,
        scales=scales,
        generator=torch.Generator().manual_seed(seed),
    )
    options = {
        **calibration_options,
        "threshold": "keep",
        "divergence": divergence,
        "reference": calibration.Reference(),
    }

    def tried(thresholds: Mapping[str, Tensor]) -> Trial:
        for name, threshold in thresholds.items():
            neuron = network.neurons[name]
            neuron.threshold = threshold.to(inputs.device)
            neuron.max_spikes, neuron.ratio = max_spikes, 1.0
        same = torch.Generator().manual_seed(seed)
        calibration.calibrate(network, [inputs], mode=mode, generator=same, **options)
        return judge.measure()

    def of(choice: Tensor) -> Trial:
        return tried(tables.thresholds(choice))

    if budget is not None:
        after = _spent_within(budget, tables, of)
    else:
        assert max_drop is not None
        after = _cheapest_within(max_drop, tables, of)
    return Search(tables=tables, before=before, after=after, tried=tried)


def check_options(
    budget: Any, max_drop: Any, unit: Any, max_spikes: Any, samples: Any, check: Any
) -> None:
    """Raises ConfigError for options of `rate_distortion` that make no sense."""
    if (budget is None) == (max_drop is None):
        raise ConfigError(
            "rate_distortion needs a budget or a max_drop, one of them; got "
            f"budget={budget!r} and max_drop={max_drop!r}"
        )
    if budget is not None:
        check_number("budget", budget, 0, above=True, example=1e7)
    if max_drop is not None:
        check_number("max_drop", max_drop, 0, 100, example=0.5)
    check_choice("unit", unit, get_args(Cost))
    check_whole("max_spikes", max_spikes, example=16)
    check_whole("samples", samples, example=128)
    check_number("check", check, 0, 0.9, example=0.25)


def curve(tables: ChannelTables, points: int = POINTS) -> list[dict[str, float]]:
    """Returns predicted cost and divergence along the frontier, from dearest to cheapest."""
    found = []
    least, most = tables.range()
    for share in torch.linspace(1, 0, points).tolist():
        harm, spent = tables.totals(tables.within(least + share * share * (most - least)))
        found.append({"cost": spent, "divergence": harm})
    return found


def _parted(inputs: Tensor, dim: int, samples: int, check: float) -> tuple[Tensor, Tensor | None]:
    """Returns the samples for the tables, at least one, and all others; None where none are."""
    total = inputs.shape[dim]
    count = min(samples, total - min(round(check * total), total - 1))
    seen = inputs.narrow(dim, 0, count)
    return seen, inputs.narrow(dim, count, total - count) if count < total else None


def _spent_within(budget: float, tables: ChannelTables, tried: Callable[[Tensor], Trial]) -> Trial:
    """Returns the trial whose measured cost is nearest below the budget, or else the cheapest.

    Points of the hull are tried first. Only where none of them comes near the budget is what they
    leave of it spent on single channels (`ChannelTables.filled`), between brackets.
    """
    trials: list[Trial] = []

    def near() -> bool:
        return (1 - 2 * CLOSE) * budget <= trials[-1].cost <= (1 + CLOSE) * budget

    def corrected(aim: float) -> float:
        return aim * (1 - CLOSE / 2) * budget / max(trials[-1].cost, 1e-12)

    aim, last = budget, None
    for _ in range(ROUNDS):
        choice = tables.within(aim)
        if last is not None and torch.equal(choice, last):
            break
        trials.append(tried(choice))
        if near():
            break
        last, aim = choice, corrected(aim)
    aim, low, high = budget, 0.0, float("inf")
    for _ in range(0 if near() else ROUNDS):
        choice = tables.filled(aim)
        trials.append(tried(choice))
        if near():
            break
        if trials[-1].cost > budget:
            high = min(aim, tables.totals(choice)[1])  # below it, the choice is another
        else:
            low = aim
        aim = corrected(aim)
        if not low < aim < high:
            aim = (low * high) ** 0.5 if low > 0 and high < float("inf") else 0.97 * high
    fitting = [trial for trial in trials if trial.cost <= (1 + CLOSE) * budget]
    if fitting:
        return max(fitting, key=lambda trial: trial.cost)
    return min(trials, key=lambda trial: trial.cost)


def _cheapest_within(
    max_drop: float, tables: ChannelTables, tried: Callable[[Tensor], Trial]
) -> Trial:
    """Returns the cheapest trial that drops no more, or else the one that drops least."""
    least, most = tables.range()
    trials = [tried(tables.within(most))]
    low, high = max(least, 1e-3 * most), most
    for _ in range(HALVINGS if trials[0].drop <= max_drop else 0):
        middle = (low * high) ** 0.5
        trials.append(tried(tables.filled(middle)))
        low, high = (low, middle) if trials[-1].drop <= max_drop else (middle, high)
    fitting = [trial for trial in trials if trial.drop <= max_drop]
    if fitting:
        return min(fitting, key=lambda trial: trial.cost)
    return min(trials, key=lambda trial: trial.drop)
