"""LeNet-5 as a :class:`Model`: the pass that is stacked by hand, which is the fastest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.models import LENET5
from trainables.models.interface import Draws, Masks, ModelState
from trainables.models.lenet import CompiledConvolutions, initial_parameters, stacked_logits


class StackedLeNet5:
    """LeNet-5 for C classes. Its dropout masks are drawn with the batch."""

    name = LENET5
    splits_batches = True
    capturable = True

    def __init__(self, classes: int, compiled: bool = False) -> None:
        """``compiled``: convolutions on a CPU by compiled kernels, whose gradients have no second derivative."""
        self._classes = classes
        self._convolutions = CompiledConvolutions() if compiled else None

    def initial_state(self, seed: int, dtype: torch.dtype) -> ModelState:
        """See :meth:`Model.initial_state`."""
        return ModelState(initial_parameters(seed, dtype, self._classes))

    def train_logits(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], images: Tensor,
        masks: Masks | None, draws: Draws,
    ) -> Tensor:  # fmt: skip
        """See :meth:`Model.train_logits`."""
        return stacked_logits(parameters, images, masks, self._convolutions)

    def eval_logits(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """See :meth:`Model.eval_logits`."""
        return stacked_logits(parameters, images, convolutions=self._convolutions)
