"""The kernels that compute the convolutions of a pack: PyTorch's in one of two forms, or the compiled ones."""

from __future__ import annotations

import torch

from search_spaces import Protocol
from search_spaces.models import LENET5
from trainables.models.compiled_convolutions import library
from trainables.models.lenet import CONVOLUTIONS, convolution_for

TORCH, COMPILED = "torch", "compiled"
"""PyTorch's kernels; :mod:`trainables.models.compiled_convolutions`."""


def usable_kernels(asked: str, protocol: Protocol, device: torch.device, models: int) -> str:
    """Return the kernels of ``models`` models on ``device``: ``asked`` where they apply, else PyTorch's.

    All but TORCH are for LeNet-5, and the compiled kernels for a CPU. On a GPU, PyTorch's kernels have two forms, which
    round differently: the names of ``CONVOLUTIONS``, by default that of :func:`convolution_for`.

    Raises:
        CompilerError: the compiled kernels apply, and cannot be compiled or loaded here.
    """
    if protocol.model != LENET5:
        return TORCH
    if asked == COMPILED and device.type == "cpu":
        library()
        return COMPILED
    if asked in CONVOLUTIONS:
        return asked
    return convolution_for(device, models) if device.type == "cuda" else TORCH
