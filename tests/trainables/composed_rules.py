"""Optimizers of a user that need a closure, the graph of gradients, another optimizer, names, or a model; for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.trainables.own_rules import Plain


class SharpnessAware(torch.optim.Optimizer):
    """The rule of Foret et al., *Sharpness-Aware Minimization* (2021): two passes, and another class for the update."""

    def __init__(
        self, params: Iterable[Tensor], base_optimizer: type[torch.optim.Optimizer], rho: float = 0.05, **kwargs: Any
    ) -> None:
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        assert closure is not None, "needs a closure"
        pairs = [(p, p.grad, group["rho"]) for group in self.param_groups for p in group["params"]]
        norm = torch.stack([grad.norm() for _, grad, _ in pairs]).norm()
        moved = [(p, grad * (rho / (norm + 1e-12))) for p, grad, rho in pairs]
        for p, by in moved:
            p.add_(by)
        self.zero_grad()
        closure()
        for p, by in moved:
            p.sub_(by)
        self.base_optimizer.step()


class LooksAhead:
    """A wrapper around an instance that is no subclass of ``Optimizer``, and keeps its own state."""

    def __init__(self, optimizer: torch.optim.Optimizer, k: int = 2) -> None:
        self.optimizer = optimizer
        self.k = k
        self.param_groups = optimizer.param_groups
        self.state = optimizer.state
        for group in self.param_groups:
            group["taken"] = 0
            for p in group["params"]:
                self.state[p]["slow"] = p.detach().clone()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.optimizer.step()
        for group in self.param_groups:
            group["taken"] += 1
            if group["taken"] % self.k == 0:
                for p in group["params"]:
                    slow = self.state[p]["slow"]
                    slow.lerp_(p, 0.5)
                    p.copy_(slow)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


class Curvature(Plain):
    """Divides by the diagonal of the Hessian, from one product of the Hessian with ones."""

    def step(self, closure: Any = None) -> None:
        group = self.param_groups[0]
        params = group["params"]
        grads = [p.grad for p in params]
        with torch.enable_grad():
            products = torch.autograd.grad(grads, params, [torch.ones_like(p) for p in params])
        with torch.no_grad():
            for p, grad, product in zip(params, grads, products, strict=True):
                p.sub_(grad / (1 + product.abs()), alpha=group["lr"])


class OnlyWithClosure(Plain):
    """Does nothing without a closure, and evaluates first."""

    def step(self, closure: Any = None) -> None:
        if closure is not None:
            closure()
            super().step()


class ByName(Plain):
    """Takes names with its parameters, and trains no biases."""

    def __init__(self, named_parameters: Iterator[tuple[str, Tensor]], lr: float = 0.1) -> None:
        super().__init__([tensor for name, tensor in named_parameters if name.endswith("weight")], lr)


class OfModel(Plain):
    """Takes a model, and trains its last layer."""

    def __init__(self, model: nn.Module, lr: float = 0.1) -> None:
        super().__init__(dict(model.named_children())["fc3"].parameters(), lr)


class NeedsFlag(Plain):
    """Needs a key in every group that is no parameter of its constructor."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                self.update(parameter, group["lr"] * (2 if group["twice"] else 1))


class NoBase(Plain):
    """Has no parameter for another optimizer."""
