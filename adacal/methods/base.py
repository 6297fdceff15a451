"""What a method is: a card, options that check themselves, and a recipe over the core."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from adacal.core.checks import check_choice, check_names, check_whole
from adacal.core.conversion import convert
from adacal.core.converted import Converted
from adacal.core.errors import ConfigError
from adacal.core.network import SpikingNetwork
from adacal.methods.plugins import load_plugins
from adacal.methods.stages import Stages

METHODS = Registry("adacal method", scope="adacal")
_LATER = "later"


@dataclass(frozen=True)
class Card:
    """What a reader must know of a method before comparing it, from its module's docstring."""

    data: str
    weights: str
    passes: str
    spikes: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a method may use; all of it comes from training data.

    Attributes:
        T: timesteps, at least 1.
        batches: (inputs, targets) pairs, on the device of the network.
        forward: calls the module for its raw outputs.
        divergence: how far two raw outputs are apart, one number a sample.
        generator: the only source of randomness.
        stream: inputs are [T, B, ...].
        event_input: inputs are event counts.
        stages: steps that an earlier method took alike on these samples.
    """

    T: int
    batches: Sequence[tuple[Tensor, Any]]
    forward: Callable[[nn.Module, Any], Any]
    divergence: Callable[[Any, Any], Tensor]
    generator: torch.Generator
    stream: bool = False
    event_input: bool = False
    stages: Stages = field(default_factory=Stages)


def later(default: Any) -> Any:
    """Returns a field for an option that was added when records of the method existed already.

    At its default it is no part of what identifies a run, so older records keep their ids.

    Args:
        default: what every run did before there was the option.
    """
    return field(default=default, metadata={_LATER: True})


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base of all methods; a subclass is a frozen dataclass whose fields are its options.

    Attributes:
        name: registry name.
        uses_T: whether the result depends on T.
        deterministic: whether the calibration seed changes nothing.
    """

    name: ClassVar[str] = ""
    uses_T: ClassVar[bool] = True
    deterministic: ClassVar[bool] = False

    @abstractmethod
    def build(self, ann: nn.Module, example_input: Tensor, calibration: Calibration) -> Converted:
        """Converts and calibrates.

        Args:
            ann: the trained network; left untouched.
            example_input: shape [B, ...], to find the sites with.
            calibration: data and how to use it.
        """

    def options(self) -> dict[str, Any]:
        """Returns what identifies a run: all options, but those added later at their default."""
        unsaid = [
            entry.name
            for entry in fields(self)
            if entry.metadata.get(_LATER) and getattr(self, entry.name) == entry.default
        ]
        return {name: value for name, value in asdict(self).items() if name not in unsaid}

    @classmethod
    def card(cls) -> Card:
        """Reads the card from the docstring of the method's module.

        Raises:
            ConfigError: the docstring has no complete card.
        """
        text = " ".join((sys.modules[cls.__module__].__doc__ or "").split())
        fields = {}
        for key in ("data", "weights", "passes", "spikes"):
            found = re.search(rf"\b{key}:\s*([^|]+?)\s*(?:\||Source:)", text)
            fields[key] = found.group(1) if found else ""
        source = re.search(r"Source:\s*(.+)$", text)
        card = Card(**fields, source=source.group(1) if source else "")
        missing = [key for key, value in vars(card).items() if not value]
        if missing:
            raise ConfigError(
                f"method '{cls.name}' has no {', '.join(missing)} in its card; write 'Card: data: "
                "… | weights: … | passes: … | spikes: …' and 'Source: …' in the module docstring"
            )
        return card


def start(
    ann: nn.Module, example_input: Tensor, calibration: Calibration, max_spikes: int
) -> SpikingNetwork:
    """Converts with a uniform φ; the first line of most recipes."""
    return convert(
        ann,
        example_input,
        T=calibration.T,
        max_spikes=max_spikes,
        stream=calibration.stream,
        event_input=calibration.event_input,
        forward=calibration.forward,
    )


def calibrate(
    network: SpikingNetwork,
    calibration: Calibration,
    mode: Literal["none", "light", "advanced"],
    **options: Any,
) -> float:
    """Calibrates with everything that `calibration` offers and notes the divergence."""
    given = {"mode": mode, **options}
    found: float = take_step(f"{mode} calibration", network, calibration, network.calibrate, given)
    network.search_log["calibration_divergence"] = found
    return found


def take_step(
    name: str,
    network: SpikingNetwork,
    calibration: Calibration,
    call: Callable[..., Any],
    options: Mapping[str, Any],
) -> Any:
    """Takes a step of the core with everything that `calibration` offers, or takes it over.

    Args:
        name: of the step, for records that took it over.
        network: whose method `call` is.
        calibration: has the samples and what earlier methods computed on them (`Stages`).
        call: changes the network; called with batches, options, divergence and generator.
        options: plain values, all that the step depends on besides.
    Returns:
        What `call` returned.
    """

    def compute() -> Any:
        return call(
            calibration.batches,
            **options,
            divergence=calibration.divergence,
            generator=calibration.generator,
        )

    return calibration.stages.run(name, network, calibration.generator, options, compute)


def note_divergence(network: SpikingNetwork, calibration: Calibration) -> None:
    """Notes the divergence from the ANN as the network now is; for what `calibrate` cannot see."""
    found = []
    for inputs, _ in calibration.batches:
        frames = inputs.mean(0) if calibration.stream else inputs
        found.append(calibration.divergence(network.ann(frames), network(inputs)))
    network.search_log["calibration_divergence"] = float(torch.cat(found).mean())


def check_max_spikes(method: Method, value: int) -> None:
    """Raises ConfigError unless φ is a whole number of at least 1."""
    check_whole(f"{method.name}.max_spikes", value, example=4)


def check_calibration(method: Method, value: str) -> None:
    """Raises ConfigError unless the value names a calibration mode."""
    check_choice(f"{method.name}.calibration", value, ("none", "light", "advanced"))


def check_dict(name: str, value: Any, known: Iterable[str]) -> None:
    """Raises ConfigError unless the value is a dict of known keys; offers the nearest."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a dict; got {value!r}; leave it out for the defaults")
    check_names(f"{name} option", value, known)


def load_methods() -> None:
    """Imports every module beside this one, and plug-ins, so that methods register themselves.

    Raises:
        ConfigError: a plug-in fails to import.
    """
    folders = importlib.import_module("adacal.methods").__path__
    _load_own(tuple((folder, Path(folder).stat().st_mtime_ns) for folder in folders))
    load_plugins()


@cache
def _load_own(folders: tuple[tuple[str, int], ...]) -> None:
    """Imports the package's modules; again only where a file has come since (`adacal new`)."""
    paths = [folder for folder, _ in folders]
    for module in pkgutil.iter_modules(paths, prefix="adacal.methods."):
        importlib.import_module(module.name)
