"""A run, said in full: loads mmengine configs, applies overrides, checks every name and number.

Configs are python files that mmengine executes: run only configs you trust, as with any code.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from adacal.core.errors import ConfigError, unknown_name
from adacal.suite.labels import method_label, plain_value
from adacal.suite.options import check_types, complaint, tuples
from adacal.suite.places import CONFIG_FOLDER

if TYPE_CHECKING:
    from adacal.methods.base import Method


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConversionConfig(_Part):
    """How long the network runs; whatever else a config's `conversion` holds goes to the method."""

    T: StrictInt = Field(gt=0)


class CalibrationConfig(_Part):
    """How many training samples the conversion may look at."""

    n_samples: StrictInt = Field(default=128, gt=0)


class EvaluationConfig(_Part):
    """How the test set is run.

    Attributes:
        batch_size: test samples a call.
        latency_repeats: timed calls of ANN and SNN each; 0 leaves the latency out.
    """

    batch_size: StrictInt = Field(default=100, gt=0)
    latency_repeats: StrictInt = Field(default=3, ge=0)


class RunConfig(_Part):
    """One run. `plain()` of it goes into the record and builds the same run again."""

    task: dict[str, Any]
    model: dict[str, Any]
    method: dict[str, Any]
    conversion: ConversionConfig
    calibration: CalibrationConfig = CalibrationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    schedule: dict[str, Any] | None = None
    seed: StrictInt = Field(default=0, ge=0, lt=2**63)
    custom_imports: dict[str, Any] | None = None

    @property
    def method_name(self) -> str:
        """Registry name of the method."""
        return str(self.method["type"])

    @property
    def uses_T(self) -> bool:
        """Whether the number of steps means anything to the method."""
        return bool(getattr(self.build_method(), "uses_T", True))

    def plain(self) -> dict[str, Any]:
        """Returns the run as a JSON-able dict that `resolve` accepts."""
        return self.model_dump(mode="json", exclude_none=True)

    def build_method(self) -> Method:
        """Builds the method with its options.

        Raises:
            ConfigError: an unknown method or option, or a value out of range.
        """
        options = {key: value for key, value in self.method.items() if key != "type"}
        return make_method(self.method_name, options)

    def method_options(self) -> dict[str, Any]:
        """Returns every option of the method, defaults included, JSON-able.

        Options that were added later and have their default are left out (`later`).
        """
        return dict(plain_value(self.build_method().options(), "method"))

    def label(self) -> str:
        """Returns the method's name with the options that set this run apart."""
        return method_label(self.method_name, self.method_options())


