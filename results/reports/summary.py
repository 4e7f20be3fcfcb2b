"""The question and the answer of a sweep, as sentences computed from its numbers."""

from __future__ import annotations

import math
from dataclasses import replace

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics.comparison import (
    BETTER,
    EQUAL,
    MCNEMAR,
    NO_DIFFERENCE,
    SIGN_FLIP,
    SIGN_FLIP_DRAWN,
    TOO_FEW,
    TRAINS_LESS,
    TRAINS_MORE,
    WORSE,
    min_pairs,
)
from results.metrics.equivalence import MARGIN
from results.metrics.intervals import Estimate
from results.tables.comparison import (
    EQUAL_BY_THEORY,
    SPLIT_NAMES,
    Comparisons,
    Contender,
    compare_best,
    notes_on_looks,
    pairs_won,
    seeds_needed,
    seeds_text,
)
from results.tables.numbers import estimate_text, rounded
from search_spaces.models import LENET5, model_title
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
    return (
        f"Which of {counted(count, 'configuration')} has the highest accuracy with "
        f"{model_title(sweep.protocol.get('model', LENET5))} on "
        f"{sweep.data_label or 'no data'} ({counted(seeds, 'seed')}, {counted(epochs, 'epoch')}), "
        "and is the difference statistically significant?"
    )


def answer(sweep: SweepData) -> list[str]:
    """Return the answer: the best configuration, its difference from the second best, and the significance test."""
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
    compared = compare_best(sweep) if sweep.best else None
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
        *([f"{left} more are in the table `comparison`."] if left else []),
    ]


def _negative(difference: Estimate) -> Estimate:
    """Return the difference with the opposite sign."""
    values = tuple(-value for value in difference.values)
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low, values=values)


def _significance(sweep: SweepData, compared: Comparisons) -> str:
    verdicts = [compared.verdict(contender) for contender in compared.contenders]
    total = counted(len(verdicts), "other learning rate" if compared.by_rate else "other configuration")
    subject = "The reference" if compared.named_before else "It"
    sentences = []
    if set(verdicts) <= {TOO_FEW}:
        sentences.append(_too_few(compared))
    else:
        better, worse = (verdicts.count(word) for word in (BETTER, WORSE))
        sentences.append(
            f"{subject} is significantly better than {better} of {total}"
            + (f" and significantly worse than {worse}" if worse else "")
            + f" ({_test_names(compared)}, Holm-corrected, {100 * compared.level:.2g} % level)."
        )
        others = {
            TRAINS_MORE: subject + " trains significantly more often than {}.",
            TRAINS_LESS: subject + " trains significantly less often than {}.",
            TOO_FEW: "Too few seeds for a test: {}.",
            EQUAL: "Equal in every pair: {}.",
            EQUAL_BY_THEORY: "Equal by theory: {}.",
        }
        sentences += [text.format(verdicts.count(word)) for word, text in others.items() if word in verdicts]
        equal = sum(
            compared.verdict(c) == NO_DIFFERENCE and c.comparison.equivalent for c in compared.contenders
        )  # fmt: skip
        undecided = verdicts.count(NO_DIFFERENCE) - equal
        if equal:
            sentences.append(f"Equal within {MARGIN:g} pp: {equal}.")
        if undecided:
            sentences.append(f"Undecided: {undecided}.")
    if any(not contender.comparison.all_trained for contender in compared.contenders):
        sentences.append("Where a run ended at chance or diverged, the shares of runs that trained are compared.")
    if compared.split != "test":
        sentences.append("It was selected on the same data, so the comparison is exploratory.")
    return " ".join([*sentences, *compared.notes_on_choice(sweep), *notes_on_looks(sweep), _scope(sweep)])


def _too_few(compared: Comparisons) -> str:
    """Describe how many seeds are needed, at the largest SD of the paired differences."""
    family = len(compared.tested)
    needs = "needs" if family == 1 else "need"
    text = (
        f"Too few seeds for a significance test: {counted(family, 'comparison')} {needs} at least "
        f"{min_pairs(family, compared.level)} seeds."
    )
    known = [c.comparison for c in compared.tested if math.isfinite(c.comparison.sd)]
    if not known:
        return text
    largest = max(known, key=lambda comparison: comparison.sd)
    return (
        f"{text} For 80 % power to find a true difference of 0.5, 1 and 2 pp: "
        f"{seeds_text(seeds_needed(largest, family))} seeds, at an SD of the "
        f"paired differences of {rounded(largest.sd, 2)} pp."
    )


def _test_names(compared: Comparisons) -> str:
    names = dict.fromkeys(contender.comparison.test for contender in compared.tested)
    words = {SIGN_FLIP: "exact sign-flip test", SIGN_FLIP_DRAWN: "Monte Carlo sign-flip test",
             MCNEMAR: "exact McNemar test"}  # fmt: skip
    return " and ".join(words[name] for name in names)


def _scope(sweep: SweepData) -> str:
    limits = []
    if sweep.synthetic:
        limits.append("the data is synthetic, not CIFAR-100")
    if sweep.partial:
        limits.append("some runs have no result yet")
    return "The result holds for this task only" + "".join(f"; {limit}" for limit in limits) + "."
