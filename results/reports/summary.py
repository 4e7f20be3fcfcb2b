"""The answer of a sweep in three sentences, written from its numbers: which, by how much, and how sure."""

from __future__ import annotations

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics.comparison import Comparison, compare_pairs, fewest_pairs, holm, smallest_p, verdict
from results.metrics.intervals import Estimate, mean_t_interval
from results.metrics.stability import at_chance
from results.tables.comparison import compared_split, paired
from results.tables.table import estimate_text

SPLIT_WORDS = {"val": "validation", "test": "test"}


def question(sweep: SweepData) -> str:
    """Return what the sweep asked, in one sentence."""
    seeds = len({seed for group in sweep.configurations for seed in group.seeds})
    count, epochs = len(sweep.configurations), sweep.epochs
    return (
        f"Which of {_counted(count, 'configuration')} trains LeNet-5 best on {sweep.data_label or 'no data'}, "
        f"over {_counted(seeds, 'seed')} and {_counted(epochs, 'epoch')}, and how sure is that?"
    )


def answer(sweep: SweepData) -> list[str]:
    """Return the answer: the winner, the runner-up with the difference, and what it is worth."""
    best = sweep.best
    if best is None:
        return ["No run has a result yet, so there is no answer."]
    if at_chance(best.final).all():
        return [_winner(sweep, best), "All of its runs ended at chance: nothing has been learned yet.", _caveat(sweep)]
    others = [group for group in sweep.counted if group is not best]
    if not others:
        return [_winner(sweep, best), "There is no other configuration to compare it with.", _caveat(sweep)]
    split = compared_split(sweep)
    comparisons = [compare_pairs(*paired(best, group, split)[:2]) for group in others]
    adjusted = holm([comparison.p_value if comparison.n else 1.0 for comparison in comparisons])
    runner_up = max(range(len(others)), key=lambda i: float(others[i].final.mean()))
    return [
        _winner(sweep, best),
        _difference(comparisons[runner_up], others[runner_up], split),
        _sureness(comparisons, [float(p) for p in adjusted], split, sweep),
    ]


def _winner(sweep: SweepData, best: ConfigurationRuns) -> str:
    final = mean_t_interval(best.final)
    n = f"n = {final.n}"
    spread = f"95 % interval, {n}" if final.n > 1 else f"{n}, so no interval"
    return (
        f"{best.label} came out best after {_counted(sweep.epochs, 'epoch')}: "
        f"{estimate_text(final, 2)} % validation accuracy ({spread})."
    )


def _difference(comparison: Comparison, runner_up: ConfigurationRuns, split: str) -> str:
    if not comparison.n:
        return f"The runner-up, {runner_up.label}, shares no seed with it, so the two cannot be compared in pairs."
    difference = comparison.difference
    interval = "" if comparison.n > 1 else ", one pair, so no interval"
    sign = "ahead of" if difference.value > 0 else "behind" if difference.value < 0 else "apart from"
    if difference.value < 0:
        difference = Estimate(-difference.value, -difference.high, -difference.low, difference.n)
    shown = estimate_text(difference, 2)
    return (
        f"On the {SPLIT_WORDS[split]} set it is {shown} pp {sign} the runner-up, {runner_up.label} "
        f"(paired by seed, {_counted(comparison.n, 'pair')}, "
        f"won {100 * comparison.wins:.0f} %{interval})."
    )


def _sureness(comparisons: list[Comparison], adjusted: list[float], split: str, sweep: SweepData) -> str:
    family, most = len(comparisons), max(comparison.n for comparison in comparisons)
    needed = fewest_pairs(family)
    if most < needed:
        smallest = min(1.0, family * smallest_p(most))
        sure = (
            f"With {_counted(most, 'pair')} and {_counted(family, 'comparison')} no Holm-corrected p can fall "
            f"below {smallest:.2g}, so n is too small to reject anything: {needed} seeds are the fewest that can"
        )
    else:
        verdicts = [verdict(c, p, family) for c, p in zip(comparisons, adjusted, strict=True)]
        worse = f", and worse than {verdicts.count('worse')}" if "worse" in verdicts else ""
        sure = (
            f"It is shown to be better than {verdicts.count('better')} of {_counted(len(comparisons), 'other')}{worse} "
            f"(exact sign-flip test, Holm-corrected, 5 %)"
        )
    chosen = "" if split == "test" else "; it was chosen on the same data, so this is exploratory"
    return f"{sure}{chosen}; all of it on this task, not in general{_partly(sweep)}."


def _caveat(sweep: SweepData) -> str:
    return f"It says something about this task only, not in general{_partly(sweep)}."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _partly(sweep: SweepData) -> str:
    words = []
    if sweep.synthetic:
        words.append("on synthetic data, which is not CIFAR-100")
    if sweep.partial:
        words.append("with some runs still missing")
    return f" ({', and '.join(words)})" if words else ""
