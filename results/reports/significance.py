"""The sentences on the significance tests of a sweep, for any number of comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterator

from results.metrics.comparison import (
    BETTER,
    EQUAL,
    MCNEMAR,
    NO_DIFFERENCE,
    SAME_SHARE,
    SIGN_FLIP,
    SIGN_FLIP_DRAWN,
    TOO_FEW,
    TRAINS_LESS,
    TRAINS_MORE,
    WORSE,
    min_pairs,
)
from results.metrics.equivalence import MARGIN
from results.tables.comparison import EQUAL_BY_THEORY, Comparisons, seeds_needed, seeds_text
from results.tables.numbers import rounded
from search_spaces.plain_text import counted, share_of

TEST_NAMES = {
    SIGN_FLIP: "exact sign-flip test", SIGN_FLIP_DRAWN: "Monte Carlo sign-flip test", MCNEMAR: "exact McNemar test",
}  # fmt: skip

SIGNIFICANT = {
    BETTER: "is significantly better", WORSE: "is significantly worse",
    TRAINS_MORE: "trains significantly more often", TRAINS_LESS: "trains significantly less often",
}  # fmt: skip
"""A verdict → its words."""


def significance_sentences(compared: Comparisons) -> list[str]:
    """Return what the tests decide, with the number of configurations for each verdict."""
    verdicts = [compared.verdict(contender) for contender in compared.contenders]
    total, noun = len(verdicts), "other learning rate" if compared.by_rate else "other configuration"
    equal = sum(compared.verdict(c) == NO_DIFFERENCE and c.comparison.equivalent for c in compared.contenders)
    undecided, too_few = verdicts.count(NO_DIFFERENCE) - equal, verdicts.count(TOO_FEW)
    if not compared.tested:
        found = []
    elif too_few == len(compared.tested):
        found = [too_few_seeds(compared)]
    else:
        found = [
            *_differences(compared, verdicts, noun),
            *_comparisons(too_few, total, "without a test, because there are too few seeds"),
        ]
    found += [
        *_pairs(verdicts.count(EQUAL), total, noun, "equal in every pair"),
        *_pairs(verdicts.count(EQUAL_BY_THEORY), total, noun, "equal by theory"),
        *_comparisons(verdicts.count(SAME_SHARE), total, "without a significant difference in the share that trained"),
        *_pairs(equal, total, noun, f"equal within {MARGIN:g} pp"),
        *_comparisons(undecided, total, "undecided"),
    ]
    return [f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}." for sentence in found]


def _differences(compared: Comparisons, verdicts: list[str], noun: str) -> Iterator[str]:
    """Yield the clauses on significant differences; the first one names the test, the correction and the level."""
    total = len(verdicts)
    subject = "the reference" if compared.named_before else "it"
    clauses = [
        f"{subject} {words} than {share_of(verdicts.count(verdict), total, noun)}"
        for verdict, words in SIGNIFICANT.items()
        if verdict in verdicts
    ]
    if not clauses:
        one = share_of(total == 1, total, noun)
        clauses = [f"{one} is {'not ' if total == 1 else ''}significantly better or worse than {subject}"]
    names = dict.fromkeys(TEST_NAMES[contender.comparison.test] for contender in compared.tested)
    yield f"{clauses[0]} ({' and '.join(names)}, Holm-corrected, {100 * compared.level:.2g} % level)"
    yield from clauses[1:]


def _pairs(number: int, total: int, noun: str, words: str) -> Iterator[str]:
    """Yield a clause on configurations that are ``words`` to the one that they are compared with."""
    if number:
        subject = "the two" if total == 1 else share_of(number, total, noun)
        yield f"{subject} {'are' if total == 1 or number > 1 else 'is'} {words}"


def _comparisons(number: int, total: int, words: str) -> Iterator[str]:
    """Yield a clause on comparisons that are ``words``."""
    if number:
        yield f"{share_of(number, total, 'comparison')} {'is' if number == 1 else 'are'} {words}"


def too_few_seeds(compared: Comparisons) -> str:
    """Return how many seeds are needed, at the largest SD of the paired differences."""
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
