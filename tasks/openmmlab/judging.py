"""The libraries' own evaluators: built, asked, and their scores given our names."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from adacal.core.errors import DataError
from adacal.suite.task import Redraw
from tasks.openmmlab.building import Library, quiet
from tasks.openmmlab.divergence import all_maps

ROUNDING = 0.051
"""By how much evaluators round scores: COCO's to 0.1 %, mmsegmentation's to 0.01 %."""
_LOCAL = ("ann_file", "outfile_prefix", "backend_args", "data_root")
"""Keys of an evaluator that say where files lie on this machine."""


def build_evaluator(config: Any, library: Library, dataset: Any) -> Any:
    """Builds the evaluator of a config for a dataset.

    Args:
        config: of one metric or a list of them.
        library: whose metrics they are.
        dataset: the test dataset; its names of classes are the evaluator's.

    Raises:
        DataError: the evaluator lacks a file.
    """
    from mmengine.evaluator import Evaluator
    from mmengine.registry import DefaultScope

    importlib.import_module(f"{library}.evaluation")
    try:
        with DefaultScope.overwrite_default_scope(library), quiet():
            evaluator = Evaluator(config)
    except FileNotFoundError as error:
        raise DataError(
            f"the evaluator '{_kind(config)}' lacks a file ({error}); check test_evaluator.ann_file"
        ) from error
    evaluator.dataset_meta = dataset.metainfo
    return evaluator


def named_scores(
    evaluator: Any, total: int, names: Mapping[str, tuple[str, float]]
) -> dict[str, float]:
    """Lets an evaluator judge what it was given and renames its scores.

    Args:
        evaluator: has seen all predictions.
        total: samples in all.
        names: ours, and the factor to our unit, by the evaluator's.
    """
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = evaluator.evaluate(total)
    return {
        ours: factor * float(scores[theirs])
        for theirs, (ours, factor) in names.items()
        if theirs in scores
    }


def unrounded(
    metrics: Mapping[str, float], name: str, redraw: Redraw | None, total: int
) -> tuple[dict[str, float], Redraw | None]:
    """Puts the main metric, which evaluators round, in full; drops a redraw of something else.

    Args:
        metrics: the evaluator's scores by our names.
        name: of the main one.
        redraw: of the main one, if there is one.
        total: samples in all.

    Returns:
        The scores, and the redraw if taking every sample once gives what the evaluator rounded.
    """
    if redraw is None:
        return dict(metrics), None
    value = float(redraw(np.ones((1, total), np.int64))[0])
    if not abs(value - metrics[name]) <= ROUNDING:
        return dict(metrics), None
    return {**metrics, name: value}, redraw


def require_finite(raw: Any, model_name: str) -> None:
    """Raises a DataError if raw maps hold NaN or infinite values."""
    if not all(bool(torch.isfinite(tensor).all()) for tensor in all_maps(raw)):
        raise DataError(
            f"the raw maps of '{model_name}' hold NaN or infinite values; check the thresholds and "
            "the checkpoint"
        )


def portable(evaluator: Any) -> Any:
    """Returns an evaluator's config without what says where files lie.

    >>> portable({"type": "CocoMetric", "ann_file": "/here/x.json"})
    {'type': 'CocoMetric'}
    """
    if isinstance(evaluator, Mapping):
        return {key: portable(value) for key, value in evaluator.items() if key not in _LOCAL}
    if isinstance(evaluator, list | tuple):
        return [portable(value) for value in evaluator]
    return evaluator


def jsonable(value: Any) -> Any:
    """Returns a config's value with lists for tuples and text for what JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _kind(config: Any) -> str:
    first = config[0] if isinstance(config, list | tuple) and config else config
    return str(first.get("type")) if isinstance(first, Mapping) else str(first)
