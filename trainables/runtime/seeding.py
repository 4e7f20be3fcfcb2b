"""Stateless randomness: every draw is a function of (seed, epoch, step, purpose).

A checkpoint holds no generator state and may be written between any two steps. Every configuration under one seed gets
the same weights, batches, crops and masks (common random numbers).
"""

from __future__ import annotations

import hashlib

import torch


def generator(device: torch.device, seed: int, purpose: str, epoch: int = 0, step: int = 0) -> torch.Generator:
    """Return a generator for one draw.

    Args:
        device: where the numbers are drawn; a CPU and a GPU draw different numbers.
        seed: the seed of the run.
        purpose: what is drawn (``weights``, ``order``, ``crops``, ``dropout``).
        epoch: 1 for the first epoch; 0 for a value that is drawn once.
        step: index of the mini-batch within the epoch, from 0.
    """
    key = f"{seed}/{purpose}/{epoch}/{step}".encode()
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
    return torch.Generator(device).manual_seed(drawn)
