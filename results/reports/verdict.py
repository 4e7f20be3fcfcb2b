"""The verdict of a benchmark in two sentences: what is best and how sure that is, and what to do next."""

from __future__ import annotations

import math

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method
from results.metrics.comparison import BETTER, EQUAL, MIN_PAIRS, TOO_FEW, TRAINS_MORE, WORSE, Comparison, min_pairs
from results.metrics.equivalence import MARGIN
from results.metrics.power import pairs_needed
from results.tables.comparison import SPLIT_NAMES
from results.tables.numbers import estimate_text, rounded
from results.tables.standings import DECIDED, TOO_FEW_STUDIES, Standings, evaluation_mean, standings
from search_spaces.plain_text import counted

MAX_NAMED = 3
SIMILAR = "equal within the margin"
STUDIES_NEXT = 5
"""Number of studies that the verdict proposes for the variance of the tuning; AlgoPerf (Dahl et al. 2023) has five."""


def verdict_sentences(sweep: SweepData) -> list[str]:
    """Return the verdict of a benchmark; empty for another sweep."""
    benchmark = sweep.benchmark
    if benchmark is None:
        return []
    found = standings(sweep)
    if found is None:
        return [_no_verdict(sweep, benchmark), _continue(sweep)]
    return [_standing(sweep, benchmark, found), _next_step(sweep, benchmark, found)]


def _no_verdict(sweep: SweepData, benchmark: Benchmark) -> str:
    if benchmark.evaluated:
        return (
            "No method learned more than chance in the evaluation: every mean validation accuracy is below "
            f"{sweep.chance_limit:.3g} %, so there is no best method."
        )
    points = [point for method in benchmark.methods for point in method.points]
    scored = sum(math.isfinite(point.score) for point in points)
    return (
        f"No verdict yet: {scored} of {counted(len(points), 'point')} in tuning have a result, the evaluation has none."
    )


def _continue(sweep: SweepData) -> str:
    if sweep.benchmark is not None and sweep.benchmark.evaluated:
        return "Widen the ranges, or train for more epochs."
    return f"To continue: `sweep resume {sweep.name}`."


def _standing(sweep: SweepData, benchmark: Benchmark, found: Standings) -> str:
    """Say which method is best, against which others this is shown, and against which it is undecided."""
    best = found.best
    groups: dict[str, list[Method]] = {}
    p_values = []
    for other in found.methods[1:]:
        pair, adjusted, words = found.of_best(other)
        similar = pair.comparison.equivalent and words not in DECIDED
        groups.setdefault(SIMILAR if similar else words, []).append(other)
        if words in (BETTER, WORSE, TRAINS_MORE):
            p_values.append(adjusted)
    parts = [_mean_part(found, benchmark, best)]
    if not found.methods[1:]:
        parts.append("is the only method with a result")
    sure = f" (corrected p {_p_text(max(p_values))})" if p_values else ""
    for words, text in (
        (BETTER, "is better than {}" + sure),
        (TRAINS_MORE, "trains more often than {}" + sure),
        (WORSE, "is worse than {} on " + SPLIT_NAMES[found.split] + sure),
        (EQUAL, "is equal to {} in every pair"),
        (SIMILAR, f"is equal to {{}} within {MARGIN:g} pp"),
    ):
        if words in groups:
            parts.append(text.format(_names(groups[words])))
    trained = [other for other in found.undecided if found.of_best(other)[0].comparison.all_trained]
    if trained:
        shown = _difference(found.of_best(trained[0])[0].comparison, trained[0])
        parts.append(f"is undecided against {_names(trained)}{shown}")
    collapsed = [other for other in found.undecided if other not in trained]
    if collapsed:
        shares = ", ".join(_share(found.of_best(other)[0].comparison, other) for other in collapsed[:MAX_NAMED])
        parts.append(f"is undecided against {_names(collapsed)} by the share of runs that trained ({shares})")
    data = " (synthetic data, not CIFAR-100)" if sweep.synthetic else ""
    scope = f"on this task{data}" + (", with part of the runs" if sweep.partial else "")
    return f"Under this protocol and {scope}, {'; it '.join(parts)}."


