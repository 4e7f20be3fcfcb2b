"""The optimizers that can train a pack: every class of ``torch.optim`` but the few named here, and third parties'."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from search_spaces.errors import SpecError, UnknownNameError
from trainables.optim.plugins import import_named
from trainables.optim.signature import complete, defaults_of

UNSUITABLE = {
    "LBFGS": "it calls the loss again through a closure, which a pack shares between its runs",
    "SparseAdam": "it takes sparse gradients only, and LeNet-5's are dense",
    "Muon": "it takes 2-D parameters only, and LeNet-5 has convolutions and biases",
}
"""Classes of ``torch.optim`` that cannot train LeNet-5 in a pack, and why."""

IMPLEMENTATION = frozenset({"params", "foreach", "fused", "capturable", "differentiable", "maximize"})
"""Parameters that choose an implementation rather than an algorithm: ours to set, not a spec's."""

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: value
    for name, value in sorted(vars(torch.optim).items())
    if inspect.isclass(value) and issubclass(value, Optimizer) and value is not Optimizer and name not in UNSUITABLE
}


def optimizer_class(name: str, where: str) -> type[Optimizer]:
    """Return the class that ``name`` stands for: one of :data:`OPTIMIZERS`, or ``module:Class``.

    Raises:
        UnknownNameError: no such optimizer; the line lists the valid ones.
        SpecError: one that cannot train a pack, or a ``module:Class`` that is no optimizer.
    """
    if name in UNSUITABLE:
        raise SpecError(where, f"{name} cannot train a pack: {UNSUITABLE[name]}", f"valid: {', '.join(OPTIMIZERS)}")
    if ":" in name:
        found = import_named(name, where)
        if not (inspect.isclass(found) and issubclass(found, Optimizer)):
            raise SpecError(where, f"{name!r} is no torch.optim.Optimizer")
        return found
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS, where)
    return OPTIMIZERS[name]


def complete_optimizer(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``params`` with the class's defaults filled in.

    Raises:
        SpecError: an unknown parameter, one of the wrong type, or a learning rate that is not above 0.
    """
    full = complete(params, defaults_of(optimizer_class(name, where), IMPLEMENTATION), where)
    lr = full.get("lr")
    if isinstance(lr, int | float) and not lr > 0:
        raise SpecError(f"{where}.lr", f"{lr}", "a learning rate is above 0")
    return full


def build_optimizer(name: str, params: Mapping[str, Any], tensors: Iterable[Tensor], where: str) -> Optimizer:
    """Make the optimizer over ``tensors``.

    Raises:
        SpecError: what the class itself refuses, in its own words.
    """
    # A spec may say betas = [0, 0.999], and Adam refuses an integer among them.
    arguments = {
        key: tuple(None if item is None else float(item) for item in value) if isinstance(value, list) else value
        for key, value in params.items()
    }
    try:
        return optimizer_class(name, where)(tensors, **arguments)  # type: ignore[arg-type]  # each class has its own
    except (ValueError, TypeError, RuntimeError) as error:
        raise SpecError(f"{where} {name}({_shown(params)})", _one_line(error)) from error


def _shown(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in params.items())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