def load(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Loads a run config by path or shipped name and checks it.

    Args:
        source: a path, or a name below `configs/` such as `classification2d/mnist5k_lenet_light`.
        overrides: `key.key=value` strings; values are python literals or else strings.

    Raises:
        ConfigError: the file, a key, a name or a value is wrong.
    """
    path = find(source)
    return resolve(read(path, overrides), origin=str(source))


def find(source: str | Path) -> Path:
    """Returns the file of a config given by path or by its name below `configs/`."""
    name = str(source)
    for candidate in (Path(name), Path("configs") / name, CONFIG_FOLDER / name):
        for path in (candidate, candidate.parent / f"{candidate.name}.py"):
            if path.is_file():
                return path
    raise ConfigError(unknown_name("config", name.removesuffix(".py"), shipped()))


def shipped() -> list[str]:
    """Returns the names of the shipped run configs, without `_base_` pieces."""
    files = CONFIG_FOLDER.rglob("*.py")
    names = (path.relative_to(CONFIG_FOLDER).with_suffix("").as_posix() for path in files)
    return sorted(name for name in names if not name.startswith("_base_/"))


def read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Executes a config file with its `_base_` files and returns plain values, unchecked."""
    from mmengine.config import Config

    try:
        # Imports are left to `resolve`, which says what is missing.
        config = Config.fromfile(path, import_custom_modules=False)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the config {path} cannot be executed ({type(error).__name__}: {_reason(error)}); "
            "mend the file"
        ) from error
    if overrides:
        _fold_schedule(config)
        try:
            config.merge_from_dict(parse_overrides(overrides))
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"--cfg-options {' '.join(overrides)} do not fit {path} ({_reason(error)}); look "
                "at the keys there"
            ) from error
    values = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
    return {key: plain_value(value, key) for key, value in values.items()}


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _fold_schedule(config: Any) -> None:
    """Lays `model.schedule` over `schedule`, so that what the command line says comes last."""
    model, schedule = config.get("model"), config.get("schedule")
    if isinstance(model, dict) and isinstance(schedule, dict):
        own = model.pop("schedule", None)
        if isinstance(own, dict):
            schedule.update(own)
        elif own is not None:
            model["schedule"] = own


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Parses `key.key=value` strings.

    >>> parse_overrides(["conversion.T=4", "model.name=lenet"])
    {'conversion.T': 4, 'model.name': 'lenet'}
    """
    parsed: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ConfigError(
                f"--cfg-options takes key=value, got '{text}'; write for example conversion.T=4"
            )
        try:
            parsed[key.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[key.strip()] = value
    return parsed


def resolve(raw: Mapping[str, Any], origin: str = "config") -> RunConfig:
    """Checks a raw config and brings it into its one canonical form.

    Options given under `conversion` override the method's. Where a method says that it does not
    depend on T, T is set to 1; where it says that calibration changes nothing, the seed is set to 0
    and the calibration samples to 1: such a run has one identity.

    Args:
        raw: plain values, as `read` returns.
        origin: what error messages call the config.

    Raises:
        ConfigError: one sentence about the first thing that is wrong.
    """
    values = copy.deepcopy(dict(raw))
    unknown = [key for key in values if key not in _KEYS]
    if unknown:
        raise ConfigError(f"{origin}: {unknown_name('config key', unknown[0], _KEYS)}")
    for key in ("task", "model", "method"):
        _require_type(values, key, origin)
    if values.get("custom_imports"):
        _import_custom(values["custom_imports"], origin)
    conversion = values.get("conversion")
    if not isinstance(conversion, dict):
        raise ConfigError(f"{origin}: 'conversion' must be a dict such as dict(T=8)")
    steps = {key: conversion.pop(key) for key in ("T",) if key in conversion}
    values["method"] = merge(values["method"], conversion)
    values["conversion"] = steps
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_sentence(error)}") from error
    method = config.build_method()
    changes: dict[str, Any] = {}
    if not getattr(method, "uses_T", True):
        changes["conversion"] = ConversionConfig(T=1)
    if getattr(method, "deterministic", False):
        changes |= {"seed": 0, "calibration": CalibrationConfig(n_samples=1)}
    return config.model_copy(update=changes)


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """Builds a method by its registry name, naming the near option where one is misspelt."""
    from adacal.methods.base import METHODS, load_methods

    load_methods()
    kind = METHODS.module_dict.get(name)  # `get` takes importable modules for parts, too
    if kind is None:
        raise ConfigError(unknown_name("method", name, METHODS.module_dict))
    fields = [field.name for field in dataclasses.fields(kind) if field.init]
    for option in options:
        if option not in fields:
            raise ConfigError(unknown_name(f"option of method '{name}'", option, fields))
    whole = {key: _over_default(kind, key, value) for key, value in options.items()}
    given = {key: tuples(value) for key, value in whole.items()}
    try:
        method = kind(**given)
    except (TypeError, ValueError, AttributeError) as error:
        check_types(f"method '{name}'", kind, given)
        raise ConfigError(f"method '{name}' does not accept these options: {error}") from error
    # The method's own sentences say more than those about types, so they go first.
    check_types(f"method '{name}'", kind, given)
    return method


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with the values of `over`, dicts merged key by key.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def digest(value: Any, length: int = 16) -> str:
    """Returns the first hex digits of the sha256 of a JSON-able value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


_KEYS = list(RunConfig.model_fields)


def _require_type(values: Mapping[str, Any], key: str, origin: str) -> None:
    part = values.get(key)
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise ConfigError(f"{origin}: '{key}' must be a dict with a 'type' string; got {part!r}")


def _import_custom(custom: Mapping[str, Any], origin: str) -> None:
    from mmengine.utils import import_modules_from_strings

    try:
        import_modules_from_strings(**custom)
    except (Exception, SystemExit) as error:
        cause = error.__cause__ or error.__context__ or error
        raise ConfigError(
            f"{origin}: custom_imports {custom} failed ({type(cause).__name__}: {_reason(cause)}); "
            "install the module, or put its folder on PYTHONPATH"
        ) from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"'{where}' is not set; add it, for example --cfg-options {where}=8"
    if first["type"] == "extra_forbidden":
        parent, _, key = where.rpartition(".")
        parts: dict[str, type[_Part]] = {
            "calibration": CalibrationConfig,
            "evaluation": EvaluationConfig,
        }
        known = list(parts[parent].model_fields) if parent in parts else _KEYS
        return unknown_name(f"{parent} option", key, known)
    return complaint(first, where)


def _over_default(kind: type[Method], option: str, value: Any) -> Any:
    """Lays a dict over the option's default dict, so that equal settings are one identity."""
    if not isinstance(value, Mapping):
        return value
    field = next(field for field in dataclasses.fields(kind) if field.name == option)
    factory = field.default_factory
    default = field.default if factory is dataclasses.MISSING else factory()
    return merge(default, value) if isinstance(default, Mapping) else value
