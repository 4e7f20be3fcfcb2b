"""The question and the answer of a sweep, as sentences computed from its numbers."""

from __future__ import annotations

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics.comparison import Comparison, compare_pairs, holm, min_pairs, verdict
from results.metrics.intervals import Estimate, mean_t_interval
from results.metrics.stability import at_chance
from results.tables.comparison import SPLIT_NAMES, comparison_split, paired_finals
from results.tables.table import estimate_text


def question(sweep: SweepData) -> str:
    """Return the question that the sweep answers, in one sentence."""
    seeds = len({seed for group in sweep.configurations for seed in group.seeds})
    count, epochs = len(sweep.configurations), sweep.epochs
    return (
        f"Which of {_counted(count, 'configuration')} has the highest accuracy with LeNet-5 on "
        f"{sweep.data_label or 'no data'} ({_counted(seeds, 'seed')}, {_counted(epochs, 'epoch')}), "
        "and is the difference statistically significant?"
    )


def answer(sweep: SweepData) -> list[str]:
    """Return the answer: the best configuration, its difference from the second best, and the significance test."""
    best = sweep.best
    if best is None:
        return ["No answer: no run has a result yet."]
    if at_chance(best.final).all():
        return [_best(sweep, best), "All of its runs ended at chance, so it has not learned.", _scope(sweep)]
    others = [group for group in sweep.counted if group is not best]
    if not others:
        return [_best(sweep, best), "The sweep has no other configuration with a result.", _scope(sweep)]
    split = comparison_split(sweep)
    comparisons = [compare_pairs(*paired_finals(best, group, split)[:2]) for group in others]
    adjusted = holm([comparison.p_value if comparison.n else 1.0 for comparison in comparisons])
    runner_up = max(range(len(others)), key=lambda i: float(others[i].final.mean()))
    return [
        _best(sweep, best),
        _difference(comparisons[runner_up], others[runner_up], split),
        _significance(comparisons, [float(p) for p in adjusted], split, sweep),
    ]


def _best(sweep: SweepData, best: ConfigurationRuns) -> str:
    final = mean_t_interval(best.final)
    n = f"n = {final.n}"
    spread = f"95 % interval, {n}" if final.n > 1 else f"{n}, so no interval"
    return (
        f"{best.label} has the highest validation accuracy after {_counted(sweep.epochs, 'epoch')}: "
        f"{estimate_text(final, 2)} % ({spread})."
    )


def _difference(comparison: Comparison, runner_up: ConfigurationRuns, split: str) -> str:
    if not comparison.n:
        return f"The second best, {runner_up.label}, has no seed in common with it, so there is no paired difference."
    difference = comparison.difference
    interval = "" if comparison.n > 1 else ", one pair, so no interval"
    sign = "better than" if difference.value > 0 else "worse than" if difference.value < 0 else "different from"
    if difference.value < 0:
        difference = Estimate(-difference.value, -difference.high, -difference.low, difference.n)
    shown = estimate_text(difference, 2)
    return (
        f"Its {SPLIT_NAMES[split]} accuracy is {shown} pp {sign} that of the second best, {runner_up.label} "
        f"(paired by seed, {_counted(comparison.n, 'pair')}, better in {100 * comparison.wins:.0f} %{interval})."
    )


def _significance(comparisons: list[Comparison], adjusted: list[float], split: str, sweep: SweepData) -> str:
    family, most = len(comparisons), max(comparison.n for comparison in comparisons)
    needed = min_pairs(family)
    if most < needed:
        needs = "needs" if family == 1 else "need"
        sentence = (
            f"Too few seeds for a significance test: {_counted(family, 'comparison')} {needs} at least {needed} seeds"
        )
    else:
        verdicts = [verdict(c, p, family) for c, p in zip(comparisons, adjusted, strict=True)]
        worse = f" and significantly worse than {verdicts.count('worse')}" if "worse" in verdicts else ""
        sentence = (
            f"It is significantly better than {verdicts.count('better')} of "
            f"{_counted(len(comparisons), 'other configuration')}{worse} "
            f"(exact sign-flip test, Holm-corrected, 5 % level)"
        )
    exploratory = "" if split == "test" else " It was selected on the same data, so the comparison is exploratory."
    return f"{sentence}.{exploratory} {_scope(sweep)}"


def _scope(sweep: SweepData) -> str:
    limits = []
    if sweep.synthetic:
        limits.append("the data is synthetic, not CIFAR-100")
    if sweep.partial:
        limits.append("some runs have no result yet")
    return "The result holds for this task only" + "".join(f"; {limit}" for limit in limits) + "."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
