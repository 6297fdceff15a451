"""A detector and a segmentor of random weights on tiny trees: images in, pictures out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from adacal.core.converted import Prediction
from adacal.core.errors import DataError
from adacal.suite.config import resolve
from adacal.suite.pictures import draw_record
from adacal.suite.predictions import predict_images
from adacal.suite.runner import run
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from dense_models import CLASSES, DETECTORS, SEGMENTORS, small_model
from tasks.checkpoints import save_tensors

NAMES = ("ant", "bee", "cow")
SIZES = ((40, 64), (64, 48), (64, 64))
LOAD = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (64, 64), "keep_ratio": True},
]


def write_images(root: Path, part: str) -> None:
    random = np.random.default_rng(len(part))
    (root / part).mkdir(parents=True)
    (root / f"{part}_masks").mkdir()
    images, boxes = [], []
    for number, (height, width) in enumerate(SIZES, 1):
        pixels = random.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(root / part / f"{number}.png")
        mask = random.integers(0, CLASSES, (height, width), dtype=np.uint8)
        Image.fromarray(mask).save(root / f"{part}_masks" / f"{number}.png")
        size = {"height": height, "width": width}
        images.append({"id": number, "file_name": f"{number}.png", **size})
        box = {"image_id": number, "category_id": 2, "bbox": [4, 5, 20, 10], "area": 200}
        boxes.append({"id": number, "iscrowd": 0, **box})
    kinds = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    content = {"images": images, "annotations": boxes, "categories": kinds}
    (root / f"{part}.json").write_text(json.dumps(content))


def loader(dataset: dict[str, Any]) -> dict[str, Any]:
    sampler = {"type": "DefaultSampler", "shuffle": False}
    return {"batch_size": 1, "num_workers": 0, "sampler": sampler, "dataset": dataset}


def detection(root: Path) -> dict[str, Any]:
    boxes = {"type": "LoadAnnotations", "with_bbox": True}

    def dataset(part: str) -> dict[str, Any]:
        return {
            "type": "CocoDataset",
            "metainfo": {"classes": NAMES},
            "data_root": str(root),
            "ann_file": f"{part}.json",
            "data_prefix": {"img": f"{part}/"},
            "pipeline": [*LOAD, boxes, {"type": "PackDetInputs"}],
            "test_mode": True,
        }

    evaluator = {"type": "CocoMetric", "ann_file": str(root / "test.json"), "metric": "bbox"}
    return {
        "train_dataloader": loader(dataset("train")),
        "test_dataloader": loader(dataset("test")),
        "test_evaluator": evaluator,
        "model.test_cfg.score_thr": 0.0,
        "model.test_cfg.max_per_img": 6,
    }


def segmentation(root: Path) -> dict[str, Any]:
    def dataset(part: str) -> dict[str, Any]:
        return {
            "_delete_": True,
            "type": "BaseSegDataset",
            "metainfo": {"classes": NAMES},
            "data_root": str(root),
            "ann_file": "",
            "img_suffix": ".png",
            "data_prefix": {"img_path": part, "seg_map_path": f"{part}_masks"},
            "pipeline": [*LOAD, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}],
        }

    return {
        "train_dataloader": loader(dataset("train")),
        "test_dataloader": loader(dataset("test")),
        "test_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for part in ("train", "test"):
        write_images(folder, part)
    return folder


def raw_of(kind: str, root: Path) -> dict[str, Any]:
    name = "retinanet" if kind == "detection" else "fcn"
    config, narrow = (DETECTORS | SEGMENTORS)[name]
    checkpoint = root / f"{name}.safetensors"
    if not checkpoint.is_file():
        module = small_model(name)
        if kind == "detection":  # surer than chance somewhere, so that boxes are drawn
            module.bbox_head.retina_cls.bias.data.fill_(-1.0)
        save_tensors(checkpoint, module.state_dict())
    options = detection(root) if kind == "detection" else segmentation(root)
    return {
        "task": {"type": kind},
        "model": {
            "type": "openmmlab",
            "name": name,
            "config": config,
            "options": {**narrow, **options},
            "checkpoint": str(checkpoint),
        },
        "method": {"type": "burst", "max_spikes": 8},
        "conversion": {"T": 4},
        "calibration": {"n_samples": 3},
        "evaluation": {"batch_size": 2, "latency_repeats": 0},
    }


@pytest.fixture(scope="module", params=["detection", "segmentation"])
def raw(request, root) -> dict[str, Any]:
    return raw_of(request.param, root)


def test_an_image_from_a_file_is_what_the_test_set_gives(raw, root) -> None:
    task = Session().prepare(resolve(raw)).task
    for position, batch in enumerate(task.test_batches(1)):
        read = task.read_image(root / "test" / f"{position + 1}.png")
        assert torch.equal(read.inputs, batch.inputs)
        assert read.indices.tolist() == [-1]
        assert read.targets[0].ori_shape == batch.targets[0].ori_shape == SIZES[position]
    (root / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"the image '.*broken\.png' cannot be read"):
        task.read_image(root / "broken.png")
    with pytest.raises(DataError, match="no image at"):
        task.read_image(root / "gone.png")


def test_images_of_any_size_get_pictures_and_words_of_agreement(raw, root, tmp_path) -> None:
    found = predict_images(resolve(raw), [root / "test"], tmp_path, T=[1, 32])
    assert [picture.path.name for picture in found] == ["1.png", "2.png", "3.png"]
    words = r"\d+ of the ANN's \d+ box(es)?|\d+\.\d % of pixels as the ANN"
    for picture in found:
        assert Image.open(picture.path).width > 600
        assert [*picture.notes] == ["SNN T=1", "SNN T=32"]
        assert all(re.match(words, note) for note in picture.notes.values())
    met = [
        sum(float(picture.notes[name].split()[0]) for picture in found) for name in found[0].notes
    ]
    assert met[1] > met[0], "32 steps agree better than one"


def test_pictures_of_test_images_show_the_truth_beside_both_answers(raw) -> None:
    prepared = Session().prepare(resolve(raw))
    task, batch = prepared.task, next(iter(prepared.task.test_batches(1)))
    with torch.no_grad():
        maps = task.spiking_forward(prepared.ann, batch.inputs)
    figure = Figure()
    task.draw(figure, batch, maps, Prediction(output=maps, timesteps=torch.tensor([3])))
    truth, ann, snn = figure.axes
    assert truth.get_title() == "truth" and ann.get_title() == "ANN"
    assert all(axes.images[0].get_array().shape == (*SIZES[0], 3) for axes in figure.axes)
    if task.name == "detection":
        assert truth.patches[0].get_bbox().bounds == (4, 5, 20, 10)
        assert [text.get_text() for text in truth.texts] == ["bee"]
        assert len(ann.patches) == len(snn.patches) > 0
    else:
        assert [image.get_array().shape for image in truth.images[1:]] == [(*SIZES[0], 4)]
        assert {text.get_text() for text in figure.legends[0].get_texts()} <= set(NAMES)
    assert re.fullmatch(
        r"SNN, 3 steps\n(100\.0 % of pixels as the ANN|(\d+) of the ANN's \2 boxes)",
        snn.get_title(),
    )


def test_a_record_is_drawn_with_early_exit_on_the_change_of_maps(root, tmp_path) -> None:
    raw = raw_of("segmentation", root)
    raw["method"] = {
        "type": "adaptive_calibration",
        "adafire": {"max_spikes": [7, 8], "budget": 8},
        "ssc": None,
        "iat": {"rule": "change", "tolerance": 1.0},
    }
    raw["conversion"] = {"T": 8}
    record = run(resolve(raw), RecordStore(tmp_path))
    assert 2 <= record.timesteps.mean < 8
    assert record.search_log["iat"]["thresholds"][0] == -1.0
    path = draw_record(record, tmp_path, samples=2)  # no two images have one size: one is drawn
    picture = Image.open(path)
    assert picture.width > 600 and picture.height < picture.width
