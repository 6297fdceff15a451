"""What each threshold of each channel costs, in accuracy and in energy.

Accuracy is the divergence of the network's output, to second order, from the gradients of a few
backward passes (`adacal.core.probes`). A channel's error has two parts. One is known in advance:
what constant currents are rounded and clipped to. The other is not: current arrives in lumps, so
the rest that stays on a membrane after the last step is anywhere within one θ, and the mean output
errs by up to θ / 2T, with variance θ² / 12T², at each place on its own. Without this part
thresholds are chosen that would round well if currents were constant, and the networks are far
worse. It counts at the first layer too, whose own current is constant: the coarser its spikes, the
larger the lumps that all layers behind it get.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from adacal.core.candidates import Candidate, layer_error, reference_activations
from adacal.core.energy import ACCUMULATE_PJ
from adacal.core.kernels import count_spikes
from adacal.core.neuron import BurstNeuron, by_channel, per_channel
from adacal.core.probes import Gradients, backward_passes
from adacal.core.sensitivity import Cost, fan_out

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

Scales = Literal["channel", "power_of_two", "layer"]
GRID = tuple(range(-20, 7))
"""θ tried: the largest activation of the channel times 2 to the power of a quarter of these."""
_BISECTIONS = 60
_MOVES = 200  # most channels that spend what the hull leaves of a budget


@dataclass(frozen=True, kw_only=True)
class ChannelTables:
    """What each θ of each channel costs in accuracy and in energy; all on the CPU.

    Attributes:
        sites: names, in calling order.
        channels: how many each has.
        threshold: θ tried, activation units, shape [N, K]; N channels of all sites.
        sensitivity: divergence that it causes alone, nats a sample, shape [N, K].
        cost: pJ or spikes a sample over T steps, shape [N, K].
        family: number of the family of each candidate, shape [K]; the channels of a site take
            theirs from one family. None where any go together.
    """

    sites: list[str]
    channels: list[int]
    threshold: Tensor
    sensitivity: Tensor
    cost: Tensor
    family: Tensor | None = None

    def cheapest(self, price: float) -> Tensor:
        """Returns the candidates of least `S + price * E`, one a channel, shape [N]."""
        return self._least(self.sensitivity + price * self.cost, self.cost)

    def within(self, budget: float) -> Tensor:
        """Returns the candidates that hurt least at a total cost of at most `budget`.

        Where even the cheapest choice costs more, it is that one. Exact on the lower convex hull
        of the rate-distortion curve; between two of its points, the cheaper.
        """
        best = self._best()
        if self.totals(best)[1] <= budget:
            return best
        least = self._least(self.cost, self.sensitivity)
        if self.totals(least)[1] > budget:
            return least
        low, high = 0.0, 1.0
        while self.totals(self.cheapest(high))[1] > budget and high < 1e30:
            high *= 16
        for _ in range(_BISECTIONS):
            middle = (low * high) ** 0.5 if low > 0 else high / 1024
            over = self.totals(self.cheapest(middle))[1] > budget
            low, high = (middle, high) if over else (low, middle)
            if low > 0 and high / low < 1 + 1e-9:
                break
        return self.cheapest(high)

    def filled(self, budget: float) -> Tensor:
        """Returns `within`, and what is left of the budget spent on the channels that gain most.

        Where few channels make up the cost, the next point of the hull may be far above the budget.
        """
        choice = self.within(budget)
        rows = torch.arange(len(choice))
        allowed = torch.ones_like(self.cost, dtype=torch.bool)
        if self.family is not None:
            allowed = self.family == self.family[choice][:, None]
        for _ in range(_MOVES):
            spent = self.cost[rows, choice]
            dearer = self.cost - spent[:, None]
            gain = self.sensitivity[rows, choice][:, None] - self.sensitivity
            fits = allowed & (gain > 0) & (dearer <= budget - float(spent.sum()))
            if not bool(fits.any()):
                break
            each = (gain / dearer.clamp_min(1e-300)).where(fits, -torch.inf)
            channel, candidate = divmod(int(each.argmax()), each.shape[1])
            choice[channel] = candidate
        return choice

    def range(self) -> tuple[float, float]:
        """Returns the least cost there is, and that of the choice that hurts least."""
        least = self._least(self.cost, self.sensitivity)
        return self.totals(least)[1], self.totals(self._best())[1]

    def thresholds(self, choice: Tensor) -> dict[str, Tensor]:
        """Returns the chosen θ by site, shape [C] each."""
        chosen = self.threshold.gather(1, choice[:, None]).squeeze(1)
        return dict(zip(self.sites, chosen.split(self.channels), strict=True))

    def totals(self, choice: Tensor) -> tuple[float, float]:
        """Returns sensitivity and cost of a choice."""
        rows = torch.arange(len(choice))
        return float(self.sensitivity[rows, choice].sum()), float(self.cost[rows, choice].sum())

    def _best(self) -> Tensor:
        return self._least(self.sensitivity, self.cost)

    def _least(self, first: Tensor, then: Tensor) -> Tensor:
        """Returns the candidates of least `first` [N, K], shape [N]; of several, least `then`."""
        if self.family is None:
            return _column(first, then)
        rows = torch.arange(len(first))
        site = torch.arange(len(self.sites)).repeat_interleave(torch.tensor(self.channels))
        picks, sums = [], []
        for family in range(int(self.family.max()) + 1):
            pick = _column(first.where(self.family == family, torch.inf), then)
            picks.append(pick)
            both = torch.stack([first[rows, pick], then[rows, pick]])
            sums.append(both.new_zeros(2, len(self.sites)).index_add_(1, site, both))
        of_site = _column(*torch.stack(sums, 2))  # [2, sites, families]
        return torch.stack(picks)[of_site[site], rows]


def _column(first: Tensor, then: Tensor) -> Tensor:
    """Returns the column of the least `first` of each row [N, K]; of several, the least `then`."""
    return then.where(first == first.amin(1, keepdim=True), torch.inf).argmin(1)


def measure_channels(
    network: SpikingNetwork,
    inputs: Tensor,
    *,
    max_spikes: int,
    cost: Cost = "pj",
    divergence: Callable[[Any, Any], Tensor],
    remove_mean: bool = True,
    noise: float = 1.0,
    grid: Sequence[float] = GRID,
    scales: Scales = "channel",
    generator: torch.Generator | None = None,
) -> ChannelTables:
    """Measures both tables of all channels by a few backward passes and one scan a candidate.

    Args:
        network: its ANN, T and fan-out are used.
        inputs: calibration samples, shape [B, ...], or streams.
        max_spikes: φ of every site.
        cost, divergence, remove_mean, generator: as in `adacal.core.sensitivity.measure_tables`.
        noise: weight of the error that lumps of current cause.
        grid: θ tried, in quarters of octaves from the channel's largest activation.
        scales: `channel` (any θ); `power_of_two`: the θ of a layer are one scale times powers of
            two; `layer`: they are all the same.
    """
    reference = inputs.mean(0) if network.stream else inputs
    plain, after = reference_activations(network, reference)
    few = inputs[:, :16] if network.stream else inputs[:16]
    synapses = fan_out(network, few) if cost == "pj" else {}
    steps = torch.tensor([2.0 ** (step / 4) for step in grid])
    candidates = {
        name: _candidates(network.neurons[name], activation, steps, max_spikes, scales)
        for name, activation in after.items()
    }
    samples = reference.shape[0]
    costs, errors = [], {}
    for name, options in candidates.items():
        neuron = network.neurons[name]
        spent, means = _scan(neuron, after[name], options, synapses.get(name), network.T)
        costs.append(spent / samples)
        errors[name] = _Errors(
            neuron=neuron,
            T=network.T,
            noise=noise,
            options=options,
            harm=torch.zeros(spent.shape, dtype=torch.float64),
            means=means if remove_mean else torch.zeros_like(means),
        )
    passes = backward_passes(
        network, reference, plain, candidates, divergence=divergence, generator=generator
    )
    for name, found in passes:
        errors[name].add(after[name].unflatten(0, (samples, -1))[found.samples], found)
    return ChannelTables(
        sites=list(candidates),
        channels=[options[0].threshold.numel() for options in candidates.values()],
        threshold=torch.cat(
            [torch.stack([o.threshold for o in options], 1) for options in candidates.values()]
        ).cpu(),
        sensitivity=torch.cat([errors[name].harm for name in candidates]),
        cost=torch.cat(costs),
        family=_families(grid, scales),
    )


def _candidates(
    neuron: BurstNeuron, activation: Tensor, steps: Tensor, max_spikes: int, scales: Scales
) -> list[Candidate]:
    largest = by_channel(activation, neuron.channel_dim).abs().amax(1)
    silent = largest <= 0
    whole = largest.max().clamp_min(1e-6)
    largest = torch.where(silent, whole, largest)
    if scales == "power_of_two":
        largest = whole * (largest / whole).log2().round().exp2()
    elif scales == "layer":
        largest = whole.expand_as(largest)
    return [Candidate(threshold=largest * step, max_spikes=max_spikes) for step in steps]


def _families(grid: Sequence[float], scales: Scales) -> Tensor | None:
    if scales == "channel":
        return None
    kept = [step % 4 if scales == "power_of_two" else step for step in grid]  # 4 are an octave
    return torch.unique(torch.tensor(kept), return_inverse=True)[1]


def _scan(
    neuron: BurstNeuron,
    activation: Tensor,
    options: Sequence[Candidate],
    behind: Tensor | None,
    T: int,
) -> tuple[Tensor, Tensor]:
    """Returns the cost of all samples and the mean error of each channel and candidate, [C, K].

    Args:
        neuron: of the site.
        activation: shape [B*m, C, *].
        options: candidates.
        behind: synapses behind each neuron, shape [m, C, *]; None to count spikes.
        T: steps.
    """
    dim, channel = activation.dim(), neuron.channel_dim
    magnitude, sign = activation.abs(), activation.sign()
    rows = 1 if behind is None else behind.shape[0]
    price = None if behind is None else ACCUMULATE_PJ * behind.double()
    wanted = by_channel(activation, channel).double()
    costs, means = [], []
    for option in options:
        theta = per_channel(option.threshold, dim, channel)
        counts = count_spikes(magnitude, theta, option.max_spikes, T)
        fired = counts.unflatten(0, (-1, rows)).sum(0).double()  # over the samples
        signed = counts.mul_(sign).sum(0, keepdim=True) if neuron.kind == "signed" else fired
        costs.append(by_channel(fired if price is None else fired * price, channel).sum(1))
        mean = by_channel(signed, channel).sum(1) / wanted.shape[1]
        means.append(mean * option.threshold / T - wanted.mean(1))
    return torch.stack(costs, 1).cpu(), torch.stack(means, 1)


@dataclass(frozen=True, kw_only=True)
class _Errors:
    """Gathers what each candidate of one site's channels does to the output.

    Attributes:
        noise: weight of the error that lumps of current cause.
        harm: sum so far, nats a sample, shape [C, K].
        means: mean errors that a calibration will correct, shape [C, K]; 0 where none will.
    """

    neuron: BurstNeuron
    T: int
    noise: float
    options: Sequence[Candidate]
    harm: Tensor
    means: Tensor

    def add(self, by_sample: Tensor, found: Gradients) -> None:
        """Adds what the gradients of some samples [S, m, C, *] say."""
        rows = by_sample.shape[1]
        activation = by_sample.flatten(0, 1)
        channel = self.neuron.channel_dim % activation.dim()

        def columns(tensor: Tensor) -> Tensor:
            """[S*m, C, *] to [S, C, n]: the places and rows of a sample add up."""
            return tensor.unflatten(0, (-1, rows)).movedim(channel + 1, 1).flatten(2)

        gradients = [columns(gradient) for gradient in found.gradients]
        sums = [gradient.sum(2, dtype=torch.float64) for gradient in gradients]
        for number, option in enumerate(self.options):
            error = columns(layer_error(self.neuron, option, activation, self.T))[found.row]
            for gradient, whole in zip(gradients, sums, strict=True):
                inner = torch.linalg.vecdot(error, gradient) - whole * self.means[:, number]
                self.harm[:, number] += found.weight * inner.square().sum(0).cpu()
        active = columns(activation != 0)[found.row]
        powers = [(gradient.square() * active).sum((0, 2)) for gradient in gradients]
        power = torch.stack(powers).sum(0).double()
        thetas = torch.stack([option.threshold for option in self.options], 1)
        variance = self.noise * thetas.double().square() / (12 * self.T**2)
        self.harm.add_(found.weight * (power[:, None] * variance).cpu())
