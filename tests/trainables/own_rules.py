"""Optimizers and schedules of a user, for tests: what a checkpoint holds of them, and what it does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler


class Plain(torch.optim.Optimizer):
    """Gradient descent. Other classes here change one thing of it."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                self.update(parameter, group["lr"])

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        assert parameter.grad is not None
        parameter.sub_(parameter.grad, alpha=lr)


class ReplacesGroups(Plain):
    """Has new parameter groups after every step."""

    def step(self, closure: Any = None) -> None:
        super().step()
        self.param_groups = [dict(group) for group in self.param_groups]


class OtherDraws(Plain):
    """Draws from the generators of Python and NumPy."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        super().update(parameter, lr * random.random() * float(np.random.rand()))


class Lookahead(Plain):
    """Keeps its slow weights as an attribute (Zhang et al., *Lookahead Optimizer*, 2019)."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1, k: int = 5) -> None:
        super().__init__(params, lr)
        self.k, self.taken = k, 0
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    def step(self, closure: Any = None) -> None:
        super().step()
        self.taken += 1
        if self.taken % self.k == 0:
            with torch.no_grad():
                for slow, parameter in zip(self.slow, self.param_groups[0]["params"], strict=True):
                    slow.add_(parameter - slow, alpha=0.5)
                    parameter.copy_(slow)


class Averaging(Plain):
    """Trains one point and evaluates an average of its steps, as schedule-free optimizers do."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.param_groups[0] |= {"trains": False, "taken": 0}

    def train(self) -> None:
        self._exchange(trains=True)

    def eval(self) -> None:
        self._exchange(trains=False)

    @torch.no_grad()
    def _exchange(self, *, trains: bool) -> None:
        group = self.param_groups[0]
        if group["trains"] != trains:
            group["trains"] = trains
            for parameter in group["params"]:
                other = self.state[parameter].setdefault("other", parameter.clone())
                kept = parameter.clone()
                parameter.copy_(other)
                other.copy_(kept)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        group = self.param_groups[0]
        if not group["trains"]:
            raise RuntimeError("step() in the evaluation mode")
        super().step()
        group["taken"] += 1
        for parameter in group["params"]:
            average = self.state[parameter]["other"]
            average.add_(parameter - average, alpha=1 / group["taken"])


class DropsGradients(Plain):
    """Sets the gradient to None after use."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        super().update(parameter, lr)
        parameter.grad = None


class KeepsViews(DropsGradients):
    """Keeps views of its parameters by their addresses, and makes them again in each step, as heavyball does."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.views: dict[Any, torch.Tensor] = {}

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        self.views[parameter.data_ptr(), parameter.dtype] = parameter.view(-1)
        super().update(parameter, lr)


class FailsLater(Plain):
    """Makes in its first step what every later step needs."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        if not self.state[parameter]:
            self.state[parameter]["made"] = True
            self.factor = 1.0
        super().update(parameter, lr * self.factor)


class NewGradients(Plain):
    """Replaces the gradient by another tensor."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        parameter.grad = parameter.grad + 0.01 * parameter  # type: ignore[operator]
        super().update(parameter, lr)


class MovesLate(Plain):
    """Gives its parameters new storage at its 13th step, later than the planning trial."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.param_groups[0]["taken"] = 0

    def step(self, closure: Any = None) -> None:
        super().step()
        self.param_groups[0]["taken"] += 1
        if self.param_groups[0]["taken"] == 13:
            for parameter in self.param_groups[0]["params"]:
                parameter.data = parameter.data.clone()


class Noisy(Plain):
    """Draws from the global generators of PyTorch, NumPy and Python."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        super().update(parameter, lr)
        parameter.add_(torch.randn_like(parameter), alpha=lr * (random.random() + np.random.random()))


class OwnGenerator(Plain):
    """Draws from a generator that it keeps."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.rng = torch.Generator().manual_seed(0)

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        super().update(parameter, lr)
        parameter.add_(torch.randn(parameter.shape, generator=self.rng), alpha=lr)


