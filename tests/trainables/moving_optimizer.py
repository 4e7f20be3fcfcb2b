"""A third-party optimizer that breaks the rule: it gives its parameters new storage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class Moving(torch.optim.Optimizer):
    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = parameter.data - group["lr"] * parameter.grad
