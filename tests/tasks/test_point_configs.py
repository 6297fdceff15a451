"""Configs of the real point-cloud sets: they build what they name, as the reference sets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from adacal.suite import config as configs
from adacal.suite.registry import TASKS, build, load_tasks
from tasks.checkpoints import REPOSITORY
from tasks.training import make_schedule

BASE = REPOSITORY / "configs" / "_base_"
CLASSES = {
    "modelnet10": (10, 1024),
    "modelnet40": (40, 1024),
    "modelnet40_resampled": (40, 1024),
    "modelnet40_hdf5": (40, 1024),
    "shapenet": (16, 2500),
}
MODELS = ("pointnet", "pointnet_mean")
RUNS = [
    ("classification3d", "modelnet10", "pointnet_mean"),
    ("classification3d", "modelnet40", "pointnet_mean"),
    ("classification3d", "shapenet", "pointnet_mean"),
    ("part_segmentation3d", "shapenet_part", "pointnet_parts_mean"),
]
METHODS = {"light": "snn_calibration_light", "adaptive": "adaptive_calibration"}


def merged(tmp_path: Path, *pieces: str) -> Any:
    """Builds the task of a config that is nothing but its bases."""
    file = tmp_path / "run.py"
    file.write_text(f"_base_ = {[str(BASE / f'{piece}.py') for piece in pieces]!r}\n")
    cfg = Config.fromfile(file)
    load_tasks()
    return build(TASKS, "task", cfg.task, model=cfg.model, schedule=cfg.schedule)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", CLASSES)
def test_a_dataset_a_model_and_a_schedule_classify_clouds(tmp_path, data, model):
    classes, points = CLASSES[data]
    task = merged(tmp_path, f"tasks/{data}", f"models/{model}", "schedules/points_200")
    assert (task.name, task.model_name) == ("classification3d", model)
    assert task.dataset.input_shape == (points, 3)
    assert make_schedule(task.schedule).epochs == 200
    module = task.build_module().eval()
    assert module.features.pool == ("mean" if model.endswith("mean") else "max")
    assert module(torch.zeros(2, 16, 3)).shape == (2, classes)


@pytest.mark.parametrize("model", ["pointnet_parts", "pointnet_parts_mean"])
def test_parts_are_told_among_fifty(tmp_path, model):
    task = merged(tmp_path, "tasks/shapenet_part", f"models/{model}", "schedules/points_200")
    assert (task.name, task.dataset.num_points) == ("part_segmentation3d", 2500)
    module = task.build_module().eval()
    assert module.features.pool == ("mean" if model.endswith("mean") else "max")
    assert module(torch.zeros(2, 16, 3)).shape == (2, 50, 16)


@pytest.mark.parametrize("T", [8, 16])
@pytest.mark.parametrize("short", METHODS)
@pytest.mark.parametrize(("folder", "data", "model"), RUNS)
def test_runs_have_the_steps_the_method_and_the_pooling_of_their_name(
    folder, data, model, short, T
):
    config = configs.load(f"{folder}/{data}_{model}_{short}_T{T}")
    assert config.conversion.T == T
    assert config.task["type"] == folder
    assert config.method_name == METHODS[short]
    assert config.model["pool"] == "mean"
    method = config.build_method()
    if short == "adaptive":
        assert (method.adafire["max_spikes"], method.adafire["budget"]) == ((1, 8), 4)
        assert (method.iat is None) == (folder == "part_segmentation3d")
