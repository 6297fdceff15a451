"""PointNet (Qi et al. 2017): the same layers on every point, then one pooling over all points.

The layers are Linear on rows of points [B*P, C], the reference's Conv1d of kernel 1 (a step of
training on 32 clouds takes 0.19 s so and 0.21 s by Conv1d, four layers, one thread). A point has no
fixed place, so its neurons share what calibration finds for their channel.

A maximum over the points is a max pool, which the conversion knows (the running-max rule), an
average is linear, so every layer but the last feeds neurons. The alignment networks (T-Nets) are
off by default: their output is a matrix that multiplies the points. On the input that product has
one changing factor and is linear, yet the points then differ from step to step and the first layer
multiplies at every step. On the features it is a product of two spike trains, which is no spiking
arithmetic: it stays analogue with a flag in the report, and `strict=True` refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adacal.core.errors import ConfigError
from adacal.suite.registry import MODELS

POOLS = ("max", "mean")


class RowLayers(nn.Sequential):
    """Linear, batch-norm and ReLU for each width, on rows [N, C]."""

    def __init__(self, in_features: int, widths: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(in_features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            in_features = width
        super().__init__(*layers)
        self.out_features = in_features


class TNet(nn.Module):
    """Predicts a matrix [B, size, size] for each cloud from its points; the identity at first."""

    def __init__(
        self, size: int, widths: Sequence[int], hidden: Sequence[int], *, pool: str = "max"
    ) -> None:
        super().__init__()
        self.size, self.pool = size, pool
        self.points = RowLayers(size, widths)
        self.whole = RowLayers(self.points.out_features, hidden)
        self.matrix = nn.Linear(self.whole.out_features, size * size)
        nn.init.zeros_(self.matrix.weight)
        with torch.no_grad():
            self.matrix.bias.copy_(torch.eye(size).flatten())

    def forward(self, rows: Tensor, points: int) -> Tensor:
        """Returns matrices [B, size, size] for rows [B*points, size]."""
        pooled = pool_points(self.points(rows), points, self.pool)
        return self.matrix(self.whole(pooled)).reshape(-1, self.size, self.size)


class PointFeatures(nn.Module):
    """The layers that PointNets share: from clouds to features of points and of the whole."""

    def __init__(
        self,
        *,
        in_features: int,
        local_widths: Sequence[int],
        widths: Sequence[int],
        pool: str,
        input_transform: bool,
        feature_transform: bool,
        transform_widths: Sequence[int],
        transform_hidden: Sequence[int],
    ) -> None:
        """Builds the layers; see `PointNet` for the arguments.

        Raises:
            ConfigError: an unknown pooling, or no layers.
        """
        super().__init__()
        if pool not in POOLS:
            raise ConfigError(f"pointnet.pool must be 'max' or 'mean'; got {pool!r}; try 'max'")
        if not local_widths or not widths:
            raise ConfigError(
                "pointnet.local_widths and pointnet.widths need a layer each; got "
                f"{list(local_widths)} and {list(widths)}; try (64, 64) and (128,)"
            )
        self.pool = pool
        sizes = (transform_widths, transform_hidden)
        self.input_transform = TNet(in_features, *sizes, pool=pool) if input_transform else None
        self.local = RowLayers(in_features, local_widths)
        self.local_features = self.local.out_features
        self.feature_transform = (
            TNet(self.local_features, *sizes, pool=pool) if feature_transform else None
        )
        self.shared = RowLayers(self.local_features, widths)
        self.out_features = self.shared.out_features

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features of points [B*P, local_features] and of clouds [B, out_features]."""
        points = clouds.shape[1]
        rows = clouds.flatten(0, 1)
        rows = self.local(transformed(rows, points, self.input_transform))
        local = transformed(rows, points, self.feature_transform)
        return local, pool_points(self.shared(local), points, self.pool)


