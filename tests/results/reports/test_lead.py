"""A report shows first the verdict of a benchmark or of a confirmation."""

from __future__ import annotations

from pathlib import Path

from results.reports.lead import benchmark_lead, confirmation_lead
from results.reports.registry import report_tables
from results.reports.report import ReportTexts, report_html
from results.reports.summary import answer
from tests.results.ledger_sweeps import ADAM, MOMENTUM, TunedMethod, benchmark_of, climb, sweep_of
from tests.results.report_pages import a_figure

METHOD = TunedMethod([[[30.0], [31.0], [32.0]]], [[33.0, 33.1, 33.2]])


def test_a_benchmark_shows_verdict_table_figures_and_lint_before_everything_else(tmp_path: Path) -> None:
    sweep = benchmark_of(tmp_path, {"a": METHOD, "b": METHOD})
    tables = report_tables(sweep)
    lead = benchmark_lead(sweep, tables)
    assert lead is not None
    assert list(lead.sentences) == answer(sweep)
    figures = {name: a_figure(name, name) for name in ("evaluation", "tuning_curves", "other")}
    page = report_html(sweep, tables, figures, ReportTexts("?", lead=lead))
    places = [
        page.index(f'id="{anchor}"')
        for anchor in ("answer", "first-benchmark", "figure-tuning-curves", "figure-evaluation", "lead-lint", "tables",
                       "table-convergence", "figures", "figure-other")
    ]  # fmt: skip
    assert places == sorted(places)
    assert page.count('id="figure-evaluation"') == 1
    assert 'id="table-benchmark"' not in page
    assert "docs/lint.md#ls107" in page
    assert "No answer" not in page


def test_a_sweep_shows_the_verdict_of_its_confirmation_before_its_own(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "a", {ADAM: [climb(30), climb(31)], MOMENTUM: [climb(32), climb(33)]}, name="tuned")
    confirmed = sweep_of(tmp_path / "b", {ADAM: [climb(36)] * 8, MOMENTUM: [climb(32)] * 8}, name="tuned-confirm")
    lead = confirmation_lead(confirmed, report_tables(confirmed))
    assert lead is not None
    assert "8 new seeds" in lead.title
    page = report_html(sweep, report_tables(sweep), {}, ReportTexts("?", answer(sweep), lead=lead))
    assert page.index("Adam lr=0.001 has the highest") < page.index("SGD lr=0.01 momentum=0.9 has the highest")
    assert page.index('id="first-comparison"') < page.index('id="own-answer"') < page.index('id="table-comparison"')


def test_another_sweep_has_no_lead(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {ADAM: [climb(30)], MOMENTUM: [[]]})
    assert benchmark_lead(sweep, {}) is None
    assert confirmation_lead(sweep_of(tmp_path / "b", {ADAM: [[]]}), {}) is None
