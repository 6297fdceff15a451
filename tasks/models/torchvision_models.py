"""Any classification network of torchvision by its name, without weights."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import nn

from adacal.core.errors import ConfigError, unknown_name
from adacal.suite.registry import MODELS


@MODELS.register_module(name="torchvision")
def torchvision_model(
    *,
    arch: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    **options: Any,
) -> nn.Module:
    """Builds `torchvision.models.<arch>(weights=None, num_classes=...)`.

    Args:
        arch: name as in `torchvision.models.list_models`, for example `resnet34`.
        num_classes: length of the output.
        in_channels: channels of the image; torchvision's networks take 3.
        image_size: height and width in pixels; the networks adapt, so it is not used.
        **options: further keyword arguments of the network.

    Raises:
        ConfigError: an unknown name or another number of channels.
    """
    del image_size
    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        raise ConfigError(unknown_name("torchvision model", arch, known))
    if in_channels != 3:
        raise ConfigError(
            f"torchvision models take 3 channels; the data has {in_channels}; "
            "use resnet_cifar, vgg or lenet"
        )
    return torchvision.models.get_model(arch, weights=None, num_classes=num_classes, **options)
