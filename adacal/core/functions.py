"""What a torch function becomes in a spiking network: one table, by name (DESIGN section 2)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from torch import Tensor


class Role(enum.Enum):
    """How interception treats a call whose arguments carry activations."""

    ACTIVATION = "activation"
    SYNAPTIC = "synaptic"
    LINEAR = "linear"
    BILINEAR = "bilinear"
    MAX_POOL = "max pool"
    ANALOGUE = "analogue"
    DATA_DEPENDENT = "data dependent"
    PLAIN = "plain"


@dataclass(frozen=True)
class ActivationCall:
    """One call of an activation function that neurons can compute.

    Attributes:
        kind: `burst`, `capped` or `signed`.
        input: the pre-activation.
        inplace: whether the caller expects `input` to be overwritten.
        cap: upper bound for `capped`.
        slope: negative slope for `signed`.
        ann_levels: levels above 0 that the activation takes, for `quantised_relu`.
    """

    kind: str
    input: Tensor
    inplace: bool
    cap: float | None = None
    slope: Tensor | float | None = None
    ann_levels: int | None = None


def names(text: str) -> frozenset[str]:
    """Splits a text into names."""
    return frozenset(text.split())


SYNAPTIC = names("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear")
AVERAGE_POOL = names(
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
)
SHAPE_ONLY = names(
    """view reshape view_as reshape_as flatten unflatten permute transpose transpose_ swapaxes
    swapdims movedim moveaxis t contiguous clone detach squeeze unsqueeze squeeze_ unsqueeze_
    expand expand_as
    repeat tile repeat_interleave chunk split split_with_sizes tensor_split unbind stack cat concat
    concatenate hstack vstack dstack narrow select index_select gather take_along_dim __getitem__
    adjoint roll flip fliplr flipud rot90 channel_shuffle native_channel_shuffle pixel_shuffle
    pixel_unshuffle unfold fold broadcast_to _dropout_identity identity"""
)
EXPANDING = names("expand expand_as broadcast_to repeat tile")
REDUCING = names(
    """mean sum amax amin max min prod nansum nanmean median norm var std logsumexp select unbind
    squeeze squeeze_"""
)
LINEAR = (
    SHAPE_ONLY
    | AVERAGE_POOL
    | names(
        """add add_ __add__ __radd__ __iadd__ sub sub_ subtract __sub__ __rsub__ __isub__ rsub neg
        neg_ negative __neg__ positive __pos__ mean sum pad interpolate upsample upsample_nearest
        upsample_bilinear batch_norm
        dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
        feature_dropout float double half bfloat16 to type type_as cuda cpu triu tril cumsum diff
        masked_fill masked_fill_ copy_ __setitem__ zero_ fill_ requires_grad_ im2col col2im"""
    )
)
BILINEAR = names(
    """mul mul_ multiply __mul__ __rmul__ __imul__ matmul __matmul__ __rmatmul__ linalg_matmul bmm
    mm addmm baddbmm addbmm addmv einsum tensordot outer ger dot vdot linalg_vecdot inner mv
    bilinear chain_matmul linalg_multi_dot div div_ divide true_divide __truediv__ __itruediv__
    __rtruediv__ __div__ grid_sample"""
)
DIVISION = names("div div_ divide true_divide __truediv__ __itruediv__ __rtruediv__ __div__")
SUMS = names("add iadd radd sub isub rsub subtract")  # without underscores
SCALINGS = DIVISION | names("mul mul_ multiply __mul__ __rmul__ __imul__")
RECURRENT = names("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
MAX_POOL = names(
    """max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
    adaptive_max_pool3d_with_indices amax max"""
)
DATA_DEPENDENT = names(
    """item tolist numpy __bool__ __int__ __float__ __index__ __array__ nonzero argwhere gt lt ge
    le eq ne __gt__ __lt__ __ge__ __le__ __eq__ __ne__ greater less greater_equal less_equal equal
    allclose isclose isnan isinf isfinite any all argmax argmin topk sort argsort kthvalue unique
    bincount histc multinomial bernoulli bernoulli_ bool int long byte sign heaviside
    masked_select"""
)
PLAIN = names(
    """size dim ndimension numel nelement stride is_contiguous storage_offset element_size
    get_device is_floating_point is_complex is_same_size data_ptr zeros_like ones_like empty_like
    full_like rand_like randn_like new_zeros new_ones new_full new_empty new_tensor _assert __len__
    __repr__ __format__ __hash__ __dir__ is_cuda sym_size result_type register_hook retain_grad
    has_names refine_names dtype layout"""
)
VIEW_PROPERTIES = frozenset({"T", "mT", "H", "mH", "data", "real"})


@lru_cache(maxsize=1024)
def function_name(function: Callable[..., Any]) -> str:
    """Returns the name a function is known by, in-place underscore kept.

    >>> import torch
    >>> function_name(torch.relu_), function_name(torch.Tensor.shape.__get__)
    ('relu_', 'shape')
    """
    name = getattr(function, "__name__", type(function).__name__)
    if name in {"__get__", "__set__"}:
        return str(getattr(function.__self__, "__name__", name))  # type: ignore[attr-defined]
    return str(name)


@lru_cache(maxsize=1024)
def role_of(function: Callable[..., Any]) -> Role:
    """Says what a torch function becomes; what is not known here is analogue.

    >>> import torch
    >>> role_of(torch.nn.functional.conv2d), role_of(torch.sigmoid)
    (<Role.SYNAPTIC: 'synaptic'>, <Role.ANALOGUE: 'analogue'>)
    """
    name = function_name(function)
    if getattr(function, "__name__", "") == "__get__":
        return Role.LINEAR if name in VIEW_PROPERTIES else Role.PLAIN
    if name in SYNAPTIC:
        return Role.SYNAPTIC
    if name in LINEAR:
        return Role.LINEAR
    if name in BILINEAR:
        return Role.BILINEAR
    if name in MAX_POOL:
        return Role.MAX_POOL
    if name in DATA_DEPENDENT:
        return Role.DATA_DEPENDENT
    if name in PLAIN:
        return Role.PLAIN
    if name in _PARSERS:
        return Role.ACTIVATION
    return Role.ANALOGUE


def activation_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ActivationCall | None:
    """Reads a call of the ReLU family; None if neurons cannot compute it (then it is analogue)."""
    name = function_name(function)
    parsed = _PARSERS[name](*args, **kwargs)
    if parsed is None or not name.endswith("_"):
        return parsed
    return replace(parsed, inplace=True)


def _relu(input: Tensor, inplace: bool = False) -> ActivationCall:
    return ActivationCall("burst", input, inplace)


def _relu6(input: Tensor, inplace: bool = False) -> ActivationCall:
    return ActivationCall("capped", input, inplace, cap=6.0)


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> ActivationCall | None:
    if min_val != 0 or max_val <= 0:
        return None
    return ActivationCall("capped", input, inplace, cap=float(max_val))


def _clamp(input: Tensor, min: Any = None, max: Any = None) -> ActivationCall | None:
    if isinstance(min, Tensor) or isinstance(max, Tensor) or min is None or min != 0:
        return None
    if max is None:
        return ActivationCall("burst", input, False)
    return ActivationCall("capped", input, False, cap=float(max)) if max > 0 else None


def _threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False
) -> ActivationCall | None:
    if threshold != 0 or value != 0:
        return None
    return ActivationCall("burst", input, inplace)


def _leaky_relu(
    input: Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> ActivationCall:
    return ActivationCall("signed", input, inplace, slope=float(negative_slope))


def _prelu(input: Tensor, weight: Tensor) -> ActivationCall:
    slope = weight.detach()
    return ActivationCall("signed", input, False, slope=slope[0] if slope.numel() == 1 else slope)


def _quantised_relu(input: Tensor, ceiling: Tensor | float, levels: int) -> ActivationCall:
    return ActivationCall("capped", input, False, cap=float(ceiling), ann_levels=levels)


_PARSERS: dict[str, Callable[..., ActivationCall | None]] = {
    "relu": _relu,
    "relu_": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "hardtanh_": _hardtanh,
    "clamp": _clamp,
    "clamp_": _clamp,
    "clip": _clamp,
    "clip_": _clamp,
    "clamp_min": _clamp,
    "clamp_min_": _clamp,
    "threshold": _threshold,
    "_threshold": _threshold,
    "threshold_": _threshold,
    "leaky_relu": _leaky_relu,
    "leaky_relu_": _leaky_relu,
    "prelu": _prelu,
    "quantised_relu": _quantised_relu,
}
