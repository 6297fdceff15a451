"""Any classification network of torchvision by its name, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from adacal.core.errors import ConfigError, unknown_name
from adacal.suite.registry import MODELS


@MODELS.register_module(name="torchvision")
def torchvision_model(
    *,
    arch: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int | Sequence[int] = 224,
    **options: Any,
) -> nn.Module:
    """Builds `torchvision.models.<arch>(weights=None, num_classes=...)`.

    Args:
        arch: name as in `torchvision.models.list_models`, for example `resnet34`.
        num_classes: length of the output.
        in_channels: channels of the image; where they are not torchvision's 3, the first
            convolution is made anew for them, so published weights do not fit.
        image_size: height and width in pixels; the networks adapt, so it is not used.
        **options: further keyword arguments of the network.

    Raises:
        ConfigError: an unknown name, or no channels.
    """
    import torchvision

    del image_size
    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        raise ConfigError(unknown_name("torchvision model", arch, known))
    if in_channels < 1:
        raise ConfigError(f"a torchvision model needs 1 or more in_channels; got {in_channels}")
    module = torchvision.models.get_model(arch, weights=None, num_classes=num_classes, **options)
    return module if in_channels == 3 else with_channels(module, in_channels)


def with_channels(module: nn.Module, in_channels: int) -> nn.Module:
    """Replaces the convolution that sees the image by one for another number of channels.

    Args:
        module: a network whose first convolution takes the image, as all of torchvision's do.
        in_channels: channels of the image.

    Returns:
        The same network, with new random weights in that one layer.
    """
    name, first = next(
        (name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)
    )
    layer = nn.Conv2d(
        in_channels,
        first.out_channels,
        _pair(first.kernel_size),
        stride=_pair(first.stride),
        padding=first.padding if isinstance(first.padding, str) else _pair(first.padding),
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)
    return module


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    return sides[0], sides[1]
