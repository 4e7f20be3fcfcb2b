"""Third-party optimizers that fail: always, or the first time only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def is_training(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``optimizer`` has LeNet-5's parameters, and not those of the planning trial."""
    return sum(parameter.numel() for parameter in optimizer.param_groups[0]["params"]) > 1000


class Broken(torch.optim.SGD):
    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)

    def step(self, closure: Any = None) -> None:
        if is_training(self):
            raise ArithmeticError("no such step")


class BreaksOnce(torch.optim.SGD):
    def __init__(self, params: Any, lr: float = 0.1, marker: str = "") -> None:
        super().__init__(params, lr=lr)
        self.marker = Path(marker)

    def step(self, closure: Any = None) -> None:
        if is_training(self) and not self.marker.exists():
            self.marker.touch()
            raise ArithmeticError("the first time")
        super().step()
