"""Optimizers that kill their process, for tests of retries; a trial imports them by name, as a user's optimizer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim import SGD

from tests.sweep.broken_optimizer import is_training


class Poison(SGD):
    """Kills its process at every first step."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if is_training(self):
            os.kill(os.getpid(), signal.SIGKILL)


class KillsOnce(SGD):
    """Kills its process at its 20th step, unless ``marker`` exists; creates it first."""

    def __init__(self, params: Any, lr: float = 0.1, marker: str = "") -> None:
        super().__init__(params, lr=lr)
        self._marker = Path(marker)
        self.param_groups[0]["left"] = 20  # is part of the optimizer's state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.param_groups[0]["left"] -= 1
        if self.param_groups[0]["left"] == 0 and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().step()


class FailsTwice(SGD):
    """Raises at its 20th step and at its 40th, once each: files beside ``marker`` count."""

    def __init__(self, params: Any, lr: float = 0.1, marker: str = "") -> None:
        super().__init__(params, lr=lr)
        self._marker = marker
        self.param_groups[0]["taken"] = 0  # is part of the optimizer's state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.param_groups[0]["taken"] += 1
        taken = self.param_groups[0]["taken"]
        failed = Path(f"{self._marker}-{taken}")
        if taken in (20, 40) and not failed.exists():
            failed.touch()
            raise ArithmeticError("no such step")
        super().step()


class NeedsAGpu(SGD):
    """Runs out of GPU memory at every step."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if is_training(self):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


class NeedsHalfAGpu(SGD):
    """Runs out of GPU memory where its trial has less than half of a GPU."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        import ray

        if is_training(self) and ray.get_runtime_context().get_assigned_resources().get("GPU", 0) < 0.5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        super().step()
