"""Detectors and segmentors converted unmodified, head included: sites, maps, predictions.

Weights are random, drawn so that maps vary with the image (`dense_models.small_model`). Random
networks pass errors on and enlarge them from layer to layer, so coarse spikes say little about the
bridge; with fine ones nothing but a lost or wrong connection can keep the maps apart.
"""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import adacal
from adacal.core.errors import UnsupportedModelError
from adacal.core.network import SpikingNetwork
from adacal.core.quantised import AnnNetwork
from dense_models import (
    DETECTORS,
    SEGMENTORS,
    images,
    map_errors,
    plain_model,
    small_model,
    tensors,
)
from tasks.openmmlab.dense import predictions, raw_maps, raw_maps_of_spiking_backbone

FINE, COARSE = 128, 16
"""Most spikes a step: 1,024 and 128 levels at T=8."""
HEAVY = pytest.mark.slow
# Neurons, analogue sites by function, and the number of maps, counted from the configs by hand:
# ResNet-18 has 17 activations; a RetinaNet head 2 towers of 4 on 5 levels.
SITES: dict[str, tuple[dict[str, int], dict[str, int], int]] = {
    "retinanet": ({"burst": 17 + 2 * 4 * 5}, {}, 10),
    # the distances of 5 levels are clamped at 0; P6 is taken after a ReLU
    "fcos": ({"burst": 17 + 2 * 4 * 5 + 5 + 1}, {"group_norm": 40}, 15),
    "fcos_exp": ({"burst": 17 + 2 * 4 * 5 + 1}, {"group_norm": 40, "exp": 5}, 15),
    "atss": ({"burst": 17 + 2 * 4 * 5}, {"group_norm": 40}, 15),
    "gfl": ({"burst": 17 + 2 * 4 * 5}, {"group_norm": 40}, 10),
    # 4 residual blocks of 3 in the neck, towers of 2 and 4; objectness joins scores by logarithms
    "yolof": ({"burst": 17 + 4 * 3 + 2 + 4}, {"exp": 2, "clamp": 2, "log": 1}, 2),
    # VGG-16 with two convolutions more, 4 extra levels of 2; the first map is normalised
    "ssd": ({"burst": 13 + 2 + 4 * 2}, {"pow": 1, "sqrt": 1, "mul": 1, "div": 1}, 12),
    "yolov3": ({"signed": 52 + 3 * 5 + 2 + 3}, {}, 3),
    # the deep stem has 3 activations for the plain one's 1
    "fcn": ({"burst": 19 + 2 + 1}, {}, 1),
    "pspnet": ({"burst": 19 + 4 + 1}, {}, 1),
    "deeplabv3": ({"burst": 19 + 5 + 1}, {}, 1),
    # separable convolutions have two activations: 3 dilated ones, 2 after the join
    "deeplabv3plus": ({"burst": 19 + 2 + 3 * 2 + 1 + 1 + 2 * 2}, {}, 1),
}
NAMES = [pytest.param(n, marks=HEAVY if n in {"ssd", "yolov3"} else ()) for n in SITES]


def by_maps(ann: Any, snn: Any) -> Tensor:
    """Squared distance of all maps, one number a sample."""
    pairs = zip(tensors(ann), tensors(snn), strict=True)
    return sum((a - s).square().flatten(1).sum(1) for a, s in pairs)  # type: ignore[return-value]


def converted(
    model: nn.Module, inputs: Tensor, max_spikes: int = FINE, forward: Any = raw_maps
) -> SpikingNetwork:
    network = adacal.convert(model, inputs[:2], T=8, max_spikes=max_spikes, forward=forward)
    network.calibrate([inputs], threshold="max", divergence=by_maps)
    return network


def few(name: str) -> int:
    return 2 if name in {"ssd", "yolov3"} else 8


def sites(network: SpikingNetwork) -> tuple[dict[str, int], dict[str, int]]:
    report = network.report()
    kinds = Counter(site.kind for site in report if site.kind != "analogue")
    return dict(kinds), dict(Counter(s.function for s in report if s.kind == "analogue"))


