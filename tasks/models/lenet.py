"""LeNet-5 with ReLU and pooling, for 28x28 and 32x32 images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adacal.core.errors import ConfigError
from adacal.suite.registry import MODELS


@MODELS.register_module(name="lenet")
class LeNet(nn.Module):
    """Two convolutions with pooling and three linear layers; every activation is a ReLU."""

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int | Sequence[int] = 28,
        channels: Sequence[int] = (6, 16),
        hidden: Sequence[int] = (120, 84),
        pool: str = "avg",
    ) -> None:
        """Builds the layers.

        Args:
            num_classes: length of the output.
            in_channels: channels of the image.
            image_size: height and width in pixels, even; 28 is padded so that it acts like 32.
            channels: channels of the two convolutions.
            hidden: widths of the two hidden linear layers.
            pool: `avg` or `max`.

        Raises:
            ConfigError: an unknown pooling or an image that is too small, odd or not square.
        """
        super().__init__()
        if pool not in ("avg", "max"):
            raise ConfigError(f"lenet.pool must be 'avg' or 'max'; got {pool!r}; try 'avg'")
        if not isinstance(image_size, int):
            raise ConfigError(
                f"lenet takes square images; got {tuple(image_size)}; set task.dataset.image_size "
                "to one number, or take a network that pools over the whole image"
            )
        if image_size < 16 or image_size % 2:
            raise ConfigError(f"lenet needs an even image size of 16 or more; got {image_size}")
        padding = max(0, (32 - image_size) // 2)
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        pooling = nn.AvgPool2d if pool == "avg" else nn.MaxPool2d
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], 5, padding=padding),
            nn.ReLU(),
            pooling(2),
            nn.Conv2d(channels[0], channels[1], 5),
            nn.ReLU(),
            pooling(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(channels[1] * side * side, hidden[0]),
            nn.ReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            nn.Linear(hidden[1], num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits [B, num_classes] for images [B, C, H, W]."""
        return self.classifier(torch.flatten(self.features(images), 1))
