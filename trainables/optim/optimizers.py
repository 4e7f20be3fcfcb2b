"""The optimizers that can train a pack: those of ``torch.optim`` except :data:`UNSUITABLE`, and third-party ones."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from search_spaces.errors import SpecError, UnknownNameError, shortened, shown
from trainables.optim.signature import complete, defaults_of
from trainables.optim.without_compiler import leave_compiler_out
from trainables.runtime.user_code import message_of, one_line_errors
from trainables.runtime.user_imports import import_named

leave_compiler_out()

UNSUITABLE = {
    "LBFGS": "it evaluates the loss again through a closure, and the runs of a pack share one forward pass",
    "SparseAdam": "it accepts sparse gradients only, and those of LeNet-5 are dense",
    "Muon": "it accepts 2-D parameters only, and LeNet-5 has convolutions and biases",
}
"""Classes of ``torch.optim`` that cannot train LeNet-5 in a pack, and why."""

IMPLEMENTATION = frozenset({"params", "foreach", "fused", "capturable", "differentiable", "maximize"})
"""Parameters that select an implementation, not an algorithm; a spec cannot set them."""

MOST_GIVEN = 120
"""Characters of a class with its arguments in a message."""

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: value
    for name, value in sorted(vars(torch.optim).items())
    if inspect.isclass(value) and issubclass(value, Optimizer) and value is not Optimizer and name not in UNSUITABLE
}


def optimizer_class(name: str, where: str) -> type[Optimizer]:
    """Return the class with this name: one of :data:`OPTIMIZERS`, or ``module:Class``.

    Raises:
        UnknownNameError: no such optimizer; the message lists the valid names.
        SpecError: the class cannot train a pack, or ``module:Class`` is not an optimizer.
    """
    if name in UNSUITABLE:
        raise SpecError(where, f"{name} cannot train a pack: {UNSUITABLE[name]}", f"valid: {', '.join(OPTIMIZERS)}")
    if ":" in name:
        found = import_named(name, where)
        if not (inspect.isclass(found) and issubclass(found, Optimizer)):
            raise SpecError(where, f"{shown(name)} is not a subclass of torch.optim.Optimizer")
        return found
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS, where)
    return OPTIMIZERS[name]


def complete_optimizer(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``params`` with the defaults of the class added.

    Raises:
        SpecError: an unknown parameter, a value of the wrong type, or a learning rate that is not above 0.
    """
    full = complete(params, defaults_of(optimizer_class(name, where), IMPLEMENTATION), where)
    lr = full.get("lr")
    if isinstance(lr, int | float) and not lr > 0:
        raise SpecError(f"{where}.lr", f"{lr}", "a learning rate must be above 0")
    return full


def build_optimizer(name: str, params: Mapping[str, Any], tensors: Iterable[Tensor], where: str) -> Optimizer:
    """Create the optimizer for ``tensors``.

    Raises:
        SpecError: the class refuses a value; the message is that of the class.
    """
    # A spec may have betas = [0, 0.999], and Adam refuses integers.
    arguments = {
        key: tuple(None if item is None else float(item) for item in value) if isinstance(value, list) else value
        for key, value in params.items()
    }
    found = optimizer_class(name, where)
    try:
        with one_line_errors(where, name) if ":" in name else nullcontext():
            return found(tensors, **arguments)  # type: ignore[arg-type]  # the parameters differ by class
    except (ValueError, TypeError, RuntimeError) as error:
        given = ", ".join(f"{key}={value}" for key, value in params.items())
        raise SpecError(f"{where} {shortened(f'{name}({given})', MOST_GIVEN)}", message_of(error)) from error
