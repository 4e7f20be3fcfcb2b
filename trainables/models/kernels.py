"""The kernels that compute the convolutions of a pack: PyTorch's, or the compiled ones where they apply."""

from __future__ import annotations

import torch

from search_spaces import Protocol
from search_spaces.models import LENET5
from trainables.models.compiled_convolutions import library

TORCH, COMPILED = "torch", "compiled"
"""PyTorch's kernels; :mod:`trainables.models.compiled_convolutions`."""


def usable_kernels(asked: str, protocol: Protocol, device: torch.device) -> str:
    """Return ``asked`` where it applies: the compiled kernels are for LeNet-5 on a CPU. Else PyTorch's.

    Raises:
        CompilerError: the compiled kernels apply, and cannot be compiled or loaded here.
    """
    if asked == TORCH or protocol.model != LENET5 or device.type != "cpu":
        return TORCH
    library()
    return COMPILED
