"""The tuning of a benchmark: the points of every method in a study, their rungs, and the selected point.

Everything here is computed from the spec and the results in the ledger, so an interrupted benchmark continues with the
same points, and the same command again trains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from search_spaces.method import Dimension, Method
from search_spaces.plain_text import counted
from sweep.config.benchmark import Benchmark
from sweep.planning.sampling import Values, draw, extra_points, seed_of

EXTRA_SHARE = 4
"""A widened range gives every method a quarter of the budget as extra points."""


@dataclass(frozen=True)
class Point:
    """One point of a method in a study; ``index`` counts from 0 in the order of drawing."""

    study: int
    method: Method
    index: int
    values: Values


@dataclass(frozen=True)
class Placed:
    """A point with the epochs that it trains: those of its last rung."""

    point: Point
    epochs: int
    rung: int = 0
    stopped: bool = False


Score = Callable[[Point, int], float | None]
"""A point, and epochs → mean validation accuracy over the tuning seeds; None until all of its runs have a result."""


@dataclass(frozen=True)
class MethodTuning:
    """What is known about the tuning of one method in one study."""

    placed: list[Placed]
    scores: dict[int, float]  # the points that were trained to the last epoch
    dimensions: Sequence[Dimension]  # after widening

    @property
    def best(self) -> Placed:
        """The point with the highest validation accuracy; the first one of equal ones."""
        index = max(self.scores, key=lambda place: (self.scores[place], -place))
        return next(one for one in self.placed if one.point.index == index)

    def edges(self) -> dict[str, str]:
        """Return the dimensions whose best value is on the edge of the range, with ``low`` or ``high``."""
        values = self.best.point.values
        found = {one.name: one.edge(values[one.name]) for one in self.dimensions}
        return {name: edge for name, edge in found.items() if edge}


@dataclass(frozen=True)
class StudyTuning:
    """The tuning of one study so far."""

    study: int
    methods: Mapping[str, MethodTuning]
    complete: bool
    notes: list[str] = field(default_factory=list)

    @property
    def placed(self) -> list[Placed]:
        """All points of all methods."""
        return [one for method in self.methods.values() for one in method.placed]


def rungs(design: Benchmark, epochs: int) -> list[int]:
    """Return the epochs after which points are compared: E alone, or with halving E/9, E/3 and E."""
    if not design.halving:
        return [epochs]
    return sorted({max(1, math.ceil(epochs / design.halving**power)) for power in (2, 1, 0)})


def extra_count(design: Benchmark) -> int:
    """Return how many extra points every method gets if a range is widened."""
    return math.ceil(design.budget / EXTRA_SHARE)


def tune_study(methods: Sequence[Method], design: Benchmark, epochs: int, study: int, score: Score) -> StudyTuning:
    """Return the points of a study that the results so far lead to.

    First every method gets ``budget`` points. When all of them have a result, and the best value of some method is on
    the edge of its range, this range is widened once, and every method gets the same number of extra points.
    """
    found: dict[str, MethodTuning] = {}
    complete = True
    for method in methods:
        points = _base_points(method, design, epochs, study, score)
        placed, scores = climb_rungs(points, rungs(design, epochs), score)
        complete = complete and len(points) == design.budget and scores is not None
        found[method.name] = MethodTuning(placed, scores or {}, method.dimensions)
    if not complete:
        return StudyTuning(study, found, complete=False)
    edges = {name: tuning.edges() for name, tuning in found.items()}
    widened = {
        method.name: {one.name: edge for one in method.dimensions
                      if (edge := edges[method.name].get(one.name)) and one.beyond(edge)}
        for method in methods
    }  # fmt: skip
    notes = []
    if any(widened.values()):
        count = extra_count(design)
        for method in methods:
            dimensions = widened[method.name]
            if dimensions:
                ranges = ", ".join(dimensions)
                notes.append(
                    f"study {study}: the best point of {method.name} is on the edge of its range ({ranges}): "
                    f"the range is widened once, and every method gets {counted(count, 'more point')}"
                )
            found[method.name], whole = _with_extra(found[method.name], method, dimensions, design, epochs, score)
            complete = complete and whole
        if not complete:
            return StudyTuning(study, found, complete=False, notes=notes)
    for name, tuning in found.items():
        for dimension, edge in tuning.edges().items():
            notes.append(
                f"warning: study {study}: the selected {dimension} of {name} is at the {edge} end of its range; "
                "a better value may be outside"
            )
    return StudyTuning(study, found, complete=True, notes=notes)


def _base_points(method: Method, design: Benchmark, epochs: int, study: int, score: Score) -> list[Point]:
    seed = seed_of(design.seed, study, method.name)
    known: list[float | None] = []
    while True:
        values = draw(method.dimensions, design.budget, design.sampler, seed, known)
        points = [Point(study, method, index, one) for index, one in enumerate(values)]
        if design.sampler != "tpe" or len(points) == design.budget:
            return points
        known = [score(point, epochs) for point in points]
        if None in known:
            return points


def _with_extra(
    tuning: MethodTuning, method: Method, edges: Mapping[str, str], design: Benchmark, epochs: int, score: Score
) -> tuple[MethodTuning, bool]:
    """Return the tuning of a method with its extra points, and whether all of them have a result."""
    study, first = tuning.placed[0].point.study, design.budget
    seed = seed_of(design.seed, study, method.name, "extra")
    values, dimensions = extra_points(method, edges, extra_count(design), design.sampler, seed)
    points = [Point(study, method, first + index, one) for index, one in enumerate(values)]
    placed, scores = climb_rungs(points, rungs(design, epochs), score)
    return MethodTuning(
        [*tuning.placed, *placed], {**tuning.scores, **(scores or {})}, dimensions
    ), scores is not None  # fmt: skip


def climb_rungs(
    points: Sequence[Point], lengths: Sequence[int], score: Score
) -> tuple[list[Placed], dict[int, float] | None]:
    """Return where every point is among the rungs, and the scores of those at the last one.

    At every rung but the last, the best third of the points (at least one) is continued, and the others are stopped.
    The scores are None until all points of the last rung have one.
    """
    stopped: list[Placed] = []
    alive = list(points)
    for rung, epochs in enumerate(lengths):
        scores = {point.index: score(point, epochs) for point in alive}
        known = {index: value for index, value in scores.items() if value is not None}
        here = [Placed(point, epochs, rung) for point in alive]
        if len(known) < len(alive):
            return _in_order([*stopped, *here]), None
        if rung == len(lengths) - 1:
            return _in_order([*stopped, *here]), known
        kept = sorted(alive, key=lambda point: (-known[point.index], point.index))[: math.ceil(len(alive) / 3)]
        stopped += [Placed(point, epochs, rung, stopped=True) for point in alive if point not in kept]
        alive = [point for point in alive if point in kept]
    return stopped, None


def _in_order(placed: Sequence[Placed]) -> list[Placed]:
    return sorted(placed, key=lambda one: one.point.index)
