"""Stateless randomness: every draw is a function of (seed, epoch, step, purpose).

No generator state is ever carried along, so a checkpoint may be taken between any two steps, and every
configuration under one seed sees the same weights, batches, crops and masks (common random numbers).
"""

from __future__ import annotations

import hashlib

import torch


def generator(device: torch.device, seed: int, purpose: str, epoch: int = 0, step: int = 0) -> torch.Generator:
    """Return a generator for one draw.

    Args:
        device: where the numbers are drawn; another kind of device draws other numbers.
        seed: the run's seed.
        purpose: what the draw decides (``weights``, ``order``, ``crops``, ``dropout``).
        epoch: 1 for the first epoch; 0 for what is drawn once.
        step: index of the mini-batch within the epoch, from 0.
    """
    key = f"{seed}/{purpose}/{epoch}/{step}".encode()
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
    return torch.Generator(device).manual_seed(drawn)
