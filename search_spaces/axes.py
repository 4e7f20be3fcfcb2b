"""The configurations of a space from its blocks: crossed lists, tables, and samplers.

A block is one ``[[configurations]]`` of a spec::

    [[configurations]]
    optimizer = [{name = "SGD", lr = [0.01, 0.1], momentum = 0.9}, {name = "Adam", lr = 0.001}]
    scheduler = [{name = "none"}, {name = "StepLR", step_size = "0.3 epochs"}]

Every list is crossed with every other list; the values inside one table belong together.
``{logspace = [1e-3, 1], n = 4}`` is also a list. ``{loguniform = [a, b]}``, ``{uniform = [a, b]}`` and
``{choice = [...]}`` are drawn jointly,
``samples`` times with ``sample_seed``, and each draw is crossed with the lists.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.canonical import canonical_json, checked_value
from search_spaces.configuration import BASE, NO_SCHEDULER, REST, Configuration
from search_spaces.errors import SpecError, shortened, shown

BLOCK_KEYS = ("optimizer", "scheduler", "warmup", "batch_size", "samples", "sample_seed")
LARGEST_BATCH = 100_000
LIST_VALUED = frozenset({"betas", "milestones", "etas", "step_sizes", "schedulers", "groups"})
"""Parameters whose value is a list: one list is one value, a list of lists is crossed."""

SAMPLERS: dict[str, Callable[[random.Random, Sequence[Any]], Any]] = {
    "loguniform": lambda rng, bounds: _digits(math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]))), 4),
    "uniform": lambda rng, bounds: _digits(rng.uniform(bounds[0], bounds[1]), 4),
    "choice": lambda rng, options: options[rng.randrange(len(options))],
}
MAX_RUNS = 100_000
"""Largest number of runs of a space by default; see ``max_runs`` of a spec."""

LARGEST_BOUND = 1e300
"""Largest bound of an axis: with a larger one, a point of a logspace could round to infinity."""


def expand(
    blocks: Sequence[Mapping[str, Any]], where: str, *, seeds: int = 1, max_runs: int = MAX_RUNS
) -> list[Configuration]:
    """Return the configurations of all blocks in order, without duplicates.

    The runs are counted before any configuration is built, so that a space that is too large costs no time or memory.

    Args:
        blocks: the ``[[configurations]]`` of a spec.
        where: the name of the spec; every error message begins with it.
        seeds: how many runs each configuration has.
        max_runs: largest number of runs; equal values in one list count once.

    Raises:
        SpecError: an unknown key, an empty list, a sampler with invalid bounds, or too many runs.
    """
    found: dict[str, Configuration] = {}
    for block in counted_blocks(blocks, where, seeds=seeds, max_runs=max_runs):
        for configuration in block.configurations():
            found.setdefault(configuration.key, configuration)
    return list(found.values())


def counted_blocks(
    blocks: Sequence[Mapping[str, Any]], where: str, *, seeds: int = 1, max_runs: int = MAX_RUNS
) -> list[_Block]:
    """Check the keys of all blocks and count their runs; arguments and errors as in :func:`expand`."""
    if not blocks:
        raise SpecError(f"{where}: configurations", "the spec has none", "add a [[configurations]] block")
    checked = [_Block.of(block, f"{where}: configurations[{i}]") for i, block in enumerate(blocks)]
    count = sum(block.count() for block in checked)
    if count * seeds > max_runs:
        each = f"{seeds:,} seed{'s' * (seeds != 1)}"
        runs = f"{_shown(count)} configuration{'s' * (count != 1)} × {each} = {_shown(count * seeds)} runs"
        raise SpecError(
            f"{where}: configurations", f"{runs}, more than max_runs = {max_runs:,}",
            "give fewer values or seeds, or set max_runs",
        )  # fmt: skip
    return checked


@dataclass(frozen=True)
class _Block:
    """One ``[[configurations]]`` with checked keys; its lists are not crossed yet."""

    optimizers: list[dict[str, Any]]
    schedulers: list[dict[str, Any]]
    warmup: Any
    batch_size: Any  # None: the protocol's
    samples: int
    seed: int
    where: str

    @classmethod
    def of(cls, block: Mapping[str, Any], where: str) -> _Block:
        """Check the keys of ``block``."""
        for key in block:
            if key not in BLOCK_KEYS:
                raise SpecError(f"{where}.{shortened(key)}", "unknown key", f"valid: {', '.join(BLOCK_KEYS)}")
        if "optimizer" not in block:
            raise SpecError(f"{where}.optimizer", "missing", 'for example optimizer = {name = "SGD", lr = 0.1}')
        samples, seed = block.get("samples", 1), block.get("sample_seed", 0)
        if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
            raise SpecError(f"{where}.samples", shown(samples), "a whole number of draws, at least 1")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise SpecError(f"{where}.sample_seed", shown(seed), "a whole number")
        optimizers = _tables(block["optimizer"], f"{where}.optimizer")
        schedulers = _tables(block.get("scheduler", NO_SCHEDULER), f"{where}.scheduler")
        drawn = any(_has_sampler(table) for table in optimizers + schedulers)
        if "samples" in block and not drawn:
            raise SpecError(f"{where}.samples", "the block has no sampler", "add a sampler, or remove `samples`")
        return cls(optimizers, schedulers, block.get("warmup", 0), block.get("batch_size"), samples, seed, where)

    def count(self) -> int:
        """Return how many configurations the block has at most: equal draws and equal tables count twice."""
        points = self.samples
        for key, value in (("warmup", self.warmup), ("batch_size", self.batch_size)):
            points *= _size(key, value, f"{self.where}.{key}")
        for tables, part in ((self.optimizers, "optimizer"), (self.schedulers, "scheduler")):
            points *= sum(
                math.prod(_size(key, value, f"{self.where}.{part}.{key}") for key, value in table.items())
                for table in tables
            )
        return points

    def configurations(self) -> Iterator[Configuration]:
        """Yield the configurations in order; the same one may occur more than once."""
        where = self.where
        warmups, sizes = self._warmups(), self._batch_sizes()
        for draw in range(self.samples):
            for optimizer, scheduler, warmup, size in itertools.product(
                self.optimizers, self.schedulers, warmups, sizes
            ):
                # One draw is one point for the whole block: each part has its own generator, so the point depends
                # neither on the lists that it is crossed with nor on the number of samplers in the other part.
                drawn_optimizer = _draw(optimizer, random.Random(f"{self.seed}/{draw}"), f"{where}.optimizer")
                drawn_scheduler = _draw(scheduler, random.Random(f"{self.seed}/{draw}/scheduler"), f"{where}.scheduler")
                yield from (
                    Configuration.from_dict({"optimizer": o, "scheduler": s, "warmup": warmup, "batch_size": size})
                    for o in _grid(drawn_optimizer, f"{where}.optimizer")
                    for s in _grid(drawn_scheduler, f"{where}.scheduler")
                )

    def _warmups(self) -> list[Any]:
        where = f"{self.where}.warmup"
        warmups = _options("warmup", self.warmup, where)
        for warmup in warmups:
            if isinstance(warmup, bool) or not isinstance(warmup, int | float) or not 0 <= warmup < math.inf:
                raise SpecError(where, shown(warmup), "a number of epochs, 0 or more")
        return warmups

    def _batch_sizes(self) -> list[int]:
        if self.batch_size is None:
            return [0]
        where = f"{self.where}.batch_size"
        sizes = _options("batch_size", self.batch_size, where)
        for size in sizes:
            if type(size) is not int or not 1 <= size <= LARGEST_BATCH:
                raise SpecError(where, shown(size), f"a whole number of images, from 1 to {LARGEST_BATCH:,}")
        return sizes


def _tables(value: Any, where: str) -> list[dict[str, Any]]:
    """Return ``value`` (a name, a table, or a list of these) as a list of tables with a name."""
    tables = []
    for i, item in enumerate(value if isinstance(value, list) else [value]):
        table = {"name": item} if isinstance(item, str) else item
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str | list):
            raise SpecError(
                f"{where}[{i}]" if isinstance(value, list) else where,
                f"{shown(item)} has no name",
                'for example {name = "SGD", lr = 0.1}',
            )
        tables.append(dict(table))
    if not tables:
        raise SpecError(where, "the list is empty", "give at least one name")
    return tables


def _has_sampler(table: Mapping[str, Any]) -> bool:
    return any(is_sampler(value) or (_is_inner(key, value) and _has_sampler(value)) for key, value in table.items())


def _is_inner(key: str, value: Any) -> bool:
    """Return whether ``value`` is the table of an optimizer in another one, whose lists are crossed like all others."""
    return key in (BASE, REST) and isinstance(value, Mapping)


def is_sampler(value: Any) -> bool:
    """Return whether ``value`` is a table with one sampler."""
    return isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in SAMPLERS


def _draw(table: Mapping[str, Any], rng: random.Random, where: str) -> dict[str, Any]:
    """Return ``table`` with every sampler in it replaced by one draw."""
    drawn = {}
    for key, value in table.items():
        if is_sampler(value):
            kind, bounds = next(iter(value.items()))
            check_bounds(kind, bounds, f"{where}.{key}")
            drawn[key] = SAMPLERS[kind](rng, bounds)
            if isinstance(drawn[key], list):
                drawn[key] = [drawn[key]]  # a drawn list is one value and is not crossed
        elif _is_inner(key, value):
            drawn[key] = _draw(value, rng, f"{where}.{key}")
        else:
            drawn[key] = value
    return drawn


def _grid(table: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Yield ``table`` once for every combination of the lists in it."""
    options = [_options(key, value, f"{where}.{key}") for key, value in table.items()]
    for values in itertools.product(*options):
        one = dict(zip(table, values, strict=True))
        if not isinstance(one["name"], str):
            raise SpecError(f"{where}.name", f"{shown(one['name'])} is not a name")
        yield one


