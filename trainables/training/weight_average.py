"""The exponential moving average of the weights of a pack, which is evaluated in place of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainables.models.parameter_stack import ParameterStack


class WeightAverage:
    """The average of the weights after each step; after the first step it is equal to the weights.

    It is that of ``torch.optim.swa_utils.AveragedModel`` with ``get_ema_multi_avg_fn(decay)``. While a pack is
    evaluated, the stack holds the average, and :attr:`other` holds the weights that are trained.
    """

    def __init__(self, stack: ParameterStack, decay: float) -> None:
        self._stack = stack
        self._update = get_ema_multi_avg_fn(decay)
        self.other = {name: leaf.detach().clone() for name, leaf in stack.stacked.items()}
        self.steps = 0  # averaged so far
        self.evaluated = False  # whether the stack holds the average

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step."""
        average, present = list(self.other.values()), [leaf.detach() for leaf in self._stack.stacked.values()]
        if self.steps == 0:
            torch._foreach_copy_(average, present)
        else:
            self._update(average, present, self.steps)  # it does not use the number
        self.steps += 1

    @torch.no_grad()
    def evaluate(self, wanted: bool) -> None:
        """Give the stack the average, or the weights that are trained."""
        if wanted != self.evaluated:
            self.evaluated = wanted
            for name, leaf in self._stack.stacked.items():
                kept = leaf.detach().clone()
                leaf.copy_(self.other[name])
                self.other[name].copy_(kept)

    def state_dict(self, k: int) -> dict[str, Any]:
        """Return the state of member k."""
        other = {name: tensor[k] for name, tensor in self.other.items()}
        return {"other": other, "steps": self.steps, "evaluated": self.evaluated}

    @torch.no_grad()
    def load_state_dict(self, k: int, state: Mapping[str, Any]) -> None:
        """Load what :meth:`state_dict` returned for member k."""
        for name, tensor in self.other.items():
            tensor[k] = state["other"][name]
        self.steps, self.evaluated = state["steps"], state["evaluated"]
