"""What detection and segmentation share: a model, data and evaluator of mmdet or mmsegmentation."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError, DataError, unknown_name
from adacal.suite.config import digest
from adacal.suite.registry import DATASETS, build, import_all
from adacal.suite.session import to_cpu
from adacal.suite.task import Batch, Evaluation, Predict, Redraw, Task
from tasks.checkpoints import file_sha256, require_trainable, resolve_checkpoint
from tasks.openmmlab.building import Library, build_model, load_config, offline
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
from tasks.openmmlab.divergence import DenseDivergence, map_form
from tasks.openmmlab.drawing import compare, draw_answers, read_image
from tasks.openmmlab.judging import (
    build_evaluator,
    jsonable,
    named_scores,
    portable,
    require_finite,
    unrounded,
)
from tasks.openmmlab.sources import plain_datasets, require_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mmengine.config import Config

CALIBRATION_BATCH = 32
MODEL_KEYS = ("type", "name", "config", "options", "checkpoint", "backbone_only")


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
        """The library's test dataset, opened; its images and masks are there."""
        config = self._plain("test_dataloader")["dataset"]
        dataset = open_dataset(config, self.library, "test")
        count = min(len(dataset), self.max_test_samples or len(dataset))
        require_files(dataset, count, str(next(plain_datasets(config)).get("type")))
        return dataset

    @cached_property
    def training_dataset(self) -> Any:
        """The library's training dataset, opened; its images go through the test pipeline."""
        training = self._plain("train_dataloader")["dataset"]
        without = without_augmentation(training, self._test_pipeline())
        return open_dataset(without, self.library, "training")

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

    def _test_pipeline(self) -> list[Any]:
        test = self._plain("test_dataloader")["dataset"]
        if "pipeline" not in test:
            raise ConfigError(
                f"the test dataset of '{self.dataset_name}' has no 'pipeline' of its own; give "
                "test_dataloader.dataset.pipeline"
            )
        return list(test["pipeline"])

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

    def read_image(self, path: Path) -> Batch:
        """Returns an image file as the model takes it, through the dataset's test pipeline."""
        return read_image(path, self._test_pipeline(), self.library, self.preprocessor)

    def draw_answers(
        self, figure: Figure, batch: Batch, ann: Any, snn: Mapping[str, Prediction]
    ) -> None:
        """Draws images with the truth, where it is known, and the boxes or masks of each answer."""
        draw_answers(figure, self.module, self.test_dataset, batch, ann, snn)

    def compare(self, batch: Batch, ann: Any, snn: Prediction) -> str:
        """Says how many boxes, or which share of pixels, a conversion has as the ANN."""
        return compare(self.module, batch, ann, snn.output)

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
            require_finite(raw, self.model_name)
            answers = predictions(self.module, raw, batch.targets)
            silent = silent and not any(len(a.get("pred_instances", [0])) for a in answers)
            evaluator.process(answers)
            if progress is not None:
                progress(int(batch.indices[-1]) + 1, total)
        kept = [list(metric.results) for metric in evaluator.metrics]  # judging forgets them
        # COCO's evaluator gives no scores where no box was found
        known = {self.metric.name: 0.0} if silent else {}
        metrics = known | named_scores(evaluator, total, self.score_names)
        if not metrics.get(self.metric.name, -1.0) >= 0:
            raise DataError(
                f"the evaluator of '{self.dataset_name}' gives no {self.metric.name} (it gives "
                f"{sorted(metrics) or 'nothing'}); check test_evaluator and the annotations"
            )
        redraw = self.redraw(evaluator, kept)
        metrics, redraw = unrounded(metrics, self.metric.name, redraw, total)
        return Evaluation(metrics=metrics, redraw=redraw)

    def data_fingerprint(self) -> str:
        """Returns a hash of data, pipeline, evaluator and of what the model does with images."""
        test, training = self.test_dataset, self.training_dataset
        sizes, count = not self.dataset.generated, self.n_test()
        parts = [
            self.dataset.fingerprint(),
            content_digest(test, sizes=sizes, limit=count),
            content_digest(training, sizes=False),
            self._plain("test_dataloader")["dataset"].get("pipeline"),
            portable(self.config.to_dict()["test_evaluator"]),
            offline(self.config.model.to_dict()),
        ]
        cut = "" if self.max_test_samples is None else f":first{count}"
        return f"{self.dataset.fingerprint()}:{digest(jsonable(parts))}{cut}"

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

        require_trainable(self.checkpoint, overwrite)
        return train_model(self, log, seed=seed, device=device)

    def _evaluator(self) -> Any:
        evaluator = build_evaluator(
            self.config.to_dict()["test_evaluator"], self.library, self.test_dataset
        )
        self.prepare_evaluator(evaluator)
        return evaluator

    def redraw(self, evaluator: Any, results: list[list[Any]]) -> Redraw | None:
        """Returns what gives the main metric on redrawn test images; None by default.

        Args:
            evaluator: has judged.
            results: what each of its metrics kept, one entry an image in order.
        """
        return None

    def prepare_evaluator(self, evaluator: Any) -> None:
        """Tells the evaluator of what is special here; nothing by default."""
