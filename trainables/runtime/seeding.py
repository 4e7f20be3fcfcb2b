"""Stateless randomness: every draw is a function of (seed, epoch, step, purpose).

A checkpoint holds no generator state and may be written between any two steps. Every configuration under one seed gets
the same weights, batches, crops and masks (common random numbers).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
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
    return torch.Generator(device).manual_seed(_drawn(seed, purpose, epoch, step))


@contextmanager
def seeded_globals(device: torch.device, seed: int, purpose: str, epoch: int = 0, step: int = 0) -> Iterator[None]:
    """Seed the global generators of PyTorch, NumPy and Python for code of a user that draws from them.

    Their earlier states are restored afterwards. The arguments are as in :func:`generator`.
    """
    drawn = _drawn(seed, purpose, epoch, step)
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        torch.default_generator.manual_seed(drawn)
        if on_device is not None:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(drawn)
        np.random.seed(drawn % 2**32)
        random.seed(drawn)
        yield
    finally:
        torch.set_rng_state(states[0])
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)
        np.random.set_state(states[1])
        random.setstate(states[2])


def _drawn(seed: int, purpose: str, epoch: int, step: int) -> int:
    key = f"{seed}/{purpose}/{epoch}/{step}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1
