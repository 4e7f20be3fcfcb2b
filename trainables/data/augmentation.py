"""Augmentation of a whole batch at once, on whatever device the images live: random crop, random flip, normalise.

The data set is padded once and stays uint8; a batch is cut out of it by one gather. Draws come apart from the
cutting, so every configuration under a seed can be given the same ones.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

MEAN = (0.5071, 0.4867, 0.4408)
STD = (0.2675, 0.2565, 0.2761)
PADDING = 4
SIDE = 32
PADDED_SIDE = SIDE + 2 * PADDING


class Crops(NamedTuple):
    """Where each of n images is cut, and whether it is mirrored."""

    top: Tensor  # int64 [n], 0..8
    left: Tensor  # int64 [n], 0..8
    flip: Tensor  # bool [n]


def pad(images: Tensor) -> Tensor:
    """Surround images, uint8 ``[N, 32, 32, 3]``, by 4 black pixels: ``[N, 40, 40, 3]``."""
    return torch.nn.functional.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING))


def draw_crops(n: int, generator: torch.Generator, device: torch.device | str) -> Crops:
    """Draw n crops and flips, uniform and independent; ``generator`` must belong to ``device``."""
    offsets = torch.randint(0, 2 * PADDING + 1, (2, n), generator=generator, device=device)
    flip = torch.rand(n, generator=generator, device=device) < 0.5
    return Crops(offsets[0], offsets[1], flip)


def crop_and_flip(padded: Tensor, indices: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
    """Cut a batch out of the padded data set and mirror the chosen images left to right.

    Args:
        padded: uint8 ``[N, 40, 40, 3]``, contiguous.
        indices: int64 ``[B]``, the images' rows in ``padded``.
        top, left, flip: the batch's crops, each ``[B]``.

    Returns:
        uint8 ``[B, 32, 32, 3]``.
    """
    span = torch.arange(SIDE, device=padded.device)
    rows = (indices * PADDED_SIDE + top)[:, None] + span  # [B, 32], rows of the data set seen as one tall picture
    columns = left[:, None] + torch.where(flip[:, None], SIDE - 1 - span, span)  # [B, 32]
    pixels = rows[:, :, None] * PADDED_SIDE + columns[:, None, :]  # [B, 32, 32]
    # Whole pixels by one flat index: four times quicker than padded[i, r, c] on one thread of a CPU.
    return padded.view(-1, 3).index_select(0, pixels.view(-1)).view(-1, SIDE, SIDE, 3)


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale images, uint8 ``[..., 32, 32, 3]``, to zero mean and unit SD a channel: ``[..., 3, 32, 32]`` of ``dtype``.

    The result keeps the order of the pixels in memory, which for ``[B, 3, 32, 32]`` is torch's channels_last.
    """
    # At least float32 inside: bfloat16 holds 8 bits, and would round the scale before it is used.
    precise = torch.promote_types(dtype, torch.float32)
    scale, shift = _scale_and_shift(images.device, precise)
    values = images.flatten(-3).to(precise, copy=True).mul_(scale).add_(shift)
    return values.to(dtype).unflatten(-1, (SIDE, SIDE, 3)).movedim(-1, -3)


@functools.cache  # made once a device: a copy from the host at every batch would make a GPU wait
def _scale_and_shift(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(x / 255 - mean) / SD = x · scale + shift, each ``[32 · 32 · 3]``: one value a channel, repeated for each pixel.

    Repeated, because an inner loop over three channels cannot be vectorised; over a whole image it is 3 times quicker.
    """
    mean = torch.tensor(MEAN, dtype=torch.float64).repeat(SIDE * SIDE)
    std = torch.tensor(STD, dtype=torch.float64).repeat(SIDE * SIDE)
    return (1 / (255 * std)).to(device, dtype), (-mean / std).to(device, dtype)
