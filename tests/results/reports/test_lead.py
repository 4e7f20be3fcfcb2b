"""A report shows first the answer, a figure and the ranking; or the verdict of a benchmark or of a confirmation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from results.ledger.data_facts import DataFacts
from results.metrics.intervals import Estimate
from results.reports.lead import benchmark_lead, confirmation_lead, sweep_lead
from results.reports.registry import report_tables
from results.reports.report import ReportTexts, report_html
from results.reports.summary import answer, question
from search_spaces import Configuration
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, TunedMethod, benchmark_of, climb, sweep_of
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
        for anchor in ("answer", "figure-evaluation", "first-benchmark", "figure-tuning-curves", "lead-lint", "tables",
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


def test_a_confirmation_without_its_own_figure_shows_the_final_accuracies(tmp_path: Path) -> None:
    """With one configuration so far nothing is compared. The sweep that is confirmed does not show its own figure."""
    sweep = sweep_of(tmp_path, {ADAM: [climb(36)] * 2}, name="tuned-confirm")
    lead = confirmation_lead(sweep, report_tables(sweep))
    assert lead is not None
    figures = {name: a_figure(name, name) for name in ("other", "final_accuracy")}
    page = report_html(sweep, report_tables(sweep), figures, ReportTexts("?", lead=lead))
    assert page.index('id="figure-final-accuracy"') < page.index('id="tables"')
    assert page.count('id="figure-final-accuracy"') == 1
    elsewhere = replace(lead, of_another_sweep=True)
    page = report_html(sweep, report_tables(sweep), figures, ReportTexts("?", lead=elsewhere))
    assert page.index('id="tables"') < page.index('id="figure-final-accuracy"')


def test_a_sweep_shows_its_answer_its_accuracies_and_its_ranking_first(tmp_path: Path) -> None:
    """Seven columns, six and the number of runs. The differences are those of the finals 32, 34 and 30, 31."""
    curves = {ADAM: [climb(30), climb(31)], MOMENTUM: [climb(32), climb(34)], PLAIN: [[], []]}
    sweep = sweep_of(tmp_path, curves, name="three")
    lead = sweep_lead(sweep)
    assert lead.table is not None
    assert [column.key for column in lead.table.printed] == [
        "configuration", "final_val_acc", "test_acc", "difference", "epochs_to_target", "verdict"
    ]  # fmt: skip
    first, second = lead.table.rows
    assert first.values["configuration"] == "SGD lr=0.01 momentum=0.9"
    assert (first.values["difference"], first.values["verdict"], second.values["verdict"]) == (None, "best", "too few")
    difference = second.values["difference"]
    assert isinstance(difference, Estimate)
    assert difference.values == pytest.approx((-2, -3))
    assert len(lead.sentences) == 1
    assert [lead.sentences[0].partition(",")[0], *lead.details] == [
        "SGD lr=0.01 momentum=0.9 has the highest validation accuracy", *answer(sweep)[1:]
    ]  # fmt: skip
    figures = {name: a_figure(name, name) for name in ("other", "final_accuracy")}
    page = report_html(sweep, report_tables(sweep), figures, ReportTexts("?", lead=lead))
    anchors = ("answer", "figure-final-accuracy", "first-ranking", "details", "tables", "table-consolidated", "figures")
    places = [page.index(f'id="{anchor}"') for anchor in anchors]
    assert places == sorted(places)
    assert lead.details[0][:20] in page


def test_a_sweep_without_a_result_has_no_ranking(tmp_path: Path) -> None:
    lead = sweep_lead(sweep_of(tmp_path, {ADAM: [[]], MOMENTUM: [[]]}))
    assert (lead.table, lead.sentences) == (None, ["No answer: no run has a result yet."])


def test_the_data_are_named_and_not_their_folder(tmp_path: Path) -> None:
    """In the question, the facts and every table: a folder's path is in the provenance only."""
    sweep = sweep_of(tmp_path, {ADAM: [climb(30)], MOMENTUM: [climb(31)]}, data_name="/data/cifar-100-python")
    for changed, title in (
        (sweep, "CIFAR-100"),
        (replace(sweep, synthetic=True), "synthetic images"),
        (replace(sweep, facts=DataFacts("Flowers", 5)), "Flowers"),
    ):
        texts = ReportTexts(question(changed), lead=sweep_lead(changed))
        page = report_html(changed, report_tables(changed), {}, texts)
        assert f"on {title} (" in question(changed)
        assert f"<dd>{title}" in page
        assert "/data/" not in page


def test_another_sweep_has_no_verdict_of_a_benchmark_or_a_confirmation(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {ADAM: [climb(30)], MOMENTUM: [[]]})
    assert benchmark_lead(sweep, {}) is None
    assert confirmation_lead(sweep_of(tmp_path / "b", {ADAM: [[]]}), {}) is None


def test_a_text_names_only_tables_of_the_page(tmp_path: Path) -> None:
    """Six configurations are compared with a reference, of which five have a sentence each."""
    rates = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    curves = {Configuration("SGD", {"lr": rate}): [climb(30 + i), climb(31 + i)] for i, rate in enumerate(rates)}
    plain = sweep_of(tmp_path, curves)
    sweep = replace(plain, reference_id=plain.configurations[0].configuration_id)
    tables = report_tables(sweep)
    page = report_html(sweep, tables, {}, ReportTexts(question(sweep), lead=sweep_lead(sweep)))
    named = set(re.findall(r"table <code>(\w+)</code>", page))
    assert named == {"comparison"}
    assert all(f'id="table-{name}"' in page for name in named)
