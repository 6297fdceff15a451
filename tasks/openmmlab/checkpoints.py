"""Turns checkpoints of OpenMMLab into plain tensors; none of their code, nor other code, is run.

mmengine's checkpoints carry records of training beside the weights: objects of its own and of
numpy, for which a pickle names functions to call. Of a short list of such names each is replaced by
an empty object, as only tensors are wanted; a file that names anything else is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from adacal.core.errors import DataError
from tasks.checkpoints import save_tensors

_RECORDS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "__builtin__.getattr",
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"numpy.{core}.multiarray.{f}"
        for core in ("core", "_core")
        for f in ("_reconstruct", "scalar")
    ),
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
)
_PREFIXES = ("module.", "_orig_mod.")


class Nothing:
    """Stands for an object of a checkpoint that is no tensor: takes everything, does nothing.

    >>> Nothing(1, 2, name="x") is not None
    True
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Nothing:
        """Takes whatever a pickle gives its object."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def convert_checkpoint(source: str | Path, target: str | Path) -> str:
    """Writes the weights of an OpenMMLab checkpoint as safetensors.

    Args:
        source: a `.pth` file of mmengine's or of older runners.
        target: file to write; folders are made.

    Returns:
        The sha256 of the file written.

    Raises:
        DataError: the source is missing, damaged, holds no weights, or names objects that are not
            known to come from training; or the target cannot be written.
    """
    return save_tensors(Path(target), read_weights(Path(source)))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of the `state_dict` in an OpenMMLab checkpoint.

    Names lose what wrappers for several processes or compilation put before them.

    Raises:
        DataError: see `convert_checkpoint`.
    """
    if not path.is_file():
        raise DataError(f"no checkpoint at '{path}'; download it by hand and give its path")
    try:
        named = sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # no zip file: damaged, or older than torch 1.6; loading will tell
        named = []
    unknown = [name for name in named if name not in _RECORDS]
    if unknown:
        raise DataError(
            f"checkpoint '{path}' names '{unknown[0]}', which weights do not need; it is not "
            "opened: load it where you trust it and save its plain state dict"
        )
    loaded = _loaded(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise DataError(f"checkpoint '{path}' holds no 'state_dict'; give a checkpoint of a model")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise DataError(
                f"checkpoint '{path}' has '{key}' among its weights, which is no tensor"
            )
    return {_plain(key): value.detach().clone() for key, value in state.items()}


def _loaded(path: Path) -> Any:
    empty: list[Any] = [(Nothing, name) for name in _RECORDS]
    try:
        with safe_globals(empty), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"checkpoint '{path}' is damaged or names what weights do not need "
            f"({type(error).__name__}); fetch it again, or save its plain state dict where you "
            "trust it"
        ) from error


def _plain(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key
