"""How far two raw outputs of a dense model are apart, in what its predictions are made of.

A detector's divergence is the squared distance of two embeddings. Scores enter as the square roots
of probabilities, whose squared distance is half the symmetric KL divergence to second order (and
bounded, so that no floor is needed); boxes enter in units of their own spread and count as much as
the ANN is sure that something is there. Like detectors' losses it is a sum over places for each
object: most places are background and would hide the others in a mean.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core.divergence import symmetric_kl

_LEAST_SPREAD = 1e-6
_LARGEST_LOG = -1e-7  # of a probability: keeps log(1 - p) finite


@dataclass(frozen=True, kw_only=True)
class MapForm:
    """What the raw maps of a model are.

    Attributes:
        kind: `logits` of a segmentor; `levels`: lists of score, box and perhaps quality maps, one a
            pyramid level; `joint`: all of them in one map a level, as in YOLOv3; or `other`.
        classes: score channels of a place, background included where there is one.
        sigmoid: scores of classes are independent; else they share a softmax, background last.
    """

    kind: Literal["logits", "levels", "joint", "other"]
    classes: int = 0
    sigmoid: bool = True


def map_form(module: Any) -> MapForm:
    """Reads the form of the raw maps off a model of `tasks.openmmlab.building.build_model`."""
    if hasattr(module, "decode_head"):
        return MapForm(kind="logits", classes=module.decode_head.out_channels)
    head = module.bbox_head
    heads: Any = importlib.import_module("mmdet.models.dense_heads")
    if isinstance(head, heads.YOLOV3Head):
        return MapForm(kind="joint", classes=head.num_classes)
    anchored = isinstance(head, heads.AnchorHead | heads.AnchorFreeHead | heads.YOLOXHead)
    if anchored and hasattr(head, "cls_out_channels"):
        sigmoid = bool(getattr(head, "use_sigmoid_cls", True))
        return MapForm(kind="levels", classes=head.cls_out_channels, sigmoid=sigmoid)
    return MapForm(kind="other")


@dataclass(frozen=True)
class DenseDivergence:
    """`dense_divergence` of one model, as tasks, calibration and searches take it.

    Attributes:
        form: what the model's raw maps are.
    """

    form: MapForm

    def __call__(self, ann: Any, snn: Any) -> Tensor:
        """Returns how far two raw outputs are apart, shape [B]."""
        return dense_divergence(ann, snn, self.form)

    def embedding(self, raw: Any, reference: Any) -> Tensor:
        """Returns what the divergence is the squared distance of, for probes, shape [B, M]."""
        return embedding(raw, reference, self.form)


def dense_divergence(ann: Any, snn: Any, form: MapForm) -> Tensor:
    """Returns how far two raw outputs are apart, one number a sample.

    Args:
        ann: the ANN's raw maps.
        snn: those of the converted network.
        form: what they are.

    Returns:
        Non-negative numbers, shape [B]: of a segmentor half the symmetric KL divergence, mean over
        places, in nats; of a detector about that, summed over places, for each object expected.

    >>> logits = torch.tensor([[[[2.0]], [[0.0]]]])
    >>> dense_divergence(logits, logits, MapForm(kind="logits", classes=2))
    tensor([0.])
    """
    if form.kind == "logits":
        return symmetric_kl(_two_classes(ann), _two_classes(snn))
    difference = embedding(ann, ann, form) - embedding(snn, ann, form)
    return difference.square().sum(1)


def embedding(raw: Any, reference: Any, form: MapForm) -> Tensor:
    """Returns what a divergence is the squared distance of, shape [B, M].

    Exactly for detectors; to second order for segmentors.

    Args:
        raw: maps to embed.
        reference: the ANN's maps; say how much each box matters and how much boxes vary.
        form: what the maps are.
    """
    if form.kind == "logits":
        roots = _two_classes(raw).log_softmax(1).mul(0.5).exp()
        return (roots * (2 / roots[0, 0].numel()) ** 0.5).flatten(1)
    if form.kind == "other":
        pairs = zip(all_maps(raw), all_maps(reference), strict=True)
        parts = [own.flatten(1) / _spread(ann.flatten(1), 1) for own, ann in pairs]
        whole = torch.cat(parts, 1)
        return whole / (2 * whole.shape[1]) ** 0.5
    places, expected = _read(raw, form), _read(reference, form)
    sure = _sure(expected, form)
    objects = sure.sum(1, keepdim=True).clamp_min(1.0)
    scores = torch.stack(_log_probabilities(places, form)).mul(0.5).exp().mul(2**0.5)
    boxes = _embedded_boxes(places.boxes, expected.boxes) * sure.sqrt()[:, :, None]
    whole = torch.cat([scores.movedim(0, 1).flatten(1), boxes.flatten(1)], 1)
    return whole / objects.sqrt()


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Maps place by place: scores [B, N, K], quality [B, N, 1], boxes [B, N, bins, 4]."""

    scores: Tensor
    quality: Tensor | None
    boxes: Tensor


