"""A method of a benchmark: an optimizer with a scheduler, and the search space of their hyperparameters.

A method is one ``[[methods]]`` of a spec::

    [[methods]]
    name = "Adam + cosine"
    optimizer = {name = "Adam", lr = {loguniform = [1e-4, 3e-2]}, betas = [0.9, {uniform = [0.9, 0.9999]}]}
    scheduler = {name = "CosineAnnealingLR"}
    untuned = {optimizer = {lr = 0.001}}

Every sampler in it is one dimension of the space. The untuned point leaves out the parameters that have a sampler, so
that they get the defaults of their class; ``untuned`` names other values for it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.axes import LIST_VALUED, SAMPLERS, check_bounds, is_sampler
from search_spaces.canonical import checked_value
from search_spaces.configuration import BASE, GROUPS, NO_SCHEDULER, REST, Configuration
from search_spaces.errors import SpecError, shortened, shown

METHOD_KEYS = ("name", "optimizer", "scheduler", "warmup", "untuned")
PARTS = ("optimizer", "scheduler")
BELOW_ONE = frozenset(
    {"momentum", "betas", "alpha", "rho", "dampening", "gamma", "factor", "base_momentum", "max_momentum", "pct_start"}
)
"""Parameters whose widened range ends below 1."""

EDGE = 0.05
"""Share of a range, at each end, within which a value is on its edge."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter of a search space: its place in the method's table, its sampler and the sampler's bounds."""

    path: Path
    kind: str
    bounds: tuple[Any, ...]

    @property
    def name(self) -> str:
        """``optimizer.lr``, ``optimizer.betas[1]``."""
        return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path).removeprefix(".")

    @property
    def log(self) -> bool:
        """Whether the range is logarithmic."""
        return self.kind == "loguniform"

    def value_at(self, share: float) -> float:
        """Return the value at ``share`` (0 to 1) of the range."""
        low, high = self.bounds
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        return self.rounded(value)

    def rounded(self, value: float) -> float:
        """Round to significant digits, within the bounds; the value then prints, reads back and hashes the same."""
        low, high = self.bounds
        return min(max(float(f"{value:.{4 if self.log else 6}g}"), low), high)

    def edge(self, value: Any) -> str:
        """Return ``low`` or ``high`` for a value on an edge of the range; empty for another value, and for a choice."""
        if self.kind == "choice":
            return ""
        low, high = self.bounds
        share = math.log(value / low) / math.log(high / low) if self.log else (value - low) / (high - low)
        return "low" if share <= EDGE else "high" if share >= 1 - EDGE else ""

    def beyond(self, edge: str) -> Dimension | None:
        """Return the part by which the range is widened at this edge, half of its width; None if it cannot be widened.

        A range that a parameter's meaning ends (at 0, or below 1) is widened by a tenth of its distance to this end.
        """
        low, high = self.bounds
        if edge == "low":
            wider = low / math.sqrt(high / low) if self.log else low - (high - low) / 2
            if low >= 0 > wider:
                wider = low / 10
            part = (wider, low)
        else:
            wider = high * math.sqrt(high / low) if self.log else high + (high - low) / 2
            if self._parameter in BELOW_ONE and wider >= 1:
                wider = 1 - (1 - high) / 10
            part = (high, wider)
        ends = tuple(float(f"{end:.6g}") for end in part)
        return replace(self, bounds=ends) if ends[0] < ends[1] else None

    @property
    def _parameter(self) -> str:
        return str([key for key in self.path if isinstance(key, str)][-1])


