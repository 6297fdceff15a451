"""Turns checkpoints of OpenMMLab into plain tensors; none of their code, nor other code, is run.

mmengine's checkpoints carry records of training beside the weights: objects of its own and of
numpy, for which a pickle names functions to call. Of a short list of such names each is replaced by
an empty object, as only tensors are wanted; a file that names anything else is refused.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from adacal.core.errors import ConfigError, DataError
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
SUFFIX = ".safetensors"
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


@dataclass(frozen=True, kw_only=True)
class WrittenCheckpoint:
    """What `convert_checkpoint` wrote.

    Attributes:
        path: of the file.
        sha256: of the file, hex digits.
        tensors: how many there are.
        values: numbers in all of them.
        size_mb: of the file, MB.
        parts: tensors by the first word of their names (`backbone`, `neck` …), in order.
    """

    path: Path
    sha256: str
    tensors: int
    values: int
    size_mb: float
    parts: dict[str, int]


def convert_checkpoint(
    source: str | Path, target: str | Path, *, overwrite: bool = False
) -> WrittenCheckpoint:
    """Writes the weights of an OpenMMLab checkpoint as safetensors.

    Args:
        source: a `.pth` file of mmengine's or of older runners.
        target: the `.safetensors` file to write; folders are made.
        overwrite: whether a file that is there may be replaced.

    Raises:
        ConfigError: the target has another suffix or exists, and `overwrite` is not set.
        DataError: the source is missing, damaged, holds no weights, or names objects that are not
            known to come from training; or the target cannot be written.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if target.suffix != SUFFIX:
        raise ConfigError(
            f"the checkpoint to write must be called {SUFFIX}, by which it is known later; got "
            f"'{target}'; try '{target.with_suffix(SUFFIX) if target.stem else target}'"
        )
    if target.exists() and not overwrite:
        raise ConfigError(f"'{target}' is there already; add --overwrite or name another file")
    weights = read_weights(source)
    digest = save_tensors(target, weights)
    return WrittenCheckpoint(
        path=target,
        sha256=digest,
        tensors=len(weights),
        values=sum(tensor.numel() for tensor in weights.values()),
        size_mb=target.stat().st_size / 1e6,
        parts=dict(Counter(name.partition(".")[0] for name in weights)),
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of the `state_dict` in an OpenMMLab checkpoint.

    Names lose what wrappers for several processes or compilation put before them.

    Raises:
        DataError: see `convert_checkpoint`.
    """
    if not path.is_file():
        raise DataError(f"no checkpoint at '{path}'; download it by hand and give its path")
    if path.suffix == SUFFIX:
        raise DataError(f"checkpoint '{path}' is converted already; give it as model.checkpoint")
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
