"""The question and the answer of a sweep, as sentences computed from its numbers."""

from __future__ import annotations

from dataclasses import replace

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.metrics.comparison import (
    BETTER,
    NO_DIFFERENCE,
    TOO_FEW,
    TRAINS_LESS,
    TRAINS_MORE,
    WORSE,
    min_pairs,
)
from results.metrics.equivalence import MARGIN
from results.metrics.intervals import Estimate
from results.reports.significance import significance_sentences
from results.reports.verdict import verdict_sentences
from results.tables.comparison import (
    SPLIT_NAMES,
    Comparisons,
    Contender,
    compare_best,
    notes_on_looks,
    pairs_won,
)
from results.tables.numbers import estimate_text
from search_spaces.models import model_title
from search_spaces.plain_text import counted

MAX_DESCRIBED = 5
"""Most comparisons with the reference that have a sentence each."""

FROM_THE_OTHER = {
    BETTER: "significantly worse", WORSE: "significantly better", TRAINS_MORE: TRAINS_LESS, TRAINS_LESS: TRAINS_MORE,
}  # fmt: skip
"""A verdict on the reference → the same verdict, on the configuration that is compared with it."""


def question(sweep: SweepData) -> str:
    """Return the question that the sweep answers, in one sentence."""
    seeds = len({seed for group in sweep.configurations for seed in group.seeds})
    count, epochs = len(sweep.configurations), sweep.epochs
    model = model_title(sweep.model)
    task = f"with {model} on {sweep.data_title} ({counted(seeds, 'seed')}, {counted(epochs, 'epoch')})"
    if sweep.benchmark is not None:
        return (
            f"Which of {counted(len(sweep.benchmark.methods), 'method')} has the highest accuracy with {model} on "
            f"{sweep.data_title} after equal tuning ({counted(sweep.benchmark.points, 'point')} each), "
            "and is the difference statistically significant?"
        )
    if count == 1:
        return f"Which accuracy does {sweep.configurations[0].label} reach {task}?"
    if not count:
        return f"No configuration is planned {task}."
    return (
        f"Which of the {count:,} configurations has the highest accuracy {task}, "
        "and is the difference statistically significant?"
    )


def answer(sweep: SweepData) -> list[str]:
    """Return the answer: the best configuration, its difference from the second best, and the significance test."""
    if sweep.benchmark is not None:
        return verdict_sentences(sweep)
    best = sweep.best
    if best is None:
        if not sweep.counted:
            return ["No answer: no run has a result yet."]
        return [
            "No configuration learned more than chance: every mean validation accuracy is below "
            f"{sweep.chance_limit:.3g} %, or every run "
            "ended at chance. There is no best configuration.",
            _scope(sweep),
        ]
    compared = compare_best(sweep)
    if sweep.reference_id and sweep.reference is None:
        return [_best(sweep, best), "The reference has no result yet, so nothing is compared with it.", _scope(sweep)]
    if compared is None:
        return [_best(sweep, best), "The sweep has no other configuration with a result.", _scope(sweep)]
    if compared.named_before:
        return [_best(sweep, best), *_against_reference(compared), _significance(sweep, compared)]
    runner_up = max(compared.contenders, key=lambda contender: float(contender.group.final.mean()))
    return [_best(sweep, best), _difference(compared, runner_up), _significance(sweep, compared)]


def seeds_for_a_test(sweep: SweepData) -> int | None:
    """Return the number of seeds that a significance test needs; None if there are enough, or nothing to compare."""
    compared = compare_best(sweep) if sweep.best and sweep.benchmark is None else None
    if compared is None or {compared.verdict(contender) for contender in compared.contenders} != {TOO_FEW}:
        return None
    return min_pairs(len(compared.tested))


def _best(sweep: SweepData, best: ConfigurationRuns) -> str:
    final = best.mean()
    text = f"{best.label} has the highest validation accuracy after {counted(sweep.epochs, 'epoch')}: "
    if final.n_at_chance:
        return f"{text}{estimate_text(final, 2)} (in %, n = {final.n}, so no interval)."
    if final.n == 1:
        return f"{text}{estimate_text(final, 2)} % (n = 1, so no interval)."
    return f"{text}{estimate_text(final, 2)} % ({'95 % interval, ' if not final.values else ''}n = {final.n})."


