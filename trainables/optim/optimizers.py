"""The optimizers that can train a run: those of ``torch.optim`` except :data:`UNSUITABLE`, and third-party ones."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from search_spaces.configuration import BASE, GROUPS, REST
from search_spaces.errors import SpecError, UnknownNameError, shortened, shown
from trainables.optim.composed import Combined, construct, is_optimizer, roles
from trainables.optim.parameter_groups import (
    KINDS,
    MATCH,
    Named,
    check_decay,
    check_groups,
    grouped,
    matches,
    named,
    reads,
)
from trainables.optim.signature import complete, defaults_of
from trainables.optim.without_compiler import leave_compiler_out
from trainables.runtime.user_code import message_of, one_line_errors
from trainables.runtime.user_imports import import_named

leave_compiler_out()

UNSUITABLE = {"SparseAdam": "it accepts sparse gradients only, and those of LeNet-5 are dense"}
"""Classes of ``torch.optim`` that cannot train LeNet-5, and why."""

SPECIAL = frozenset({"LBFGS", "Muon"})
"""Classes of ``torch.optim`` that need a closure, or a second optimizer for a part of the parameters."""

MUON_MATCH = "2d"
MUON_REST = 'for example rest = {name = "AdamW", lr = 0.001}'
USE_MUON = "use_muon"
"""The key of parameter groups by which published Muon classes select matrices."""

IMPLEMENTATION = frozenset({"params", "foreach", "fused", "capturable", "differentiable", "maximize"})
"""Parameters that select an implementation, not an algorithm; a spec cannot set them."""

INNER = (BASE, REST, GROUPS)
"""Keys of an optimizer that are tables."""

MOST_GIVEN = 120
"""Characters of a class with its arguments in a message."""

CLASSES: dict[str, type[Optimizer]] = {
    name: value
    for name, value in sorted(vars(torch.optim).items())
    if inspect.isclass(value) and issubclass(value, Optimizer) and value is not Optimizer and name not in UNSUITABLE
}
OPTIMIZERS = {name: found for name, found in CLASSES.items() if name not in SPECIAL}
"""The classes that train a pack with nothing but gradients."""


def optimizer_class(name: str, where: str, *, wraps: bool = False) -> type[Optimizer]:
    """Return the class with this name: one of :data:`CLASSES`, or ``module:Class``; ``wraps``: it has a base.

    Raises:
        UnknownNameError: no such optimizer; the message lists the valid names.
        SpecError: the class cannot train LeNet-5, or ``module:Class`` is not an optimizer.
    """
    short = name.removeprefix("torch.optim:")
    if short in UNSUITABLE:
        raise SpecError(where, f"{short} cannot train a run: {UNSUITABLE[short]}", f"valid: {', '.join(CLASSES)}")
    if ":" in name:
        found = import_named(name, where)
        if not is_optimizer(found, wraps):
            hint = "" if wraps else "a wrapper needs base = {name = …}"
            raise SpecError(where, f"{shown(name)} is not a subclass of torch.optim.Optimizer", hint)
        return found
    if name not in CLASSES:
        raise UnknownNameError("optimizer", name, CLASSES, where)
    return CLASSES[name]


def complete_optimizer(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``params`` with the defaults of the class added, and those of the optimizers in it.

    Raises:
        SpecError: an unknown parameter, a value of the wrong type, or a learning rate that is not above 0.
    """
    inner = {key: params[key] for key in INNER if key in params}
    found = optimizer_class(name, where, wraps=BASE in inner)
    hidden = IMPLEMENTATION | set(roles(found, BASE in inner))
    match = {MATCH: params[MATCH]} if REST in inner and MATCH in params else {}
    given = {key: value for key, value in params.items() if key not in inner and key not in match}
    defaults = {key: value for key, value in defaults_of(found, hidden).items() if key not in INNER}
    full = complete(given, defaults, where)
    lr = full.get("lr")
    if isinstance(lr, int | float) and not lr > 0:
        raise SpecError(f"{where}.lr", f"{lr}", "a learning rate must be above 0")
    if name.removeprefix("torch.optim:") == "Muon" and REST not in inner:
        raise SpecError(f"{where}.{REST}", "missing: Muon trains matrices only", MUON_REST)
    if match and not isinstance(match[MATCH], str):
        raise SpecError(f"{where}.{MATCH}", shown(match[MATCH]), f"names or kinds: {', '.join(KINDS)}")
    if GROUPS in inner:
        check_groups(inner[GROUPS], found, defaults, f"{where}.{GROUPS}")
    for key in (BASE, REST):
        if key in inner:
            inner[key] = _complete_inner(inner[key], f"{where}.{key}")
    return {**full, **match, **inner}


