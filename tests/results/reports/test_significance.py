"""The counts in the sentences on significance, for no, one and many configurations, in the singular and the plural."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from results.metrics.comparison import (
    BETTER,
    EQUAL,
    NO_DIFFERENCE,
    SAME_SHARE,
    SIGN_FLIP,
    TOO_FEW,
    TRAINS_LESS,
    WORSE,
    Comparison,
)
from results.metrics.intervals import Estimate
from results.reports.significance import significance_sentences
from results.tables.comparison import EQUAL_BY_THEORY
from results.tables.registry import make_tables
from search_spaces import Configuration
from search_spaces.plain_text import share_of
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

PAIRS = Comparison(Estimate(1.0, 0.5, 1.5, 6), SIGN_FLIP, 6, 0, 0.03, 0.03, 6, sd=0.7)
MANY = "other configurations"


def compared(*verdicts: str, equivalent: int = 0, **facts: Any) -> Any:
    """Comparisons with these verdicts; ``equivalent`` of those without a difference are equal within the margin."""
    contenders = []
    for verdict in verdicts:
        equal = verdict == NO_DIFFERENCE and equivalent > 0
        equivalent -= equal
        contenders.append(SimpleNamespace(found=verdict, comparison=replace(PAIRS, equivalent=equal)))
    tested = [contender for contender in contenders if contender.found != EQUAL_BY_THEORY]
    return SimpleNamespace(
        contenders=contenders, tested=tested, verdict=lambda contender: contender.found, level=0.05,
        **({"by_rate": False, "named_before": False} | facts),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "total", "found"),
    [
        (0, 0, "no run"), (0, 1, "no run"), (0, 5, "no run"), (1, 1, "the run"), (1, 2, "1 of 2 runs"),
        (2, 2, "both runs"), (3, 3, "all 3 runs"), (4, 5, "4 of 5 runs"), (1000, 2000, "1,000 of 2,000 runs"),
        (2000, 2000, "all 2,000 runs"),
    ],
)  # fmt: skip
def test_a_part_of_several_things(number: int, total: int, found: str) -> None:
    assert share_of(number, total, "run") == found


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        ([BETTER], ["better than the other configuration ("]),
        ([BETTER, NO_DIFFERENCE], [f"better than 1 of 2 {MANY} (", "1 of 2 comparisons is undecided"]),
        ([BETTER] * 2, [f"better than both {MANY} ("]),
        ([BETTER] * 3, [f"better than all 3 {MANY} ("]),
        ([BETTER, WORSE, WORSE], [f"better than 1 of 3 {MANY} (", f"worse than 2 of 3 {MANY}"]),
        ([WORSE], ["worse than the other configuration ("]),
        ([NO_DIFFERENCE], ["The other configuration is not significantly", "The comparison is undecided"]),
        ([NO_DIFFERENCE] * 2, ["No other configuration is significantly", "Both comparisons are undecided"]),
        ([NO_DIFFERENCE] * 4, ["No other configuration is significantly", "All 4 comparisons are undecided"]),
        ([EQUAL], ["The two are equal in every pair"]),
        ([EQUAL, BETTER], [f"1 of 2 {MANY} is equal in every pair"]),
        ([EQUAL_BY_THEORY], ["The two are equal by theory"]),
        ([EQUAL_BY_THEORY, EQUAL_BY_THEORY, BETTER], [f"2 of 3 {MANY} are equal by theory"]),
        ([EQUAL_BY_THEORY, TOO_FEW], ["1 comparison needs at least 6 seeds", "is equal by theory"]),
        ([TOO_FEW, TOO_FEW], ["2 comparisons need at least 7 seeds"]),
        ([TOO_FEW, BETTER], ["1 of 2 comparisons is without a test"]),
        ([TRAINS_LESS, SAME_SHARE], [f"less often than 1 of 2 {MANY} (", "1 of 2 comparisons is without a signif"]),
    ],
)
def test_every_verdict_is_counted(verdicts: list[str], found: list[str]) -> None:
    text = " ".join(significance_sentences(compared(*verdicts)))
    for part in found:
        assert part in text
    assert " 0 " not in f" {text} "
    assert "1 of 1 " not in text
    for sentence in significance_sentences(compared(*verdicts)):
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
        assert not sentence.endswith("..")


def test_equal_and_undecided_comparisons_are_told_apart() -> None:
    text = " ".join(significance_sentences(compared(NO_DIFFERENCE, NO_DIFFERENCE, NO_DIFFERENCE, equivalent=2)))
    assert f"2 of 3 {MANY} are equal within 0.5 pp" in text
    assert "1 of 3 comparisons is undecided" in text


def test_a_reference_and_learning_rates_are_named() -> None:
    assert "than the reference (" in significance_sentences(compared(NO_DIFFERENCE, named_before=True))[0]
    assert (
        "better than both other learning rates (" in significance_sentences(compared(BETTER, BETTER, by_rate=True))[0]
    )


@pytest.mark.parametrize(
    ("others", "found"),
    [((ADAM,), "the other configuration, at its best"), ((ADAM, PLAIN), "the other configurations, each at its best")],
)
def test_the_caption_of_the_comparison_counts(tmp_path, others: tuple[Configuration, ...], found: str) -> None:
    curves = {MOMENTUM: [climb(30), climb(31)]} | {one: [climb(20), climb(21)] for one in others}
    assert found in make_tables(sweep_of(tmp_path, curves))["comparison"].caption
