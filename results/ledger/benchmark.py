"""The measured data of a benchmark: methods, their points in the tuning phase, and their runs in the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from results.ledger.configuration_runs import ConfigurationRuns, Floats
from results.metrics.tuning import best_point
from search_spaces.configuration import Configuration

RunsOf = Callable[[Sequence[str], int], ConfigurationRuns | None]
"""Run ids and a number of epochs → these runs of one configuration, with curves of this length."""


@dataclass(frozen=True)
class Point:
    """One configuration of a method's search space in the tuning phase, with its runs under the tuning seeds."""

    number: int  # from 0, in the order of drawing
    runs: ConfigurationRuns  # curves up to the point's last epoch
    epochs: int  # that each run trains in this phase
    rung: int = 0
    stopped: bool = False  # by successive halving

    @cached_property
    def score(self) -> float:
        """Mean validation accuracy in percent after the last epoch; NaN until every run has a result."""
        return float(self.runs.final.mean()) if self.runs.counted.all() else np.nan

    @property
    def diverged(self) -> bool:
        """Whether any run diverged."""
        return bool(self.runs.diverged.any())

    @property
    def run_epochs(self) -> int:
        """The epochs that the point costs: those of a run times the number of seeds."""
        return self.epochs * len(self.runs.run_ids)


@dataclass(frozen=True)
class Study:
    """One repetition of tuning and evaluation of one method."""

    number: int  # from 1
    points: tuple[Point, ...]
    evaluation: ConfigurationRuns | None = None  # under the evaluation seeds; its label is that of the method
    evaluated_point: int | None = None  # as in the ledger

    @cached_property
    def best(self) -> Point | None:
        """The point to evaluate: the highest score of those that did not diverge and were not stopped."""
        candidates = [point for point in self.points if not point.stopped]
        found = best_point(
            np.array([point.score for point in candidates]),
            np.array([point.diverged for point in candidates], dtype=np.bool_),
        )
        return None if found is None else candidates[found]

    @property
    def selected(self) -> Point | None:
        """The point that is evaluated; before the evaluation, the best one so far."""
        if self.evaluated_point is None:
            return self.best
        return next((point for point in self.points if point.number == self.evaluated_point), None)


@dataclass(frozen=True)
class Method:
    """A method of a benchmark: an optimizer with a scheduler and a search space, tuned in every study."""

    name: str
    studies: tuple[Study, ...]
    untuned: ConfigurationRuns | None = None  # the class's defaults
    origin: str = ""  # the published benchmark that it was received from; empty: it was trained here

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """The points of all studies."""
        return tuple(point for study in self.studies for point in study.points)

    @cached_property
    def evaluated(self) -> tuple[Study, ...]:
        """The studies whose evaluation has at least one result."""
        return tuple(s for s in self.studies if s.evaluation is not None and s.evaluation.counted.any())

    @property
    def evaluations(self) -> list[ConfigurationRuns]:
        """The evaluation runs of each evaluated study."""
        return [study.evaluation for study in self.evaluated if study.evaluation is not None]

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The evaluation runs that have a result."""
        return tuple(run_id for runs in self.evaluations for run_id in runs.counted_ids)

    @cached_property
    def hyperparameters(self) -> dict[str, list[Any]]:
        """The settings that differ between points, with their value at each point; a list has a name per place."""
        rows = [flat_settings(point.runs.configuration) for point in self.points]
        names = dict.fromkeys(name for row in rows for name in row)
        values = {name: [row.get(name) for row in rows] for name in names}
        return {name: column for name, column in values.items() if len({repr(value) for value in column}) > 1}

    def chosen(self, configuration: Configuration) -> dict[str, Any]:
        """Return the values of :attr:`hyperparameters` in a configuration."""
        settings = flat_settings(configuration)
        return {name: settings.get(name) for name in self.hyperparameters}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's methods, in the order of the spec, and its design."""

    methods: tuple[Method, ...]
    epochs: int  # of the evaluation
    design: Mapping[str, Any]  # the spec's table ``[benchmark]``
    spaces: Mapping[str, Mapping[str, Any]]  # method → its search space, as the user wrote it
    received: tuple[Method, ...] = ()  # of published benchmarks; not part of the verdict
    notes: tuple[str, ...] = ()  # about what was received

    @property
    def evaluated(self) -> tuple[Method, ...]:
        """The methods with at least one result in the evaluation."""
        return tuple(method for method in self.methods if method.evaluated)

    @property
    def shown(self) -> tuple[Method, ...]:
        """The methods of this benchmark, then the received ones."""
        return (*self.methods, *self.received)

    @cached_property
    def studies(self) -> tuple[int, ...]:
        """The numbers of all studies."""
        return tuple(sorted({study.number for method in self.methods for study in method.studies}))

    @property
    def points(self) -> int:
        """The most points of any method in a study: the budget, and the points that a widened range gives to all."""
        return max((len(study.points) for method in self.methods for study in method.studies), default=0)

    @cached_property
    def common_seeds(self) -> dict[int, frozenset[int]]:
        """Study → the evaluation seeds under which every evaluated method has a result."""
        found: dict[int, frozenset[int]] = {}
        for method in self.evaluated:
            for study in method.evaluated:
                if study.evaluation is not None:
                    seeds = frozenset(study.evaluation.counted_seeds)
                    found[study.number] = found.get(study.number, seeds) & seeds
        return found


