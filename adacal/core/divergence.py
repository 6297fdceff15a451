"""How far two raw network outputs are apart."""

from __future__ import annotations

from torch import Tensor

FLOOR = 1e-6


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """Returns half the symmetric Kullback-Leibler divergence of two batches of logits, in nats.

    Probabilities get a floor so that a confident disagreement stays finite (METHOD section 5).

    Args:
        first, second: logits, shape [B, K, *]; classes in dimension 1; means over `*`.
    Returns:
        One non-negative number a sample, shape [B].

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> symmetric_kl(logits, logits)
    tensor([0., 0.])
    """
    p = first.softmax(1).clamp_min(FLOOR)
    q = second.softmax(1).clamp_min(FLOOR)
    per_place = 0.5 * ((p - q) * (p.log() - q.log())).sum(1)
    return per_place.flatten(1).mean(1) if per_place.dim() > 1 else per_place
