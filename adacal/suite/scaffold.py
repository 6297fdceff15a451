"""Starts a method, dataset or task: the files of the how-to guides with another name in them."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from adacal.core.errors import ConfigError, DataError
from adacal.suite.places import CHECKOUT
from adacal.suite.store import write_once

LONGEST_NAME = 24


@dataclass(frozen=True)
class Scaffold:
    """One kind of thing that can be started.

    Attributes:
        example: its name in the guide.
        code, config: where these files go in a checkout, `{name}` stands for the name.
        rest: what turns the config into one of a whole run, for a plug-in.
        run: a whole run for a checkout, if the config is none: where it goes, and its text.
        hint: what to do next in a checkout.
    """

    example: str
    code: str
    config: str
    rest: str = ""
    run: tuple[str, str] | None = None
    hint: str = ""


SCAFFOLDS = {
    "method": Scaffold(
        example="half_peak",
        code="adacal/methods/{name}.py",
        config="configs/_base_/methods/{name}.py",
        rest='task = dict(type="classification2d", dataset=dict(type="mnist5k"))\n'
        'model = dict(name="lenet", type="lenet")\n'
        "conversion = dict(T=4)\n",
        hint="adacal run classification2d/mnist5k_lenet_light --cfg-options method.type={name}",
    ),
    "dataset": Scaffold(
        example="tiny_digits",
        code="tasks/data/{name}.py",
        config="configs/_base_/tasks/{name}.py",
        rest='model = dict(name="lenet", type="lenet")\n'
        'method = dict(type="snn_calibration_light")\n'
        "schedule = dict(epochs=10, batch_size=64, lr=0.05, weight_decay=5e-4)\n"
        "conversion = dict(T=4)\n",
        run=(
            "configs/classification2d/{name}_lenet_light.py",
            "# A first run on tiny_digits: binary spikes with light calibration.\n"
            "_base_ = [\n"
            '    "../_base_/tasks/tiny_digits.py",\n'
            '    "../_base_/models/lenet.py",\n'
            '    "../_base_/methods/snn_calibration_light.py",\n'
            '    "../_base_/schedules/embedded_15.py",\n'
            "]\n"
            "conversion = dict(T=4)\n",
        ),
        hint="adacal train classification2d/{name}_lenet_light, then adacal run the same",
    ),
    "task": Scaffold(
        example="wave_task",
        code="tasks/{name}.py",
        config="configs/{name}/burst.py",
        hint="adacal run {name}/burst",
    ),
}


@dataclass(frozen=True)
class Started:
    """What was written, and what to do next."""

    paths: tuple[Path, ...]
    hint: str


def read(name: str) -> str:
    """Returns one of the files that scaffolds start from, as the guides show it."""
    return (files("adacal.suite") / "scaffolds" / f"{name}.txt").read_text(encoding="utf-8")


def start(kind: str, name: str, folder: Path | None = None, checkout: Path = CHECKOUT) -> Started:
    """Writes the files of a new method, dataset or task; nothing that exists is overwritten.

    Args:
        kind: a key of `SCAFFOLDS`.
        name: its registry name.
        folder: where a package that can be installed goes; without it, the files go into the
            checkout, or where there is none, into a package in the folder `name`.
        checkout: folder of the checkout.

    Raises:
        ConfigError: the name is none, is taken, or would hide another module.
        DataError: a file is there already or cannot be written.
    """
    scaffold = SCAFFOLDS[kind]
    class_name = check_name(kind, name, read(f"{kind}.py"))
    _check_free_name(kind, name)
    if folder is None and not (checkout / "pyproject.toml").is_file():
        folder = Path(name)
    if folder is None:
        texts = _in_checkout(kind, scaffold)
        hint = f"change them, then: {scaffold.hint.format(name=name)}"
        root = checkout
    else:
        _check_free_module(name)
        texts, root = _package(kind, scaffold), folder
        run = folder / f"run_{name}.py"
        first = f"adacal train {run} && " if kind == "dataset" else ""
        # Without the dot pip would take the folder for the name of a package.
        package = folder if folder.is_absolute() else f"./{folder}"
        hint = f"change them, then: pip install {package} && {first}adacal run {run}"
    example_class = _class_name(scaffold.example)
    paths = {root / place.format(name=name): text for place, text in texts.items()}
    for path in paths:
        if path.exists():
            raise DataError(f"{path} exists already; choose another name or folder")
    for path, text in paths.items():
        named = text.replace(scaffold.example, name).replace(example_class, class_name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the folder {path.parent} cannot be made ({error.strerror}); choose another"
            ) from error
        write_once(path, named)
    return Started(tuple(paths), hint)


def check_name(kind: str, name: str, code: str) -> str:
    """Returns the class name that belongs to a registry name.

    Args:
        kind: for the error messages.
        name: what is checked.
        code: the file that the class will stand in; what it uses cannot be hidden by it.

    Raises:
        ConfigError: the name cannot be used.
    """
    fits = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) and len(name) <= LONGEST_NAME
    if not fits or keyword.iskeyword(name):
        raise ConfigError(
            f"the name of a {kind} is small letters, digits and single _, at most {LONGEST_NAME}; "
            f"got '{name}'; write for example: adacal new {kind} my_{kind}"
        )
    class_name = _class_name(name)
    if re.search(rf"\b{class_name}\b", code):
        raise ConfigError(
            f"the file of a {kind} uses the name {class_name} for something else; try 'my_{name}'"
        )
    return class_name


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _check_free_name(kind: str, name: str) -> None:
    from adacal.methods.base import METHODS, load_methods
    from adacal.suite.registry import DATASETS, TASKS, load_tasks

    load_methods()
    load_tasks()
    registry = {"method": METHODS, "dataset": DATASETS, "task": TASKS}[kind]
    if name in registry.module_dict:
        raise ConfigError(f"there is a {kind} named '{name}' already; choose another name")


def _check_free_module(name: str) -> None:
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(
            f"a Python module named '{name}' is there already, which a plug-in of that name would "
            f"hide; try 'my_{name}'"
        )


def _in_checkout(kind: str, scaffold: Scaffold) -> dict[str, str]:
    """Returns where each file goes in a checkout, and its text with the guide's name in it."""
    texts = {scaffold.code: read(f"{kind}.py"), scaffold.config: read(f"{kind}_config.py")}
    if scaffold.run is not None:
        place, text = scaffold.run
        texts[place] = text
    return texts


def _package(kind: str, scaffold: Scaffold) -> dict[str, str]:
    """Returns the files of a package that registers itself by an entry point."""
    first, _, config = read(f"{kind}_config.py").partition("\n")
    imports = f'custom_imports = dict(imports=["{scaffold.example}"])\n'
    method = SCAFFOLDS["method"].example
    return {
        "{name}.py": read(f"{kind}.py"),
        "run_{name}.py": f"{first}\n{imports}{config}{scaffold.rest}",
        "pyproject.toml": read("pyproject.toml").replace(method, scaffold.example),
    }