def _size(key: str, value: Any, where: str) -> int:
    """Return the number of values of ``key`` without building a logspace; a sampler has one value per draw."""
    if is_sampler(value):
        return 1
    if _is_inner(key, value):
        return math.prod(_size(inner, each, f"{where}.{inner}") for inner, each in value.items())
    if isinstance(value, Mapping):
        return _points(value, where)
    return len(_options(key, value, where))


def _options(key: str, value: Any, where: str) -> list[Any]:
    """Return the distinct values of ``key``: the items of a list, the points of a logspace, or the single value."""
    if _is_inner(key, value):
        if "name" not in value:
            raise SpecError(where, f"{shown(dict(value))} has no name", 'for example {name = "SGD", lr = 0.1}')
        return list(_grid(value, where))
    if isinstance(value, Mapping):
        return _logspace(value["logspace"], _points(value, where))
    if not isinstance(value, list | tuple):
        options = [value]
    elif key in LIST_VALUED or (value and all(isinstance(item, list | tuple) for item in value)):
        options = list(value) if value and all(isinstance(item, list | tuple) for item in value) else [value]
    else:
        options = list(value)
    if not options:
        raise SpecError(where, "the list is empty", "give at least one value")
    distinct: dict[Any, Any] = {}
    for option in options:
        checked = checked_value(option, where)
        distinct.setdefault(_identity(checked), checked)
    return list(distinct.values())


