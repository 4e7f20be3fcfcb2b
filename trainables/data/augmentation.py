"""Augmentation of a whole batch at once, on the device of the images: random crop, random flip, normalisation.

The data set is padded once and stays uint8; one gather cuts a batch out of it. The random numbers are drawn apart
from the cropping, so every configuration under a seed gets the same crops.
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
    """The position of the crop of each of n images, and whether it is mirrored."""

    top: Tensor  # int64 [n], 0..8
    left: Tensor  # int64 [n], 0..8
    flip: Tensor  # bool [n]


def pad(images: Tensor) -> Tensor:
    """Add 4 black pixels on each side of images, uint8 ``[N, 32, 32, 3]``: ``[N, 40, 40, 3]``."""
    return torch.nn.functional.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING))


def draw_crops(n: int, generator: torch.Generator, device: torch.device | str) -> Crops:
    """Draw n crops and flips, uniform and independent; ``generator`` must belong to ``device``."""
    offsets = torch.randint(0, 2 * PADDING + 1, (2, n), generator=generator, device=device)
    flip = torch.rand(n, generator=generator, device=device) < 0.5
    return Crops(offsets[0], offsets[1], flip)


def crop_and_flip(padded: Tensor, indices: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
    """Crop a batch out of the padded data set and mirror the images with ``flip`` left to right.

    Args:
        padded: uint8 ``[N, 40, 40, 3]``, contiguous.
        indices: int64 ``[B]``, the rows of the images in ``padded``.
        top, left, flip: the crops of the batch, each ``[B]``.

    Returns:
        uint8 ``[B, 32, 32, 3]``.
    """
    span = torch.arange(SIDE, device=padded.device)
    rows = (indices * PADDED_SIDE + top)[:, None] + span  # [B, 32], rows of the data set as one tall image
    columns = left[:, None] + torch.where(flip[:, None], SIDE - 1 - span, span)  # [B, 32]
    pixels = rows[:, :, None] * PADDED_SIDE + columns[:, None, :]  # [B, 32, 32]
    # One flat index of whole pixels: four times faster than padded[i, r, c] on one CPU thread.
    return padded.view(-1, 3).index_select(0, pixels.view(-1)).view(-1, SIDE, SIDE, 3)


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale images, uint8 ``[..., 32, 32, 3]``, to mean 0 and SD 1 per channel: ``[..., 3, 32, 32]`` of ``dtype``.

    The order in memory does not change; for ``[B, 3, 32, 32]`` it is torch's channels_last.
    """
    # At least float32 here: bfloat16 has 8 bits and would round the scale.
    precise = torch.promote_types(dtype, torch.float32)
    scale, shift = _scale_and_shift(images.device, precise)
    values = images.flatten(-3).to(precise, copy=True).mul_(scale).add_(shift)
    return values.to(dtype).unflatten(-1, (SIDE, SIDE, 3)).movedim(-1, -3)


@functools.cache  # once per device: a copy from the host for every batch would make a GPU wait
def _scale_and_shift(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(x / 255 - mean) / SD = x · scale + shift, each ``[32 · 32 · 3]``: a value per channel, repeated per pixel.

    They are repeated because an inner loop over three channels is not vectorised; one over an image is 3 times faster.
    """
    mean = torch.tensor(MEAN, dtype=torch.float64).repeat(SIDE * SIDE)
    std = torch.tensor(STD, dtype=torch.float64).repeat(SIDE * SIDE)
    return (1 / (255 * std)).to(device, dtype), (-mean / std).to(device, dtype)