@MODELS.register_module(name="pointnet")
class PointNet(nn.Module):
    """Classifies clouds."""

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_features: int = 3,
        local_widths: Sequence[int] = (64, 64),
        widths: Sequence[int] = (64, 128, 1024),
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.3,
        pool: str = "max",
        input_transform: bool = False,
        feature_transform: bool = False,
        transform_widths: Sequence[int] = (64, 128, 1024),
        transform_hidden: Sequence[int] = (512, 256),
    ) -> None:
        """Builds the layers; the widths are the reference's by default.

        Args:
            num_classes: length of the output.
            in_features: numbers a point has, its coordinates.
            local_widths: of the layers on points before the feature transform.
            widths: of the layers on points after it; their output is pooled.
            hidden: of the layers on the pooled features.
            dropout: probability before the last layer while training.
            pool: over the points: `max` or `mean`.
            input_transform: predicts a matrix for the points.
            feature_transform: predicts a matrix for the features of the points.
            transform_widths: of the layers on points of these networks.
            transform_hidden: of their layers on the pooled features.

        Raises:
            ConfigError: an unknown pooling, or no layers.
        """
        super().__init__()
        self.features = PointFeatures(
            in_features=in_features,
            local_widths=local_widths,
            widths=widths,
            pool=pool,
            input_transform=input_transform,
            feature_transform=feature_transform,
            transform_widths=transform_widths,
            transform_hidden=transform_hidden,
        )
        self.whole = RowLayers(self.features.out_features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.whole.out_features, num_classes)

    def forward(self, clouds: Tensor) -> Tensor:
        """Returns logits [B, num_classes] for clouds [B, P, 3]."""
        _, pooled = self.features(clouds)
        return self.classifier(self.dropout(self.whole(pooled)))


@MODELS.register_module(name="pointnet_parts")
class PointNetParts(nn.Module):
    """Tells the part of every point, from its own features and those of the whole cloud.

    The reference joins both in one vector a point. A layer on joined vectors is the sum of a layer
    on each, so the layer on the whole cloud is computed once a cloud and not once a point.
    """

    def __init__(
        self,
        *,
        num_parts: int = 4,
        in_features: int = 3,
        local_widths: Sequence[int] = (64, 64),
        widths: Sequence[int] = (64, 128, 1024),
        hidden: Sequence[int] = (512, 256, 128),
        dropout: float = 0.0,
        pool: str = "max",
        input_transform: bool = False,
        feature_transform: bool = False,
        transform_widths: Sequence[int] = (64, 128, 1024),
        transform_hidden: Sequence[int] = (512, 256),
    ) -> None:
        """Builds the layers; the widths are the reference's by default.

        Args:
            num_parts: parts to tell apart.
            hidden: of the layers on points after the pooling.
            in_features, local_widths, widths, dropout, pool, input_transform, feature_transform,
                transform_widths, transform_hidden: as of `PointNet`.

        Raises:
            ConfigError: an unknown pooling, or no layers.
        """
        super().__init__()
        if not hidden:
            raise ConfigError("pointnet_parts.hidden needs a layer; got none; try (128, 64)")
        self.features = PointFeatures(
            in_features=in_features,
            local_widths=local_widths,
            widths=widths,
            pool=pool,
            input_transform=input_transform,
            feature_transform=feature_transform,
            transform_widths=transform_widths,
            transform_hidden=transform_hidden,
        )
        self.of_point = nn.Linear(self.features.local_features, hidden[0], bias=False)
        self.of_cloud = nn.Linear(self.features.out_features, hidden[0], bias=False)
        self.joined = nn.Sequential(nn.BatchNorm1d(hidden[0]), nn.ReLU())
        self.rest = RowLayers(hidden[0], hidden[1:])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.rest.out_features, num_parts)

    def forward(self, clouds: Tensor) -> Tensor:
        """Returns logits [B, num_parts, P] for clouds [B, P, 3]."""
        points = clouds.shape[1]
        local, pooled = self.features(clouds)
        by_cloud = self.of_point(local).unflatten(0, (-1, points))
        by_cloud = by_cloud + self.of_cloud(pooled).unsqueeze(1)
        rows = self.rest(self.joined(by_cloud.flatten(0, 1)))
        logits = self.classifier(self.dropout(rows))
        return logits.unflatten(0, (-1, points)).transpose(1, 2)


def transformed(rows: Tensor, points: int, network: nn.Module | None) -> Tensor:
    """Multiplies the points of each cloud, rows [B*points, C], with the matrix predicted for it."""
    if network is None:
        return rows
    matrix = network(rows, points)
    return torch.bmm(rows.unflatten(0, (-1, points)), matrix).flatten(0, 1)


def pool_points(rows: Tensor, points: int, pool: str) -> Tensor:
    """Pools rows [B*points, C] over the points of each cloud to [B, C]."""
    clouds = rows.unflatten(0, (-1, points))
    return clouds.amax(1) if pool == "max" else clouds.mean(1)
