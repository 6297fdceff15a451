"""The shipped configs of real sets: models and data fit, and missing data is told as such."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from mmengine.config import Config

from adacal.core.errors import DataError
from adacal.suite import config as configs
from adacal.suite.session import build_task
from tasks.openmmlab.building import build_model
from tasks.openmmlab.operations import prepare
from tasks.openmmlab.sources import ORIGINS, plain_datasets


def real_configs() -> list[str]:
    found = []
    for name in configs.shipped():
        if name.startswith(("detection/", "segmentation/")):
            raw = Config.fromfile(configs.find(name))
            if raw.task.get("dataset", {}).get("type") == "openmmlab":
                found.append(name)
    return found


def heads(model: Any) -> list[Any]:
    return [model[key] for key in ("bbox_head", "decode_head", "auxiliary_head") if key in model]


@pytest.mark.parametrize("name", real_configs())
def test_a_shipped_run_has_a_head_for_the_classes_and_tells_where_data_is_missing(name):
    config = configs.load(name)
    task = build_task(config)
    prepare()
    datasets = importlib.import_module(f"{task.library}.datasets")
    for key in ("train_dataloader", "test_dataloader"):
        for part in plain_datasets(task.config[key].dataset):
            assert part["type"] in ORIGINS
            classes = getattr(datasets, part["type"]).METAINFO["classes"]
            assert all(head.num_classes == len(classes) for head in heads(task.config.model))
            assert part["data_root"].rstrip("/") == config.task["dataset"]["data_root"]
    with pytest.raises(DataError, match=rf"'{config.task['dataset']['data_root']}/.*; get .*http"):
        _ = task.test_dataset
    method = config.build_method()
    assert method.uses_T and config.conversion.T in (8, 32)


def test_yolox_with_relu_has_no_other_activation() -> None:
    options = {"model.backbone.widen_factor": 0.25, "model.neck.in_channels": [64, 128, 256],
               "model.neck.out_channels": 64, "model.bbox_head.in_channels": 64}  # fmt: skip
    module = build_model("yolox_s_relu_coco", library="mmdet", options=options)
    kinds = {type(part).__name__ for part in module.modules()}
    assert "ReLU" in kinds and not kinds & {"SiLU", "Swish", "GELU", "Hardswish"}


def test_yolov3_for_voc_reads_both_years_at_its_own_size() -> None:
    task = build_task(configs.load("detection/voc_yolov3_adaptive_T8"))
    lists = [part["ann_file"] for part in plain_datasets(task.config.train_dataloader.dataset)]
    assert lists == [f"VOC{year}/ImageSets/Main/trainval.txt" for year in (2007, 2012)]
    (test,) = plain_datasets(task.config.test_dataloader.dataset)
    assert test["ann_file"] == "VOC2007/ImageSets/Main/test.txt"
    assert [step["scale"] for step in test["pipeline"] if step["type"] == "Resize"] == [(416, 416)]
    assert task.metric.name == "map50_pct"
