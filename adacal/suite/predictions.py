"""Images of one's own through a config's network and its conversions, drawn side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError, DataError
from adacal.suite.config import ConversionConfig, RunConfig
from adacal.suite.pictures import new_figure, save_figure, set_title
from adacal.suite.runner import convert
from adacal.suite.session import (
    Prepared,
    Progress,
    Session,
    ann_output,
    computing,
    no_progress,
    to_cpu,
)

if TYPE_CHECKING:
    from adacal.core.converted import Converted

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of a folder, files with these endings are taken for images."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image, drawn.

    Attributes:
        image: where it came from.
        path: of the picture.
        notes: conversion to how far it answers as the ANN does.
    """

    image: Path
    path: Path
    notes: dict[str, str]

    def line(self) -> str:
        """Returns a line for the terminal."""
        notes = "; ".join(f"{name}: {note}" for name, note in self.notes.items())
        return f"{self.image.name}: {notes} -> {self.path}"


def predict_images(
    config: RunConfig,
    images: Sequence[Path],
    folder: Path,
    *,
    T: Sequence[int] = (),
    samples: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> list[Picture]:
    """Draws what the ANN and its conversions answer to images, a picture each.

    For every T the network is converted and calibrated anew, as a run at that T would: thresholds
    fit one T only.

    Args:
        config: task, model and method; its dataset gives the calibration samples.
        images: files, and folders whose images are taken in the order of their names.
        folder: where the pictures go, named after the images.
        T: numbers of steps; the config's own if there is none.
        samples: at most so many images, the first ones.
        device, threads: as of a run.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: the task does not read images, or a number is out of range.
        DataError: there are no images, one cannot be read, data or checkpoint are missing, or the
            folder cannot be written.
    """
    steps = _steps(config, T)
    paths = find_images(images)[:samples]
    targets = _targets(paths, folder)
    session = Session(device=device)
    written = []
    with computing(threads):
        prepared = session.prepare(config)
        _read_all(prepared, paths, progress)  # what cannot be read is said before any converting
        networks = {}
        for count in steps:
            at_T = config.model_copy(update={"conversion": ConversionConfig(T=count)})
            name = f"SNN T={count}" if config.uses_T else config.label()
            networks[name], _ = convert(at_T, prepared, device, _named(progress, name))
        for done, (path, target) in enumerate(zip(paths, targets, strict=True)):
            progress("images", done, len(paths))
            written.append(_picture(config, prepared, networks, path, target, device))
    return written


def find_images(given: Sequence[Path]) -> list[Path]:
    """Returns the image files that paths name; of a folder those in it, by name.

    Raises:
        DataError: a path leads nowhere, or there is no image.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = [one for one in path.iterdir() if one.suffix.lower() in SUFFIXES]
            found += sorted(one for one in inside if one.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"no image or folder at '{path}'; check --images")
    if not found:
        named = ", ".join(f"'{path}'" for path in given) or "no path"
        raise DataError(
            f"no images in {named}; give image files, or a folder with {', '.join(SUFFIXES[:5])} …"
        )
    return list(dict.fromkeys(found))


def _steps(config: RunConfig, T: Sequence[int]) -> list[int]:
    wrong = next((count for count in T if count < 1), None)
    if wrong is not None:
        raise ConfigError(f"T must be at least 1; got {wrong}; try 8")
    if not config.uses_T and T:
        raise ConfigError(
            f"the method '{config.method_name}' has no steps; leave --T out, or take another method"
        )
    return list(dict.fromkeys(T)) or [config.conversion.T]


def _targets(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Returns a picture's path for each image; the same name gets a number.

    Raises:
        DataError: a picture would replace an image.
    """
    sources = {path.resolve() for path in paths}
    found: list[Path] = []
    for path in paths:
        target, number = folder / f"{path.stem}.png", 1
        while target in found:
            number += 1
            target = folder / f"{path.stem}-{number}.png"
        if target.resolve() in sources:
            raise DataError(
                f"the picture '{target}' would replace an image; name another folder with --out"
            )
        found.append(target)
    return found


def _read_all(prepared: Prepared, paths: Sequence[Path], progress: Progress) -> None:
    for done, path in enumerate(paths):
        progress("reading", done, len(paths))
        prepared.task.read_image(path)


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{stage}, {name}", done, total)


def _picture(
    config: RunConfig,
    prepared: Prepared,
    networks: dict[str, Converted],
    path: Path,
    target: Path,
    device: str,
) -> Picture:
    task = prepared.task
    batch = task.read_image(path)
    inputs = batch.inputs.to(device)
    answers = {}
    with torch.no_grad():
        ann = to_cpu(ann_output(prepared, inputs))
        for name, network in networks.items():
            found = network.predict(inputs)
            answers[name] = Prediction(output=to_cpu(found.output), timesteps=found.timesteps.cpu())
    figure = new_figure()
    task.draw_answers(figure, batch, ann, answers)
    set_title(figure, f"{path.name}: {task.model_name}, {config.label()}")
    save_figure(figure, target, option="--out")
    notes = {}
    for name, answer in answers.items():
        steps = int(answer.timesteps[0])
        early = f" after {steps} steps" if 0 < steps < networks[name].T else ""
        notes[name] = task.compare(batch, ann, answer) + early
    return Picture(image=path, path=target, notes=notes)