def flat_settings(configuration: Configuration) -> dict[str, Any]:
    """Return a configuration's columns, where the numbers of a list have a name each: ``optimizer.betas[0]``."""
    flat: dict[str, Any] = {}
    for name, value in configuration.columns().items():
        if isinstance(value, list) and value and all(isinstance(item, int | float) for item in value):
            flat |= {f"{name}[{place}]": item for place, item in enumerate(value)}
        else:
            flat[name] = value
    return flat


def benchmark_of(phases: pd.DataFrame, spec: Mapping[str, Any] | None, runs_of: RunsOf) -> Benchmark:
    """Return the benchmark of the rows of ``read_phases``.

    Args:
        phases: not empty.
        spec: what ``benchmark_in`` returns; None where the ledger has no readable spec.
        runs_of: reads runs; None if none of them is planned any more.
    """
    spec = spec or {}
    listed = [str(method.get("name")) for method in spec.get("methods") or [] if isinstance(method, dict)]
    names = [*dict.fromkeys([*listed, *phases["method"]])]
    several = phases["study"].nunique() > 1
    methods = []
    for name in names:
        rows = phases[phases["method"] == name]
        numbers = sorted(rows.loc[rows["phase"] != "untuned", "study"].unique())
        studies = tuple(_study(rows[rows["study"] == k], int(k), name, several, runs_of) for k in numbers)
        untuned = rows[rows["phase"] == "untuned"]
        ids = list(dict.fromkeys(untuned["run_id"]))
        defaults = runs_of(ids, int(untuned["epochs"].max())) if ids else None
        if studies or defaults:
            methods.append(Method(name, studies, defaults))
    last = phases.loc[phases["phase"] != "tuning", "epochs"]
    epochs = spec.get("epochs")
    return Benchmark(
        methods=tuple(methods),
        epochs=epochs if isinstance(epochs, int) else int(last.max() if len(last) else phases["epochs"].max()),
        design=spec.get("benchmark") or {},
        spaces={
            str(method.get("name")): method for method in spec.get("methods") or [] if isinstance(method, dict)
        },
    )  # fmt: skip


def _study(rows: pd.DataFrame, number: int, method: str, several: bool, runs_of: RunsOf) -> Study:
    points = []
    for place, members in rows[rows["phase"] == "tuning"].groupby("point"):
        epochs = int(members["epochs"].max())
        runs = runs_of(list(members["run_id"]), epochs)
        if runs is not None:
            rung, stopped = int(members["rung"].max()), bool(members["stopped"].any())
            points.append(Point(int(str(place)), runs, epochs, rung, stopped))
    evaluated = rows[rows["phase"] == "evaluation"]
    if evaluated.empty:
        return Study(number, tuple(points))
    runs = runs_of(list(evaluated["run_id"]), int(evaluated["epochs"].max()))
    label = f"{method}, study {number}" if several else method
    named = None if runs is None else replace(runs, label=label)
    return Study(number, tuple(points), named, int(evaluated["point"].iloc[0]))


def finals_under(runs: ConfigurationRuns, seeds: Sequence[int], split: str) -> Floats:
    """Return the final accuracies in percent of the counted runs under ``seeds``, in their order."""
    places = [runs.counted_seeds.index(seed) for seed in seeds]
    return runs.accuracy(split)[places, -1]