def _complete_inner(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise SpecError(where, f"{shown(table)} has no name", 'for example {name = "SGD", lr = 0.1}')
    params = {key: value for key, value in table.items() if key != "name"}
    return {"name": table["name"], **complete_optimizer(table["name"], params, where)}


def build_optimizer(
    name: str, params: Mapping[str, Any], tensors: Iterable[Tensor] | Named, where: str, decay_on: str = "all"
) -> Optimizer:
    """Create the optimizer for ``tensors``; ``decay_on`` is the protocol's ``weight_decay_on``.

    Raises:
        SpecError: the class refuses a value; the message is that of the class.
    """
    targets = named(tensors)
    if REST in params:
        return _combined(name, params, targets, where, decay_on)
    base = params.get(BASE)
    of_groups = {**base, **params} if base else params
    groups = grouped(targets, params.get(GROUPS) or (base or {}).get(GROUPS) or (), of_groups, decay_on, where)
    inner = None
    if base is not None:
        inner = (optimizer_class(base["name"], f"{where}.{BASE}"), _arguments(base))
    found = optimizer_class(name, where, wraps=base is not None)
    try:
        with one_line_errors(where, name) if ":" in name else nullcontext():
            built = construct(found, groups, _arguments(params), inner, where)
    except SpecError:
        if GROUPS not in params and reads(found, USE_MUON):
            hint = f'groups = [{{match = "2d", {USE_MUON} = true}}, {{match = "*", {USE_MUON} = false}}]'
            raise SpecError(f"{where}.{GROUPS}", f"missing: {name} reads {USE_MUON} from them", hint) from None
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        given = ", ".join(f"{key}={value}" for key, value in params.items())
        raise SpecError(f"{where} {shortened(f'{name}({given})', MOST_GIVEN)}", message_of(error)) from error
    check_decay(built, of_groups, decay_on, where)
    return built


def _arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters: a spec may have betas = [0, 0.999], and Adam refuses integers."""
    return {
        key: tuple(None if item is None else float(item) for item in value) if isinstance(value, list) else value
        for key, value in params.items()
        if key not in INNER and key != "name"
    }


def _combined(name: str, params: Mapping[str, Any], tensors: Named, where: str, decay_on: str) -> Optimizer:
    """Return an optimizer for the parameters that ``match`` names, and another one for the rest."""
    match = params.get(MATCH, MUON_MATCH)
    chosen = {key: tensor for key, tensor in tensors.items() if matches(match, key, tensor)}
    others = {key: tensor for key, tensor in tensors.items() if key not in chosen}
    if not chosen or not others:
        which = "no parameter" if not chosen else "all parameters"
        raise SpecError(f"{where}.{MATCH}", f"{shown(match)} matches {which}", f"kinds: {', '.join(KINDS)}")
    own = {key: value for key, value in params.items() if key not in (REST, MATCH)}
    rest = dict(params[REST])
    return Combined(
        [
            build_optimizer(name, own, chosen, where, decay_on),
            build_optimizer(rest.pop("name"), rest, others, f"{where}.{REST}", decay_on),
        ]
    )