def _mean_part(found: Standings, benchmark: Benchmark, best: Method) -> str:
    mean = evaluation_mean(best, found.split)
    text = str(estimate_text(mean, 2))
    unit = "" if mean.n_at_chance else " %"
    seeds = f"{len(benchmark.studies)} studies" if found.several_studies else counted(len(best.run_ids), "new seed")
    return (
        f"{best.name} has the highest validation accuracy of {counted(len(found.methods), 'tuned method')}, with "
        f"{text}{unit} on {SPLIT_NAMES[found.split]} ({seeds})"
    )


def _difference(comparison: Comparison, other: Method) -> str:
    if not comparison.n:
        return f" (no common seed with {other.name})"
    return f" ({estimate_text(comparison.difference, 2, of='pairs')} pp above {other.name})"


def _share(comparison: Comparison, other: Method) -> str:
    ours, theirs = comparison.trained
    return f"{ours} of {comparison.n} against {theirs} of {comparison.n} of {other.name}"


def _next_step(sweep: SweepData, benchmark: Benchmark, found: Standings) -> str:
    """Say how many seeds or studies would decide what is open."""
    unit = "studies" if found.several_studies else "evaluation seeds"
    family = len(found.pairs)
    compared = [found.of_best(other) for other in found.undecided]
    opened = [(pair.comparison, words) for pair, _, words in compared]
    if not opened:
        return _decided(sweep, benchmark, found)
    known = [comparison for comparison, _ in opened if comparison.sd > 0]
    if not known:
        return _without_sd(found, unit, family, opened)
    sd = max(comparison.sd for comparison in known)
    least = min_pairs(family, found.level)
    seeds = [max(pairs_needed(pp, sd, family), least) for pp in (1.0, 0.5)]
    have = min(comparison.n for comparison, _ in opened)
    few = "too few to decide anything, " if any(words in (TOO_FEW, TOO_FEW_STUDIES) for _, words in opened) else ""
    return (
        f"With {have} {unit} now, {few}80 % power needs {_count(seeds[0])} {unit} for a true difference of 1 pp "
        f"and {_count(seeds[1])} for 0.5 pp, at the SD of {rounded(sd, 2)} pp of the paired differences."
    )


def _without_sd(found: Standings, unit: str, family: int, opened: list[tuple[Comparison, str]]) -> str:
    """Say what to do where only the shares of runs that trained are compared, or there is one pair."""
    needed = max(min_pairs(family, found.level), MIN_PAIRS)
    have = min(comparison.n for comparison, _ in opened)
    if have < needed:
        return f"At least {needed} {unit} are needed to test {counted(family, 'comparison')} at all."
    discordant = max(abs(ours - theirs) for ours, theirs in (comparison.trained for comparison, _ in opened))
    if not discordant:
        return "The shares that trained are equal; smaller learning rates may avoid the runs at chance."
    return (
        f"With {have} {unit} now, about {math.ceil(have * needed / discordant)} would decide which one trains "
        "more often if the shares stay the same; smaller learning rates may avoid the runs at chance."
    )


def _decided(sweep: SweepData, benchmark: Benchmark, found: Standings) -> str:
    if found.several_studies:
        return "No more seeds or studies are needed: all comparisons include the variance of the tuning."
    return (
        "No more seeds are needed to compare these points, but another tuning may choose others; "
        f"`studies = {STUDIES_NEXT}` measures this."
    )


def _count(seeds: float) -> str:
    return f"{seeds:,.0f}" if math.isfinite(seeds) else "> 100,000"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"≤ {p:.2g}"


def _names(methods: list[Method] | tuple[Method, ...]) -> str:
    names = [method.name for method in methods]
    if len(names) > MAX_NAMED:
        return f"{', '.join(names[:MAX_NAMED])} and {len(names) - MAX_NAMED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
