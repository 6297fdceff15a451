"""Models with quantised activations: ReLUs found, ceilings fitted, retrained from a base."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tasks.classification2d  # noqa: F401  (registers the task and the models)
from adacal.core.conversion import convert
from adacal.core.errors import ConfigError, DataError, UnsupportedModelError
from adacal.core.quantised_relu import quantised_relu
from adacal.methods.base import Calibration
from adacal.suite.config import load
from adacal.suite.registry import MODELS, TASKS, build
from tasks.checkpoints import DEFAULT_FOLDER, load_checkpoint, resolve_checkpoint

NETWORKS = {
    "lenet": ({"type": "lenet", "pool": "max"}, 4),
    "resnet": ({"type": "resnet_cifar", "depth": 8, "width": 4}, 7),
    "vgg": ({"type": "vgg", "layers": (4, "P", 6, "P"), "global_pool": True}, 2),
}


def make(network, levels=4, **shape):
    shape = {"in_channels": 1, "image_size": 28, **shape}
    return build(MODELS, "model", {"type": "qcfs", "network": network, "levels": levels, **shape})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_relu_of_a_model_gets_a_ceiling_and_every_one_is_converted(name):
    network, relus = NETWORKS[name]
    torch.manual_seed(0)
    module = make(network).eval()
    images = torch.rand(4, 1, 28, 28)
    module.fit_ceilings(images)
    assert module.ceilings.shape == (relus,) and module.network.training is False
    neurons = convert(module, images, T=4).neurons.values()
    assert [neuron.cap for neuron in neurons] == pytest.approx(module.ceilings.tolist())
    assert {neuron.ann_levels for neuron in neurons} == {4}


def test_training_from_scratch_begins_with_the_ceiling_that_is_asked_for():
    options = {"type": "qcfs", "network": {"type": "lenet"}, "in_channels": 1, "image_size": 28}
    module = build(MODELS, "model", {**options, "initial_ceiling": 8.0})
    assert module.ceilings.tolist() == [8.0] * 4
    with pytest.raises(ConfigError, match=r"qcfs.initial_ceiling must .*got 0"):
        build(MODELS, "model", {**options, "initial_ceiling": 0})


def test_its_activations_are_those_of_the_formula_and_all_is_trained():
    torch.manual_seed(0)
    module = make({"type": "lenet"}).eval()
    images = torch.rand(3, 1, 28, 28)
    module.fit_ceilings(images)
    bare, first = module.network, module.ceilings[0]
    expected = quantised_relu(bare.features[0](images), first, 4)
    seen = []
    bare.features[2].register_forward_hook(lambda part, given, out: seen.append(given[0]))
    module(images).square().sum().backward()
    assert torch.equal(seen[0], expected)
    assert len(torch.unique(seen[0])) == 5
    assert all(bool(p.grad.abs().sum() > 0) for p in module.parameters())


def test_relus_in_place_train_as_well():
    torch.manual_seed(0)
    module = make({"type": "lenet"})
    images = torch.rand(3, 1, 28, 28)
    module.fit_ceilings(images)
    expected = module(images)
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = True
    found = module(images)
    found.sum().backward()
    assert torch.equal(found, expected)
    assert bool(module.network.features[0].weight.grad.abs().sum() > 0)


def test_more_levels_are_nearer_to_the_network_without():
    torch.manual_seed(0)
    images = torch.rand(8, 1, 28, 28)
    gaps = []
    for levels in (2, 8, 32):
        torch.manual_seed(1)
        module = make({"type": "lenet"}, levels).eval()
        module.fit_ceilings(images)
        with torch.no_grad():
            gaps.append(float((module(images) - module.network(images)).square().mean()))
    assert gaps[0] > 4 * gaps[1] > 16 * gaps[2]


@pytest.mark.parametrize(
    ("network", "levels", "message"),
    [
        ({"type": "lenet"}, 0, "qcfs.levels must be a whole number of at least 1"),
        ({"type": "lenett"}, 4, "did you mean 'lenet'"),
        ({"type": "qcfs", "network": {"type": "lenet"}}, 4, r"calls another activation \(capped\)"),
    ],
)
def test_wrong_options_give_one_sentence(network, levels, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make(network, levels)
    assert "\n" not in str(caught.value)


def retrained(path, base="lenet", model=None, **schedule):
    schedule = {"epochs": 1, "batch_size": 20, "lr": 0.005, "max_samples": 400, **schedule}
    qcfs = {"name": "lenet_qcfs4", "type": "qcfs", "levels": 4, "network": {"type": "lenet"}}
    config = {"type": "classification2d", "dataset": {"type": "mnist5k"}}
    model = {**(model or qcfs), "base": base}
    return build(TASKS, "task", config, model=model, checkpoint=str(path), schedule=schedule)


def test_retraining_begins_with_the_weights_of_its_base(tmp_path):
    path = tmp_path / "a.safetensors"
    task = retrained(path)
    log = task.train(lambda row: None)
    assert log["notes"]["base"] == "lenet" == json.loads(path.with_suffix(".json").read_text())[
        "notes"]["base"]  # fmt: skip
    assert log["test_accuracy_pct"] > 97  # one epoch on 400 samples would give 50 from scratch
    before = load_file(resolve_checkpoint(None, "mnist5k", "lenet"))
    after = load_file(path)
    assert set(after) == {"ceilings", *(f"network.{name}" for name in before)}
    moved = after["network.features.0.weight"] - before["features.0.weight"]
    assert 0 < float(moved.abs().max()) < 0.2
    assert task.build_ann().levels == 4


def test_a_base_that_is_missing_or_leads_nowhere_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(DataError, match=r"mnist5k_lenot\.safetensors"):
        retrained(path, base="lenot").train(lambda row: None)
    with pytest.raises(DataError, match="is of another model"):
        retrained(path, base="resnet20").train(lambda row: None)
    with pytest.raises(ConfigError, match="only networks of type 'qcfs' are retrained"):
        retrained(path, model={"type": "lenet"}).train(lambda row: None)
    with pytest.raises(ConfigError, match=r"model\.base must be the name of a model; got 3"):
        retrained(path, base=3)
    assert not path.exists()


def test_plain_networks_are_refused_by_methods_that_need_trained_thresholds():
    method = load("classification2d/mnist5k_lenet_qcfs4").build_method()
    net = build(MODELS, "model", {"type": "lenet"}).eval()
    with pytest.raises(UnsupportedModelError, match="resnet20_qcfs4 say") as caught:
        calibration = Calibration(
            T=2,
            batches=[],
            forward=lambda m, x: m(x),
            divergence=lambda a, b: a,
            generator=torch.Generator(),
        )  # fmt: skip
        method.build(net, torch.rand(1, 1, 28, 28), calibration)
    assert "'features.1' is no quantised activation" in str(caught.value)


SHIPPED = sorted(path.stem for path in DEFAULT_FOLDER.glob("mnist*_qcfs[48].safetensors"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_networks_have_their_weights_and_say_what_they_come_from(name):
    config = load(f"classification2d/{name}")
    dataset, base = config.task["dataset"]["type"], config.model["base"]
    model = {key: config.model[key] for key in ("type", "levels", "network")}
    channels, side = (1, 28) if dataset == "mnist5k" else (3, 32)
    module = build(MODELS, "model", {**model, "in_channels": channels, "image_size": side})
    path = resolve_checkpoint(None, dataset, config.model["name"])
    load_checkpoint(path, module)
    log = json.loads(path.with_suffix(".json").read_text())
    assert name == f"{dataset}_{base}_qcfs{module.levels}"
    assert bool((module.ceilings > 0.1).all())
    assert log["notes"] == {"dataset": dataset, "model": config.model["name"], "base": base}
    assert log["schedule"]["epochs"] == config.model["schedule"]["epochs"]


def test_both_small_networks_are_shipped_with_both_numbers_of_levels():
    assert {
        f"mnist5k_{base}_qcfs{levels}" for base in ("lenet", "resnet20") for levels in (4, 8)
    } <= set(SHIPPED)
