"""The pieces of a config that this package's tasks are built from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from adacal.suite.registry import TASKS, build
from tasks.checkpoints import REPOSITORY
from tasks.classification2d import Classification2D
from tasks.classification3d import Classification3D
from tasks.events import Events
from tasks.part_segmentation3d import PartSegmentation3D
from tasks.training import make_schedule

BASE = REPOSITORY / "configs" / "_base_"
SMALL = ("lenet", "resnet20", "vgg_small")
CIFAR = (*SMALL, "resnet20_wide", "resnet32_wide")
IMAGENET = ("resnet18_imagenet", "resnet34_imagenet", "resnet50_imagenet")
PAIRS = [
    *[(data, model) for data in ("mnist5k", "mnist_photos") for model in SMALL],
    *[(data, model) for data in ("cifar10", "cifar100") for model in CIFAR],
    *[("imagenet", model) for model in IMAGENET],
]
EVENTS = (
    "action_recognition", "cifar10_dvs", "dvs128_gesture", "dvs_mnist", "n_caltech101", "n_cars",
    "n_mnist",
)  # fmt: skip
EVENT_MODELS = ("resnet18_events", "resnet34_events", "vgg11_events", "vgg16_events")


def merged(tmp_path: Path, *pieces: str) -> Config:
    """Loads a config that is nothing but its bases."""
    file = tmp_path / "run.py"
    file.write_text(f"_base_ = {[str(BASE / f'{piece}.py') for piece in pieces]!r}\n")
    return Config.fromfile(file)


@pytest.mark.parametrize(("data", "model"), PAIRS)
def test_a_dataset_a_model_and_a_schedule_make_a_task(tmp_path, data, model):
    cfg = merged(tmp_path, f"tasks/{data}", f"models/{model}", "schedules/embedded_15")
    task = build(TASKS, "task", cfg.task, model=cfg.model, schedule=cfg.get("schedule"))
    assert isinstance(task, Classification2D)
    assert (task.dataset_name, task.model_name) == (data, cfg.model.name)
    assert make_schedule(task.schedule).epochs >= 15
    with torch.device("meta"):
        module = task.build_module()
    assert any(p.shape[:1] == (task.dataset.num_classes,) for p in module.parameters())


@pytest.mark.parametrize("mode", ["stream", "static"])
@pytest.mark.parametrize("data", EVENTS)
def test_an_event_dataset_and_a_model_make_a_task_of_its_sensor(tmp_path, data, mode):
    for model in ("resnet20",) if data in ("n_mnist", "dvs_mnist") else EVENT_MODELS:
        cfg = merged(tmp_path, f"tasks/{data}_{mode}", f"models/{model}", "schedules/events_100")
        task = build(TASKS, "task", cfg.task, model=cfg.model, schedule=cfg.schedule, T=8)
        assert isinstance(task, Events) and task.stream == (mode == "stream")
        assert task.checkpoint.name == f"{data}_{cfg.model.name}.safetensors"
        with torch.device("meta"):
            module = task.build_module().eval()
            logits = module(torch.zeros(2, *task.dataset.input_shape))
        assert logits.shape == (2, task.dataset.num_classes)


@pytest.mark.parametrize(
    ("data", "model", "kind", "outputs"),
    [
        ("mnist_points", "pointnet_small", Classification3D, (2, 10)),
        ("mnist_points", "pointnet_small_mean", Classification3D, (2, 10)),
        ("mnist_points", "pointnet_small_tnet", Classification3D, (2, 10)),
        ("mnist_points_parts", "pointnet_parts_small", PartSegmentation3D, (2, 4, 1024)),
    ],
)
def test_a_point_dataset_and_a_pointnet_make_a_task(tmp_path, data, model, kind, outputs):
    cfg = merged(tmp_path, f"tasks/{data}", f"models/{model}", "schedules/points_24")
    task = build(TASKS, "task", cfg.task, model=cfg.model, schedule=cfg.get("schedule"))
    assert isinstance(task, kind)
    assert (task.dataset_name, task.model_name) == ("mnist_points", model)
    assert task.build_module().features.pool == ("mean" if model.endswith("mean") else "max")
    assert task.build_module()(torch.zeros(2, 1024, 3)).shape == outputs


@pytest.mark.parametrize("piece", sorted((BASE / "schedules").glob("*.py")), ids=lambda p: p.stem)
def test_every_schedule_is_valid(tmp_path, piece):
    make_schedule(merged(tmp_path, f"schedules/{piece.stem}").schedule)


@pytest.mark.parametrize("folder", ["tasks", "models", "schedules"])
def test_every_piece_says_in_its_first_line_why_it_exists(folder):
    for piece in sorted((BASE / folder).glob("*.py")):
        assert piece.read_text().startswith("# "), piece.name
