"""What the training needs of a model: its initial state, and one forward pass of K models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Masks = tuple[Tensor, Tensor]
"""Dropout masks of LeNet-5, scaled by 1/(1-p): ``[B, 120]`` and ``[B, 84]``; in a pack with a leading ``[K]`` or
``[1]``."""


@dataclass(frozen=True)
class ModelState:
    """The parameters and the buffers of one model, by name, on the CPU."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Draws:
    """What the random draws of one forward pass in training depend on, besides their purpose."""

    seed: int = 0
    epoch: int = 0
    step: int = 0


NO_DRAWS = Draws()


class Model(Protocol):
    """One architecture for C classes, as a function of the stacked parameters of K models."""

    name: str
    """As in the spec."""
    splits_batches: bool
    """Whether the gradients of two halves of a batch add up to those of the batch."""
    capturable: bool
    """Whether CUDA graphs can capture its pass."""

    def initial_state(self, seed: int, dtype: torch.dtype) -> ModelState:
        """Return the initial state of ``seed``; it depends on nothing else."""

    def train_logits(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], images: Tensor,
        masks: Masks | None, draws: Draws,
    ) -> Tensor:  # fmt: skip
        """Return the logits ``[K, B, C]`` in training mode, where buffers may change in place.

        Args:
            parameters: those of K models, each with a leading ``[K]``.
            buffers: the same of their buffers.
            images: ``[B, 3, 32, 32]`` where all models see the same batch, or ``[K, B, 3, 32, 32]``.
            masks: the dropout masks of a model that has :func:`~trainables.models.registry.masked_units`.
            draws: where another model's random draws come from.
        """

    def eval_logits(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Return the logits ``[K, B, C]`` in evaluation mode; the arguments are as in :meth:`train_logits`."""
