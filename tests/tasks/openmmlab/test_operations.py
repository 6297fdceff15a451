"""The stand-in for mmcv's compiled operations, against the plainest way to compute the same."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from adacal.core.errors import UnsupportedModelError
from tasks.openmmlab.operations import EXTENSION, StandIn, prepare


@pytest.fixture(scope="module")
def ops() -> ModuleType:
    if not prepare():
        pytest.skip("a compiled mmcv is installed, which needs no stand-in")
    return importlib.import_module("mmcv.ops")


def random_boxes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Boxes on whole pixels, so that overlaps repeat; scores of no pattern."""
    random = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 12, (count, 2), generator=random)
    size = torch.randint(1, 10, (count, 2), generator=random)
    scores = torch.rand(count, generator=random)
    return torch.cat([corner, corner + size], 1).float(), scores


def plain_iou(first: list[float], second: list[float], offset: int) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + offset
    height = min(first[3], second[3]) - max(first[1], second[1]) + offset
    shared = max(0.0, width) * max(0.0, height)
    areas = [(b[2] - b[0] + offset) * (b[3] - b[1] + offset) for b in (first, second)]
    return shared / (sum(areas) - shared)


def plain_nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for candidate in scores.argsort(descending=True).tolist():
        box = boxes[candidate].tolist()
        if all(plain_iou(boxes[k].tolist(), box, offset) <= threshold for k in kept):
            kept.append(candidate)
    return kept


def plain_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    sigma: float,
    least: float,
    way: str,
    offset: int,
) -> list[tuple[int, float]]:
    left, kept = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=lambda position: left[position])
        kept.append((best, left.pop(best)))
        for other in list(left):
            overlap = plain_iou(boxes[best].tolist(), boxes[other].tolist(), offset)
            if way == "gaussian":
                left[other] *= float(torch.exp(torch.tensor(-overlap * overlap / sigma)))
            elif overlap >= threshold:
                left[other] *= 1 - overlap if way == "linear" else 0.0
            if left[other] < least:
                del left[other]
    return kept


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_keeps_what_a_double_loop_keeps(ops, offset):
    suppressed = 0
    for seed in range(40):
        boxes, scores = random_boxes(25, seed)
        dets, kept = ops.nms(boxes, scores, 0.35, offset=offset)
        assert kept.tolist() == plain_nms(boxes, scores, 0.35, offset)
        assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], 1))
        suppressed += 25 - len(kept)
    assert suppressed > 100


def test_an_offset_changes_what_nms_keeps(ops):
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 6.0, 4.0]])  # 1/3, with pixels 3/7
    scores = torch.tensor([0.9, 0.8])
    kept = [len(ops.nms(boxes, scores, 0.4, offset=offset)[1]) for offset in (0, 1)]
    assert kept == [2, 1]


def test_nms_limits_scores_and_numbers(ops):
    boxes, scores = random_boxes(20, 3)
    order = [k for k in plain_nms(boxes, scores, 0.3, 0) if scores[k] > 0.4]
    assert ops.nms(boxes, scores, 0.3, score_threshold=0.4)[1].tolist() == order
    assert (
        ops.nms(boxes, scores, 0.3, max_num=2)[1].tolist() == plain_nms(boxes, scores, 0.3, 0)[:2]
    )
    assert ops.nms(boxes[:0], scores[:0], 0.3)[1].tolist() == []


@pytest.mark.parametrize("split", [10000, 5])
def test_batched_nms_lets_classes_not_suppress_each_other(ops, split):
    boxes, scores = random_boxes(30, 7)
    classes = torch.arange(30) % 3
    options = {"type": "nms", "iou_threshold": 0.3, "split_thr": split}
    dets, kept = ops.batched_nms(boxes, scores, classes, options)
    expected: list[int] = []
    for label in range(3):
        mine = (classes == label).nonzero().flatten()
        expected += mine[plain_nms(boxes[mine], scores[mine], 0.3, 0)].tolist()
    assert sorted(kept.tolist()) == sorted(expected) and len(expected) < 30
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    assert torch.equal(dets[:, :4], boxes[kept])
    if split > 30:
        everything = ops.batched_nms(boxes, scores, classes, options, class_agnostic=True)[1]
        assert everything.tolist() == plain_nms(boxes, scores, 0.3, 0)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("way", ["naive", "linear", "gaussian"])
def test_soft_nms_lowers_scores_as_a_plain_loop_does(ops, way, offset):
    for seed in range(15):
        boxes, scores = random_boxes(15, seed)
        dets, kept = ops.soft_nms(boxes, scores, 0.31, 0.4, 0.1, method=way, offset=offset)
        expected = plain_soft_nms(boxes, scores, 0.31, 0.4, 0.1, way, offset)
        assert kept.tolist() == [position for position, _ in expected]
        lowered = torch.tensor([score for _, score in expected])
        torch.testing.assert_close(dets, torch.cat([boxes[kept], lowered[:, None]], 1))
    assert ops.soft_nms(boxes[:0], scores[:0])[0].shape == (0, 5)


