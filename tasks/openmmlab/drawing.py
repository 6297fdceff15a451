"""Images from files through a library's test pipeline, and its models' answers as pictures."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from adacal.core.converted import Prediction
from adacal.core.errors import DataError
from adacal.suite.task import Batch
from tasks.dense_pictures import Boxes, Panel, boxes_in_words, draw_panels, same_pixels
from tasks.openmmlab.building import Library, quiet, reason
from tasks.openmmlab.dense import predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_POSITION = -1
"""Index of an image that is in no split."""


def read_image(
    path: Path, pipeline: Sequence[Mapping[str, Any]], library: Library, preprocessor: Any
) -> Batch:
    """Returns an image file as the model takes it, a batch of one without truth.

    Args:
        path: of the image.
        pipeline: of the test dataset; what loads annotations is left out.
        library: whose transforms they are.
        preprocessor: the model's own.

    Raises:
        DataError: the file is missing, or no image that can be read.
    """
    from mmengine.config import ConfigDict
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope

    if not path.is_file():
        raise DataError(f"no image at '{path}'; check its path")
    importlib.import_module(f"{library}.datasets")
    steps = [ConfigDict(step) for step in pipeline if "Annotations" not in str(step.get("type"))]
    try:
        with DefaultScope.overwrite_default_scope(library), quiet():
            packed = Compose(steps)({"img_path": str(path), "img_id": 0})
    except Exception as error:  # decoders raise whatever a file leads to
        raise DataError(
            f"the image '{path}' cannot be read ({reason(error)}); give a JPEG or PNG file"
        ) from error
    with torch.no_grad():
        ready = preprocessor(pseudo_collate([packed]), False)
    return Batch(
        inputs=torch.stack(list(ready["inputs"])),
        targets=list(ready["data_samples"]),
        indices=torch.tensor([NO_POSITION]),
    )


def draw_answers(
    figure: Figure,
    module: Any,
    dataset: Any,
    batch: Batch,
    ann: Any,
    snn: Mapping[str, Prediction],
) -> None:
    """Draws images, a row each: with the truth where it is known, then with each answer.

    Args:
        figure: empty.
        module: the model, which chooses boxes or classes from raw maps.
        dataset: the test dataset; names classes and knows the truth.
        batch: images; their index is -1 where they are not of the dataset.
        ann: the ANN's raw maps.
        snn: what conversions gave, by name.
    """
    wanted = predictions(module, ann, batch.targets)
    found = {name: predictions(module, one.output, batch.targets) for name, one in snn.items()}
    rows = []
    for place, sample in enumerate(batch.targets):
        pixels = original(sample)
        row = [_truth(dataset, int(batch.indices[place]), sample, pixels)]
        row.append(_panel("ANN", pixels, wanted[place]))
        for name, samples in found.items():
            title = _with_steps(name, int(snn[name].timesteps[place]))
            words = _in_words(wanted[place], samples[place])
            row.append(_panel(f"{title}\n{words}", pixels, samples[place]))
        rows.append(row)
    palette = dataset.metainfo.get("palette")
    several = isinstance(palette, Sequence) and not isinstance(palette, str)
    draw_panels(figure, rows, class_names(dataset), palette if several else None)


def compare(module: Any, batch: Batch, ann: Any, snn: Any) -> str:
    """Says how far two answers agree: the ANN's boxes met, or the share of pixels as the ANN's.

    Args:
        module: the model.
        batch: images.
        ann, snn: raw maps.
    """
    wanted = predictions(module, ann, batch.targets)
    found = predictions(module, snn, batch.targets)
    return "; ".join(_in_words(*pair) for pair in zip(wanted, found, strict=True))


def _in_words(wanted: Any, found: Any) -> str:
    if "pred_instances" in wanted:
        return boxes_in_words(boxes_of(wanted), boxes_of(found))
    share = same_pixels(mask_of(wanted), mask_of(found))
    return f"{100 * share:.1f} % of pixels as the ANN"


def _with_steps(name: str, steps: int) -> str:
    """Returns the name with the steps taken, unless it ends with just these."""
    if not steps or name.endswith(f"T={steps}"):
        return name
    return f"{name}, {steps} step{'' if steps == 1 else 's'}"


def class_names(dataset: Any) -> list[str]:
    """Returns the names of the dataset's classes."""
    return [str(name) for name in dataset.metainfo.get("classes") or ()]


def boxes_of(sample: Any) -> Boxes:
    """Returns the boxes that a detector chose."""
    found = sample.pred_instances
    return Boxes(
        corners=corners(found.bboxes), classes=found.labels.cpu(), scores=found.scores.cpu()
    )


def mask_of(sample: Any) -> Tensor:
    """Returns the classes that a segmentor chose, shape [H, W]."""
    mask: Tensor = sample.pred_sem_seg.data[0].cpu()
    return mask


def corners(boxes: Any) -> Tensor:
    """Returns boxes of either kind that mmdet has as a tensor, shape [N, 4]."""
    tensor = getattr(boxes, "tensor", boxes)
    return torch.as_tensor(tensor, dtype=torch.float32).detach().cpu().reshape(-1, 4)


def original(sample: Any) -> Any:
    """Returns the image itself, before any pipeline, [H, W, 3], uint8.

    Raises:
        DataError: the file is gone.
    """
    import mmcv

    path = str(sample.metainfo.get("img_path"))
    try:
        pixels = mmcv.imread(path, channel_order="rgb")
    except OSError as error:
        raise DataError(f"the image '{path}' cannot be read again ({error}); check it") from error
    return pixels


def _panel(title: str, pixels: Any, sample: Any) -> Panel:
    if "pred_instances" in sample:
        return Panel(title=title, pixels=pixels, boxes=boxes_of(sample))
    return Panel(title=title, pixels=pixels, mask=mask_of(sample))


def _truth(dataset: Any, position: int, sample: Any, pixels: Any) -> Panel:
    """Returns the image with what is true of it, in its own pixels; alone if that is not known."""
    if position == NO_POSITION:
        return Panel(title=Path(str(sample.metainfo.get("img_path"))).name, pixels=pixels)
    if "gt_sem_seg" in sample:
        mask = sample.gt_sem_seg.data[0].cpu()
        same = tuple(mask.shape) == pixels.shape[:2]
        return Panel(title="truth" if same else "image", pixels=pixels, mask=mask if same else None)
    items = [
        one
        for one in dataset.get_data_info(position).get("instances", [])
        if not one.get("ignore_flag")
    ]
    boxes = Boxes(
        corners=corners(np.array([one["bbox"] for one in items], dtype=np.float32)),
        classes=torch.tensor([int(one["bbox_label"]) for one in items], dtype=torch.int64),
    )
    return Panel(title="truth", pixels=pixels, boxes=boxes)
