"""Builds the models of mmdet and mmsegmentation from their plain configs; downloads nothing."""

from __future__ import annotations

import contextlib
import copy
import difflib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from torch import nn

from adacal.core.checks import check_choice
from adacal.core.errors import ConfigError
from adacal.suite.config import CONFIG_FOLDER
from tasks.checkpoints import load_checkpoint
from tasks.openmmlab.dense import refuse_other_kinds
from tasks.openmmlab.operations import prepare

if TYPE_CHECKING:
    from mmengine.config import Config

Library = Literal["mmdet", "mmseg"]
Source: TypeAlias = "str | Path | Mapping[str, Any] | Config"
OWN_CONFIGS = CONFIG_FOLDER / "_base_" / "openmmlab"
_PAIRS = ("scale", "img_scale", "crop_size")
"""Keys of transforms that take a tuple and no list."""
_LONGEST = 200
"""Characters of another library's message that go into a sentence."""


def build_model(
    source: Source,
    checkpoint: str | Path | None = None,
    *,
    library: Library,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Builds the model of a config, in eval mode.

    Args:
        source: what `load_config` takes.
        checkpoint: weights of the whole model, read as tensors only; see
            `tasks.checkpoints.load_checkpoint`. None leaves those of the model's own
            initialisation; pretrained backbones that a config names are not loaded.
        library: whose model it is.
        options: what to change of the config, `{"model.bbox_head.num_classes": 3}` say.

    Returns:
        The model, of a kind that `tasks.openmmlab.dense` can run. Batch norms that are synchronised
        between processes are plain ones, which compute the same here.

    Raises:
        ConfigError: the config is not there, cannot be executed, or names what cannot be built.
        DataError: the checkpoint is missing, damaged, of another model or of other classes.
        UnsupportedModelError: a kind of model whose output cannot come from spikes.
    """
    config = load_config(source, library=library, options=options)
    module = _constructed(config, library)
    refuse_other_kinds(module)
    if checkpoint is None:
        with quiet():
            module.init_weights()
    else:
        load_checkpoint(Path(checkpoint).expanduser(), module)
    module.eval()
    return module


def load_config(
    source: Source,
    *,
    library: Library,
    options: Mapping[str, Any] | None = None,
    whole: bool = True,
) -> Config:
    """Reads a config of mmdet or mmsegmentation and changes what `options` say.

    Configs are python files that are executed: read only those you trust, as with any code.

    Args:
        source: a file, the name of a config that the library ships
            (`retinanet/retinanet_r18_fpn_1x_coco`) or of one below `configs/_base_/openmmlab`
            (`digit_atss`), or the config itself.
        library: whose config it is.
        options: values by dotted key.
        whole: whether it must have a model.

    Raises:
        ConfigError: there is no such config, it cannot be executed, has no `model` or is of the
            other library, or an option does not fit.
    """
    from mmengine.config import Config

    check_choice("library", library, get_args(Library))
    prepare()
    if isinstance(source, Config | Mapping):
        origin = "the config given"
        config = copy.deepcopy(source) if isinstance(source, Config) else Config(dict(source))
    else:
        path = find_config(source, library=library)
        origin = f"the config '{path}'"
        try:
            config = Config.fromfile(path)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"{origin} cannot be executed ({reason(error)}); mend the file, or install what "
                "it imports"
            ) from error
    if options:
        try:
            # a copy, because merging takes `_delete_` out of what it is given
            config.merge_from_dict({key: _with_pairs(options[key], key) for key in options})
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"the options {sorted(options)} do not fit {origin} ({reason(error)}); look at "
                "the keys there"
            ) from error
    scope = config.get("default_scope", library)
    if scope != library:
        raise ConfigError(f"{origin} is of {scope}, not of {library}; give it to the other task")
    if not whole:
        return config
    if not isinstance(config.get("model"), dict) or "type" not in config.model:
        raise ConfigError(f"{origin} has no 'model' dict with a 'type'; give a whole config")
    return config


def find_config(source: str | Path, *, library: Library) -> Path:
    """Returns the file of a config given by path or by its name in the installed library.

    >>> find_config("retinanet/retinanet_r18_fpn_1x_coco", library="mmdet").name
    'retinanet_r18_fpn_1x_coco.py'

    Raises:
        ConfigError: there is none.
    """
    name = str(source)
    folder = shipped_configs(library)
    places = (Path(name).expanduser(), *(place / name for place in (OWN_CONFIGS, folder)))
    for place in places:
        for candidate in (place, place.parent / f"{place.name}.py"):
            if candidate.is_file():
                return candidate
    (other,) = set(get_args(Library)) - {library}
    theirs = shipped_configs(other) / name
    if any(path.is_file() for path in (theirs, theirs.parent / f"{theirs.name}.py")):
        raise ConfigError(f"the config '{name}' is of {other}, not of {library}; use its task")
    known = {path.stem: path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    known |= {path.stem: path.name for path in OWN_CONFIGS.glob("*.py")}
    near = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"did you mean '{known[near[0]]}'?" if near else f"look into '{folder}'"
    raise ConfigError(f"no config '{name}', neither as a file nor in {library}; {hint}")


def shipped_configs(library: Library) -> Path:
    """Returns the folder with the configs that the installed library ships.

    Raises:
        ConfigError: it is not installed with its configs.
    """
    found = importlib.util.find_spec(library)
    places = (found.submodule_search_locations or []) if found is not None else []
    for place in places:
        folder = Path(place) / ".mim" / "configs"
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"{library} is not installed with its configs; run `pip install` on this project again"
    )


def offline(model: Any) -> Any:
    """Returns a model's config without pretrained weights and synchronised batch norms.

    A list of initialisations loses the pretrained ones.

    >>> offline({"init_cfg": {"type": "Pretrained", "checkpoint": "x://y"}, "pretrained": "x://y"})
    {'init_cfg': None, 'pretrained': None}
    """
    if isinstance(model, Mapping):
        kept = {key: offline(value) for key, value in model.items()}
        kind = kept.get("type")
        if kind == "Pretrained":
            return None
        if "pretrained" in kept:
            kept["pretrained"] = None
        if kind in {"SyncBN", "MMSyncBN"}:
            kept["type"] = "BN"
        return kept
    if isinstance(model, list | tuple):
        pairs = [(part, offline(part)) for part in model]
        return type(model)(new for old, new in pairs if new is not None or old is None)
    return model


def _with_pairs(value: Any, key: str) -> Any:
    """Returns a copy of an option; sizes that were tuples before JSON had them are so again.

    >>> _with_pairs([{"type": "Resize", "scale": [64, 32]}, {"type": "Pad"}], "pipeline")
    [{'type': 'Resize', 'scale': (64, 32)}, {'type': 'Pad'}]
    """
    if isinstance(value, Mapping):
        return {name: _with_pairs(part, str(name)) for name, part in value.items()}
    if isinstance(value, list | tuple):
        numbers = all(isinstance(part, int | float) for part in value)
        if numbers and key.rpartition(".")[2] in _PAIRS:
            return tuple(value)
        return type(value)(_with_pairs(part, "") for part in value)
    return copy.deepcopy(value)


def _constructed(config: Config, library: Library) -> Any:
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    prepare()
    importlib.import_module(f"{library}.models")
    _mend(library)
    registry = importlib.import_module(f"{library}.registry").MODELS
    model = offline(config.model.to_dict())
    for key, value in _strings(model):
        if "://" in value or key.endswith("language_model.name"):
            raise ConfigError(
                f"building this model would download 'model.{key}' ({value}); set it to None, or "
                "choose a model without it"
            )
    try:
        with DefaultScope.overwrite_default_scope(library), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about options of shipped configs that changed
            module = registry.build(ConfigDict(model))
    except Exception as error:  # whatever a constructor finds wrong with its options
        raise ConfigError(
            f"{library} cannot build the model '{model['type']}' ({reason(error)}); check the "
            "config and the options"
        ) from error
    return module


def _mend(library: Library) -> None:
    """Version 3.3 of mmdet asks every head for a loss when it predicts; SSDHead has none."""
    if library == "mmdet":
        head = importlib.import_module("mmdet.models.dense_heads").SSDHead
        if not hasattr(head, "loss_cls"):
            head.loss_cls = None


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps mmengine and pycocotools from printing what they do."""
    from mmengine.logging import MMLogger

    loggers = {MMLogger.get_current_instance()}
    if MMLogger.check_instance_created("mmengine"):
        loggers.add(MMLogger.get_instance("mmengine"))
    levels = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel("CRITICAL")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _strings(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _strings(part, f"{key}.{number}")


def reason(error: BaseException) -> str:
    """Returns another library's error on one line, cut where it is long."""
    text = " ".join(str(error).split()) or "no message"
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"{type(error).__name__}: {short}"
