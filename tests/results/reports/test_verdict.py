"""The verdict on designed benchmarks says what is true of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from results.reports.registry import report_tables
from results.reports.summary import answer, question
from results.tables.standings import standings
from tests.results.ledger_sweeps import TunedMethod, benchmark_of

RNG = np.random.default_rng(21)


def spread(mean: float, n: int = 10, sd: float = 0.4) -> list[float]:
    """Accuracies with exactly this mean, so that a designed difference is the one that is measured."""
    values = RNG.normal(0, sd, n)
    return [float(value) for value in mean + values - values.mean()]


def method(mean: float, untuned: float = 25.0, **changes: list[list[float | None]]) -> TunedMethod:
    facts = {"points": [[[mean - 2.0], [mean - 1.0], [mean - 3.0]]], "evaluation": [spread(mean)], **changes}
    return TunedMethod(untuned=spread(untuned, 3), **facts)


def test_the_tuned_winner_differs_from_the_untuned_one(tmp_path: Path) -> None:
    sweep = benchmark_of(tmp_path, {"SGD": method(35.0, untuned=20.0), "Adam": method(32.0, untuned=30.0)})
    first, then = answer(sweep)
    assert "SGD has the highest validation accuracy of 2 tuned methods" in first
    assert "it is better than Adam" in first
    rows = {row.values["method"]: row.values for row in report_tables(sweep)["benchmark"].rows}
    assert rows["SGD"]["tuned"].value == pytest.approx(35)
    assert rows["Adam"]["untuned"].value - rows["SGD"]["untuned"].value == pytest.approx(10)
    assert rows["Adam"]["verdict"] == "better"
    assert "`studies = 5`" in then
    assert "2 methods" in question(sweep)


def test_equal_methods_are_undecided_and_the_seeds_that_would_decide_are_named(tmp_path: Path) -> None:
    first, then = answer(
        benchmark_of(
            tmp_path,
            {
                "a": method(33.0, evaluation=[spread(33.0, sd=1.5)]),
                "b": method(33.05, evaluation=[spread(33.05, sd=1.5)]),
            },
        )
    )
    assert "b has the highest" in first
    assert "undecided against a" in first
    assert "better" not in first
    assert "for a true difference of 1 pp" in then
    assert "10 evaluation seeds now" in then


def test_methods_within_the_margin_are_equal(tmp_path: Path) -> None:
    shared = spread(33.0, 12)
    near = [value + 0.05 * (-1) ** i for i, value in enumerate(shared)]
    points = [[[30.0], [31.0], [32.0]]]
    first, _ = answer(benchmark_of(tmp_path, {"a": TunedMethod(points, [shared]), "b": TunedMethod(points, [near])}))
    assert "equal to b within 0.5 pp" in first
    assert "undecided" not in first


def test_a_method_that_collapses_in_some_seeds_is_compared_by_the_share_that_trained(tmp_path: Path) -> None:
    unstable = [[*spread(36.0, 7), 1.0, None, 1.0]]
    sweep = benchmark_of(tmp_path, {"steady": method(34.0), "unstable": method(36.0, evaluation=unstable)})
    first, then = answer(sweep)
    assert "steady has the highest" in first
    assert "10 of 10 against 7 of 10" in first
    assert "better" not in first
    assert "at chance" in then
    rows = {row.values["method"]: row for row in report_tables(sweep)["benchmark"].rows}
    assert np.isnan(rows["unstable"].values["difference"].low)
    table = report_tables(sweep)["benchmark"]
    assert "7 of 10 trained" in table.text()[1][[column.key for column in table.printed].index("tuned")]


def test_a_method_that_mostly_collapses_trains_less_often(tmp_path: Path) -> None:
    unstable = [[39.0, *[1.0] * 9]]
    first, _ = answer(benchmark_of(tmp_path, {"steady": method(34.0), "unstable": method(36.0, evaluation=unstable)}))
    assert "steady has the highest" in first
    assert "trains more often than unstable" in first


def test_two_seeds_decide_nothing(tmp_path: Path) -> None:
    two = {"a": method(35.0, evaluation=[[35.0, 35.2]]), "b": method(30.0, evaluation=[[30.0, 30.1]])}
    first, then = answer(benchmark_of(tmp_path, two))
    assert "undecided against b" in first
    assert "too few" in then


def test_before_the_evaluation_there_is_no_verdict(tmp_path: Path) -> None:
    first, then = answer(benchmark_of(tmp_path, {"a": method(33.0, evaluation=[]), "b": method(32.0, evaluation=[])}))
    assert "6 of 6 points" in first
    assert "sweep resume bench" in then


def test_methods_at_chance_have_no_best_one(tmp_path: Path) -> None:
    chance = method(1.0, evaluation=[[1.0, 1.1, 0.9]])
    sweep = benchmark_of(tmp_path, {"a": chance, "b": chance})
    assert standings(sweep) is None
    assert "No method learned more than chance" in answer(sweep)[0]
    assert {row.values.get("tuned") for row in report_tables(sweep)["benchmark"].rows} == {None}


def test_the_best_method_by_validation_can_be_worse_on_test(tmp_path: Path) -> None:
    evaluation, tests = [spread(34.0)], [spread(30.0)]
    a = TunedMethod([[[30.0], [31.0]]], evaluation, tests=tests)
    b = TunedMethod([[[30.0], [31.0]]], [spread(33.0)], tests=[spread(32.0)])
    first, _ = answer(benchmark_of(tmp_path, {"a": a, "b": b}))
    assert "a has the highest validation accuracy" in first
    assert "is worse than b on test" in first
