"""Where tasks and models are found by name; methods have theirs in `adacal.methods`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from mmengine.registry import Registry

from adacal.core.errors import AdacalError, ConfigError, unknown_name
from adacal.methods.plugins import load_plugins
from adacal.suite.options import check_options

TASKS = Registry("adacal task", scope="adacal")
MODELS = Registry("adacal model", scope="adacal")
DATASETS = Registry("adacal dataset", scope="adacal")


def load_tasks() -> None:
    """Imports every module of `tasks`, and plug-ins, so that their classes register themselves.

    Raises:
        ConfigError: a plug-in fails to import.
    """
    import_all("tasks")
    load_plugins()


def import_all(package_name: str) -> None:
    """Imports a package and all modules below it, by name."""
    package = importlib.import_module(package_name)
    for module in pkgutil.walk_packages(package.__path__, prefix=f"{package_name}."):
        importlib.import_module(module.name)


def build(registry: Registry, kind: str, config: dict[str, Any], **extra: Any) -> Any:
    """Builds `config['type']` from a registry, with a clear sentence for an unknown name.

    Args:
        registry: where the name is looked up.
        kind: word for error messages, for example `model`.
        config: `type` and keyword arguments.
        extra: further keyword arguments.
    Raises:
        ConfigError: no `type`, an unknown name or keyword, a value of the wrong type.
    """
    options = {**config, **extra}
    name = options.pop("type", None)
    if not isinstance(name, str):
        raise ConfigError(f"the {kind} config needs a 'type' string; got {config!r}")
    factory = registry.module_dict.get(name)  # `get` takes importable modules for parts, too
    if factory is None:
        raise ConfigError(unknown_name(kind, name, registry.module_dict))
    check_options(f"{kind} '{name}'", factory, options)
    try:
        return factory(**options)
    except AdacalError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{kind} '{name}' cannot be built from these options "
            f"({type(error).__name__}: {error}); check their values"
        ) from error
