"""The tuning of a study: rungs, selection, widening, and equal spending, with scores that a formula gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from search_spaces.method import Method
from sweep.config.benchmark import Benchmark
from sweep.driver.tuning import Point, StudyTuning, climb_rungs, rungs, tune_study

ONE = Method.of({"name": "one", "optimizer": {"name": "SGD", "lr": {"loguniform": [1e-3, 1e-1]}}}, "spec")
TWO = Method.of({"name": "two", "optimizer": {"name": "SGD", "lr": {"loguniform": [1e-3, 1e-1]}}}, "spec")


def peak(at: float) -> Callable[[Point, int], float | None]:
    """A score that is highest at a learning rate."""
    return lambda point, epochs: 50 - abs(math.log10(point.values["optimizer.lr"] / at))


def tuned(score: Callable[[Point, int], float | None], **design: object) -> StudyTuning:
    return tune_study([ONE, TWO], Benchmark(budget=8, **design), 9, 1, score)


def test_without_results_every_method_has_its_budget_and_nothing_is_selected() -> None:
    found = tuned(lambda point, epochs: None)
    assert not found.complete
    assert [len(method.placed) for method in found.methods.values()] == [8, 8]
    assert {(one.epochs, one.rung, one.stopped) for one in found.placed} == {(9, 0, False)}


def test_the_point_with_the_highest_score_is_selected_the_first_of_equal_ones() -> None:
    found = tuned(peak(0.01))
    assert found.complete
    for method in found.methods.values():
        rates = [one.point.values["optimizer.lr"] for one in method.placed]
        assert method.best.point.values["optimizer.lr"] == min(rates, key=lambda rate: abs(math.log10(rate / 0.01)))
        assert len(rates) == 8
    equal = tuned(lambda point, epochs: 30.0 if 0.002 < point.values["optimizer.lr"] < 0.05 else 20.0)
    first = next(one for one in equal.methods["one"].placed if 0.002 < one.point.values["optimizer.lr"] < 0.05)
    assert equal.methods["one"].best == first


def test_a_best_value_on_the_edge_widens_once_and_gives_all_methods_the_same_extra_points() -> None:
    """A grid has its ends; `one` is best at its high end, `two` in the middle of its range."""

    def score(point: Point, epochs: int) -> float | None:
        if point.index >= 8 and not extra_known:
            return None
        return peak(10.0 if point.method is ONE else 0.01)(point, epochs)

    extra_known = False
    found = tuned(score, sampler="grid")
    assert not found.complete
    assert [len(method.placed) for method in found.methods.values()] == [10, 10]  # a quarter of 8 more
    beyond = [one.point.values["optimizer.lr"] for one in found.methods["one"].placed[8:]]
    assert all(0.1 <= rate <= 1 for rate in beyond)
    assert all(one.point.values["optimizer.lr"] <= 0.1 for one in found.methods["two"].placed[8:])
    extra_known = True
    found = tuned(score, sampler="grid")
    assert found.complete
    assert found.methods["one"].best.point.values["optimizer.lr"] == max(beyond)
    assert [len(method.placed) for method in found.methods.values()] == [10, 10]
    assert found.notes[0].startswith("study 1")


def test_a_best_value_on_the_widened_edge_is_a_warning() -> None:
    wide = Method.of({"name": "one", "optimizer": {"name": "SGD", "dampening": {"uniform": [0, 1]}}}, "spec")
    other = Method.of({"name": "two", "optimizer": {"name": "SGD", "dampening": {"uniform": [0, 1]}}}, "spec")
    found = tune_study([wide, other], Benchmark(budget=3, sampler="grid"), 2, 1,
                       lambda point, epochs: 50 - point.values["optimizer.dampening"])  # fmt: skip
    assert found.complete
    assert [len(method.placed) for method in found.methods.values()] == [3, 3]  # 0 cannot be widened
    assert all("warning" in note and "low" in note for note in found.notes)
    assert len(found.notes) == 2


@pytest.mark.parametrize(("epochs", "expected"), [(9, [1, 3, 9]), (30, [4, 10, 30]), (2, [1, 2]), (1, [1])])
def test_the_rungs_are_ninths_and_thirds(epochs: int, expected: list[int]) -> None:
    assert rungs(Benchmark(budget=1, halving=3), epochs) == expected
    assert rungs(Benchmark(budget=1), epochs) == [epochs]


def test_halving_continues_the_best_third_and_marks_the_stopped_ones() -> None:
    """Scores by index: 8 is best at the first rung, 7 at the second."""
    points = [Point(1, ONE, index, {"optimizer.lr": 0.01}) for index in range(9)]
    known = {1: lambda i: float(i), 3: lambda i: 100.0 - i, 9: lambda i: 50.0}
    placed, scores = climb_rungs(points, [1, 3, 9], lambda point, epochs: known[epochs](point.index))
    assert scores == {6: 50.0}
    assert {one.point.index: (one.epochs, one.rung, one.stopped) for one in placed} == {
        **dict.fromkeys(range(6), (1, 0, True)), 6: (9, 2, False), 7: (3, 1, True), 8: (3, 1, True),
    }  # fmt: skip
    del known[9]
    waiting, none = climb_rungs(points, [1, 3, 9], lambda point, epochs: known.get(epochs, lambda i: None)(point.index))
    assert none is None
    assert [(one.point.index, one.epochs) for one in waiting if not one.stopped] == [(6, 9)]


def test_halving_spends_the_same_for_every_method() -> None:
    found = tuned(lambda point, epochs: 50 - abs(math.log10(point.values["optimizer.lr"] / 0.01)) + epochs, halving=3)
    assert found.complete
    spent = [sum(one.epochs for one in method.placed) for method in found.methods.values()]
    assert spent[0] == spent[1] == 5 * 1 + 2 * 3 + 1 * 9


def test_another_method_or_study_changes_no_points() -> None:
    alone = tune_study([ONE], Benchmark(budget=4), 9, 1, lambda point, epochs: None).methods["one"]
    assert [one.point.values for one in alone.placed] == [
        one.point.values
        for one in tune_study([TWO, ONE], Benchmark(budget=4), 9, 1, lambda p, e: None).methods["one"].placed
    ]
    second = tune_study([ONE], Benchmark(budget=4), 9, 2, lambda point, epochs: None).methods["one"]
    assert [one.point.values for one in second.placed] != [one.point.values for one in alone.placed]
