"""Tasks on small trees of the real sets, with narrow networks of random weights, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dense_trees as trees
from adacal.suite.config import CONFIG_FOLDER, RunConfig, merge, read, resolve
from adacal.suite.session import build_task
from dense_models import DETECTORS, SEGMENTORS
from tasks.checkpoints import save_checkpoint
from tasks.openmmlab.building import build_model
from tasks.openmmlab.operations import prepare

DETECTION, SEGMENTATION = ("coco", "voc"), ("voc12", "cityscapes", "ade20k", "coco_stuff")
CLASSES = {"coco": 80, "voc": 20, "voc12": 21, "cityscapes": 19, "ade20k": 150, "coco_stuff": 171}
TWICE = {"scale": None, "scale_factor": 2.0}
"""Images at twice their size: masks that were doubled come back as they were."""
_PARTS = {
    "voc": [".dataset.datasets.0", ".dataset.datasets.1"],
    "voc12": [".datasets.0", ".datasets.1"],
}
_UNPACKED = {
    name: {
        f"{key}.serialize_data": False
        for key in (
            "test_dataloader.dataset",
            *(f"train_dataloader.dataset{part}" for part in _PARTS.get(name, [""])),
        )
    }
    for name in CLASSES
}
"""Lists of samples are not packed for other processes: that takes longer than all else here."""


@dataclass(frozen=True)
class RealSet:
    """A tree, what is true of its test images, and a network with its weights.

    Attributes:
        name: of the piece in `configs/_base_/tasks`.
        root: the dataset's `data_root`.
        truth: objects or masks of the test images by name.
        model: the config's `model`, with a checkpoint.
    """

    name: str
    root: Path
    truth: Mapping[str, Any]
    model: dict[str, Any] = field(repr=False)

    def config(self, use: str = "burst", **changes: Any) -> RunConfig:
        """Returns the run that the shipped pieces make, on this tree, with this network."""
        pieces = [f"tasks/{self.name}", f"methods/{use}"]
        raw: dict[str, Any] = {}
        for piece in pieces:
            raw = merge(raw, read(CONFIG_FOLDER / "_base_" / f"{piece}.py"))
        options = {"test_dataloader.dataset.pipeline.1": TWICE, **_UNPACKED[self.name]}
        raw = merge(raw, {"task": {"dataset": {"data_root": str(self.root), "options": options}}})
        raw |= {
            "model": self.model,
            "conversion": {"T": 2},
            "calibration": {"n_samples": 2},
            "evaluation": {"batch_size": 2, "latency_repeats": 0},
        }
        return resolve(merge(raw, changes))

    def task(self, **changes: Any) -> Any:
        return build_task(self.config(**changes))


def detector(classes: int) -> tuple[str, dict[str, Any]]:
    config, options = DETECTORS["fcos"]
    return config, {**options, "model.bbox_head.num_classes": classes}


def segmentor(classes: int) -> tuple[str, dict[str, Any]]:
    config, options = SEGMENTORS["fcn"]
    heads = ("model.decode_head.num_classes", "model.auxiliary_head.num_classes")
    return config, {**options, **dict.fromkeys(heads, classes)}


def real_set(name: str, folder: Path) -> RealSet:
    """Writes a tree and a checkpoint and returns both."""
    root, truth = _tree(name, folder)
    library = "mmdet" if name in DETECTION else "mmseg"
    config, options = (detector if name in DETECTION else segmentor)(CLASSES[name])
    torch.manual_seed(0)
    module = build_model(config, library=library, options=options)  # type: ignore[arg-type]
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, module)
    model = {"type": "openmmlab", "name": "small", "config": config, "options": options}
    return RealSet(name, root, truth, {**model, "checkpoint": str(path)})


def class_names(name: str) -> tuple[str, ...]:
    prepare()
    from mmdet.datasets import CocoDataset, VOCDataset

    kind = CocoDataset if name == "coco" else VOCDataset
    return tuple(kind.METAINFO["classes"])


def _tree(name: str, folder: Path) -> tuple[Path, Mapping[str, Any]]:
    if name in DETECTION:
        write: Callable[..., trees.Things] = getattr(trees, f"{name}_tree")
        return folder, write(folder, class_names(name))
    masks: trees.Masks = getattr(trees, f"{name}_tree")(folder)
    return folder / "VOC2012" if name == "voc12" else folder, masks


def name_of(sample: Any) -> str:
    """Returns the name of a sample's image, as the trees' writers call it."""
    return Path(sample.img_path).stem.removesuffix("_leftImg8bit")


def maps_of(task: Any, answers: Mapping[str, Any], batch_size: int = 1) -> Callable[[Tensor], Any]:
    """Returns a `predict` whose raw maps make the model answer what is wanted.

    Args:
        task: a detection task with FCOS, or a segmentation task.
        answers: by image, (class, box, score) of objects, or classes of pixels.
        batch_size: as `evaluate` is called with.
    """
    batches = task.test_batches(batch_size)
    make = _boxes if task.name == "detection" else _logits

    def predict(inputs: Tensor) -> Any:
        samples = next(batches).targets
        return make(task, inputs, [answers[name_of(sample)] for sample in samples], samples)

    return predict


def _boxes(task: Any, inputs: Tensor, wanted: list[Any], samples: list[Any]) -> Any:
    """Maps of FCOS: sure scores at one place an object, distances to the four sides there."""
    head = task.module.bbox_head
    sizes = [[-(-side // stride) for side in inputs.shape[2:]] for stride in head.strides]
    scores, boxes, quality = (
        [torch.full((len(inputs), channels, *size), -20.0) for size in sizes]
        for channels in (head.num_classes, 4, 1)
    )
    stride = float(head.strides[0])
    for row, (objects, sample) in enumerate(zip(wanted, samples, strict=True)):
        across, down = sample.scale_factor
        for column, (label, box, score) in enumerate(objects):
            x1, y1, x2, y2 = box[0] * across, box[1] * down, box[2] * across, box[3] * down
            x, y = (column + 0.5) * stride, 0.5 * stride
            scores[0][row, label, 0, column] = torch.logit(torch.tensor(score))
            quality[0][row, 0, 0, column] = 20.0
            boxes[0][row, :, 0, column] = torch.tensor([x - x1, y - y1, x2 - x, y2 - y])
    return scores, boxes, quality


def _logits(task: Any, inputs: Tensor, wanted: list[Any], samples: list[Any]) -> Tensor:
    """Logits at the size of the input, doubled as the image was; void pixels get class 0."""
    classes = task.module.decode_head.num_classes
    masks = torch.stack([torch.from_numpy(mask).long() for mask in wanted])
    masks[masks == trees.VOID] = 0
    onehot = nn.functional.one_hot(masks, classes).permute(0, 3, 1, 2).float()
    return 10 * nn.functional.interpolate(onehot, size=inputs.shape[2:], mode="nearest")
