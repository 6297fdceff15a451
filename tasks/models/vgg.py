"""VGG networks with batch-norm and average pooling, as spiking papers use them on small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adacal.core.errors import ConfigError
from adacal.suite.registry import MODELS

VGG16 = (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P")


@MODELS.register_module(name="vgg")
class Vgg(nn.Module):
    """3x3 convolutions with batch-norm and ReLU, pooling between stages, then linear layers."""

    def __init__(
        self,
        *,
        layers: Sequence[int | str] = VGG16,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        pool: str = "avg",
        global_pool: bool = False,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 32,
    ) -> None:
        """Builds the layers.

        Args:
            layers: channels of each convolution, and 'P' for a 2x2 pooling; VGG-16 by default.
            hidden: widths of hidden linear layers; none by default.
            dropout: probability after each hidden linear layer while training.
            pool: `avg` or `max`.
            global_pool: averages over what is left of the image before the linear layers.
            num_classes: length of the output.
            in_channels: channels of the image.
            image_size: height and width in pixels, or one number for squares.

        Raises:
            ConfigError: a layer or pooling that is not known, or an image too small for the pools.
        """
        super().__init__()
        if pool not in ("avg", "max"):
            raise ConfigError(f"vgg.pool must be 'avg' or 'max'; got {pool!r}; try 'avg'")
        features: list[nn.Module] = []
        channels = in_channels
        sides = [image_size] * 2 if isinstance(image_size, int) else list(image_size)
        for layer in layers:
            if layer == "P":
                features.append(nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            elif isinstance(layer, int) and layer > 0:
                features.append(nn.Conv2d(channels, layer, 3, padding=1, bias=False))
                features += [nn.BatchNorm2d(layer), nn.ReLU()]
                channels = layer
            else:
                raise ConfigError(f"vgg.layers holds widths and 'P'; got {layer!r}; correct it")
        if min(sides) < 1:
            raise ConfigError(
                f"vgg pools {list(layers).count('P')} times, too often for {image_size} pixels; "
                "leave out a 'P'"
            )
        if global_pool:
            features.append(nn.AdaptiveAvgPool2d(1))
            sides = [1, 1]
        self.features = nn.Sequential(*features)
        classifier: list[nn.Module] = []
        previous = channels * sides[0] * sides[1]
        for units in hidden:
            classifier += [nn.Linear(previous, units), nn.ReLU()]
            if dropout:
                classifier.append(nn.Dropout(dropout))
            previous = units
        classifier.append(nn.Linear(previous, num_classes))
        self.classifier = nn.Sequential(*classifier)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits [B, num_classes] for images [B, C, H, W]."""
        return self.classifier(torch.flatten(self.features(images), 1))
