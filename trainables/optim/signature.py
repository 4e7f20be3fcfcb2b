"""The parameters in a spec, checked against the signature of a class."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Set
from typing import Any

from search_spaces.axes import LIST_VALUED
from search_spaces.errors import SpecError, shortened, shown
from search_spaces.expressions import is_expression

MOST_VALID = 170
"""Characters of the list of valid parameters in a message."""


def defaults_of(factory: Callable[..., Any], hidden: Set[str]) -> dict[str, Any]:
    """Return ``{parameter: default}`` of ``factory``; ``inspect.Parameter.empty`` for a parameter without default."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in hidden and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def complete(
    given: Mapping[str, Any], defaults: Mapping[str, Any], where: str, *, expressions: bool = False
) -> dict[str, Any]:
    """Return ``given`` with all other parameters at their defaults.

    A default that a spec cannot have (infinity, a function, a type) is left out: the class adds it itself.
    With ``expressions`` a value may be a multiple of the length of the sweep (``"0.3 epochs"``).

    Raises:
        SpecError: a parameter that is not in ``defaults`` (the message lists the valid ones with their defaults),
            a missing parameter, or a value of another type than the default.
    """
    for name, value in given.items():
        if name not in defaults:
            valid = ", ".join(f"{key} = {_shown(default)}" for key, default in sorted(defaults.items()))
            raise SpecError(f"{where}.{shortened(name)}", "unknown parameter", f"valid: {shortened(valid, MOST_VALID)}")
        if not (expressions and is_expression(value)):
            _check_type(value, defaults[name], f"{where}.{name}")
    full = {**defaults, **given}
    for name, value in full.items():
        if value is inspect.Parameter.empty:
            raise SpecError(f"{where}.{name}", "missing", f"it has no default; give {name} = …")
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in full.items()
        if name in given or _can_be_written(value)
    }


def _can_be_written(default: Any) -> bool:
    """Return whether a spec and a run's id can have ``default``."""
    if isinstance(default, list | tuple):
        return all(_can_be_written(item) for item in default)
    if isinstance(default, float):
        return math.isfinite(default)
    return default is None or isinstance(default, bool | int | str)


def _shown(default: Any) -> str:
    return "(required)" if default is inspect.Parameter.empty else str(default)


def _check_type(value: Any, default: Any, where: str) -> None:
    """Refuse a value of another type than the default; a default of None accepts every type."""
    if default is None or default is inspect.Parameter.empty or callable(default):
        return
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SpecError(where, shown(value), "true or false")
    elif isinstance(default, int | float) or is_expression(default):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(where, shown(value), f"a number (default {default})")
    elif isinstance(default, str):
        if not isinstance(value, str):
            raise SpecError(where, shown(value), f"a string (default {default!r})")
    elif isinstance(default, tuple | list) and not (
        isinstance(value, list | tuple)
        and len(value) == len(default)
        and all(item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in value)
    ):
        hint = f"a list of {len(default)} numbers (default {list(default)})"
        if not isinstance(value, list | tuple) and where.rpartition(".")[2] not in LIST_VALUED:
            items = ", ".join("abcdefgh"[: len(default)])
            hint += f", written as [[{items}]] because a plain list is several values"
        raise SpecError(where, shown(value), hint)
