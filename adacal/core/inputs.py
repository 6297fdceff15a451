"""What may be given: networks, batches; and whose fault it is when a forward fails."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adacal.core.errors import AdacalError, CalibrationError, InputError, UnsupportedModelError

if TYPE_CHECKING:
    from adacal.core.network import SpikingNetwork


def check_batch(
    inputs: Any, *, stream: bool = False, T: int | None = None, sample: Sequence[int] | None = None
) -> None:
    """Checks what can be told of a batch without running it.

    Args:
        inputs: should be a tensor [B, ...], or [T, B, ...] with `stream`.
        stream: whether dimension 0 holds frames.
        T: how many frames there must be, if that is known.
        sample: shape of one sample at conversion; sizes may differ, their number may not.
    Raises:
        InputError: it is no tensor, empty, not finite or has other dimensions.
    """
    form = "[T, B, ...]" if stream else "[B, ...]"
    if not isinstance(inputs, Tensor):
        raise InputError(
            f"a network takes one tensor of shape {form}; got {_kind(inputs)}; convert it with "
            "torch.as_tensor, and pass inputs without labels"
        )
    shape, leading = list(inputs.shape), 1 + int(stream)
    if sample is not None and inputs.dim() != leading + len(sample):
        whole = ", ".join([*(["T", "B"] if stream else ["B"]), *map(str, sample)])
        raise InputError(
            f"inputs must have {leading + len(sample)} dimensions, as at conversion [{whole}]; got "
            f"shape {shape}; add or remove a dimension (one sample is a batch of one: x[None])"
        )
    if inputs.dim() < leading:
        raise InputError(f"inputs must have shape {form}; got shape {shape}; add the dimensions")
    if stream and T is not None and shape[0] != T:
        raise InputError(
            f"a stream needs T={T} frames in dimension 0; got {shape[0]}; pass {T} frames, or "
            f"convert with T={max(1, shape[0])}"
        )
    if not inputs.numel():
        raise InputError(f"a batch needs at least one sample; got shape {shape}; leave it out")
    if not inputs.is_meta and not bool(torch.isfinite(inputs).all()):
        raise InputError("the inputs hold NaN or infinite values; check the data")


def joined_inputs(batches: Any, network: SpikingNetwork) -> Tensor:
    """Joins the inputs of batches (tensors, or tuples that begin with one).

    Args:
        batches: a list of them.
        network: what they are for.
    Raises:
        CalibrationError: there are none, or they hold NaN or infinite values.
        InputError: `batches` is no list of batches, or they do not fit together.
    """
    stream, sample = network.stream, network.sample_shape
    found = []
    for batch in listed(batches):
        pair = isinstance(batch, tuple | list)
        found.append(batch[0] if pair and len(batch) else batch)
    tensors = [one for one in found if isinstance(one, Tensor)]
    if len(tensors) == len(found) and not sum(tensor.numel() for tensor in tensors):
        raise CalibrationError("no calibration samples were given; pass at least one batch")
    if any(t.numel() and not t.is_meta and not bool(torch.isfinite(t).all()) for t in tensors):
        raise CalibrationError("the calibration inputs hold NaN or infinite values; check the data")
    first = found[0]
    check_batch(first, stream=stream, sample=sample)
    for inputs in found:
        if isinstance(inputs, Tensor) and _form(inputs, stream) != _form(first, stream):
            raise InputError(
                f"batches must be alike but for the number of samples; got {_what(first)} and "
                f"{_what(inputs)}; a pair of inputs and labels goes into the list as one: "
                "[(inputs, labels)]"
            )
        check_batch(inputs, stream=stream, sample=sample)
    joined = torch.cat(found, dim=1 if stream else 0)
    check_batch(joined, stream=stream, T=network.T, sample=sample)
    return joined


def listed(batches: Any) -> list[Any]:
    """Returns the batches as a list.

    Raises:
        InputError: they are a single tensor, text, or nothing one can go through.
    """
    if isinstance(batches, Tensor | str | bytes | dict) or not hasattr(batches, "__iter__"):
        raise InputError(
            f"batches are a list of tensors or of (inputs, labels) pairs; got {_kind(batches)}; "
            "write [inputs] for a single batch"
        )
    return list(batches)


def refuse_unusable(ann: Any) -> None:
    """Raises UnsupportedModelError for what is no module, is compiled, or holds NaN."""
    if not isinstance(ann, nn.Module):
        what = f"the class {ann.__name__}" if isinstance(ann, type) else f"a {type(ann).__name__}"
        raise UnsupportedModelError(
            f"the network must be a torch module; got {what}; build it and load its weights first"
        )
    for path, module in ann.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModelError(
                f"'{path or type(ann).__name__}' is a compiled script, whose activations cannot be "
                "seen; pass the Python module it was made from"
            )
        if type(module).__name__ == "OptimizedModule":
            raise UnsupportedModelError(
                f"'{path or 'the network'}' is the result of torch.compile; pass the module before"
            )
    for name, value in [*ann.named_parameters(), *ann.named_buffers()]:
        if value.is_floating_point() and not bool(torch.isfinite(value.detach()).all()):
            raise UnsupportedModelError(
                f"'{name}' holds NaN or infinite values; the checkpoint is damaged or training "
                "diverged; load a sound one"
            )


def frozen_copy(ann: nn.Module) -> nn.Module:
    """Returns a copy of a network in eval mode, without gradients.

    A module's own `train` may return nothing, as those of mmdet's backbones do.
    """
    module = copy.deepcopy(ann)
    module.eval()
    return module.requires_grad_(False)


def blame_inputs(
    module: nn.Module, forward: Callable[[nn.Module, Any], Any], rows: Tensor, error: Exception
) -> None:
    """Raises InputError if the network itself, run as it is, fails on such inputs, too.

    Only a run can tell which sizes and types a network takes.

    Args:
        module: the network, unchanged.
        forward: how it is called.
        rows: inputs, samples in dimension 0.
        error: what the spiking run failed with.
    """
    if isinstance(error, AdacalError | torch.OutOfMemoryError):
        return
    try:
        with torch.no_grad():
            forward(module, rows[:1].detach().clone())
    except (RuntimeError, ValueError, TypeError, IndexError) as plain:
        reason = " ".join(str(plain).split())
        raise InputError(
            f"the network cannot take samples of shape {list(rows.shape[1:])} and {rows.dtype} "
            f"on {rows.device} ({reason}); prepare them as in its training"
        ) from error


def _form(inputs: Tensor, stream: bool) -> tuple[Any, ...]:
    shape = list(inputs.shape)
    return (inputs.dtype, inputs.dim(), shape[:1] + shape[2:] if stream else shape[1:])


def _what(inputs: Tensor) -> str:
    return f"shape {list(inputs.shape)} {inputs.dtype}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
