"""Adapter for the schedulers of timm, which are told the epoch or the batch in place of counting it.

``scheduler = {name = "timm.scheduler:CosineLRScheduler", t_initial = "epochs"}`` steps once per epoch, and with
``interval = "batch"``, ``t_initial = "steps"`` once per batch. timm is not imported here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer

from search_spaces.errors import SpecError, shown

BASE = ("timm.scheduler.scheduler", "Scheduler")
"""Module and name of timm's base class."""
HIDDEN = frozenset({"t_in_epochs", "initialize"})
"""Parameters that ``interval`` decides, or that a resume needs unchanged."""


class TimmSchedule:
    """A scheduler of timm with the interface of PyTorch's: ``step()`` counts."""

    def __init__(self, optimizer: Optimizer, make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self.optimizer = optimizer
        self.t = 0  # epochs, or batches where it steps per batch
        self._inner = make(optimizer, **arguments)

    def step(self) -> None:
        """Set the learning rate of the next epoch, or batch."""
        self.t += 1
        self._inner.step(self.t)

    def state_dict(self) -> dict[str, Any]:
        """Return the count and the state of timm's scheduler."""
        return {"t": self.t, "timm": self._inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what :meth:`state_dict` returned."""
        self.t = state["t"]
        self._inner.load_state_dict(state["timm"])


def is_timms(found: Any) -> bool:
    """Return whether ``found`` is a class of a timm scheduler."""
    return inspect.isclass(found) and any((cls.__module__, cls.__qualname__) == BASE for cls in found.__mro__)


def timm_factory(found: Any, name: str, where: str) -> Callable[..., TimmSchedule]:
    """Return a function that makes the adapter, with the signature of timm's class.

    Raises:
        SpecError: a class that watches a metric; its state is not in its ``state_dict``.
    """
    if found.__name__ == "PlateauLRScheduler":
        raise SpecError(where, f"{shown(name)} does not save its state", 'use "ReduceLROnPlateau"')

    @functools.wraps(found, updated=())
    def make(optimizer: Optimizer, **arguments: Any) -> TimmSchedule:
        return TimmSchedule(optimizer, found, arguments)

    return make
