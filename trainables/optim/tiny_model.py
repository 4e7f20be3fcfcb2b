"""A tiny model with the names and kinds of parameters of a model, on which optimizers are tried before a sweep."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainables.runtime.seeding import generator

TINY_SHAPES = {"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,), "fc3.weight": (5, 4), "fc3.bias": (5,)}
"""The shapes where no model is named: the kinds of parameters that LeNet-5 has."""
SIDES = (4, 3, 3, 3, 3)
"""Sides of a tiny parameter, as many as the parameter of the model has."""
Layout = tuple[tuple[str, int], ...]
"""Name and number of dimensions of each parameter of a model."""
CPU = torch.device("cpu")
CURVATURE = 0.1
NOISE = 0.01


def layout_of(parameters: Mapping[str, Tensor]) -> Layout:
    """Return the layout of a model with these parameters."""
    return tuple((name, parameter.dim()) for name, parameter in parameters.items())


class TinyModel:
    """Parameters with a quadratic loss, whose gradient has noise that depends on the step."""

    def __init__(self, dtype: torch.dtype, layout: Layout = ()) -> None:
        """``layout`` is that of the model; empty: :data:`TINY_SHAPES`."""
        shapes = {name: SIDES[:dimensions] for name, dimensions in layout} or TINY_SHAPES
        rng = generator(CPU, 0, "planning trial")
        start = [torch.randn(shape, generator=rng).to(dtype).mul_(0.1) for shape in shapes.values()]
        self.parameters = {name: nn.Parameter(one) for name, one in zip(shapes, start, strict=True)}
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        self._gradients = [parameter.grad for parameter in self.parameters.values()]
        self._noise: list[Tensor] = []

    def begin(self, epoch: int, step: int) -> None:
        """Compute the gradients of a step."""
        rng = generator(CPU, 0, "planning trial", epoch, step)
        self._noise = [torch.randn(one.shape, generator=rng).to(one.dtype) for one in self.parameters.values()]
        self.evaluate()

    def evaluate(self) -> Tensor:
        """Leave the gradients at the present weights in the buffers, and return the loss."""
        with torch.no_grad():
            for parameter, gradient, noise in zip(self.parameters.values(), self._gradients, self._noise, strict=True):
                assert gradient is not None
                gradient.copy_(parameter * CURVATURE + noise * NOISE)
            return self._loss()

    def keep_graph(self) -> None:
        """Give the parameters gradients that can be differentiated."""
        with torch.enable_grad():
            targets = list(self.parameters.values())
            found = torch.autograd.grad(self._loss(), targets, create_graph=True)
        for parameter, gradient in zip(targets, found, strict=True):
            parameter.grad = gradient

    def _loss(self) -> Tensor:
        pairs = zip(self.parameters.values(), self._noise, strict=True)
        parts = [(parameter.square() * (CURVATURE / 2) + noise * parameter * NOISE).sum() for parameter, noise in pairs]
        return torch.stack(parts).sum()

    def values(self) -> list[Tensor]:
        """Return a copy of the weights."""
        return [parameter.detach().clone() for parameter in self.parameters.values()]
