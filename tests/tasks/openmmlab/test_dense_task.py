"""A detector of mmdet on a tiny COCO tree: trained, converted and measured as a user would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adacal.core.errors import ConfigError, DataError
from adacal.suite.config import resolve
from adacal.suite.runner import run
from adacal.suite.session import Session, build_task
from adacal.suite.store import RecordStore
from dense_models import CLASSES, DETECTORS

NAMES = tuple("abc"[:CLASSES])
SIDE, IMAGES = 64, {"training": 6, "test": 5}


def write_coco(root: Path) -> None:
    """Upright and lying images in turn, one with nothing on it."""
    random = np.random.default_rng(0)
    for part, count in IMAGES.items():
        (root / part).mkdir(parents=True)
        images, boxes = [], []
        for number in range(1, count + 1):
            height, width = (SIDE // 2, SIDE) if number % 2 else (SIDE, SIDE // 2)
            name = f"{number:03}.png"
            pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / part / name)
            images.append({"id": number, "file_name": name, "height": height, "width": width})
            if number != 4:
                box = [3, 4, 20, 18]
                boxes.append({"image_id": number, "category_id": number % CLASSES + 1, "bbox": box})
        for number, box in enumerate(boxes, 1):
            box |= {"id": number, "area": box["bbox"][2] * box["bbox"][3], "iscrowd": 0}
        kinds = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
        content = {"images": images, "annotations": boxes, "categories": kinds}
        (root / f"{part}.json").write_text(json.dumps(content))


def loader(root: Path, part: str, pipeline: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    dataset = {
        "type": "CocoDataset",
        "metainfo": {"classes": NAMES},
        "data_root": str(root),
        "ann_file": f"{part}.json",
        "data_prefix": {"img": f"{part}/"},
        "pipeline": pipeline,
        **more,
    }
    return {
        "batch_size": 2,
        "num_workers": 0,
        "persistent_workers": False,
        "sampler": {"type": "DefaultSampler", "shuffle": part == "training"},
        "dataset": dataset,
    }


def options_of(root: Path) -> dict[str, Any]:
    load = {"type": "LoadImageFromFile"}
    boxes = {"type": "LoadAnnotations", "with_bbox": True}
    size = {"type": "Resize", "scale": (SIDE, SIDE), "keep_ratio": True}
    pack = {"type": "PackDetInputs"}
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return {
        **DETECTORS["retinanet"][1],
        "train_dataloader": loader(root, "training", [load, boxes, size, pack]),
        "test_dataloader": loader(
            root, "test", [load, size, boxes, {**pack, "meta_keys": keys}], test_mode=True
        ),
        "test_evaluator": {
            "type": "CocoMetric", "ann_file": str(root / "test.json"), "metric": "bbox",
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("coco")
    write_coco(root)
    return {
        "task": {"type": "detection"},
        "model": {
            "type": "openmmlab",
            "name": "tiny",
            "config": DETECTORS["retinanet"][0],
            "options": options_of(root),
            "checkpoint": str(root / "tiny.safetensors"),
        },
        "method": {"type": "burst", "max_spikes": 4},
        "conversion": {"T": 2},
        "schedule": {"train_cfg": {"max_epochs": 2, "val_interval": 9}},
        "calibration": {"n_samples": 3},
        "evaluation": {"batch_size": 2, "latency_repeats": 0},
    }


@pytest.fixture(scope="module")
def trained(raw) -> dict[str, Any]:
    before = torch.random.get_rng_state()
    rows: list[dict[str, float]] = []
    result = build_task(resolve(raw)).train(rows.append, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert [row["epoch"] for row in rows] == [1.0, 2.0]
    return result


def test_mmengine_trains_a_model_and_its_record_comes_from_the_checkpoint(raw, trained, tmp_path):
    task = build_task(resolve(raw))
    log = json.loads(task.checkpoint.with_suffix(".json").read_text())
    assert log["sha256"] == trained["sha256"] == task.checkpoint_sha256()
    assert log["epochs"][1]["loss"] < log["epochs"][0]["loss"]
    record = run(resolve(raw), RecordStore(tmp_path))
    assert record.n_test == IMAGES["test"]
    assert record.ann["map_pct"] == pytest.approx(log["test_map_pct"])
    assert record.divergence > 0
    assert record.energy.macs < record.energy.ann_macs  # only the first layer's
    assert record.calibration.samples == 3
    with pytest.raises(ConfigError, match="--overwrite"):
        task.train(print)


def test_batches_hold_images_of_one_size_and_calibration_draws_from_training(raw):
    task = build_task(resolve(raw))
    batches = list(task.test_batches(3))
    assert [batch.indices.tolist() for batch in batches] == [[0], [1], [2], [3], [4]]
    assert {tuple(batch.inputs.shape[2:]) for batch in batches} == {(32, 64), (64, 32)}
    drawn = [task.calibration_batches(3, seed=seed)[0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0].inputs, drawn[1].inputs)
    assert drawn[0].indices.tolist() != drawn[2].indices.tolist()
    assert all("/training/" in target.img_path for target in drawn[0].targets)
    (padded,) = task.calibration_batches(6, seed=0)
    assert padded.inputs.shape == (6, 3, 64, 64)
    with pytest.raises(ConfigError, match="1 to 6 images"):
        task.calibration_batches(7, seed=0)


def test_the_truth_itself_scores_a_hundred_on_the_images_seen(raw, trained, monkeypatch):
    raw = {**raw, "task": {"type": "detection", "max_test_samples": 3}}
    task = build_task(resolve(raw))

    def truth(module: Any, maps: Any, samples: list[Any]) -> list[Any]:
        for sample in samples:
            found = sample.gt_instances.clone()
            found.scores = torch.ones(len(found))
            sample.pred_instances = found
        return samples

    monkeypatch.setattr("tasks.openmmlab.task.predictions", truth)
    evaluation = task.evaluate(lambda inputs: torch.zeros(len(inputs), 1))
    assert evaluation.metrics["map_pct"] == pytest.approx(100.0)
    assert evaluation.redraw is not None
    assert evaluation.redraw(np.array([[3, 0, 0], [0, 1, 2]])) == pytest.approx([100.0, 100.0])


def test_fingerprints_follow_the_data_and_what_the_model_does_with_it(raw):
    options = raw["model"]["options"]

    def of(**changes: Any) -> str:
        model = {**raw["model"], "options": {**options, **changes}}
        return build_task(resolve({**raw, "model": model})).data_fingerprint()

    assert of() == of()
    assert of() != of(**{"model.test_cfg.nms.iou_threshold": 0.4})
    assert of() != of(**{"model.data_preprocessor.bgr_to_rgb": False})


def test_a_spiking_backbone_alone_has_another_name_and_shares_the_checkpoint(raw, trained):
    config = resolve({**raw, "model": {**raw["model"], "backbone_only": True}})
    prepared = Session().prepare(config)
    assert prepared.task.model_name == "tiny_backbone_only"
    assert prepared.checkpoint_sha256 == trained["sha256"]


def test_wrong_input_is_refused_in_one_sentence(raw, trained, tmp_path):
    options = raw["model"]["options"]

    def prepare(**changes: Any) -> Any:
        model = {**raw["model"], "options": {**options, **changes}}
        return Session().prepare(resolve({**raw, "model": model}))

    with pytest.raises(DataError, match=r"test dataset 'CocoDataset' needs the file '.*none\.json"):
        prepare(**{"test_dataloader.dataset.ann_file": "none.json"})
    with pytest.raises(ConfigError, match=r"dataset 'mnist5k' is none of mmdet"):
        Session().prepare(
            resolve({**raw, "task": {"type": "detection", "dataset": {"type": "mnist5k"}}})
        )
    with pytest.raises(
        ConfigError, match="the head of 'tiny' tells 3 classes and the dataset .* 2"
    ):
        prepare(**{"test_dataloader.dataset.metainfo": {"classes": ("a", "b")}})
    with pytest.raises(ConfigError, match="did you mean 'checkpoint'"):
        build_task(resolve({**raw, "model": {**raw["model"], "chekpoint": "x"}}))
