"""Random variants of whole image batches: shifts, flips, small affine maps, colour changes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crop(
    images: Tensor, padding: int, generator: torch.Generator, *, mode: str = "constant"
) -> Tensor:
    """Pads all sides and cuts a window of the old size at a random place of each image.

    Args:
        images: shape [B, C, H, W].
        padding: pixels added on each side.
        generator: source of randomness, on the CPU.
        mode: padding mode of `torch.nn.functional.pad`; `constant` pads with zeros.

    Returns:
        Shifted images, shape [B, C, H, W].
    """
    batch, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4, mode=mode)
    offsets = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator).to(images.device)
    rows = offsets[0][:, None] + torch.arange(height, device=images.device)
    columns = offsets[1][:, None] + torch.arange(width, device=images.device)
    which = torch.arange(batch, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability one half; shape [B, C, H, W]."""
    chosen = torch.rand(images.shape[0], generator=generator).to(images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    *,
    degrees: float,
    scale: float,
    shear: float,
    shift: float,
    padding_mode: str = "zeros",
) -> Tensor:
    """Turns, scales, shears and shifts each image a little, with bilinear interpolation.

    Args:
        images: shape [B, C, H, W].
        generator: source of randomness, on the CPU.
        degrees: largest rotation either way.
        scale: largest relative change of size either way, for each axis on its own.
        shear: largest shear factor either way.
        shift: largest shift either way, in pixels.
        padding_mode: what lies outside: `zeros`, `border` or `reflection`.

    Returns:
        Changed images, shape [B, C, H, W].
    """
    batch, _, height, width = images.shape
    draw = torch.rand(6, batch, generator=generator) * 2.0 - 1.0
    angle = draw[0] * math.radians(degrees)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    wide, high = 1.0 + draw[1] * scale, 1.0 + draw[2] * scale
    slant = draw[3] * shear
    rows = [
        torch.stack([cosine * wide, slant * cosine - sine * high, draw[4] * 2 * shift / width], 1),
        torch.stack([sine * wide, slant * sine + cosine * high, draw[5] * 2 * shift / height], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1).to(images), list(images.shape), align_corners=False)
    return F.grid_sample(
        images, grid, mode="bilinear", padding_mode=padding_mode, align_corners=False
    )


def random_colour(
    images: Tensor, generator: torch.Generator, *, contrast: float, brightness: float
) -> Tensor:
    """Permutes the channels, inverts half the images and changes contrast and brightness.

    Args:
        images: values in [0, 1], shape [B, C, H, W].
        generator: source of randomness, on the CPU.
        contrast: largest relative change of contrast either way.
        brightness: largest change of brightness either way, in units of [0, 1] pixels.

    Returns:
        Changed images in [0, 1], shape [B, C, H, W].
    """
    batch, channels = images.shape[:2]
    order = torch.rand(batch, channels, generator=generator).argsort(1).to(images.device)
    mixed = torch.gather(images, 1, order[:, :, None, None].expand_as(images))
    draw = (torch.rand(3, batch, generator=generator) * 2.0 - 1.0).to(images.device)
    sign = torch.where(draw[0] < 0.0, -1.0, 1.0)
    gain = (sign * (1.0 + contrast * draw[1]))[:, None, None, None]
    offset = (0.5 + brightness * draw[2])[:, None, None, None]
    return ((mixed - 0.5) * gain + offset).clamp_(0.0, 1.0)