def _difference(compared: Comparisons, runner_up: Contender) -> str:
    """Describe the difference from the second best configuration."""
    comparison, label, split = runner_up.comparison, runner_up.group.label, SPLIT_NAMES[compared.split]
    if not comparison.n:
        return f"The second best, {label}, has no seed in common with it, so there is no paired difference."
    pairs = f"paired by seed, {counted(comparison.n, 'pair')}"
    if not comparison.all_trained:
        ours, theirs = comparison.trained
        return f"It trained in {ours} of {comparison.n} runs; the second best, {label}, in {theirs} ({pairs})."
    difference = comparison.difference
    if comparison.tied == comparison.n:
        return f"Its {split} accuracy equals that of the second best, {label}, in every pair ({pairs})."
    sign = "better than" if difference.value > 0 else "worse than" if difference.value < 0 else "different from"
    if difference.value < 0:
        difference = _negative(difference)
    shown = estimate_text(difference, 2, of="pairs")
    interval = "" if comparison.n > 1 else ", one pair, so no interval"
    return (
        f"Its {split} accuracy is {shown} pp {sign} that of the second best, {label} "
        f"({pairs}, better in {pairs_won(comparison)}{interval})."
    )


def _against_reference(compared: Comparisons) -> list[str]:
    """Describe each difference from the reference, the best configurations first; at most :data:`MAX_DESCRIBED`."""
    ranked = sorted(compared.contenders, key=lambda contender: -float(contender.group.final.mean()))
    found = []
    for contender in ranked[:MAX_DESCRIBED]:
        comparison, label = contender.comparison, contender.group.label
        if not comparison.n:
            found.append(f"{label} has no seed in common with the reference.")
            continue
        verdict = compared.verdict(contender)
        if not comparison.all_trained:
            reference, other = comparison.trained
            found.append(
                f"{label} trained in {other} of {comparison.n} runs, the reference in {reference}: "
                f"{FROM_THE_OTHER.get(verdict, verdict)}."
            )
            continue
        less = comparison.difference.value > 0
        difference = comparison.difference if less else _negative(comparison.difference)
        shown = estimate_text(difference, 2, of="pairs")
        words = f"{shown} pp {'below' if less else 'above'}"
        if comparison.tied == comparison.n:
            words = "equal to"
        equal = f", equal within {MARGIN:g} pp" if comparison.equivalent and verdict == NO_DIFFERENCE else ""
        found.append(
            f"{label}: {SPLIT_NAMES[compared.split]} accuracy {words} the reference "
            f"({counted(comparison.n, 'pair')}, {FROM_THE_OTHER.get(verdict, verdict)}{equal})."
        )
    left = len(ranked) - len(found)
    return [
        f"The reference is {compared.best.label}.",
        *found,
        *([f"{left} more {'is' if left == 1 else 'are'} in the table `comparison`."] if left else []),
    ]


def _negative(difference: Estimate) -> Estimate:
    """Return the difference with the opposite sign."""
    values = tuple(-value for value in difference.values)
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low, values=values)


def _significance(sweep: SweepData, compared: Comparisons) -> str:
    sentences = significance_sentences(compared)
    if any(not contender.comparison.all_trained for contender in compared.contenders):
        sentences.append("Where a run ended at chance or diverged, the shares of runs that trained are compared.")
    if compared.split != "test":
        sentences.append("It was selected on the same data, so the comparison is exploratory.")
    return " ".join([*sentences, *compared.notes_on_choice(sweep), *notes_on_looks(sweep), _scope(sweep)])


def _scope(sweep: SweepData) -> str:
    limits = []
    if sweep.synthetic:
        limits.append("the data is synthetic, not CIFAR-100")
    if sweep.partial:
        limits.append("some runs have no result yet")
    return "The result holds for this task only" + "".join(f"; {limit}" for limit in limits) + "."