def plain_sample(image: Tensor, y: float, x: float) -> Tensor:
    """Bilinear value of an image [C, H, W]; nothing is farther out than a pixel."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros_like(image[:, 0, 0])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    down, right = y - top, x - left
    upper = image[:, top, left] * (1 - right) + image[:, top, left + 1] * right
    lower = image[:, top + 1, left] * (1 - right) + image[:, top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def plain_roi_align(
    maps: Tensor, rois: Tensor, bins: int, scale: float, ratio: int, aligned: bool
) -> Tensor:
    pooled = []
    for sample, *corners in rois.tolist():
        x1, y1, x2, y2 = (corner * scale - (0.5 if aligned else 0.0) for corner in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        for row in range(bins):
            for column in range(bins):
                values = [
                    plain_sample(
                        maps[int(sample)],
                        y1 + height * (row + (i + 0.5) / ratio) / bins,
                        x1 + width * (column + (j + 0.5) / ratio) / bins,
                    )
                    for i in range(ratio)
                    for j in range(ratio)
                ]
                pooled.append(torch.stack(values).mean(0))
    return torch.stack(pooled).view(len(rois), bins, bins, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_and_its_gradient_are_those_of_plain_bilinear_samples(ops, aligned):
    random = torch.Generator().manual_seed(1)
    maps = torch.randn(2, 3, 7, 6, generator=random, dtype=torch.float64)
    rois = torch.tensor(
        [[0, 0.0, 0.0, 11.0, 13.0], [1, 3.3, 2.1, 9.7, 8.2], [1, -4.0, 5.0, 2.0, 20.0]]
    ).double()
    wanted = torch.randn(3, 3, 2, 2, generator=random, dtype=torch.float64)
    gradients, outputs = [], []
    for align in (
        lambda x: ops.roi_align(x, rois, (2, 2), 0.5, 2, "avg", aligned),
        lambda x: plain_roi_align(x, rois, 2, 0.5, 2, aligned),
    ):
        source = maps.clone().requires_grad_()
        output = align(source)
        gradients.append(torch.autograd.grad(output, source, wanted)[0])
        outputs.append(output.detach())
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert 0.5 < float((outputs[0] != 0).double().mean()) < 1  # some samples lie outside


def plain_focal_loss(logits: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    p = logits.sigmoid()
    right = torch.zeros_like(p)
    for row, label in enumerate(target.tolist()):
        if label < p.shape[1]:
            right[row, label] = 1.0
    loss = right * alpha * (1 - p) ** gamma * -p.log()
    return loss + (1 - right) * (1 - alpha) * p**gamma * -(1 - p).log()


@pytest.mark.parametrize("gamma", [2.0, 0.5])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_focal_loss_and_its_gradient_are_those_of_autograd(ops, gamma, reduction, weighted):
    random = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(6, 4, generator=random, dtype=torch.float64)
    target = torch.tensor([0, 3, 4, 1, 4, 2])  # 4 is background
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0]).double() if weighted else None
    mine, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = ops.sigmoid_focal_loss(mine, target, gamma, 0.3, weight, reduction)
    expected = plain_focal_loss(plain, target, gamma, 0.3)
    if weight is not None:
        expected = expected * torch.cat([weight, torch.ones(1).double()])[target][:, None]
    if reduction != "none":
        expected = expected.sum() / (len(target) if reduction == "mean" else 1)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(mine.grad, plain.grad)


def test_focal_loss_stays_finite_where_the_network_is_sure_and_wrong(ops):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = ops.sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, "sum")
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None
    assert logits.grad.tolist() == [[0.75, -0.25]]


def test_any_other_operation_says_what_it_needs(ops):
    rois = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
    with pytest.raises(UnsupportedModelError, match="'roi_pool_forward' needs a compiled mmcv"):
        ops.roi_pool(torch.ones(1, 1, 8, 8), rois, 2)
    with pytest.raises(UnsupportedModelError, match="pool_mode='max' needs a compiled mmcv"):
        ops.roi_align(torch.ones(1, 1, 8, 8), rois, 2, 1.0, 0, "max", True)
    with pytest.raises(UnsupportedModelError, match="'deform_conv_forward'"):
        ops.DeformConv2d(1, 1, 3)(torch.ones(1, 1, 8, 8), torch.zeros(1, 18, 6, 6))


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_importing_the_bridge_touches_nothing_of_openmmlab():
    found = run_python(
        "import sys; from tasks.openmmlab import building, dense, divergence, operations;"
        "print([m for m in sys.modules if m.split('.')[0] in ('mmcv', 'mmdet', 'mmseg')])"
    )
    assert found.strip() == "[]"


def test_a_compiled_mmcv_is_left_in_place(monkeypatch):
    compiled = ModuleType(EXTENSION)
    monkeypatch.setitem(sys.modules, EXTENSION, compiled)
    assert prepare() is False
    assert sys.modules[EXTENSION] is compiled


def test_preparing_twice_keeps_the_first_stand_in(ops):
    before = sys.modules[EXTENSION]
    assert prepare() and sys.modules[EXTENSION] is before


def test_private_names_are_missing_so_that_tools_that_look_at_modules_are_not_misled():
    assert not hasattr(StandIn(), "__file__") and not hasattr(StandIn(), "__wrapped__")
