"""Stands in for `mmcv._ext`, the compiled operations that mmcv-lite comes without.

mmdet and mmsegmentation import `mmcv.ops` unguarded, and all of it asks `mmcv._ext` for names. What
models that spikes can compute need of it is written here with torch and torchvision; any other
operation raises when it is called. A compiled mmcv, where there is one, is used instead.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core.errors import UnsupportedModelError

EXTENSION = "mmcv._ext"


def prepare() -> bool:
    """Makes `mmcv.ops` importable; call it before anything imports that.

    Returns:
        Whether the stand-in serves; False if mmcv's own compiled operations do.
    """
    known = sys.modules.get(EXTENSION)
    if known is None and importlib.util.find_spec(EXTENSION) is None:
        known = sys.modules[EXTENSION] = StandIn()
    return isinstance(known, StandIn)


class StandIn(ModuleType):
    """The module registered as `mmcv._ext`: has every public name, as mmcv asserts on import.

    >>> StandIn().nms is nms, callable(StandIn().deform_conv_forward)
    (True, True)
    """

    def __init__(self) -> None:
        super().__init__(EXTENSION, __doc__)
        # without a loader, so that mmengine takes compiled batch norms for missing, which they are
        self.__spec__ = ModuleSpec(EXTENSION, loader=None)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(f"module '{EXTENSION}' has no attribute '{name}'")
        return _OPERATIONS.get(name) or _missing(name)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Suppresses boxes that overlap a better one by more than the threshold.

    Args:
        boxes: x1, y1, x2, y2, shape [N, 4].
        scores: shape [N].
        iou_threshold: of the intersection over union.
        offset: 1 if sides are x2 - x1 + 1 (whole pixels), else 0.

    Returns:
        Positions of the boxes kept, best first, int64.
    """
    from torchvision.ops import nms as kept_boxes

    return kept_boxes(_closed(boxes, offset), scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Takes boxes best first and lowers the scores of those that overlap (Bodla et al. 2017).

    Args:
        boxes: x1, y1, x2, y2, shape [N, 4].
        scores: shape [N].
        dets: gets the boxes kept with their scores in its first rows, shape [N, 5].
        iou_threshold: overlap from which on a score is lowered; not used by the Gaussian method.
        sigma: width of the Gaussian method.
        min_score: boxes whose lowered score is below are dropped.
        method: 0 scores become 0, 1 factor 1 - IoU, 2 factor exp(-IoU^2 / sigma).
        offset: as for `nms`.

    Returns:
        Positions of the boxes kept, best first, int64.
    """
    from torchvision.ops import box_iou

    closed, scores = _closed(boxes, offset), scores.clone()
    left = torch.arange(len(boxes), device=boxes.device)
    kept: list[int] = []
    while left.numel():
        best = left[scores[left].argmax()]
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(int(best))
        left = left[left != best]
        overlap = box_iou(closed[best, None], closed[left])[0]
        scores[left] *= _soft_weight(overlap, iou_threshold, sigma, method)
        left = left[scores[left] >= min_score]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def _soft_weight(overlap: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == 2:
        return torch.exp(-overlap.square() / sigma)
    lowered = 1 - overlap if method == 1 else torch.zeros_like(overlap)
    return torch.where(overlap >= iou_threshold, lowered, torch.ones_like(overlap))


def _closed(boxes: Tensor, offset: int) -> Tensor:
    """With sides of x2 - x1 + offset; intersections become right by the same shift."""
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Averages bilinear samples in the bins of regions (He et al. 2017) into `output`.

    Args:
        input: feature maps, shape [B, C, H, W].
        rois: sample, x1, y1, x2, y2 in pixels of the image, shape [N, 5].
        output: is overwritten, shape [N, C, aligned_height, aligned_width].
        argmax_y, argmax_x: of the maximum mode, which is not here.
        aligned_height, aligned_width: bins.
        spatial_scale: pixels of the feature map a pixel of the image.
        sampling_ratio: samples a bin and side; 0 for as many as it has pixels.
        pool_mode: 1 for the average.
        aligned: whether pixel centres lie at halves.

    Raises:
        UnsupportedModelError: the maximum is asked for.
    """
    size = (aligned_height, aligned_width)
    output.copy_(_pooled(input, rois, size, spatial_scale, sampling_ratio, pool_mode, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Writes the gradient of `roi_align_forward` by its input into `grad_input` [B, C, H, W]."""
    size = (aligned_height, aligned_width)
    with torch.enable_grad():
        source = torch.zeros_like(grad_input, requires_grad=True)  # linear: any input will do
        pooled = _pooled(source, rois, size, spatial_scale, sampling_ratio, pool_mode, aligned)
        (gradient,) = torch.autograd.grad(pooled, source, grad_output)
    grad_input.copy_(gradient)


def _pooled(
    source: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    pool_mode: int,
    aligned: bool,
) -> Tensor:
    if pool_mode != 1:
        raise UnsupportedModelError(
            "roi_align with pool_mode='max' needs a compiled mmcv, which is not installed; set "
            "pool_mode='avg' or build mmcv 2.1 from source"
        )
    from torchvision.ops import roi_align

    return roi_align(source, rois, size, scale, ratio, aligned)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the focal loss (Lin et al. 2017) of every sample and class into `output`.

    Args:
        input: logits, shape [N, C].
        target: class of each sample, C for background, shape [N].
        weight: of each class, shape [C]; empty for none. Background, which has none, counts 1.
        output: is overwritten, shape [N, C].
        gamma: exponent of the probability missed.
        alpha: weight of the right class; the others have 1 - alpha.
    """
    positive, missed, log_right, _ = _focal_parts(input, target)
    loss = -missed.pow(gamma) * log_right
    output.copy_(loss * torch.where(positive, alpha, 1 - alpha) * _weights(weight, target))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the derivative of `sigmoid_focal_loss_forward` by its input into `grad_input`."""
    positive, missed, log_right, right = _focal_parts(input, target)
    slope = missed.pow(gamma) * (gamma * right * log_right - missed)
    signed = torch.where(positive, slope * alpha, -slope * (1 - alpha))
    grad_input.copy_(signed * _weights(weight, target))


def _focal_parts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where a class is the right one; probability missed; log of that hit, and itself."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    positive = target[:, None] == classes
    towards = torch.where(positive, logits, -logits)
    return positive, torch.sigmoid(-towards), F.logsigmoid(towards), torch.sigmoid(towards)


def _weights(weight: Tensor, target: Tensor) -> Tensor:
    if not weight.numel():
        return weight.new_ones(())
    return torch.cat([weight, weight.new_ones(1)])[target][:, None]


def get_compiler_version() -> str:
    """Says that nothing was compiled, where mmcv collects the environment for its logs."""
    return "none (mmcv-lite)"


def _missing(name: str) -> Callable[..., Any]:
    def operation(*args: Any, **kwargs: Any) -> Any:
        raise UnsupportedModelError(
            f"mmcv's operation '{name}' needs a compiled mmcv, which is not installed; choose a "
            "model without it (no deformable convolution, say), or build mmcv 2.1 from source"
        )

    return operation


_OPERATIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        nms,
        softnms,
        roi_align_forward,
        roi_align_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        get_compiler_version,
    )
} | {"get_compiling_cuda_version": get_compiler_version}
