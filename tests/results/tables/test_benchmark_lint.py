"""The lint of a benchmark: a fair one passes, and each unfair one has its warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.reports.registry import report_tables
from tests.results.ledger_sweeps import TunedMethod, benchmark_of

SPEC = """
epochs = 4
[benchmark]
budget = 4
[[methods]]
name = "a"
optimizer = {name = "Adam", lr = {loguniform = [1e-4, 1e-1]}}
[[methods]]
name = "b"
optimizer = {name = "Adam", lr = {loguniform = [1e-4, 1e-1]}}
"""
RATES = (0.0003, 0.003, 0.03, 0.01)
SCORES = ((30.0, 30.1), (33.0, 33.1), (31.0, 30.9), (32.0, 32.1))
EVALUATION = ((33.0, 33.5, 33.2, 33.1, 33.4, 33.3),)


def method(**changes: object) -> TunedMethod:
    facts = {"points": [SCORES, SCORES], "evaluation": EVALUATION * 2, "rates": RATES}
    return TunedMethod(**(facts | changes))  # type: ignore[arg-type]


def findings(folder: Path, methods: dict[str, TunedMethod], spec: str = SPEC) -> dict[str, str]:
    """Return the detail of each warning by its code."""
    table = report_tables(benchmark_of(folder, methods, spec=spec))["fairness"]
    return {str(r.values["code"]): str(r.values["detail"]) for r in table.rows if r.values["finding"] == "warning"}


def test_a_fair_benchmark_passes_every_check(tmp_path: Path) -> None:
    assert findings(tmp_path, {"a": method(), "b": method()}) == {}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"rates": (0.00012, 0.000105, 0.03, 0.01)}, "LS101", "b, study 1: lr=0.000105 is at the low end"),
        ({"rates": (0.3, 3.1, 0.03, 0.01)}, "LS101", "0.0001 to 3.16"),
        ({"points": [SCORES[:3], SCORES]}, "LS102", "study 1: run-epochs of tuning: a 32, b 24"),
        ({"points": [((30.0, None), (33.0, 33.1), (31.0, None), (32.0, 32.1)), SCORES]}, "LS104", "b: 25% of 8"),
        ({"points": [[(30.0,), (33.0,), (31.0,), (32.0,)]] * 2}, "LS105", "one tuning seed"),
        ({"points": [SCORES[:2]] * 2, "rates": RATES[:2]}, "LS109", "b: 2 points for 1 hyperparameter"),
        ({"evaluation": [(33.0, 33.5)] * 2}, "LS004", "2 to 6 runs"),
    ],
)  # fmt: skip
def test_the_lint_finds_what_is_unfair(tmp_path: Path, changes: dict[str, object], code: str, words: str) -> None:
    found = findings(tmp_path, {"a": method(), "b": method(**changes)})
    if code == "LS104":  # a quarter is the limit; one more diverged point is above it
        assert code not in found
        more = [((30.0, None), (33.0, 33.1), (31.0, None), (32.0, None)), SCORES]
        found = findings(tmp_path / "more", {"a": method(), "b": method(points=more)})
        words = "b: 38% of 8"
    assert words in found[code]


def test_one_study_is_a_finding(tmp_path: Path) -> None:
    one = method(points=[SCORES], evaluation=EVALUATION)
    assert set(findings(tmp_path, {"a": one, "b": one})) == {"LS107"}


def test_a_method_without_a_search_space_is_compared_untuned(tmp_path: Path) -> None:
    fixed = method(points=[SCORES[:1]] * 2, rates=RATES[:1])
    assert "b has no hyperparameter" in findings(tmp_path, {"a": method(), "b": fixed})["LS103"]


def test_few_evaluation_seeds_cannot_decide(tmp_path: Path) -> None:
    few = {name: method(points=[SCORES], evaluation=[EVALUATION[0][:3]]) for name in "ab"}
    assert "at most 3 seeds" in findings(tmp_path, few)["LS005"]


@pytest.mark.parametrize(
    ("phase", "words"), [("tuning", "in the tuning of 1 point"), ("evaluation", "before the last")]
)
def test_the_test_set_that_is_read_too_often_is_a_finding(tmp_path: Path, phase: str, words: str) -> None:
    benchmark_of(tmp_path, {"a": method(), "b": method()}, spec=SPEC, tested_too_early=phase)
    table = report_tables(load_sweep(tmp_path / "ledger.sqlite"))["fairness"]
    details = {row.values["code"]: str(row.values["detail"]) for row in table.rows}
    assert words in details["LS106"]


def test_an_evaluation_under_a_tuning_seed_is_a_finding(tmp_path: Path) -> None:
    found = findings(tmp_path, {"a": method(), "b": method(shared_seed=True)})
    assert found["LS108"].startswith("b: evaluated under tuning seeds (10)")


def test_the_ledger_of_a_benchmark_without_its_spec_is_checked(tmp_path: Path) -> None:
    assert "LS101" not in findings(tmp_path, {"a": method(), "b": method()}, spec="")
    with Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.kept_spec() in (None, "")
