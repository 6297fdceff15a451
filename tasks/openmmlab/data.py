"""Datasets of mmdet and mmsegmentation: what configs say of them, and samples as models take them.

Images go through the dataset's own pipelines and the model's own preprocessor. Batches are made of
images of one size, so that no result depends on how images were batched.
"""

from __future__ import annotations

import importlib
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from adacal.core.errors import AdacalError, ConfigError, DataError
from adacal.suite.config import digest
from adacal.suite.registry import DATASETS
from adacal.suite.task import Batch
from tasks.openmmlab.building import Library, load_config, quiet, reason
from tasks.openmmlab.operations import prepare
from tasks.openmmlab.sources import (
    damaged_annotation,
    plain_datasets,
    require_places,
    require_whole,
)

WRAPPERS = ("RepeatDataset", "ClassBalancedDataset", "MultiImageMixDataset")
"""Datasets that hold one other; what they add is for training."""
KEYS = ("train_dataloader", "test_dataloader", "test_evaluator")
LOOKED_AT = 16
"""Of so many times the calibration images asked for, those of one size are taken."""


class DenseData(ABC):
    """Says where a library's dataset classes find their files, and makes these if need be.

    Attributes:
        name: registry name, as in records.
        library: whose dataset classes are used.
        generated: whether the files come from seeds; of others sizes count for the fingerprint.
    """

    name: str
    library: Library
    generated: ClassVar[bool] = True

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns what is laid over the model's config: data loaders and evaluator.

        Raises:
            DataError: files cannot be made.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns a short hash of name and version."""


@DATASETS.register_module(name="openmmlab")
class ConfiguredData(DenseData):
    """Any dataset that a config of mmdet or mmsegmentation describes."""

    generated = False

    def __init__(
        self,
        *,
        name: str,
        library: Library,
        config: str | None = None,
        options: Mapping[str, Any] | None = None,
        data_root: str | None = None,
    ) -> None:
        """Names the dataset; its files are read later.

        Args:
            name: as it is called in records.
            library: `mmdet` or `mmseg`.
            config: a config with data loaders and evaluator, by path or shipped name
                (`_base_/datasets/coco_detection`); None if the model's own config has them.
            options: values to change there, by dotted key.
            data_root: where the files lie, instead of where the config says.

        Raises:
            ConfigError: the config cannot be read; options or a place are given without one.
        """
        self.name, self.library = name, library
        if config is None and (options or data_root is not None):
            raise ConfigError(
                f"dataset '{name}' has no config to change; give its 'config', or put the changes "
                "into model.options"
            )
        self._config: dict[str, Any] = {}
        if config is not None:
            loaded = load_config(config, library=library, options=options, whole=False).to_dict()
            self._config = {key: loaded[key] for key in KEYS if loaded.get(key) is not None}
            if data_root is not None:
                self._config = moved(self._config, str(Path(data_root).expanduser()))

    def config(self) -> dict[str, Any]:
        """Returns the data loaders and the evaluator of the config; nothing without one."""
        return dict(self._config)

    def fingerprint(self) -> str:
        """Returns the name; the files themselves are looked at by the task."""
        return self.name


def moved(config: dict[str, Any], data_root: str) -> dict[str, Any]:
    """Returns data loaders and evaluators with every path below their data root below another.

    Raises:
        ConfigError: the test dataset says no data root.
    """
    old = next(plain_datasets(config.get("test_dataloader", {}).get("dataset", {}))).get(
        "data_root"
    )
    if not isinstance(old, str):
        raise ConfigError("the dataset's config names no 'data_root', so none can be replaced")
    old = old.rstrip("/")

    def put(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: put(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(put(part) for part in value)
        inside = isinstance(value, str) and (value == old or value.startswith(f"{old}/"))
        return data_root + value[len(old) :] if inside else value

    return dict(put(config))


def open_dataset(config: Mapping[str, Any], library: Library, what: str) -> Any:
    """Builds a dataset of the library and reads its list of samples.

    Args:
        config: of the dataset.
        library: whose class it is.
        what: `test` or `training`, for error messages.

    Raises:
        DataError: files are missing or damaged, or it is empty.
        ConfigError: the library cannot build it.
    """
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    prepare()
    importlib.import_module(f"{library}.datasets")
    registry = importlib.import_module(f"{library}.registry").DATASETS
    require_places(config, what)
    inner = next(plain_datasets(config))
    root, kind = inner.get("data_root") or "", inner.get("type")
    try:
        with DefaultScope.overwrite_default_scope(library), quiet():
            dataset = registry.build(ConfigDict(config))
            if hasattr(dataset, "full_init"):
                dataset.full_init()
    except FileNotFoundError as error:
        raise DataError(
            f"the {what} dataset '{kind}' lacks a file ({reason(error)}); put the data below "
            f"'{root}', or say where it lies with task.dataset.data_root"
        ) from error
    except AdacalError:
        raise
    except Exception as error:  # parsers of annotations raise whatever their input leads to
        if not _while_reading(error):
            raise ConfigError(
                f"{library} cannot build the {what} dataset '{kind}' ({reason(error)}); check its "
                "config"
            ) from error
        raise DataError(
            f"the annotations of the {what} dataset '{kind}', "
            f"'{Path(root, str(inner.get('ann_file') or ''))}', cannot be read "
            f"({damaged_annotation(config) or reason(error)}); fetch them again"
        ) from error
    if not len(dataset):
        raise DataError(
            f"the {what} dataset '{kind}' below '{root}' holds no images; check its annotation file"
        )
    return dataset


def _while_reading(error: Exception) -> bool:
    """Whether an error comes from reading annotations, not from a class's options."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "full_init" for frame in frames)


