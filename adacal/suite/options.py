"""Checks options against what a class or function takes: names, then types, by its annotations."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from adacal.core.errors import ConfigError, unknown_name

_WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "True or False",
    "string_type": "text",
    "dict_type": "a dict",
    "mapping_type": "a dict",
    "model_type": "a dict",
    "list_type": "a list",
    "tuple_type": "a list",
}


def check_options(where: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Checks keyword arguments before a call.

    Args:
        where: what sentences call the factory, for example `model 'lenet'`.
        factory: class or function; what is not annotated is not checked.
        options: keyword arguments.
    Raises:
        ConfigError: an unknown name, one that is missing, or a value of another type.
    """
    parameters = inspect.signature(factory).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                raise ConfigError(unknown_name(f"option of {where}", option, parameters))
    for name, parameter in parameters.items():
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if name not in options and parameter.default is parameter.empty and not variadic:
            raise ConfigError(f"{where} needs '{name}'; add it to the config")
    check_types(where, factory, options)


def check_types(where: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Checks the types of keyword arguments alone.

    Raises:
        ConfigError: a value is of another type than its annotation says.
    """
    hints = _hints(factory)
    for option, value in options.items():
        if option not in hints:
            continue
        settings = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hints[option], config=settings)
        except (PydanticSchemaGenerationError, PydanticUserError):
            continue
        try:
            adapter.validate_python(tuples(value))
        except ValidationError as error:
            raise ConfigError(f"{where}: {complaint(error.errors()[0], option)}") from error


def complaint(first: Any, where: str) -> str:
    """Says in one sentence what pydantic found wrong with a value.

    Args:
        first: one entry of `ValidationError.errors()`.
        where: name of the setting.
    """
    kind, got, context = first["type"], first["input"], first.get("ctx", {})
    if kind == "is_instance_of" and context["class"] == "Sequence":
        kind = "list_type"
    if kind in _WORDS:
        return f"{where} must be {_WORDS[kind]}; got {got!r}"
    if kind == "literal_error":
        known = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return unknown_name(where, str(got), known)
    if kind == "greater_than":
        return f"{where} must be above {context['gt']}; got {got}"
    if kind == "greater_than_equal":
        return f"{where} must be at least {context['ge']}; got {got}"
    if kind == "less_than":
        return f"{where} must be below {context['lt']}; got {got}"
    message = str(first["msg"]).lower().replace("input should be", "must be")
    return f"{where} {message}; got {got!r}"


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    source: Any = factory
    if isinstance(factory, type) and not dataclasses.is_dataclass(factory):
        source = factory.__init__  # type: ignore[misc]
    try:
        return typing.get_type_hints(source)
    except (NameError, TypeError, AttributeError):
        return {}


def tuples(value: Any) -> Any:
    """Returns the value with tuples for lists: configs have lists where annotations say tuple."""
    if isinstance(value, list):
        return tuple(tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return value
