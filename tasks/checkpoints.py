"""Reads and writes the weights of a network; nothing that could run code is ever unpickled."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adacal.core.errors import ConfigError, DataError
from adacal.suite.places import CHECKPOINT_FOLDER, INSTALLED, ROOT, writable_root

REPOSITORY = ROOT
DEFAULT_FOLDER = CHECKPOINT_FOLDER
PICKLED = (".pth", ".pt")


def resolve_checkpoint(checkpoint: str | Path | None, dataset: str, model: str) -> Path:
    """Returns where the weights of a model lie (or will be written).

    Args:
        checkpoint: a path; a relative one counts from the working directory if the file is there,
            else from what is shipped. None means the default place.
        dataset: registry name of the dataset.
        model: name of the model.

    Returns:
        The path, `results/checkpoints/{dataset}_{model}.safetensors` by default. Of an installed
        adacal a file in the working directory goes before the shipped one, and what is in neither
        is to be written in the working directory.
    """
    path = Path(checkpoint or f"results/checkpoints/{dataset}_{model}.safetensors").expanduser()
    if path.is_absolute() or (checkpoint is not None and path.is_file()):
        return path
    own, shipped = writable_root() / path, REPOSITORY / path
    return shipped if shipped.is_file() and not own.is_file() else own


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file, as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_checkpoint(path: Path, module: nn.Module, notes: Mapping[str, str] | None = None) -> str:
    """Writes the weights as safetensors, whole or not at all.

    Args:
        path: of the file; folders are made.
        module: its `state_dict` is written.
        notes: text to keep in the file's header.

    Returns:
        The sha256 of the file.

    Raises:
        DataError: it cannot be written there.
    """
    return save_tensors(path, module.state_dict(), notes)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None
) -> str:
    """Writes tensors by name, as `save_checkpoint` does those of a module."""
    state = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    temporary = _temporary(path)
    try:
        save_file(state, temporary, metadata=dict(notes or {}))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"checkpoint '{path}' cannot be written ({error}); free space") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file_sha256(path)


def require_trainable(path: Path, overwrite: bool) -> None:
    """Proves that training can write a checkpoint there; what lies there is left as it is.

    Args:
        path: of the checkpoint.
        overwrite: whether one that is there may be replaced.

    Raises:
        ConfigError: it is not a safetensors path, is one that an installed adacal brought along,
            or is there and may not be replaced.
        DataError: it cannot be written.
    """
    if path.suffix != ".safetensors":
        raise ConfigError(f"training writes safetensors; got checkpoint '{path}'; change its name")
    if INSTALLED and path.resolve().is_relative_to(ROOT):
        raise ConfigError(
            f"'{path}' is part of the installed adacal and is not replaced; write elsewhere with "
            "--cfg-options model.checkpoint=PATH.safetensors"
        )
    if path.is_file() and not overwrite:
        raise ConfigError(
            f"'{path}' holds a trained network already; pass --overwrite to replace it, or write "
            "elsewhere with --cfg-options model.checkpoint=PATH.safetensors"
        )
    _temporary(path).unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise DataError(
            f"checkpoint '{path}' cannot be written ({error.strerror}); name another place with "
            "model.checkpoint"
        ) from error
    os.close(handle)
    if path.is_dir():
        Path(name).unlink(missing_ok=True)
        raise DataError(f"checkpoint '{path}' is a folder; name a file with model.checkpoint")
    return Path(name)


def load_checkpoint(path: Path, module: nn.Module) -> None:
    """Loads weights into a module of exactly that shape.

    Args:
        path: a safetensors file, or a `.pth`/`.pt` state dict, which is read with
            `torch.load(weights_only=True)`.
        module: gets the weights.

    Raises:
        DataError: the file is missing, damaged, of another kind, does not fit the module or holds
            values that are not finite.
    """
    if not path.is_file():
        raise DataError(f"{missing(path)}; train one with `adacal train CONFIG`")
    state = read_pickled(path) if path.suffix in PICKLED else read_safetensors(path)
    check_fit(path, state, module.state_dict())
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DataError(
                f"checkpoint '{path}' has NaN or infinite values in '{key}'; "
                "train it again with `adacal train CONFIG`"
            )
    module.load_state_dict(state)


def missing(path: Path) -> str:
    """Returns that there is no checkpoint, with each place that a relative path could have meant.

    A relative path counts from the working directory only if the file is there, so a user who
    meant that place would read of another.
    """
    text = f"no checkpoint at '{path}'"
    root = writable_root()
    if path.is_relative_to(root):
        here = Path.cwd() / path.relative_to(root)
        if here != path and not here.is_file():
            text += f", nor at '{here}'"
    return text


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file.

    Raises:
        DataError: the file is truncated or of another kind.
    """
    with path.open("rb") as stream:
        start = stream.read(2)
    if start == b"PK" or start[:1] == b"\x80":
        raise DataError(
            f"checkpoint '{path}' is a pickle, which is not opened under this name; "
            "give it as safetensors, or name it .pth if it is a plain state dict"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"checkpoint '{path}' is truncated or not a safetensors file ({error}); "
            "train it again with `adacal train CONFIG` or restore the file"
        ) from error


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Returns the state dict of a `.pth` file, as it is or under the key `state_dict`.

    Raises:
        DataError: the file is damaged or holds more than tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can fail in many ways; torch's own advice is to open it unsafely.
    except Exception as error:
        raise DataError(
            f"checkpoint '{path}' is damaged or holds more than tensors "
            f"({type(error).__name__}); save the plain state dict"
        ) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError(f"checkpoint '{path}' is not a state dict of tensors; save one")
    return dict(loaded)


def check_fit(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises a DataError unless both hold the same names and shapes."""
    missing = sorted(set(expected) - set(state))
    surplus = sorted(set(state) - set(expected))
    if missing or surplus:
        example = f"lacks '{missing[0]}'" if missing else f"has '{surplus[0]}' besides"
        raise DataError(
            f"checkpoint '{path}' is of another model: {len(missing)} tensors missing, "
            f"{len(surplus)} too many (it {example}); give the model it was trained with"
        )
    for key, value in expected.items():
        if state[key].shape != value.shape:
            raise DataError(
                f"checkpoint '{path}' does not fit: '{key}' has shape {tuple(state[key].shape)}, "
                f"the model needs {tuple(value.shape)}; check the number of classes and the widths"
            )
        if state[key].is_floating_point() != value.is_floating_point():
            raise DataError(
                f"checkpoint '{path}' does not fit: '{key}' is {state[key].dtype}, the model needs "
                f"{value.dtype}; quantised weights must be made floats first"
            )
