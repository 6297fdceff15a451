"""The activation of networks trained for conversion: ReLU clipped at a ceiling, in a few levels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from adacal.core.kernels import quantise


def quantised_relu(input: Tensor, ceiling: Tensor | float, levels: int) -> Tensor:
    """Quantisation-clip-floor-shift: `λ/L * clip(floor(x*L/λ + 1/2), 0, L)` (Bu et al. 2022).

    It is what an integrate-and-fire neuron of threshold λ that starts at λ/2 sends on average over
    L steps of constant current. Backwards the floor is passed straight through: the gradient for x
    is 1 from 0 to λ and 0 elsewhere, that for λ is 1 above λ and what rounding adds, over λ, below.
    These are the gradients of the authors' training code, which clips before it rounds. Rounding
    first, as the formula reads, would pass them from -λ/2L to λ + λ/2L.

    A conversion sees one call of it, as of torch's own functions, and gives it neurons.

    Args:
        input: pre-activation x, any shape.
        ceiling: λ > 0, one number; may need a gradient.
        levels: L, levels above 0.
    Returns:
        The activation, shape of `input`.

    >>> quantised_relu(torch.tensor([-1.0, 0.6, 1.1, 9.0]), 2.0, levels=4)
    tensor([0.0000, 0.5000, 1.0000, 2.0000])
    """
    if has_torch_function((input,)):
        return handle_torch_function(  # type: ignore[no-any-return]
            quantised_relu, (input,), input, ceiling, levels
        )
    limit = torch.as_tensor(ceiling, dtype=input.dtype, device=input.device)
    return _QuantisedRelu.apply(input, limit, levels)  # type: ignore[no-any-return]


class _QuantisedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, ceiling: Tensor, levels: int) -> Tensor:
        output = quantise(input, ceiling, 1, levels)
        ctx.save_for_backward(input, ceiling, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        input, ceiling, output = ctx.saved_tensors
        inside = (input >= 0) & (input <= ceiling)
        of_ceiling = None
        if ctx.needs_input_grad[1]:
            rounding = torch.where(inside, output - input, output) / ceiling
            of_ceiling = (gradient * rounding).sum().reshape(ceiling.shape)
        return gradient * inside, of_ceiling, None
