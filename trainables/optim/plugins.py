"""The classes and functions that a configuration names as ``module:attribute``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from search_spaces import Configuration
from search_spaces.configuration import BASE, PARTS, REST
from trainables.runtime.user_imports import check_named


def named_in(configuration: Configuration) -> list[tuple[str, str]]:
    """Return key and name of every ``module:attribute`` of a configuration: its classes, and functions of the epoch."""
    params = configuration.scheduler_params
    found: list[tuple[str, Any]] = [("optimizer", configuration.optimizer), ("scheduler", configuration.scheduler)]
    found += _inner_names(configuration.optimizer_params, "optimizer")
    found.append(("scheduler.lr_lambda", params.get("lr_lambda")))
    parts = params.get(PARTS)
    for i, part in enumerate(parts if isinstance(parts, list) else ()):
        place = f"scheduler.{PARTS}[{i}]"
        table = part if isinstance(part, Mapping) else {"name": part}
        found += [(place, table.get("name")), (f"{place}.lr_lambda", table.get("lr_lambda"))]
    return [(key, name) for key, name in found if isinstance(name, str) and ":" in name]


def _inner_names(params: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    """Return key and name of every optimizer within an optimizer."""
    found = []
    for key in (BASE, REST):
        if isinstance(table := params.get(key), Mapping):
            place = f"{where}.{key}"
            found += [(place, table.get("name")), *_inner_names(table, place)]
    return found


def names_own_code(configuration: Configuration) -> tuple[bool, bool]:
    """Return whether the optimizer, and the schedule, have code that is not PyTorch's: a class or a function.

    An optimizer that contains another one counts as such: PyTorch has none.
    """
    keys = [key for key, name in named_in(configuration) if name.partition(":")[0].partition(".")[0] != "torch"]
    composed = not {BASE, REST}.isdisjoint(configuration.optimizer_params)
    return (
        composed or any(key.startswith("optimizer") for key in keys),
        any(key.startswith("scheduler") for key in keys),
    )


def check_allowed(configuration: Configuration, packages: Collection[str], where: str) -> None:
    """Refuse names in packages that the author of the spec does not list. Nothing is imported.

    Raises:
        SpecError: the key, the name, and the package to list.
    """
    for key, name in named_in(configuration):
        check_named(name, packages, f"{where}: {key}")
