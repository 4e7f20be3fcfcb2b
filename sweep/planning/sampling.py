"""The points of a method's search space: Optuna's samplers by ask and tell, and even grids.

The draws of a method depend on the seed of the benchmark, the study and the name of the method only, so another method
or study does not change them. A larger budget begins with the points of a smaller one, except on a grid.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from search_spaces.canonical import content_hash
from search_spaces.errors import SpecError
from search_spaces.method import Dimension, Method

if TYPE_CHECKING:
    import optuna

Values = dict[str, Any]
"""The name of a dimension → its value."""

TPE_ROUNDS = 4
"""tpe draws the budget in at most this many rounds; the points of a round are trained together."""


def seed_of(*parts: Any) -> int:
    """Return a seed of 32 bits: a hash of what the draws depend on."""
    return int(content_hash(list(parts), 8), 16)


def draw(
    dimensions: Sequence[Dimension], budget: int, sampler: str, seed: int, scores: Sequence[float | None] = ()
) -> list[Values]:
    """Return the first points of a method, ``budget`` of them; tpe returns fewer until their scores are known.

    Args:
        dimensions: the search space.
        budget: number of points.
        sampler: ``random``, ``qmc``, ``tpe`` or ``grid``.
        seed: of the sampler; see :func:`seed_of`.
        scores: for tpe, the mean validation accuracy of the points so far, in their order; None: not known yet.
    """
    if sampler == "grid":
        return grid(dimensions, budget)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    size = math.ceil(budget / TPE_ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        chosen: optuna.samplers.BaseSampler
        if sampler == "qmc":
            chosen = optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        elif sampler == "tpe":
            chosen = optuna.samplers.TPESampler(seed=seed, n_startup_trials=size)
        else:
            chosen = optuna.samplers.RandomSampler(seed=seed)
        study = optuna.create_study(direction="maximize", sampler=chosen)
    asked: dict[str, optuna.distributions.BaseDistribution] = {one.name: _distribution(one) for one in dimensions}
    points: list[Values] = []
    size = size if sampler == "tpe" else 1
    while len(points) < budget:
        trials = [study.ask(asked) for _ in range(min(size, budget - len(points)))]
        known = scores[len(points) : len(points) + len(trials)]
        points += [_values(dimensions, trial.params) for trial in trials]
        if sampler == "tpe" and (len(known) < len(trials) or None in known):
            break
        for place, trial in enumerate(trials):  # the other samplers do not use the value
            study.tell(trial, known[place] if sampler == "tpe" else 0.0)
    return points


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    import optuna

    if dimension.kind == "choice":  # by its place: an option can be a list
        return optuna.distributions.CategoricalDistribution(range(len(dimension.bounds)))
    low, high = dimension.bounds
    return optuna.distributions.FloatDistribution(float(low), float(high), log=dimension.log)


def _values(dimensions: Sequence[Dimension], drawn: Mapping[str, Any]) -> Values:
    return {
        one.name: one.bounds[drawn[one.name]] if one.kind == "choice" else one.rounded(drawn[one.name])
        for one in dimensions
    }


def grid(dimensions: Sequence[Dimension], budget: int) -> list[Values]:
    """Return an even grid of at most ``budget`` points, with both ends of a range where it has two points or more."""
    counts = [1] * len(dimensions)
    while True:
        most = [len(one.bounds) if one.kind == "choice" else budget for one in dimensions]
        growing = [
            place
            for place, count in enumerate(counts)
            if count < most[place] and math.prod(counts) // count * (count + 1) <= budget
        ]
        if not growing:
            break
        counts[min(growing, key=lambda place: counts[place])] += 1
    axes = [
        list(one.bounds[:count])
        if one.kind == "choice"
        else [one.value_at(i / (count - 1) if count > 1 else 0.5) for i in range(count)]
        for one, count in zip(dimensions, counts, strict=True)
    ]
    names = [one.name for one in dimensions]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*axes)]


def check_grids(methods: Sequence[Method], budget: int, where: str) -> None:
    """Refuse a grid with another number of points than ``budget``: the methods would get different budgets.

    Raises:
        SpecError: the numbers of points, and a budget with equal ones if there is one up to three times as large.
    """
    sizes = {method.name: len(grid(method.dimensions, budget)) for method in methods}
    if set(sizes.values()) == {budget}:
        return
    fitting = [
        other for other in range(budget, 3 * budget)
        if all(len(grid(method.dimensions, other)) == other for method in methods)
    ]  # fmt: skip
    raise SpecError(
        f"{where}: benchmark.budget",
        f"{budget}, but an even grid has " + ", ".join(f"{size} points for {name!r}" for name, size in sizes.items()),
        f"budget = {fitting[0]}" if fitting else 'sampler = "qmc"',
    )


def extra_points(
    method: Method, edges: Mapping[str, str], count: int, sampler: str, seed: int
) -> tuple[list[Values], list[Dimension]]:
    """Return the points offered after a range was widened, and the dimensions of the method with the widened ranges.

    A widened method gets its points from the parts that were added, on the whole range of its other dimensions. Another
    method (no ``edges``) gets them from its own space.

    Args:
        method: the method.
        edges: the name of a dimension to widen → ``low`` or ``high``.
        count: number of points.
        sampler: that of the benchmark; in place of a grid and of tpe, points are quasi-random.
        seed: of the sampler.
    """
    drawn, widened = [], []
    for dimension in method.dimensions:
        part = dimension.beyond(edges[dimension.name]) if dimension.name in edges else None
        drawn.append(part or dimension)
        low, high = (part or dimension).bounds[0], (part or dimension).bounds[-1]
        whole = (min(low, dimension.bounds[0]), max(high, dimension.bounds[-1])) if part else dimension.bounds
        widened.append(replace(dimension, bounds=whole))
    return draw(drawn, count, "random" if sampler == "random" else "qmc", seed), widened