def _identity(value: Any) -> Any:
    """Return a hashable that is equal for equal values: 1 and 1.0 are equal, 1 and true are not."""
    return canonical_json(value) if isinstance(value, list | dict) else (isinstance(value, bool), value)


def _points(axis: Mapping[str, Any], where: str) -> int:
    """Return the number of points of a logspace, the only table that is an axis."""
    if set(axis) != {"logspace", "n"}:
        raise SpecError(
            where,
            f"{shown(dict(axis))} is not an axis",
            f"valid: a list, {{logspace = [low, high], n = 4}}, {', '.join(SAMPLERS)}",
        )
    check_bounds("loguniform", axis["logspace"], where)
    n = axis["n"]
    if not isinstance(n, int) or isinstance(n, bool) or n < 2:
        raise SpecError(f"{where}.n", shown(n), "a whole number of points, at least 2")
    return n


def _logspace(bounds: Sequence[float], n: int) -> list[float]:
    """Return ``n`` log-spaced points with three significant digits, without equal ones."""
    low, high = math.log10(bounds[0]), math.log10(bounds[1])
    return list(dict.fromkeys(_digits(10 ** (low + (high - low) * i / (n - 1)), 3) for i in range(n)))


def check_bounds(kind: str, bounds: Any, where: str) -> None:
    """Refuse invalid bounds of a sampler with a :class:`SpecError`."""
    if kind == "choice":
        if not isinstance(bounds, list) or not bounds:
            raise SpecError(f"{where}.choice", shown(bounds), "a list of at least one value")
        return
    numbers = (
        isinstance(bounds, list)
        and len(bounds) == 2
        and all(isinstance(b, int | float) and not isinstance(b, bool) and abs(b) < LARGEST_BOUND for b in bounds)
    )
    if not numbers or bounds[0] >= bounds[1] or (kind == "loguniform" and bounds[0] <= 0):
        above = "0 < " if kind == "loguniform" else ""
        raise SpecError(where, f"{shown(bounds)} are not valid bounds", f"two numbers, {above}low < high")


def _shown(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "more than 10^15"


def _digits(value: float, digits: int) -> float:
    """Round to significant digits: the value then prints, reads back and hashes the same."""
    return float(f"{value:.{digits}g}")
