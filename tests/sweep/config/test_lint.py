"""``[lint]`` of a spec: findings to ignore, each with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.ledger.design import design_in
from results.reports.lead import lint_lines
from results.reports.registry import report_tables
from search_spaces.errors import SpecError
from sweep.config.toml import parse_spec, spec_text
from tests.results.ledger_sweeps import ADAM, MOMENTUM, TunedMethod, benchmark_of, climb, sweep_of

SPEC = """
seeds = 2
[lint]
ignore = {%s}
[[configurations]]
optimizer = {name = "SGD", lr = 0.1}
"""


def test_a_reason_is_kept_in_the_resolved_spec_and_read_with_the_ledger() -> None:
    spec = parse_spec(SPEC % 'LS005 = "a pilot = [1]"', where="s.toml", name="s")
    assert design_in(spec_text(spec, spec.expanded()))["lint_ignored"] == {"LS005": "a pilot = [1]"}
    assert design_in(spec_text(parse_spec(SPEC % "", where="s.toml", name="s"), []))["lint_ignored"] == {}


@pytest.mark.parametrize(
    ("ignored", "words"),
    [
        ('LS999 = "why"', ("LS999", "LS001")),
        ('ls005 = "why"', ("ls005", "LS005")),
        ('LS005 = "  "', ("LS005", "reason")),
        ("LS005 = true", ("lint.ignore.LS005", "string")),
    ],
)
def test_an_unknown_code_or_a_missing_reason_is_one_line(ignored: str, words: tuple[str, str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC % ignored, where="s.toml", name="s")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_an_ignored_finding_is_printed_with_its_reason(tmp_path: Path) -> None:
    method = TunedMethod([[[30.0], [31.0], [32.0]]], [[33.0, 33.1, 33.2]])
    spec = '[lint]\nignore = {LS107 = "a pilot", LS102 = "not found"}\n'
    sweep = benchmark_of(tmp_path, {"a": method, "b": method}, spec=spec)
    rows = {str(row.values["code"]): row.values for row in report_tables(sweep)["fairness"].rows}
    assert rows["LS107"]["finding"] == "ignored"
    assert str(rows["LS107"]["detail"]).endswith("(ignored: a pilot)")
    assert rows["LS102"]["finding"] == "ok"  # what is not found is not ignored
    assert rows["LS105"]["finding"] == "warning"
    lines = lint_lines(sweep)
    assert any(line.startswith("LS107 (several studies)") and "a pilot" in line for line in lines)
    assert all("docs/lint.md#ls" in line for line in lines)


def test_a_benchmark_is_not_checked_for_tuning_by_hand(tmp_path: Path) -> None:
    by_hand = sweep_of(tmp_path / "a", {MOMENTUM: [climb(9)], ADAM: [climb(9)]})
    method = TunedMethod([[[30.0], [31.0], [32.0]]], [[33.0, 33.1]])
    tuned = benchmark_of(tmp_path / "b", {"a": method, "b": method})
    codes = [{str(row.values["code"]) for row in report_tables(one)["fairness"].rows} for one in (by_hand, tuned)]
    assert {"LS001", "LS002", "LS003", "LS006", "LS007", "LS009"} == codes[0] - codes[1]
    assert {code for code in codes[1] if code > "LS100"} == codes[1] - codes[0]
