"""Divergences of dense outputs: what they count, what they leave out, and at what scale."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import adacal
from adacal.core.candidates import Candidate
from adacal.core.divergence import symmetric_kl
from adacal.core.nests import map_tensors
from adacal.core.sensitivity import measure_tables
from dense_models import DETECTORS, SEGMENTORS, images, small_model
from tasks.openmmlab.dense import raw_maps
from tasks.openmmlab.divergence import (
    DenseDivergence,
    MapForm,
    dense_divergence,
    embedding,
    map_form,
)

LEVELS = MapForm(kind="levels", classes=2)
SOFTMAX = MapForm(kind="levels", classes=3, sigmoid=False)
QUICK = [name for name in DETECTORS if name not in {"ssd", "yolov3", "yolox"}]


def changed(nest: Any, change: Any) -> Any:
    return map_tensors(nest, lambda tensor: True, change)


def noisy(nest: Any, scale: float, seed: int = 0) -> Any:
    random = torch.Generator().manual_seed(seed)
    return changed(nest, lambda t: t + scale * torch.randn(t.shape, generator=random))


def level_maps(classes: int, bins: int = 1, quality: bool = False) -> list[list[Tensor]]:
    random = torch.Generator().manual_seed(3)
    channels = [2 * classes, 2 * 4 * bins, *([2] if quality else [])]
    sizes = (4, 2)
    return [[torch.randn(3, c, s, s, generator=random) for s in sizes] for c in channels]


@pytest.mark.parametrize("name", [*QUICK, *SEGMENTORS])
def test_every_model_has_one_that_is_zero_only_where_maps_are_equal(name):
    model = small_model(name)
    with torch.no_grad():
        raw = raw_maps(model, images(3))
    form = map_form(model)
    assert form.kind == ("levels" if name in DETECTORS else "logits")
    assert dense_divergence(raw, raw, form).tolist() == [0.0, 0.0, 0.0]
    small, large = (dense_divergence(raw, noisy(raw, s), form) for s in (0.01, 0.1))
    assert small.shape == (3,) and bool((small > 0).all())
    assert bool((large > 20 * small).all())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("ssd", "levels"), ("yolov3", "joint")])
def test_heads_of_other_forms_are_read_by_their_own(name, kind):
    model = small_model(name)
    with torch.no_grad():
        raw = raw_maps(model, images(2))
    form = map_form(model)
    assert form.kind == kind and form.sigmoid == (name != "ssd")
    small, large = (dense_divergence(raw, noisy(raw, s), form) for s in (0.001, 0.01))
    assert bool((small > 0).all()) and bool((large > 20 * small).all())


def test_scores_count_half_the_symmetric_kl_for_each_object_expected():
    ann = level_maps(2)
    snn = [changed(ann[0], lambda t: t + 0.01 * torch.sin(50 * t)), ann[1]]
    expected = torch.zeros(3)
    objects = torch.zeros(3)
    for one, other in zip(ann[0], snn[0], strict=True):
        rows = [t.unflatten(1, (2, 2)).movedim(2, -1).reshape(3, -1, 2) for t in (one, other)]
        for k in range(2):
            pair = [torch.stack([r[:, :, k], torch.zeros_like(r[:, :, k])], 2) for r in rows]
            places = pair[0].shape[1]
            for sample in range(3):
                logits = [p[sample] for p in pair]
                expected[sample] += symmetric_kl(*logits).sum()
            assert places == rows[0].shape[1]
        objects += rows[0].sigmoid().amax(2).sum(1)
    found = dense_divergence(ann, snn, LEVELS)
    torch.testing.assert_close(found, expected / objects, rtol=1e-2, atol=0.0)


def test_softmax_scores_count_half_the_symmetric_kl_too():
    ann = level_maps(3)
    snn = [changed(ann[0], lambda t: t + 0.01 * torch.sin(50 * t)), ann[1]]
    expected, objects = torch.zeros(3), torch.zeros(3)
    for one, other in zip(ann[0], snn[0], strict=True):
        rows = [t.unflatten(1, (2, 3)).movedim(2, -1).reshape(3, -1, 3) for t in (one, other)]
        expected += symmetric_kl(*[r.transpose(1, 2) for r in rows]) * rows[0].shape[1]
        objects += (1 - rows[0].softmax(2)[:, :, 2]).sum(1)
    torch.testing.assert_close(
        dense_divergence(ann, snn, SOFTMAX), expected / objects, rtol=1e-2, atol=0.0
    )


def test_a_box_counts_as_much_as_the_ann_is_sure_of_it():
    ann = level_maps(2)
    for scores in ann[0]:
        scores.fill_(-20.0)
    ann[0][0][:, :2, 1, 2] = 3.0  # the first anchor of one place
    found = []
    for channel, row in ((0, 1), (0, 0), (4, 1)):
        snn = copy.deepcopy(ann)
        snn[1][0][:, channel, row, 2] += 0.5
        found.append(dense_divergence(ann, snn, LEVELS))
    at, elsewhere, other_anchor = found
    assert bool((at > 1e-3).all())
    assert bool((elsewhere < 1e-6 * at).all()) and bool((other_anchor < 1e-6 * at).all())


def test_boxes_are_measured_in_their_own_spread():
    ann = level_maps(2)
    snn = [ann[0], noisy(ann[1], 0.1)]
    large = [
        [ann[0], changed(ann[1], lambda t: 64 * t)],
        [ann[0], changed(snn[1], lambda t: 64 * t)],
    ]
    torch.testing.assert_close(dense_divergence(*large, LEVELS), dense_divergence(ann, snn, LEVELS))


def test_distributions_of_box_sides_count_as_distributions():
    ann = level_maps(2, bins=5)
    moved = [ann[0], changed(ann[1], lambda t: t + 7.0)]  # a softmax does not see it
    assert float(dense_divergence(ann, moved, LEVELS).max()) < 1e-9
    assert float(dense_divergence(ann, [ann[0], noisy(ann[1], 0.1)], LEVELS).min()) > 1e-4


def test_what_a_low_quality_hides_does_not_count():
    ann = level_maps(2, quality=True)
    for quality in ann[2]:
        quality.fill_(-30.0)
    assert float(dense_divergence(ann, [noisy(ann[0], 1.0), *ann[1:]], LEVELS).max()) < 1e-6
    for quality in ann[2]:
        quality.fill_(30.0)
    shown = dense_divergence(ann, [noisy(ann[0], 1.0), *ann[1:]], LEVELS)
    plain = dense_divergence(ann[:2], [noisy(ann[0], 1.0), ann[1]], LEVELS)
    torch.testing.assert_close(shown, plain, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_it_stays_finite_where_maps_are_huge(size):
    ann = changed(level_maps(2, quality=True), lambda t: t * size)
    found = dense_divergence(ann, changed(ann, torch.neg), LEVELS)
    assert bool(torch.isfinite(found).all()) and bool((found > 0).all())


def test_its_gradient_is_finite_so_that_probes_can_use_it():
    ann = changed(level_maps(2, quality=True), lambda t: 100 * t)
    snn = changed(ann, lambda t: (t + 0.5).requires_grad_())
    dense_divergence(ann, snn, LEVELS).sum().backward()
    assert all(bool(torch.isfinite(t.grad).all()) for part in snn for t in part)


def test_the_embedding_is_one_row_a_sample_and_the_divergence_its_squared_distance():
    ann, snn = level_maps(2), noisy(level_maps(2), 0.3)
    rows = [embedding(raw, ann, LEVELS) for raw in (ann, snn)]
    assert rows[0].shape == (3, 2 * (16 + 4) * (2 * 2 + 4))
    expected = (rows[0] - rows[1]).square().sum(1)
    torch.testing.assert_close(dense_divergence(ann, snn, LEVELS), expected)


def test_maps_of_an_unknown_head_are_compared_as_numbers():
    form, ann = MapForm(kind="other"), level_maps(2)
    assert float(dense_divergence(ann, ann, form).sum()) == 0
    half = dense_divergence(
        ann, changed(ann, lambda t: t + t.std((1, 2, 3), correction=0, keepdim=True)), form
    )
    assert half.tolist() == pytest.approx([0.5] * 3, rel=1e-4)


def test_a_segmentors_is_the_mean_over_pixels_of_half_the_symmetric_kl():
    random = torch.Generator().manual_seed(0)
    ann, snn = (torch.randn(2, 3, 4, 5, generator=random) for _ in range(2))
    p, q = ann.softmax(1), snn.softmax(1)
    expected = (0.5 * (p - q) * (p / q).log()).sum(1).mean((1, 2))
    form = MapForm(kind="logits", classes=3)
    torch.testing.assert_close(dense_divergence(ann, snn, form), expected, rtol=1e-4, atol=1e-5)


def test_a_single_channel_of_logits_is_one_class_against_background():
    ann, snn = torch.tensor([[[[2.0]]]]), torch.tensor([[[[-1.0]]]])
    p, q = ann.sigmoid(), snn.sigmoid()
    expected = 0.5 * float((p - q) * (ann - snn))
    found = dense_divergence(ann, snn, MapForm(kind="logits", classes=1))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_embedding_of_logits_has_the_divergence_for_squared_distance_of_near_ones():
    ann = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    snn, form = noisy(ann, 0.01), MapForm(kind="logits", classes=3)
    rows = [embedding(raw, ann, form) for raw in (ann, snn)]
    expected = dense_divergence(ann, snn, form)
    torch.testing.assert_close((rows[0] - rows[1]).square().sum(1), expected, rtol=0.01, atol=0.0)


@pytest.mark.parametrize("name", ["retinanet", "fcn"])
def test_probes_find_the_layers_that_hurt_as_exact_tables_do(name):
    model, inputs = small_model(name), images(4)
    network = adacal.convert(model, inputs[:2], T=8, max_spikes=16, forward=raw_maps)
    divergence = DenseDivergence(map_form(model))
    network.calibrate([inputs], threshold="max", divergence=divergence)
    chosen = list(network.neurons)[::4]
    candidates = {
        site: [
            Candidate(threshold=network.neurons[site].threshold, max_spikes=16),
            Candidate(threshold=4 * network.neurons[site].threshold, max_spikes=16),
        ]
        for site in chosen
    }
    tables = [
        measure_tables(
            network,
            inputs,
            candidates,
            sensitivity=kind,
            cost="spikes",
            divergence=divergence,
            generator=torch.Generator().manual_seed(0),
        ).sensitivity
        for kind in ("exact", "probe")
    ]
    ratio = tables[1] / tables[0]
    assert bool((tables[0] > 0).all())
    assert 0.5 < float(ratio.log().mean().exp()) < 2
    ranks = [table.flatten().argsort().argsort().double() for table in tables]
    assert float(torch.corrcoef(torch.stack(ranks))[0, 1]) > 0.9


def test_adafire_allocates_bursts_by_the_divergence_of_maps():
    model, inputs = small_model("retinanet"), images(4)
    network = adacal.convert(model, inputs[:2], T=4, max_spikes=4, forward=raw_maps)
    divergence = DenseDivergence(map_form(model))
    notes = network.adafire([inputs], max_spikes=(2, 8), budget=4, divergence=divergence)
    assert set(notes["max_spikes"]) == set(network.neurons)
    assert len(set(notes["max_spikes"].values())) > 2
    assert notes["predicted_sensitivity"] < notes["uniform_sensitivity"]
    assert notes["predicted_cost"] <= notes["budget"]
