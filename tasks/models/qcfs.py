"""Networks with quantised activations to be trained: any registered model, its ReLUs replaced.

Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural
networks" (QCFS, ICLR 2022). The model's own code stays as it is: while it runs, each call of a
ReLU is answered by `adacal.core.quantised_relu` with the trained ceiling of that call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adacal.core.checks import check_number, check_whole
from adacal.core.errors import ConfigError
from adacal.core.functions import ActivationCall, Role, activation_call, role_of
from adacal.core.quantised_relu import quantised_relu
from adacal.core.thresholds import mmse_threshold
from adacal.suite.registry import MODELS, build

Answer = Callable[[Tensor], Tensor]


@MODELS.register_module(name="qcfs")
class QcfsNetwork(nn.Module):
    """A model whose ReLUs are clipped at trained ceilings and take L levels above 0.

    Attributes:
        network: the model as it is without.
        ceilings: λ of each call of a ReLU in calling order, shape [N], activation units.
        levels: L.
    """

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        levels: int = 4,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 32,
        initial_ceiling: float = 1.0,
    ) -> None:
        """Builds the model and finds its ReLUs by one call on an empty image.

        Args:
            network: config of the model: `type` and its options.
            levels: L, levels of an activation above 0.
            num_classes, in_channels, image_size: as of the model.
            initial_ceiling: λ of every activation where training from scratch begins; the authors'
                code has 8.

        Raises:
            ConfigError: an unknown model or option, or one with activations other than ReLU.
        """
        super().__init__()
        check_whole("qcfs.levels", levels, example=4)
        check_number("qcfs.initial_ceiling", initial_ceiling, 0, above=True, example=8)
        shape = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
        self.network: nn.Module = build(MODELS, "model", {**shape, **network})
        self.levels = levels
        sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        found = rectified(self.network, torch.zeros(1, in_channels, *sides))
        if not found:
            raise ConfigError(
                f"model '{network.get('type')}' calls no ReLU that qcfs could quantise; take "
                "another network"
            )
        self.ceilings = nn.Parameter(torch.full((len(found),), float(initial_ceiling)))

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits [B, num_classes] for images [B, C, H, W]."""
        ceilings = iter(self.ceilings.unbind())
        with _InsteadOfRelu(lambda rows: quantised_relu(rows, next(ceilings), self.levels)):
            output: Tensor = self.network(images)
        return output

    @torch.no_grad()
    def fit_ceilings(self, images: Tensor) -> None:
        """Begins training with ceilings of least squared error on the ReLUs' own outputs.

        Args:
            images: training samples, shape [B, C, H, W].
        """
        for number, activation in enumerate(rectified(self.network, images)):
            values = activation.reshape(1, -1)
            self.ceilings[number] = mmse_threshold(values, self.levels, 1)[0]


def rectified(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Returns the outputs of a network's ReLUs in calling order, in eval mode.

    Args:
        network: the network; its mode is restored.
        images: what it is run on, shape [B, C, H, W].

    Raises:
        ConfigError: it calls another activation of the ReLU family.
    """
    found: list[Tensor] = []

    def answer(rows: Tensor) -> Tensor:
        found.append(torch.relu(rows))
        return found[-1]

    training = network.training
    network.eval()
    with torch.no_grad(), _InsteadOfRelu(answer):
        network(images)
    network.train(training)
    return found


class _InsteadOfRelu(TorchFunctionMode):
    """Answers every call of a ReLU, whatever torch function makes it.

    Args:
        answer: computes the activation from the pre-activation.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if role_of(func) is Role.ACTIVATION:
            call = activation_call(func, args, kwargs)
            if call is not None:
                return self._activation(call)
        return func(*args, **kwargs)

    def _activation(self, call: ActivationCall) -> Tensor:
        if call.kind != "burst":
            raise ConfigError(
                f"qcfs replaces ReLU and the network calls another activation ({call.kind}); take "
                "a network with ReLU only"
            )
        if not call.inplace:
            return self.answer(call.input)
        return call.input.copy_(self.answer(call.input.clone()))