def total_error(ann: Any, snn: Any) -> float:
    """Relative L2 error of all maps together, what each channel has of constant left out."""
    spreads = [a - a.mean((0, 2, 3), keepdim=True) for a in tensors(ann)]
    whole = sum(float(spread.square().sum()) for spread in spreads)
    return (float(by_maps(ann, snn).sum()) / whole) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_is_found_and_the_maps_come_near_the_ann(name):
    model, inputs = small_model(name), images(few(name))
    network = converted(model, inputs)
    ann, snn = network.ann(inputs), network(inputs)
    neurons, analogue, maps = SITES[name]
    assert sites(network) == (neurons, analogue)
    assert len(tensors(ann)) == maps
    assert [t.shape for t in tensors(ann)] == [t.shape for t in tensors(snn)]
    assert 0 < total_error(ann, snn) < 0.08
    assert max(map_errors(ann, snn)) < 0.4  # of the smallest map


@pytest.mark.parametrize("name", NAMES)
def test_16_spikes_a_step_are_enough_at_a_models_own_initialisation(name):
    """Of the maps at most 2.8 %, of what varies in them 6.1 % (RetinaNet 14.5 without AVX-512)."""
    inputs = images(few(name))
    network = converted(plain_model(name), inputs, COARSE)
    ann, snn = network.ann(inputs), network(inputs)
    whole = sum(float(t.square().sum()) for t in tensors(ann))
    assert (float(by_maps(ann, snn).sum()) / whole) ** 0.5 < 0.035
    assert 0 < total_error(ann, snn) < (0.2 if name == "retinanet" else 0.08)


@pytest.mark.parametrize("name", ["retinanet", "pspnet"])
def test_finer_spikes_bring_the_maps_nearer(name):
    model, inputs = small_model(name), images(8)
    errors = []
    for max_spikes in (COARSE, FINE):
        network = converted(model, inputs, max_spikes)
        errors.append(total_error(network.ann(inputs), network(inputs)))
    assert errors[1] < errors[0] / 5  # 8 times as many levels