def _read(raw: Any, form: MapForm) -> _Places:
    if form.kind == "joint":
        rows = torch.cat([_by_place(level, form.classes + 5) for level in raw[0]], 1)
        boxes, quality, scores = rows.split([4, 1, form.classes], 2)
        return _Places(scores=scores, quality=quality, boxes=boxes[:, :, None])
    scores, boxes, *more = raw
    anchors = [level.shape[1] // form.classes for level in scores]
    sides = [level.shape[1] // count for level, count in zip(boxes, anchors, strict=True)]
    pairs = zip(boxes, sides, strict=True)
    flat = torch.cat([_by_place(level, side) for level, side in pairs], 1)
    return _Places(
        scores=torch.cat([_by_place(level, form.classes) for level in scores], 1),
        quality=torch.cat([_by_place(level, 1) for level in more[0]], 1) if more else None,
        boxes=flat.unflatten(2, (4, -1)).transpose(2, 3),
    )


def _by_place(level: Tensor, channels: int) -> Tensor:
    """[B, A*channels, h, w] to [B, h*w*A, channels]."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, channels)


def _log_probabilities(places: _Places, form: MapForm) -> tuple[Tensor, ...]:
    """Logarithms of the probability that a class is there and, if independent, that it is not."""
    if not form.sigmoid:
        return (places.scores.log_softmax(2),)
    there = F.logsigmoid(places.scores)
    if places.quality is not None:  # by which models multiply their scores
        there = there + F.logsigmoid(places.quality)
        return there, torch.log1p(-there.clamp_max(_LARGEST_LOG).exp())
    return there, F.logsigmoid(-places.scores)


def _sure(places: _Places, form: MapForm) -> Tensor:
    """How sure the model is that something is at each place, shape [B, N]."""
    there = _log_probabilities(places, form)[0].detach().exp()
    return there.amax(2) if form.sigmoid else 1 - there[:, :, -1]


def _embedded_boxes(boxes: Tensor, reference: Tensor) -> Tensor:
    """[B, N, bins, 4] to [B, N, bins*4]: distributions over bins, or numbers where there is one."""
    if boxes.shape[2] > 1:
        return boxes.log_softmax(2).mul(0.5).exp().mul(2**0.5).flatten(2)
    return (boxes / _spread(reference, 1) / 2**0.5).flatten(2)


def _spread(reference: Tensor, dim: int) -> Tensor:
    """Standard deviation along a dimension, kept; never 0."""
    return reference.detach().std(dim, correction=0, keepdim=True).clamp_min(_LEAST_SPREAD)


def _two_classes(logits: Tensor) -> Tensor:
    """A single channel is the logit of a class against background, whose logit is 0."""
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def all_maps(nest: Any) -> list[Tensor]:
    """Returns the tensors of a nest of lists and tuples, in order."""
    if isinstance(nest, Tensor):
        return [nest]
    return [tensor for part in nest for tensor in all_maps(part)]
