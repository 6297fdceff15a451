"""Residual networks for small images (He et al. 2016, section 4.2): depth 6n + 2, three stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from adacal.core.errors import ConfigError
from adacal.suite.registry import MODELS


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm, and a shortcut (1x1 where the shapes differ)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        """Builds the layers.

        Args:
            in_channels: channels that come in.
            channels: channels of both convolutions.
            stride: of the first convolution and of the shortcut.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output, shape [B, channels, H / stride, W / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


@MODELS.register_module(name="resnet_cifar")
class ResNetCifar(nn.Module):
    """ResNet-20, 32, 44, … with three stages, average pooling and one linear layer."""

    def __init__(
        self,
        *,
        depth: int = 20,
        width: int = 16,
        widths: Sequence[int] | None = None,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int | Sequence[int] = 32,
    ) -> None:
        """Builds the layers.

        Args:
            depth: number of layers, 6n + 2.
            width: channels of the first stage; the next two have twice and four times as many.
            widths: channels of the three stages where they should not follow from `width`.
            num_classes: length of the output.
            in_channels: channels of the image.
            image_size: height and width in pixels; any size works, so it is not used.

        Raises:
            ConfigError: a depth that is not 6n + 2, or not three positive widths.
        """
        super().__init__()
        del image_size
        if depth < 8 or (depth - 2) % 6:
            raise ConfigError(f"resnet_cifar.depth must be 6n + 2; got {depth}; try 20 or 32")
        stages = tuple(widths) if widths is not None else (width, 2 * width, 4 * width)
        if len(stages) != 3 or min(stages) < 1:
            raise ConfigError(f"resnet_cifar needs three positive widths; got {stages}")
        self.conv1 = nn.Conv2d(in_channels, stages[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stages[0])
        blocks: list[nn.Module] = []
        previous = stages[0]
        for stage, channels in enumerate(stages):
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(previous, channels, stride))
                previous = channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(previous, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits [B, num_classes] for images [B, C, H, W]."""
        out = self.blocks(F.relu(self.bn1(self.conv1(images))))
        return self.classifier(self.pool(out).flatten(1))