@dataclass(frozen=True)
class Method:
    """A method with checked keys."""

    name: str
    table: Mapping[str, Any]  # optimizer, scheduler and warmup; a sampler where a dimension is
    untuned_values: Mapping[str, Mapping[str, Any]]
    dimensions: tuple[Dimension, ...]

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str) -> Method:
        """Check one ``[[methods]]``.

        Raises:
            SpecError: a missing or unknown key, a list that would be several configurations, or invalid bounds.
        """
        for key in table:
            if key not in METHOD_KEYS:
                raise SpecError(f"{where}.{shortened(str(key))}", "unknown key", f"valid: {', '.join(METHOD_KEYS)}")
        name = table.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise SpecError(f"{where}.name", shown(name), "a text of at most 100 characters")
        if "optimizer" not in table:
            raise SpecError(f"{where}.optimizer", "missing", 'for example optimizer = {name = "SGD", lr = 0.1}')
        warmup = table.get("warmup", 0)
        if isinstance(warmup, bool) or not isinstance(warmup, int | float) or not 0 <= warmup < math.inf:
            raise SpecError(f"{where}.warmup", shown(warmup), "a number of epochs, 0 or more")
        parts = {part: _part(table.get(part, NO_SCHEDULER), f"{where}.{part}") for part in PARTS}
        dimensions = tuple(_dimensions(parts, (), where))
        if not dimensions:
            raise SpecError(where, f"{name!r} has no search space", "for example lr = {loguniform = [1e-4, 1e-1]}")
        return cls(name, {**parts, "warmup": warmup}, _untuned(table.get("untuned", {}), where), dimensions)

    def point(self, values: Mapping[str, Any]) -> Configuration:
        """Return the configuration with these values, by the names of the dimensions; the schedule is not resolved."""
        table = copy.deepcopy(dict(self.table))
        for dimension in self.dimensions:
            place: Any = table
            for key in dimension.path[:-1]:
                place = place[key]
            place[dimension.path[-1]] = values[dimension.name]
        return Configuration.from_dict(table)

    def untuned(self) -> Configuration:
        """Return the untuned configuration: class defaults in place of every parameter that has a sampler."""
        table = copy.deepcopy(dict(self.table))
        for dimension in self.dimensions:
            _remove(table, dimension.path)
        for part in PARTS:
            table[part] |= self.untuned_values.get(part, {})
        return Configuration.from_dict(table)


def _remove(table: dict[str, Any], path: Path) -> None:
    """Remove the parameter at ``path``; one that is a list or has groups, with all of its values."""
    key, *rest = path
    if key in (*PARTS, BASE, REST):
        _remove(table[str(key)], tuple(rest))
    else:
        table.pop(str(key), None)


def methods_of(tables: list[dict[str, Any]], where: str) -> list[Method]:
    """Return the checked methods of a spec.

    Raises:
        SpecError: fewer than two methods, two of the same name, or an invalid method.
    """
    if len(tables) < 2:
        raise SpecError(f"{where}: methods", f"{len(tables)}, but a benchmark compares", "two [[methods]] or more")
    methods = [Method.of(table, f"{where}: methods[{i}]") for i, table in enumerate(tables)]
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"{where}: methods", f"two have the name {name!r}", "give each its own name")
    return methods


def _part(value: Any, where: str) -> dict[str, Any]:
    """Return an optimizer or a scheduler as a table, with every list-valued parameter as one list."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise SpecError(where, f"{shown(value)} has no name", 'one table, for example {name = "SGD", lr = 0.1}')
    return {key: _one_value(key, item, f"{where}.{key}") for key, item in table.items()}


def _one_value(key: str, value: Any, where: str) -> Any:
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], list):
            return copy.deepcopy(value[0])
        if key not in LIST_VALUED:
            raise SpecError(where, f"{shown(value)} are several values", "{choice = [...]}, or one value")
    elif not isinstance(value, Mapping):
        return checked_value(value, where)
    return copy.deepcopy(value)


def _dimensions(value: Any, path: Path, where: str) -> Iterator[Dimension]:
    """Yield every sampler in ``value``, in the order of the table."""
    if is_sampler(value):
        kind, bounds = next(iter(value.items()))
        dimension = Dimension(path, kind, ())
        check_bounds(kind, bounds, f"{where}.{dimension.name}")
        yield replace(dimension, bounds=tuple(bounds))
    elif isinstance(value, Mapping):
        if path and GROUPS not in path and not isinstance(value.get("name"), str):
            name = Dimension(path, "", ()).name
            raise SpecError(
                f"{where}.{name}", f"{shown(dict(value))} is not a sampler", f"valid: {', '.join(SAMPLERS)}"
            )
        for key, item in value.items():
            yield from _dimensions(item, (*path, key), where)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _dimensions(item, (*path, i), where)


def _untuned(value: Any, where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(
        part in PARTS and isinstance(table, Mapping) and "name" not in table for part, table in value.items()
    ):
        raise SpecError(f"{where}.untuned", shown(value), "for example {optimizer = {momentum = 0.9}}")
    found: dict[str, dict[str, Any]] = {}
    for part, table in value.items():
        found[part] = {key: _one_value(key, item, f"{where}.untuned.{part}.{key}") for key, item in table.items()}
        if any(_dimensions({"name": "", **found[part]}, (part,), f"{where}.untuned")):
            raise SpecError(f"{where}.untuned.{part}", "has a sampler", "one value for each parameter")
    return found
