"""Sensitivities of all layers and candidates from a few backward passes (DESIGN section 3).

To second order half the symmetric KL divergence is `1/2 dz^T F dz` with `F = diag(p) - p p^T`.
With `F = sum_i v_i v_i^T`, one backward pass from v gives `J_l^T v` at all layers l at once. The
eigenvectors of F are such vectors, each sample has its own, and the network is sure of most
samples: few pairs of a sample and an eigenvector hold nearly all of F, so only these are run.

Other outputs, nests of maps say, have a divergence that is the squared distance of an embedding y
of them. Then it is `|J_l d|^2` with J the derivative of y, which is the mean of `(r^T J_l d)^2`
over vectors r of random signs, and one backward pass from r gives `J_l^T r` at all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adacal.core.candidates import Candidate, layer_error, mean_by_channel
from adacal.core.errors import UnsupportedModelError
from adacal.core.sites import Site
from adacal.core.traces import Trace

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork

MOST_PROBES = 16
TRACE_SHARE = 0.99
"""Eigenvectors are taken, largest first, until they hold this share of the traces' sum."""
_AT_ONCE = 4  # vectors whose gradients are held together, each as large as all activations
_LIKELY = 32  # classes a sample's F is restricted to; the others have next to no probability


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Backward passes that share a forward.

    Attributes:
        samples: positions of the samples run, shape [R]; one may stand there more than once.
        vectors: what each backward pass starts from, shapes [R, K, *].
    """

    samples: Tensor
    vectors: Sequence[Tensor]


def probe_sensitivities(
    network: SpikingNetwork,
    inputs: Tensor,
    plain: Any,
    after: Mapping[str, Tensor],
    candidates: Mapping[str, Sequence[Candidate]],
    *,
    remove_mean: bool,
    divergence: Callable[[Any, Any], Tensor] | None = None,
    most: int = MOST_PROBES,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Estimates the divergence that each candidate causes alone, in nats, shape [L, K].

    Args:
        network: its ANN is differentiated.
        inputs: calibration samples, shape [B, ...].
        plain: the ANN's output for them: logits [B, K, *], or any nest that is embedded.
        after: the ANN's activations by site, shape [B, C, *].
        candidates: settings by site, the same number for each.
        remove_mean: leave out each channel's mean error, which light calibration corrects.
        divergence: one that has a method `embedding(raw, reference)`, [B, M], is the squared
            distance of these; any other is taken for the symmetric KL of logits.
        most: backward passes a sample.
        generator: draws random probes, for embedded outputs and those with a class a place.
    Raises:
        UnsupportedModelError: the output is not one tensor, and the divergence has no embedding.
    """
    T, neurons = network.T, network.neurons
    means = {
        name: [
            mean_by_channel(neurons[name], layer_error(neurons[name], option, after[name], T))
            if remove_mean
            else torch.zeros(())
            for option in options
        ]
        for name, options in candidates.items()
    }
    squares = {name: [0.0] * len(options) for name, options in candidates.items()}
    passes = backward_passes(
        network, inputs, plain, candidates, divergence=divergence, most=most, generator=generator
    )
    for name, found in passes:
        # a sample may have several rows, as the points of a cloud; its errors add up
        by_sample = after[name].unflatten(0, (inputs.shape[0], -1))
        activation = by_sample[found.samples].flatten(0, 1)
        for number, option in enumerate(candidates[name]):
            error = layer_error(neurons[name], option, activation, T).sub_(means[name][number])
            of_probe = error.reshape(found.samples.numel(), -1)[found.row]
            for gradient in found.gradients:
                inner = torch.linalg.vecdot(of_probe, gradient.reshape(found.row.numel(), -1))
                squares[name][number] += found.weight * float(inner.double().square().sum())
    return torch.tensor([squares[name] for name in candidates], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """What backward passes gave at one site.

    Attributes:
        samples: positions of the samples run, each once, shape [S].
        row: which of them each row of a gradient is of, shape [R].
        gradients: `J^T v` of some vectors, shape [R*m, C, *] where a sample has m rows.
        weight: by which a squared inner product with the site's error counts, nats.
    """

    samples: Tensor
    row: Tensor
    gradients: Sequence[Tensor]
    weight: float


def backward_passes(
    network: SpikingNetwork,
    inputs: Tensor,
    plain: Any,
    wanted: Mapping[str, object],
    *,
    divergence: Callable[[Any, Any], Tensor] | None = None,
    most: int = MOST_PROBES,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[str, Gradients]]:
    """Yields the gradients of all probes, site by site; what a search squares and adds.

    Args:
        network, inputs, plain, divergence, most, generator: as in `probe_sensitivities`.
        wanted: the sites.
    Raises:
        UnsupportedModelError: the output is not one tensor, and the divergence has no embedding.
    """
    embed = getattr(divergence, "embedding", None)
    if embed is None and not isinstance(plain, Tensor):
        raise UnsupportedModelError(
            "probe sensitivities need one tensor of logits [B, K, *], or a divergence with an "
            f"embedding; got {type(plain).__name__}; use sensitivity='exact'"
        )
    if embed is None:
        probes, weight = probes_of(plain, most, generator)
        output: Callable[[Any], Tensor] = _as_it_is
    else:
        probes, weight = random_signs(embed(plain, plain), most, generator)
        output = partial(embed, reference=plain)
    for probe in probes:
        samples, row = torch.unique(probe.samples, return_inverse=True)
        for name, gradients in _gradients(network, inputs, probe, wanted, output):
            yield (
                name,
                Gradients(samples=samples, row=row, gradients=gradients, weight=weight),
            )


def _gradients(
    network: SpikingNetwork,
    inputs: Tensor,
    probe: Probe,
    wanted: Mapping[str, object],
    output: Callable[[Any], Tensor],
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yields `J_l^T v` of some vectors v by site l, until all had a turn; none where it is 0."""
    outputs: dict[str, Tensor] = {}

    def record(site: Site, rows: Tensor, trace: Trace) -> tuple[Tensor, None]:
        output = network.neurons[site.name].activation(rows.clone())  # it may overwrite `rows`
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        if site.name in wanted:
            outputs[site.name] = output
        return output, None

    with torch.enable_grad():
        differentiated = output(network.reference_pass(inputs[probe.samples], record))
    for begin in range(0, len(probe.vectors), _AT_ONCE):
        gathered: dict[str, list[Tensor]] = {}
        for number, vector in enumerate(probe.vectors[begin : begin + _AT_ONCE], start=begin + 1):
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                differentiated,
                list(outputs.values()),
                grad_outputs=vector,
                retain_graph=number < len(probe.vectors),
                allow_unused=True,
            )
            for name, gradient in zip(outputs, found, strict=True):
                if gradient is not None:
                    gathered.setdefault(name, []).append(gradient)
        yield from gathered.items()


def _as_it_is(logits: Tensor) -> Tensor:
    return logits


def random_signs(
    embedded: Tensor, count: int, generator: torch.Generator | None = None
) -> tuple[Iterator[Probe], float]:
    """Returns probes of embedded outputs [B, M], and the weight of a square, as `probes_of`."""
    batch = embedded.shape[0]
    vectors = [
        torch.randint(0, 2, embedded.shape, generator=generator).to(embedded) * 2 - 1
        for _ in range(count)
    ]
    every = torch.arange(batch, device=embedded.device)
    return iter([Probe(samples=every, vectors=vectors)]), 1.0 / (count * batch)


def probes_of(
    logits: Tensor, most: int, generator: torch.Generator | None = None
) -> tuple[Iterator[Probe], float]:
    """Returns the probes, each with at most as many rows as `logits`, and the weight of a square.

    Args:
        logits: shape [B, K, *].
        most: backward passes a sample.
        generator: draws random probes, for outputs with a class a place.
    """
    batch, places = logits.shape[0], logits[0, 0].numel()
    p = logits.detach().softmax(1)
    if places > 1:
        every = torch.arange(batch, device=logits.device)
        random = _random_vectors(p, most, generator)
        return iter([Probe(samples=every, vectors=random)]), 0.5 / (most * places * batch)
    samples, vectors = leading_eigenvectors(p.flatten(1), most)
    parts = zip(samples.split(batch), vectors.split(batch), strict=True)
    return (
        Probe(samples=some, vectors=[v.view(-1, *logits.shape[1:])]) for some, v in parts
    ), 0.5 / batch


def leading_eigenvectors(p: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Returns eigenvectors of `diag(p) - p p^T`, times the roots of their eigenvalues.

    Of all samples the largest, as many as hold `TRACE_SHARE` of the sum of the traces, each
    restricted to the likeliest classes of its sample.

    Args:
        p: probabilities, shape [B, K].
        most: of them for one sample, even if they hold less.
    Returns:
        The sample of each, rising, shape [R], and the vectors, shape [R, K].
    """
    likely, classes = p.topk(min(p.shape[1], _LIKELY), dim=1)
    likely = likely.double()
    matrix = torch.diag_embed(likely) - likely.unsqueeze(2) * likely.unsqueeze(1)
    values, vectors = torch.linalg.eigh(matrix)  # eigenvalues rise
    values, vectors = values.clamp_min(0).flip(1), vectors.flip(2)
    order = values.flatten().argsort(descending=True)
    held = values.flatten()[order].cumsum(0) / values.sum().clamp_min(1e-300)
    enough = int((held < TRACE_SHARE).sum()) + 1 if values.any() else 1
    taken = torch.zeros_like(values, dtype=torch.bool).flatten()
    taken[order[:enough]] = True
    sample, number = torch.nonzero(taken.view_as(values)[:, :most], as_tuple=True)
    scaled = vectors[sample, :, number] * values[sample, number].sqrt().unsqueeze(1)
    full = p.new_zeros(sample.numel(), p.shape[1])
    return sample, full.scatter(1, classes[sample], scaled.to(p.dtype))


def _random_vectors(p: Tensor, count: int, generator: torch.Generator | None) -> list[Tensor]:
    """Returns vectors for `p` [B, K, *] with the mean of (v . x)^2 over them x^T F x, by place.

    With v_k = sqrt(p_k) (e_k - p), F is the sum of v_k v_k^T, and the mean over random signs r of
    (sum_k r_k v_k . x)^2 is the sum over k of (v_k . x)^2.
    """
    root = p.sqrt()
    vectors = []
    for _ in range(count):
        signs = torch.randint(0, 2, p.shape, generator=generator).to(p) * 2 - 1
        signed = signs * root
        vectors.append(signed - p * signed.sum(1, keepdim=True))
    return vectors