@pytest.mark.parametrize(("name", "neurons"), [("retinanet", 17), ("fcos", 17), ("pspnet", 19)])
def test_with_a_spiking_backbone_alone_neck_and_head_get_its_mean_features(name, neurons):
    model, inputs = small_model(name), images(4)
    network = converted(model, inputs, 4, raw_maps_of_spiking_backbone)
    body = converted(model, inputs, 4, lambda module, rows: module.backbone(rows))
    assert sites(network) == ({"burst": neurons}, {"keep_analogue": 1})
    features = body(inputs)
    if model.with_neck:
        features = model.neck(features)
    head = model.bbox_head if name in DETECTORS else model.decode_head
    for one, other in zip(tensors(network(inputs)), tensors(head(features)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    ann = zip(tensors(network.ann(inputs)), tensors(raw_maps(model, inputs)), strict=True)
    assert all(torch.equal(one, other) for one, other in ann)


def test_a_kept_head_costs_the_macs_that_it_costs_the_ann():
    model, inputs = small_model("retinanet"), images(2)
    network = converted(model, inputs, 4, raw_maps_of_spiking_backbone)
    report = adacal.measure_energy(network, inputs)
    whole = adacal.measure_energy(AnnNetwork(network), inputs)
    macs = {layer.name: layer.macs for layer in report.layers if layer.macs}
    body = AnnNetwork(adacal.convert(model.backbone, inputs, T=8))
    tail = whole.ann_macs - adacal.measure_energy(body, inputs).ann_macs
    assert list(macs) == ["backbone.conv1", "keep_analogue"]
    assert macs["keep_analogue"] == pytest.approx(tail)
    assert report.ann_macs == pytest.approx(whole.ann_macs)


def test_layers_behind_a_layer_without_activation_pay_macs():
    """A pyramid's outputs and a head's first layers: nothing fires between them."""
    report = adacal.measure_energy(converted(small_model("retinanet"), images(2), 4), images(2))
    paying = {layer.name.rsplit(".", 2)[0] for layer in report.layers if layer.macs}
    assert paying == {"backbone", "neck.fpn_convs", "bbox_head.cls_convs", "bbox_head.reg_convs"}
    report = adacal.measure_energy(converted(small_model("fcn"), images(2), 4), images(2))
    assert [layer.name for layer in report.layers if layer.macs] == ["backbone.stem.0"]


def detection_samples(count: int) -> list[Any]:
    """Images of 128 x 120 that were resized to 64 x 60 and padded to 64 x 64."""
    sample_of = importlib.import_module("mmdet.structures").DetDataSample
    meta = {"img_shape": (64, 60), "ori_shape": (128, 120), "scale_factor": (0.5, 0.5)}
    shapes = {"pad_shape": (64, 64), "batch_input_shape": (64, 64)}
    return [sample_of(metainfo={**meta, **shapes, "img_id": i}) for i in range(count)]


@pytest.mark.parametrize("name", [p for p in NAMES if p.values[0] in DETECTORS])
def test_boxes_from_a_detectors_maps_are_those_of_its_own_predict(name):
    model, inputs, samples = small_model(name), images(2), detection_samples(2)
    model.bbox_head.test_cfg["score_thr"] = 0.001  # random weights are sure of nothing
    with torch.no_grad():
        expected = model.predict(inputs, detection_samples(2), rescale=True)
        found = predictions(model, raw_maps(model, inputs), samples)
    assert sum(len(sample.pred_instances) for sample in found) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.img_id == other.img_id
        for key in ("bboxes", "scores", "labels"):
            assert torch.equal(one.pred_instances[key], other.pred_instances[key])
    assert all("pred_instances" not in sample for sample in samples)


@pytest.mark.parametrize("name", SEGMENTORS)
def test_classes_from_a_segmentors_logits_are_those_of_its_own_predict(name):
    samples_of = importlib.import_module("mmseg.structures").SegDataSample
    meta = {"img_shape": (64, 64), "pad_shape": (64, 64), "ori_shape": (30, 40)}
    samples = [samples_of(metainfo={**meta, "padding_size": [0, 4, 0, 8]}) for _ in range(2)]
    model, inputs = small_model(name), images(2)
    with torch.no_grad():
        found = predictions(model, raw_maps(model, inputs), samples)
        expected = model.predict(inputs, [sample.new() for sample in samples])
    for one, other in zip(found, expected, strict=True):
        assert one.pred_sem_seg.data.shape == (1, 30, 40)
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        assert torch.equal(one.seg_logits.data, other.seg_logits.data)
    assert all("pred_sem_seg" not in sample for sample in samples)


def test_fine_spikes_choose_the_boxes_and_classes_of_the_ann():
    model, inputs, samples = small_model("retinanet"), images(8), detection_samples(8)
    network = converted(model, inputs, 1024)
    ann, snn = (predictions(model, f(inputs), samples) for f in (network.ann, network))
    for one, other in zip(ann, snn, strict=True):
        boxes = [sample.pred_instances.bboxes[:5] for sample in (one, other)]
        assert len(boxes[0]) == 5
        overlaps = torchvision.ops.box_iou(*boxes)
        assert float(overlaps.amax(1).mean()) > 0.9


def test_silu_is_refused_by_name_where_analogue_parts_are():
    model, inputs = small_model("yolox"), images(2)
    with pytest.raises(UnsupportedModelError, match=r"'sigmoid' at 'backbone.stem.conv.activate"):
        adacal.convert(model, inputs, T=8, strict=True, forward=raw_maps)
    network = adacal.convert(model, inputs, T=8, forward=raw_maps)
    assert sites(network) == ({}, {"sigmoid": 74, "mul": 74})
    assert network.strictness() == "analogue parts"


def test_strict_conversion_names_what_a_head_keeps_analogue():
    with pytest.raises(UnsupportedModelError, match="'group_norm' at 'bbox_head.cls_convs.0.gn'"):
        adacal.convert(small_model("fcos"), images(2), T=8, strict=True, forward=raw_maps)
    for name in ("retinanet", "fcn"):
        network = adacal.convert(small_model(name), images(2), T=8, strict=True, forward=raw_maps)
        assert network.strictness() == "binary"