class KeyedByName(Plain):
    """Keeps a step count under a name, as MADGRAD does."""

    def step(self, closure: Any = None) -> None:
        count = self.state.setdefault("k", torch.tensor([0]))  # type: ignore[call-overload]
        count += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                with torch.no_grad():
                    self.update(parameter, group["lr"] / float(count))


class NumPyState(Plain):
    """Keeps NumPy numbers as state."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        state = self.state[parameter]
        state["lr"] = np.float64(0.9) * state.get("lr", lr)
        super().update(parameter, float(state["lr"]))


class Norm(IntEnum):
    AUTO = 1


class EnumGroup(Plain):
    """Keeps a member of an enum in its parameter groups."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.param_groups[0]["norm"] = Norm.AUTO

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        super().update(parameter, lr if self.param_groups[0]["norm"] == Norm.AUTO else 0.0)


class ArrayState(Plain):
    """Keeps a NumPy array as state, which a checkpoint cannot hold."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        state = self.state[parameter]
        state["seen"] = state.get("seen", np.zeros(1)) + 1
        super().update(parameter, lr / float(state["seen"][0]))


class ObjectState(Plain):
    """Keeps an object as state."""

    def update(self, parameter: torch.Tensor, lr: float) -> None:
        self.state[parameter].setdefault("object", Thing())
        super().update(parameter, lr)


class Thing:
    """Any object."""


class Counts(Plain):
    """Counts its steps for the whole process."""

    taken = 0

    def step(self, closure: Any = None) -> None:
        Counts.taken += 1
        for parameter in self.param_groups[0]["params"]:
            with torch.no_grad():
                self.update(parameter, self.param_groups[0]["lr"] / Counts.taken)


class Leaves(Plain):
    def step(self, closure: Any = None) -> None:
        raise SystemExit("bye")


class NeedsClosure(Plain):
    def step(self, closure: Callable[[], float]) -> None:  # type: ignore[override]
        closure()


class NoRate(torch.optim.Optimizer):
    """Has no learning rate, and defaults that are not numbers."""

    def __init__(
        self, params: Iterable[torch.Tensor], growth: float = float("inf"), dtype: Any = torch.float32,
        rule: Callable[[float], float] = lambda x: x,
    ) -> None:  # fmt: skip
        super().__init__(params, {"growth": growth})
        self.dtype, self.rule = dtype, rule

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(parameter.grad, alpha=self.rule(0.05))


class NoneRate(Plain):
    """Its rate is None by default: it finds one itself."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float | None = None) -> None:
        super().__init__(params, lr)  # type: ignore[arg-type]

    def update(self, parameter: torch.Tensor, lr: float | None) -> None:  # type: ignore[override]
        super().update(parameter, 0.05 if lr is None else lr)


def numpy_factor(epoch: int) -> Any:
    """Return a NumPy scalar."""
    return np.float64(0.9) ** epoch


def tensor_factor(epoch: int) -> Any:
    """Return a tensor."""
    return torch.tensor(0.9, dtype=torch.float64) ** epoch


def random_factor(epoch: int) -> float:
    """Draw the factor."""
    return 0.5 + 0.5 * float(torch.rand(()))


def raises(epoch: int) -> float:
    raise SystemExit(f"epoch {epoch}")


def falls(epoch: int) -> float:
    """A plain function of the epoch."""
    return 0.8


class KeepsALambda(lr_scheduler.LRScheduler):
    """Has a function among its attributes, which cannot be pickled."""

    def __init__(self, optimizer: torch.optim.Optimizer, gamma: float = 0.9) -> None:
        self.factor = lambda epoch: gamma**epoch
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        return [lr * self.factor(self.last_epoch) for lr in self.base_lrs]


class HidesState(lr_scheduler.LRScheduler):
    """Its state is not in its state_dict."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.factor = 1.0
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        self.factor *= 0.9
        return [lr * self.factor for lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch}


class OwnDecay(Plain):
    """Keeps its weight decay as an attribute."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 0.1, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr)
        self.weight_decay = weight_decay
