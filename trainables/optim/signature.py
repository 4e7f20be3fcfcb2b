"""A class's own signature, held against the parameters that a spec names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Set
from typing import Any

from search_spaces.errors import SpecError
from search_spaces.expressions import is_expression


def defaults_of(factory: Callable[..., Any], hidden: Set[str]) -> dict[str, Any]:
    """Return ``{parameter: default}`` of ``factory``; ``inspect.Parameter.empty`` where there is no default."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in hidden and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def complete(
    given: Mapping[str, Any], defaults: Mapping[str, Any], where: str, *, expressions: bool = False
) -> dict[str, Any]:
    """Return ``given`` with every other parameter at its default.

    ``expressions`` tells whether a value may be a multiple of the sweep's length (``"0.3 epochs"``).

    Raises:
        SpecError: a parameter that is not in ``defaults`` (the line lists those that are, with their values),
            one that is missing, or one of another type than its default.
    """
    for name, value in given.items():
        if name not in defaults:
            valid = ", ".join(f"{key} = {_shown(default)}" for key, default in sorted(defaults.items()))
            raise SpecError(f"{where}.{name}", "unknown parameter", f"valid: {valid}")
        if not (expressions and is_expression(value)):
            _check_type(value, defaults[name], f"{where}.{name}")
    full = {**defaults, **given}
    for name, value in full.items():
        if value is inspect.Parameter.empty:
            raise SpecError(f"{where}.{name}", "missing", "it has no default")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in full.items()}


def _shown(default: Any) -> str:
    return "(required)" if default is inspect.Parameter.empty else str(default)


def _check_type(value: Any, default: Any, where: str) -> None:
    """Refuse a value of another kind than the default's; None says nothing about the kind."""
    if default is None or default is inspect.Parameter.empty or callable(default):
        return
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SpecError(where, f"{value!r}", "true or false")
    elif isinstance(default, int | float) or is_expression(default):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(where, f"{value!r}", f"a number (default {default})")
    elif isinstance(default, str):
        if not isinstance(value, str):
            raise SpecError(where, f"{value!r}", f"a word (default {default!r})")
    elif isinstance(default, tuple | list) and not (
        isinstance(value, list | tuple)
        and len(value) == len(default)
        and all(item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in value)
    ):
        raise SpecError(where, f"{value!r}", f"{len(default)} numbers in a list (default {list(default)})")