def without_augmentation(config: Mapping[str, Any], pipeline: Sequence[Any]) -> dict[str, Any]:
    """Returns a training dataset's config that reads its images as the test set's are read.

    What training leaves out (small images, those without objects) is there, too.
    """
    if config.get("type") in WRAPPERS:
        return without_augmentation(config["dataset"], pipeline)
    if "datasets" in config:
        parts = [without_augmentation(part, pipeline) for part in config["datasets"]]
        return {**config, "datasets": parts}
    return {**config, "pipeline": list(pipeline), "test_mode": True, "filter_cfg": None}


def read_sample(dataset: Any, position: int, preprocessor: Any) -> tuple[Tensor, Any]:
    """Returns an image as the model takes it, shape [3, H, W], and its data sample.

    Raises:
        DataError: the image is missing or damaged; the sentence names it.
    """
    from mmengine.dataset import pseudo_collate

    path = image_path(dataset, position)
    if Path(path).is_file():
        require_whole(Path(path))
    try:
        packed = dataset[position]
    except Exception as error:  # decoders raise whatever a file leads to
        raise DataError(
            f"the image '{path}' or its annotation cannot be read ({reason(error)}); fetch it again"
        ) from error
    with torch.no_grad():
        ready = preprocessor(pseudo_collate([packed]), False)
    return ready["inputs"][0], ready["data_samples"][0]


def image_path(dataset: Any, position: int) -> str:
    """Returns the path of an image."""
    return str(dataset.get_data_info(position).get("img_path", f"number {position}"))


def batches_of_one_size(
    dataset: Any, positions: Sequence[int], preprocessor: Any, batch_size: int
) -> Iterator[Batch]:
    """Yields samples in their order; a batch ends where the next image has another size."""
    held: list[tuple[int, Tensor, Any]] = []
    for position in positions:
        image, sample = read_sample(dataset, position, preprocessor)
        if held and (len(held) == batch_size or held[0][1].shape != image.shape):
            yield stacked(held)
            held = []
        held.append((position, image, sample))
    if held:
        yield stacked(held)


def draw_of_one_size(
    dataset: Any, count: int, preprocessor: Any, generator: torch.Generator
) -> list[tuple[int, Tensor, Any]]:
    """Draws samples whose images have one size.

    The size is the first of which `count` were found in a random order; where there are not so
    many, all images drawn are padded with zeros at the right and below.

    Args:
        dataset: to draw from.
        count: how many, at most as many as there are.
        preprocessor: the model's own.
        generator: source of randomness.

    Returns:
        Position, image [3, H, W] and data sample of each.
    """
    order = torch.randperm(len(dataset), generator=generator).tolist()
    by_size: dict[tuple[int, ...], list[tuple[int, Tensor, Any]]] = {}
    drawn: list[tuple[int, Tensor, Any]] = []
    for position in order[: LOOKED_AT * count]:
        one = (position, *read_sample(dataset, position, preprocessor))
        same = by_size.setdefault(tuple(one[1].shape), [])
        same.append(one)
        if len(same) == count:
            return same
        if len(drawn) < count:
            drawn.append(one)
    height = max(image.shape[1] for _, image, _ in drawn)
    width = max(image.shape[2] for _, image, _ in drawn)
    return [
        (position, F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])), sample)
        for position, image, sample in drawn
    ]


def stacked(samples: Sequence[tuple[int, Tensor, Any]]) -> Batch:
    """Returns samples of one size as a batch."""
    positions, images, targets = zip(*samples, strict=True)
    return Batch(inputs=torch.stack(images), targets=list(targets), indices=torch.tensor(positions))


def content_digest(dataset: Any, *, sizes: bool, limit: int | None = None) -> str:
    """Returns a hash over names and annotations of the images, in order.

    Args:
        dataset: as `open_dataset` gives it.
        sizes: whether sizes of image and mask files count.
        limit: looks at the first so many only.
    """
    found = []
    for position in range(len(dataset) if limit is None else min(limit, len(dataset))):
        info = dataset.get_data_info(position)
        files = [Path(str(info[key])) for key in ("img_path", "seg_map_path") if info.get(key)]
        boxes = [
            [int(item["bbox_label"]), *(round(float(side), 3) for side in item["bbox"])]
            for item in info.get("instances", [])
        ]
        bytes_ = [path.stat().st_size if path.is_file() else -1 for path in files] if sizes else []
        found.append([[path.name for path in files], boxes, bytes_])
    return digest(found)
