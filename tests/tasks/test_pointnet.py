"""PointNet: the same on points in any order, and every layer but the last feeds neurons."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adacal.core.conversion import convert
from adacal.core.errors import ConfigError, UnsupportedModelError
from adacal.core.layout import RunState
from adacal.core.measure import measure_energy
from adacal.suite.registry import MODELS, build
from tasks.models.pointnet import PointNet, PointNetParts, TNet

SMALL: dict[str, Any] = {"local_widths": (8, 8), "widths": (12,), "hidden": (8, 6)}
TRANSFORM = {"transform_widths": (6,), "transform_hidden": (5,)}
FORMS = [
    {},
    {"pool": "mean"},
    {"input_transform": True, **TRANSFORM},
    {"feature_transform": True, **TRANSFORM},
    {"input_transform": True, "feature_transform": True, "pool": "mean", **TRANSFORM},
]


def clouds(count: int = 4, points: int = 30, seed: int = 0) -> Tensor:
    return torch.randn(count, points, 3, generator=torch.Generator().manual_seed(seed))


def trained(kind: type[nn.Module], **options: Any) -> nn.Module:
    """A network whose batch norms and T-Nets have seen some steps of training."""
    torch.manual_seed(0)
    net = kind(**{**SMALL, **options})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for step in range(5):
        loss = net(clouds(16, seed=step)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("options", FORMS)
def test_a_class_does_not_depend_on_the_order_of_the_points(options):
    net, inputs = trained(PointNet, **options), clouds()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    logits = net(inputs)
    assert logits.shape == (4, 10)
    assert torch.allclose(net(inputs[:, order]), logits, atol=1e-5)


@pytest.mark.parametrize("options", FORMS)
def test_parts_follow_their_points(options):
    net, inputs = trained(PointNetParts, num_parts=3, **options), clouds()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    logits = net(inputs)
    assert logits.shape == (4, 3, 30)
    assert torch.allclose(net(inputs[:, order]), logits[..., order], atol=1e-5)


def test_clouds_do_not_see_each_other():
    net, inputs = trained(PointNetParts), clouds()
    changed = inputs.clone()
    changed[1] = 0
    kept = torch.tensor([0, 2, 3])
    assert torch.allclose(net(changed)[kept], net(inputs)[kept], atol=1e-6)


def test_the_layer_on_points_and_cloud_is_the_layer_on_both_joined():
    net, inputs = trained(PointNetParts), clouds()
    local, pooled = net.features(inputs)
    joined = torch.cat([local, pooled.repeat_interleave(30, 0)], 1)
    weight = torch.cat([net.of_point.weight, net.of_cloud.weight], 1)
    rows = net.rest(net.joined(joined @ weight.T))
    wanted = net.classifier(rows).reshape(4, 30, -1).transpose(1, 2)
    assert torch.allclose(net(inputs), wanted, atol=1e-5)


def test_a_fresh_t_net_predicts_the_identity():
    matrices = TNet(3, (6,), (5,))(clouds().reshape(-1, 3), 30)
    assert torch.equal(matrices, torch.eye(3).expand(4, 3, 3))


@pytest.mark.parametrize("kind", [PointNet, PointNetParts])
@pytest.mark.parametrize("options", FORMS)
def test_every_layer_but_the_last_of_each_branch_feeds_neurons(kind, options):
    net = trained(kind, **options)
    network = convert(net, clouds(), T=4, max_spikes=4)
    layers = sum(isinstance(module, nn.Linear) for module in net.modules())
    matrices = sum(isinstance(module, TNet) for module in net.modules())
    joined = int(kind is PointNetParts)  # two layers feed the same neurons
    assert len(network.neurons) == layers - 1 - matrices - joined
    flagged = [site.function for site in network.report() if site.kind == "analogue"]
    assert flagged == ["bmm"] * bool(options.get("feature_transform"))


@pytest.mark.parametrize("kind", [PointNet, PointNetParts])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_without_transforms_all_layers_but_the_first_accumulate_spikes(kind, pool):
    inputs = clouds()
    network = convert(trained(kind, pool=pool), inputs, T=4, max_spikes=4, strict=True)
    network.calibrate([inputs])
    layers = measure_energy(network, inputs).layers
    assert {layer.name for layer in layers if layer.macs} == {"features.local.0"}
    linear = [name for name, m in network.module.named_modules() if isinstance(m, nn.Linear)]
    assert {layer.name for layer in layers if layer.sops} == set(linear[1:])


@pytest.mark.parametrize("kind", [PointNet, PointNetParts])
@pytest.mark.parametrize("options", FORMS)
def test_a_converted_pointnet_comes_near_the_trained_one(kind, options):
    net, inputs = trained(kind, **options), clouds(16)
    wanted = net(inputs).detach()
    gaps = []
    for T in (1, 32):
        network = convert(net, inputs[:2], T=T, max_spikes=8)
        network.calibrate([clouds(32, seed=9)])
        gaps.append(float((network(inputs) - wanted).abs().mean() / wanted.std()))
    assert gaps[1] < 0.1 and gaps[1] < gaps[0]


def test_steps_one_by_one_are_the_steps_at_once():
    inputs = clouds()
    network = convert(trained(PointNetParts), inputs, T=3, max_spikes=2)
    network.calibrate([clouds(32, seed=9)])
    state, total = RunState(), torch.zeros(())
    for step in range(3):
        total = total + network.step(inputs, state, step)
    assert torch.allclose(total / 3, network(inputs), atol=1e-5)


def test_a_product_of_two_spike_trains_is_refused_where_only_spikes_are_allowed():
    net = trained(PointNet, feature_transform=True, **TRANSFORM)
    with pytest.raises(UnsupportedModelError, match="'bmm' at 'features.bmm' cannot be computed"):
        convert(net, clouds(), T=4, strict=True)


def test_an_aligned_input_multiplies_in_the_first_layer_at_every_step():
    inputs = clouds()
    net = trained(PointNet, input_transform=True, **TRANSFORM)
    network = convert(net, inputs, T=4, strict=True)
    network.calibrate([inputs])
    macs = {layer.name: layer.macs for layer in measure_energy(network, inputs).layers}
    assert macs["features.bmm"] == 4 * 30 * 3 * 3
    assert macs["features.local.0"] == 4 * 30 * 3 * 8
    assert macs["features.input_transform.points.0"] == 30 * 3 * 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"type": "pointnet", "pool": "min"}, "pointnet.pool must be 'max' or 'mean'; got 'min'"),
        ({"type": "pointnet", "widths": ()}, "need a layer each; got"),
        ({"type": "pointnet_parts", "hidden": ()}, "pointnet_parts.hidden needs a layer"),
        ({"type": "pointnet", "width": (3,)}, "did you mean 'widths'"),
    ],
)
def test_wrong_options_are_one_sentence(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(MODELS, "model", options)
