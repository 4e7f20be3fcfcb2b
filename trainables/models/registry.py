"""The models by name: those of this project, and ``module:factory``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from search_spaces import Protocol
from search_spaces.errors import SpecError, UnknownNameError, shown
from search_spaces.models import LENET5, MODEL_TITLES
from trainables.models.interface import Model
from trainables.models.kernels import TORCH
from trainables.models.lenet import HIDDEN
from trainables.models.lenet5_wide import WideLeNet5
from trainables.models.module_stack import ModuleStack
from trainables.models.resnet8_nonorm import ResNet8NoNorm
from trainables.models.stacked_lenet import StackedLeNet5
from trainables.runtime.user_code import one_line_errors
from trainables.runtime.user_imports import import_named

MODULES: dict[str, Callable[..., nn.Module]] = {"lenet5_wide": WideLeNet5, "resnet8_nonorm": ResNet8NoNorm}
"""The models besides LeNet-5 that a spec can name without a module."""

KEY = "model"
CLASSES = ("classes", "num_classes")
"""Parameters of a factory that get the number of classes."""
DROPOUT = "dropout"
"""The parameter of a factory that gets ``protocol.dropout``."""


def build_model(protocol: Protocol, classes: int, seed: int, kernels: str = TORCH) -> Model:
    """Return the protocol's model for ``classes`` classes; ``seed`` is that of the runs.

    ``kernels`` are those of :class:`StackedLeNet5`; other models do not use them.

    Raises:
        SpecError: ``module:factory`` cannot be imported or called.
    """
    if protocol.model == LENET5:
        return StackedLeNet5(classes, kernels)
    return module_stack(protocol, classes, seed)


def module_stack(protocol: Protocol, classes: int, seed: int, where: str = KEY) -> ModuleStack:
    """Return a model that is not LeNet-5; ``where`` is what an error begins with.

    Raises:
        UnknownNameError, SpecError: as :func:`factory_of` and :func:`arguments_of`.
    """
    name = protocol.model
    factory = factory_of(name, where)
    arguments = arguments_of(factory, name, classes, protocol.dropout, where)

    def build() -> nn.Module:
        with one_line_errors(where, name):
            module = factory(**arguments)
        if not isinstance(module, nn.Module):
            raise SpecError(where, f"{shown(name)} returns {shown(module)}", "return a torch.nn.Module")
        return module

    return ModuleStack(name, build, seed)


def factory_of(name: str, where: str) -> Callable[..., Any]:
    """Return what makes the model ``name``.

    Raises:
        UnknownNameError: no such model; the message lists the valid names.
        SpecError: ``module:factory`` cannot be imported, or called.
    """
    if ":" not in name:
        if name not in MODULES:
            raise UnknownNameError("model", name, [*MODEL_TITLES, "module:factory"], where)
        return MODULES[name]
    found = import_named(name, where)
    if not callable(found):
        hint = "a function that returns a torch.nn.Module, or its class"
        raise SpecError(where, f"{shown(name)} is {shown(found)}, which cannot be called", hint)
    factory: Callable[..., Any] = found
    return factory


def arguments_of(
    factory: Callable[..., Any], name: str, classes: int, dropout: float, where: str
) -> dict[str, int | float]:
    """Return the arguments of a factory: the number of classes and the dropout, where it has parameters for them.

    Raises:
        SpecError: another parameter has no default.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return {}
    given: dict[str, int | float] = {key: classes for key in CLASSES if key in parameters}
    if not given and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        given = {CLASSES[1]: classes}  # as torchvision's factories, which hand it on
    if DROPOUT in parameters:
        given[DROPOUT] = dropout
    for key, parameter in parameters.items():
        optional = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if key not in given and not optional and parameter.default is parameter.empty:
            hint = f"a factory is called with {', '.join((*CLASSES, DROPOUT))}; give other parameters a default"
            raise SpecError(where, f"{shown(name)} needs the argument {key}", hint)
    return given


def masked_units(model: str) -> tuple[int, ...]:
    """Return the units of the layers whose dropout masks are drawn with the batch; other models draw in their pass."""
    return HIDDEN if model == LENET5 else ()
