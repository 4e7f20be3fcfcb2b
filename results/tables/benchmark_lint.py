"""The lint of a benchmark: checks of its tuning and of its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method
from results.ledger.configuration_runs import ConfigurationRuns
from search_spaces.errors import SpecError
from search_spaces.method import Dimension
from search_spaces.method import Method as MethodSpec
from search_spaces.plain_text import counted

MAX_DIVERGED = 0.25
"""Share of a method's points above which its range contains much that does not train."""

MIN_POINTS_PER_HYPERPARAMETER = 3


def _on_edge(benchmark: Benchmark) -> Iterator[str]:
    """Find selected values within 5 % of the end of their range, the widened range where the method has one."""
    for method in benchmark.methods:
        dimensions = final_dimensions(benchmark, method)
        for study in method.studies:
            for name, dimension in dimensions.items():
                value = method.chosen(study.selected.runs.configuration).get(name) if study.selected else None
                edge = dimension.edge(value) if isinstance(value, int | float) else ""
                if edge:
                    low, high = dimension.bounds
                    which = f", study {study.number}" if len(benchmark.studies) > 1 else ""
                    yield (
                        f"{method.name}{which}: {_last(name)}={value:.3g} is at the {edge} end of its range "
                        f"{low:.3g} to {high:.3g}"
                    )


def final_dimensions(benchmark: Benchmark, method: Method) -> dict[str, Dimension]:
    """Return the dimensions of a method's search space by name, widened as far as its points reach."""
    try:
        dimensions = MethodSpec.of(benchmark.spaces[method.name], method.name).dimensions
    except (KeyError, SpecError):
        return {}
    found = {}
    for dimension in dimensions:
        values = [v for v in method.hyperparameters.get(dimension.name, []) if isinstance(v, int | float)]
        wider = dimension
        for edge, beyond in (("low", lambda v, d: v < d.bounds[0]), ("high", lambda v, d: v > d.bounds[1])):
            if dimension.kind != "choice" and any(beyond(value, dimension) for value in values):
                part = dimension.beyond(edge)
                if part is not None:
                    ends = (*wider.bounds, *part.bounds)
                    wider = replace(wider, bounds=(min(ends), max(ends)))
        found[dimension.name] = wider
    return found


def _unequal_budgets(benchmark: Benchmark) -> Iterator[str]:
    for number in benchmark.studies:
        spent = {
            method.name: sum(point.run_epochs for point in study.points)
            for method in benchmark.methods
            for study in method.studies
            if study.number == number
        }
        if len(set(spent.values())) > 1:
            listed = ", ".join(f"{name} {epochs:,}" for name, epochs in spent.items())
            which = f"study {number}: " if len(benchmark.studies) > 1 else ""
            yield f"{which}run-epochs of tuning: {listed}; more tuning gives a higher best accuracy"


def _untuned_with_tuned(benchmark: Benchmark) -> Iterator[str]:
    for method in benchmark.methods:
        if method.studies and not method.hyperparameters and len(benchmark.methods) > 1:
            yield f"{method.name} has no hyperparameter that varies, so it is compared untuned with tuned methods"


def _diverged_points(benchmark: Benchmark) -> Iterator[str]:
    for method in benchmark.methods:
        share = diverged_share(method)
        if share > MAX_DIVERGED:
            yield (
                f"{method.name}: {share:.0%} of {counted(len(method.points), 'point')} diverged; less of its budget "
                "was spent on points that train"
            )


def diverged_share(method: Method) -> float:
    """Return the share of a method's points in tuning of which any run diverged."""
    return float(np.mean([point.diverged for point in method.points])) if method.points else 0.0


def _one_tuning_seed(benchmark: Benchmark) -> Iterator[str]:
    if any(len(point.runs.run_ids) == 1 for method in benchmark.methods for point in method.points):
        yield "one tuning seed: the best point is partly the one with a lucky seed"


def _test_read(benchmark: Benchmark) -> Iterator[str]:
    for method in benchmark.methods:
        tuning = sum(_tests(point.runs).any() for point in method.points)
        if tuning:
            yield f"{method.name}: the test set was read in the tuning of {counted(int(tuning), 'point')}"
        for study in method.studies:
            if study.evaluation is not None and _tests(study.evaluation)[:, :-1].any():
                yield f"{study.evaluation.label}: the test set was read before the last epoch of the evaluation"


def _tests(runs: ConfigurationRuns) -> np.ndarray:
    return np.isfinite(runs.curves["test_acc"])


def _one_study(benchmark: Benchmark) -> Iterator[str]:
    if len(benchmark.studies) == 1:
        yield "one study: the intervals do not contain the variance of the tuning"


def _seeds_in_both(benchmark: Benchmark) -> Iterator[str]:
    tuned = {seed for method in benchmark.methods for point in method.points for seed in point.runs.seeds}
    for method in benchmark.methods:
        for study in method.studies:
            common = sorted(tuned & set(study.evaluation.seeds)) if study.evaluation else []
            if common:
                yield f"{method.name}: evaluated under tuning seeds ({', '.join(map(str, common))})"


def _few_points(benchmark: Benchmark) -> Iterator[str]:
    for method in benchmark.methods:
        dimensions = len(final_dimensions(benchmark, method)) or len(method.hyperparameters)
        points = min((len(study.points) for study in method.studies), default=0)
        if points < MIN_POINTS_PER_HYPERPARAMETER * dimensions:
            yield (
                f"{method.name}: {counted(points, 'point')} for {counted(dimensions, 'hyperparameter')}, fewer than "
                f"{MIN_POINTS_PER_HYPERPARAMETER} for each"
            )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _of_benchmark(find: Callable[[Benchmark], Iterable[str]]) -> Callable[[SweepData], Iterable[str]]:
    return lambda sweep: find(sweep.benchmark) if sweep.benchmark is not None else ()


BENCHMARK_CHECKS: dict[str, Callable[[SweepData], Iterable[str]]] = {
    "LS101": _of_benchmark(_on_edge),
    "LS102": _of_benchmark(_unequal_budgets),
    "LS103": _of_benchmark(_untuned_with_tuned),
    "LS104": _of_benchmark(_diverged_points),
    "LS105": _of_benchmark(_one_tuning_seed),
    "LS106": _of_benchmark(_test_read),
    "LS107": _of_benchmark(_one_study),
    "LS108": _of_benchmark(_seeds_in_both),
    "LS109": _of_benchmark(_few_points),
}
"""Code → the check of a benchmark: it returns what is unfair."""
