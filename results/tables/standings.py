"""The methods of a benchmark compared in the evaluation phase: all pairs, so that the choice of the best costs nothing.

The best method is chosen from the same runs that compare it. The family of the correction is therefore all pairs of
methods: whichever one is chosen, the probability of any wrong verdict is at most 5 %.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method, finals_under
from results.ledger.configuration_runs import Floats
from results.metrics.comparison import (
    BETTER,
    EQUAL,
    TOO_FEW,
    TRAINS_LESS,
    TRAINS_MORE,
    WORSE,
    Comparison,
    compare_pairs,
    holm,
    verdict,
)
from results.metrics.intervals import TOLERANCE, Estimate, mean_over_runs
from results.metrics.tuning import mean_over_studies, probability_better
from results.tables.comparison import compare_best, comparison_split

TOO_FEW_STUDIES = "too few studies"
DECIDED = (BETTER, WORSE, TRAINS_MORE, TRAINS_LESS, EQUAL)


@dataclass(frozen=True)
class Pair:
    """Two methods compared under their common evaluation seeds, first minus second."""

    first: Method
    second: Method
    comparison: Comparison  # over seeds, or with several studies over the means of the studies
    wins: tuple[int, int, int]  # pairs of runs won, tied, all, in all studies
    run_ids: tuple[str, ...]

    @property
    def probability(self) -> Estimate:
        """The probability in percent that the first is better under a new seed; no interval for several studies."""
        found = probability_better(*self.wins)
        if len(self.first.evaluated) > 1:
            return replace(found, low=math.nan, high=math.nan)
        return found


@dataclass(frozen=True)
class Standings:
    """All pairs of the methods that have an evaluation."""

    methods: tuple[Method, ...]  # the best one by validation first
    split: str
    pairs: tuple[Pair, ...]
    level: float
    several_studies: bool

    @property
    def best(self) -> Method:
        """The method with the highest mean validation accuracy in the evaluation."""
        return self.methods[0]

    @cached_property
    def adjusted(self) -> tuple[float, ...]:
        """The Holm-corrected p of each pair, over all pairs."""
        return tuple(map(float, holm([pair.comparison.p_value if pair.comparison.n else 1.0 for pair in self.pairs])))

    def verdict(self, place: int) -> str:
        """Return the verdict on the first method of the pair at this place of :attr:`pairs`."""
        words = verdict(self.pairs[place].comparison, self.adjusted[place], len(self.pairs), self.level)
        return TOO_FEW_STUDIES if self.several_studies and words == TOO_FEW else words

    def of_best(self, other: Method) -> tuple[Pair, float, str]:
        """Return the pair of the best method and another one, its corrected p, and the verdict on the best."""
        for place, pair in enumerate(self.pairs):
            if pair.first is self.best and pair.second is other:
                return pair, self.adjusted[place], self.verdict(place)
        raise KeyError(other.name)

    @cached_property
    def undecided(self) -> tuple[Method, ...]:
        """The methods that are neither better nor worse than the best one, nor equal to it within the margin."""
        found = ((other, *self.of_best(other)) for other in self.methods[1:])
        return tuple(
            other for other, pair, _, words in found if words not in DECIDED and not pair.comparison.equivalent
        )


def standings(sweep: SweepData) -> Standings | None:
    """Compare all methods of a benchmark; None for another sweep, and before a method learned in the evaluation.

    Methods are ordered by their mean validation accuracy over the studies under the common seeds, where a run at chance
    counts as such. A method without a common seed is omitted.
    """
    benchmark = sweep.benchmark
    if benchmark is None:
        return None
    methods = [method for method in benchmark.evaluated if len(seed_means(benchmark, method, "val"))]
    scored = [(float(np.mean(seed_means(benchmark, method, "val"))), method) for method in methods]
    scored.sort(key=lambda item: -item[0])  # stable: equal ones stay in the order of the spec
    if not scored or scored[0][0] < sweep.chance_limit - TOLERANCE:
        return None
    ordered = tuple(method for _, method in scored)
    split = comparison_split(sweep)
    pairs = tuple(compare_methods(benchmark, a, b, split, sweep.level) for a, b in itertools.combinations(ordered, 2))
    return Standings(ordered, split, pairs, sweep.level, len(benchmark.studies) > 1)


def received_standings(sweep: SweepData, found: Standings) -> Standings | None:
    """Compare every method of a benchmark with every received one; None where nothing was received.

    These pairs are a separate family for the correction: what is received changes no p value of the benchmark.
    The methods are those of the benchmark in their order, then the received ones by their validation accuracy.
    """
    benchmark = sweep.benchmark
    received = [method for method in benchmark.received if method.evaluated] if benchmark is not None else []
    if benchmark is None or not received:
        return None
    received.sort(key=lambda method: -evaluation_mean(method, "val").value)
    pairs = tuple(
        compare_methods(benchmark, own, other, found.split, sweep.level) for own in found.methods for other in received
    )
    return replace(found, methods=(*found.methods, *received), pairs=pairs)


def compare_methods(benchmark: Benchmark, a: Method, b: Method, split: str, level: float) -> Pair:
    """Compare two methods under their common evaluation seeds.

    One study: pairs of runs. Several: pairs of study means, so that the interval and the test contain the variance of
    the tuning (Bouthillier et al. 2021); where a run did not train, pairs of runs, whose shares that trained are
    compared.
    """
    finals: tuple[list[Floats], list[Floats]] = ([], [])
    trained: tuple[list[bool], list[bool]] = ([], [])
    ids: list[str] = []
    studies = {study.number: study.evaluation for study in b.evaluated}
    for study in a.evaluated:
        sides = (study.evaluation, studies.get(study.number))
        if sides[0] is None or sides[1] is None:
            continue
        seeds = sorted(set(sides[0].counted_seeds) & set(sides[1].counted_seeds))
        for side, runs in enumerate(sides):
            assert runs is not None
            finals[side].append(finals_under(runs, seeds, split))
            places = [runs.counted_seeds.index(seed) for seed in seeds]
            trained[side].extend(bool(runs.trained[place]) for place in places)
            ids += [runs.counted_ids[place] for place in places]
    flat = [np.concatenate([np.empty(0), *side]) for side in finals]
    both = (np.array(trained[0], dtype=np.bool_), np.array(trained[1], dtype=np.bool_))
    of_runs = compare_pairs(flat[0], flat[1], trained=both, level=level)
    wins = (of_runs.won, of_runs.tied, of_runs.n)
    if len(benchmark.studies) > 1 and of_runs.all_trained:
        means = [np.array([study.mean() for study in side if len(study)]) for side in finals]
        return Pair(a, b, compare_pairs(means[0], means[1], level=level), wins, tuple(ids))
    return Pair(a, b, of_runs, wins, tuple(ids))


def seed_means(benchmark: Benchmark, method: Method, split: str) -> Floats:
    """Return the mean accuracy ``[studies]`` in percent of a method under the common seeds of each study."""
    found = []
    for study in method.evaluated:
        seeds = sorted(benchmark.common_seeds[study.number])
        if study.evaluation is not None and seeds:
            found.append(float(finals_under(study.evaluation, seeds, split).mean()))
    return np.array(found)


def evaluation_mean(method: Method, split: str) -> Estimate:
    """Return the mean evaluation accuracy with its interval; without an interval where a run did not train."""
    runs = method.evaluations
    at_chance = np.concatenate([~one.trained for one in runs])
    finals = [one.accuracy(split)[:, -1] for one in runs]
    if at_chance.any():
        return mean_over_runs(np.concatenate(finals), at_chance)
    return mean_over_studies(finals)


def comparisons_asked(sweep: SweepData) -> int:
    """Return the number of comparisons that the sweep's tests are corrected for, at least 1."""
    if sweep.benchmark is not None:
        methods = len(sweep.benchmark.evaluated)
        return max(1, methods * (methods - 1) // 2)
    compared = compare_best(sweep)
    return len(compared.tested) if compared else 1
