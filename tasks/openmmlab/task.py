"""What detection and segmentation share: a model, data and evaluator of mmdet or mmsegmentation."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from adacal.core.errors import ConfigError, DataError, unknown_name
from adacal.suite.config import digest
from adacal.suite.registry import DATASETS, build, import_all
from adacal.suite.session import to_cpu
from adacal.suite.task import Batch, Evaluation, Predict, Task
from tasks.checkpoints import file_sha256, require_writable, resolve_checkpoint
from tasks.openmmlab.building import Library, build_model, load_config, offline, quiet
from tasks.openmmlab.data import (
    ConfiguredData,
    DenseData,
    batches_of_one_size,
    content_digest,
    draw_of_one_size,
    open_dataset,
    read_sample,
    stacked,
    without_augmentation,
)
from tasks.openmmlab.dense import predictions, raw_maps, raw_maps_of_spiking_backbone
from tasks.openmmlab.divergence import DenseDivergence, all_maps, map_form

if TYPE_CHECKING:
    from mmengine.config import Config

CALIBRATION_BATCH = 32
MODEL_KEYS = ("type", "name", "config", "options", "checkpoint", "backbone_only")
_LOCAL = ("ann_file", "outfile_prefix", "backend_args", "data_root")
"""Keys of an evaluator that say where files lie on this machine."""


class DenseTask(Task):
    """One dataset with one model, both as a library's config describes them.

    Attributes:
        library: whose models, datasets and evaluators are used.
        score_names: the evaluator's names of scores, ours, and by what they are multiplied.
        example: a dataset to name where another is refused.
    """

    library: ClassVar[Library]
    score_names: ClassVar[Mapping[str, tuple[str, float]]]
    example: ClassVar[str]

    def __init__(
        self,
        *,
        model: Mapping[str, Any],
        dataset: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None,
        max_test_samples: int | None = None,
    ) -> None:
        """Names the parts; configs are read at once, data and weights when they are needed.

        Args:
            model: `type="openmmlab"`; `config`, what `tasks.openmmlab.building.load_config` takes;
                `options`, values to change there; `name` (of the config's file by default);
                `checkpoint` (see `tasks.checkpoints.resolve_checkpoint`); `backbone_only`, whether
                neck and head stay analogue, as in most of the literature.
            dataset: `type` and options of a dataset; by default the one of the model's config.
            schedule: what is laid over the config for training: `train_cfg`, `optim_wrapper`,
                `param_scheduler` and so on.
            max_test_samples: uses the first so many test images only.

        Raises:
            ConfigError: an unknown name or option, a config that cannot be read, or a dataset for
                the other library.
        """
        import_all("tasks.data")
        options = dict(model)
        for key in options:
            if key not in MODEL_KEYS:
                raise ConfigError(unknown_name("option of a model", key, MODEL_KEYS))
        if options.get("type") != "openmmlab" or not options.get("config"):
            raise ConfigError(
                f"the task '{self.name}' takes model=dict(type='openmmlab', config=…), a config of "
                f"{self.library}; got {dict(model)!r}"
            )
        self.backbone_only = bool(options.get("backbone_only", False))
        plain_name = str(options.get("name") or Path(str(options["config"])).stem)
        self.model_name = plain_name + ("_backbone_only" if self.backbone_only else "")
        self._config: Config = load_config(
            options["config"], library=self.library, options=options.get("options")
        )
        self.dataset = self._named_dataset(dataset, plain_name)
        self.dataset_name = self.dataset.name
        self.schedule = schedule
        if max_test_samples is not None and max_test_samples < 1:
            raise ConfigError(f"max_test_samples must be 1 or more; got {max_test_samples}")
        self.max_test_samples = max_test_samples
        self.checkpoint: Path = resolve_checkpoint(
            options.get("checkpoint"), self.dataset_name, plain_name
        )
        self._module: nn.Module | None = None

    # what the libraries say -------------------------------------------------------------------

    @cached_property
    def config(self) -> Config:
        """The library's whole config: the model's, with the dataset's laid over it.

        Raises:
            ConfigError: it lacks a data loader or the evaluator.
            DataError: the dataset's files cannot be made.
        """
        config = copy.deepcopy(self._config)
        for key, value in self.dataset.config().items():
            config[key] = value
        for key in ("train_dataloader", "test_dataloader", "test_evaluator"):
            if not config.get(key):
                raise ConfigError(
                    f"the config of '{self.model_name}' has no '{key}'; give a whole config of "
                    f"{self.library}, or name the data with task.dataset"
                )
        return config

    @cached_property
    def test_dataset(self) -> Any:
        """The library's test dataset, opened."""
        return open_dataset(self._plain("test_dataloader")["dataset"], self.library, "test")

    @cached_property
    def training_dataset(self) -> Any:
        """The library's training dataset, opened; its images go through the test pipeline."""
        test = self._plain("test_dataloader")["dataset"]
        if "pipeline" not in test:
            raise ConfigError(
                f"the test dataset of '{self.dataset_name}' has no 'pipeline' of its own; give "
                "test_dataloader.dataset.pipeline"
            )
        training = without_augmentation(
            self._plain("train_dataloader")["dataset"], test["pipeline"]
        )
        return open_dataset(training, self.library, "training")

    @cached_property
    def preprocessor(self) -> Any:
        """The model's own: normalises images and pads them."""
        from mmengine.config import ConfigDict
        from mmengine.registry import DefaultScope

        importlib.import_module(f"{self.library}.models")
        registry = importlib.import_module(f"{self.library}.registry").MODELS
        config = self.config.model.get("data_preprocessor") or self.config.get("data_preprocessor")
        if not config:
            raise ConfigError(
                f"the model '{self.model_name}' has no 'data_preprocessor' in its config; add one"
            )
        with DefaultScope.overwrite_default_scope(self.library):
            return registry.build(ConfigDict(config))

    def _plain(self, key: str) -> dict[str, Any]:
        return dict(self.config.to_dict()[key])

    def _named_dataset(self, dataset: Mapping[str, Any] | None, plain_name: str) -> DenseData:
        if dataset is None:
            return ConfiguredData(name=f"{plain_name}_data", library=self.library)
        built = build(DATASETS, "dataset", dict(dataset))
        if not isinstance(built, DenseData) or built.library != self.library:
            raise ConfigError(
                f"dataset '{dataset.get('type')}' is none of {self.library}, which the task "
                f"'{self.name}' takes; name another, {self.example} say"
            )
        return built

    # the contract -----------------------------------------------------------------------------

    def build_ann(self) -> nn.Module:
        """Returns the trained model in eval mode, from its checkpoint."""
        self._module = self.checked(build_model(self.config, self.checkpoint, library=self.library))
        return self._module

    def checked(self, module: nn.Module) -> nn.Module:
        """Returns the model if it tells as many classes as the dataset has.

        Raises:
            ConfigError: it does not.
        """
        classes = self.test_dataset.metainfo.get("classes") or ()
        head: Any = getattr(module, "bbox_head", None) or getattr(module, "decode_head", None)
        count = getattr(head, "num_classes", len(classes))
        if count != len(classes):
            raise ConfigError(
                f"the head of '{self.model_name}' tells {count} classes and the dataset "
                f"'{self.dataset_name}' has {len(classes)}; set num_classes in model.options, or "
                "give metainfo=dict(classes=…) to the dataset"
            )
        return module

    def checkpoint_sha256(self) -> str:
        """Returns the sha256 of the checkpoint, or an empty string if there is none."""
        return file_sha256(self.checkpoint) if self.checkpoint.is_file() else ""

    def example_input(self) -> Tensor:
        """Returns the first test image twice, shape [2, 3, H, W]."""
        image, _ = read_sample(self.test_dataset, 0, self.preprocessor)
        return torch.stack([image, image])

    def calibration_batches(self, n_samples: int, seed: int) -> list[Batch]:
        """Draws training images of one size, without augmentation; the same for the same seed.

        Args:
            n_samples: images in all.
            seed: of the drawing.

        Raises:
            ConfigError: no images are asked for, or more than there are.
        """
        available = len(self.training_dataset)
        if not 1 <= n_samples <= available:
            raise ConfigError(
                f"calibration takes 1 to {available} images of '{self.dataset_name}'; got "
                f"{n_samples}; try {min(64, available)}"
            )
        generator = torch.Generator().manual_seed(seed)
        drawn = draw_of_one_size(self.training_dataset, n_samples, self.preprocessor, generator)
        parts = range(0, n_samples, CALIBRATION_BATCH)
        return [stacked(drawn[first : first + CALIBRATION_BATCH]) for first in parts]

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the test images in their order; images of a batch have one size."""
        if batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more; got {batch_size}; try 16")
        return batches_of_one_size(
            self.test_dataset, range(self.n_test()), self.preprocessor, batch_size
        )

    def n_test(self) -> int:
        """Returns how many test images are used."""
        return min(len(self.test_dataset), self.max_test_samples or 2**62)

    def spiking_forward(self, module: nn.Module, inputs: Tensor) -> Any:
        """Returns the raw maps of the module."""
        run = raw_maps_of_spiking_backbone if self.backbone_only else raw_maps
        return run(module, inputs)

    @cached_property
    def divergence(self) -> DenseDivergence:  # type: ignore[override]
        """How far two models' raw maps are apart; has the embedding that probes need."""
        return DenseDivergence(map_form(self.module))

    def use(self, module: nn.Module) -> None:
        """Takes a model that was built elsewhere (by training) for the task's own."""
        self._module = module

    @property
    def module(self) -> nn.Module:
        """The model, which chooses boxes or classes from raw maps; built if need be."""
        return self._module if self._module is not None else self.build_ann()

    def evaluate(
        self,
        predict: Predict,
        batch_size: int = 16,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Lets the model choose from raw maps and the library's evaluator judge.

        Raises:
            DataError: raw maps are not finite, or the evaluator fails.
        """
        evaluator, total, silent = self._evaluator(), self.n_test(), True
        for batch in self.test_batches(batch_size):
            raw = to_cpu(predict(batch.inputs))
            self._require_finite(raw)
            answers = predictions(self.module, raw, batch.targets)
            silent = silent and not any(len(a.get("pred_instances", [0])) for a in answers)
            evaluator.process(answers)
            if progress is not None:
                progress(int(batch.indices[-1]) + 1, total)
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = evaluator.evaluate(total)
        return Evaluation(metrics=self._named(scores, silent))

    def _named(self, scores: Mapping[str, Any], silent: bool) -> dict[str, float]:
        """Gives an evaluator's scores our names; COCO's gives none where no box was found."""
        metrics = {} if not silent else dict.fromkeys([self.metric.name], 0.0)
        for theirs, (ours, factor) in self.score_names.items():
            if theirs in scores:
                metrics[ours] = factor * float(scores[theirs])
        if not metrics.get(self.metric.name, -1.0) >= 0:
            raise DataError(
                f"the evaluator of '{self.dataset_name}' gives no {self.metric.name} (it gives "
                f"{sorted(scores) or 'nothing'}); check test_evaluator and the annotations"
            )
        return metrics

    def data_fingerprint(self) -> str:
        """Returns a hash of data, pipeline, evaluator and of what the model does with images."""
        test, training = self.test_dataset, self.training_dataset
        sizes, count = not self.dataset.generated, self.n_test()
        parts = [
            self.dataset.fingerprint(),
            content_digest(test, sizes=sizes, limit=count),
            content_digest(training, sizes=False),
            self._plain("test_dataloader")["dataset"].get("pipeline"),
            _portable(self.config.to_dict()["test_evaluator"]),
            offline(self.config.model.to_dict()),
        ]
        cut = "" if self.max_test_samples is None else f":first{count}"
        return f"{self.dataset.fingerprint()}:{digest(_jsonable(parts))}{cut}"

    def train(
        self,
        log: Callable[[dict[str, float]], None],
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Trains the model by mmengine's Runner and writes its checkpoint and training log.

        Raises:
            ConfigError: the config has no training, the checkpoint is not a safetensors path, or
                it is there and `overwrite` is not set.
            DataError: the checkpoint cannot be written, or training diverged.
        """
        from tasks.openmmlab.training import train_model

        if self.checkpoint.suffix != ".safetensors":
            raise ConfigError(
                f"training writes safetensors; got checkpoint '{self.checkpoint}'; change its name"
            )
        if self.checkpoint.is_file() and not overwrite:
            raise ConfigError(
                f"'{self.checkpoint}' holds a trained network already; pass --overwrite to replace "
                "it, or write elsewhere with --cfg-options model.checkpoint=PATH.safetensors"
            )
        require_writable(self.checkpoint)
        return train_model(self, log, seed=seed, device=device)

    def _evaluator(self) -> Any:
        from mmengine.registry import DefaultScope

        importlib.import_module(f"{self.library}.evaluation")
        wanted = self.config.to_dict()["test_evaluator"]
        evaluator_class = importlib.import_module("mmengine.evaluator").Evaluator
        try:
            with DefaultScope.overwrite_default_scope(self.library), quiet():
                evaluator = evaluator_class(wanted)
        except FileNotFoundError as error:
            raise DataError(
                f"the evaluator of '{self.dataset_name}' lacks a file ({error}); check "
                "test_evaluator.ann_file"
            ) from error
        evaluator.dataset_meta = self.test_dataset.metainfo
        self.prepare_evaluator(evaluator)
        return evaluator

    def prepare_evaluator(self, evaluator: Any) -> None:
        """Tells the evaluator of what is special here; nothing by default."""

    def _require_finite(self, raw: Any) -> None:
        if not all(bool(torch.isfinite(tensor).all()) for tensor in all_maps(raw)):
            raise DataError(
                f"the raw maps of '{self.model_name}' hold NaN or infinite values; check the "
                "thresholds and the checkpoint"
            )


def _portable(evaluator: Any) -> Any:
    """Returns an evaluator's config without what says where files lie."""
    if isinstance(evaluator, Mapping):
        return {key: _portable(value) for key, value in evaluator.items() if key not in _LOCAL}
    if isinstance(evaluator, list | tuple):
        return [_portable(value) for value in evaluator]
    return evaluator


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
