"""What a report shows first: the verdict of a benchmark or of a confirmation, with its table, figures and lint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results.ledger.arrays import SweepData
from results.reports.summary import answer
from results.tables.fairness import IGNORED, WARNING, fairness_table
from results.tables.table import Table

OF_BENCHMARK = ("benchmark", ("tuning_curves", "evaluation"))
OF_CONFIRMATION = ("comparison", ("evaluation",))
"""The table and the figures that a report shows first."""


@dataclass(frozen=True)
class Lead:
    """The first section of a report: a title, the verdict, a table, names of figures, and the findings of the lint."""

    title: str
    sentences: Sequence[str]
    table: Table | None
    figures: Sequence[str]
    findings: Sequence[str]


def benchmark_lead(sweep: SweepData, tables: Mapping[str, Table]) -> Lead | None:
    """Return the first section of the report of a benchmark; None for another sweep."""
    if sweep.benchmark is None:
        return None
    table, figures = OF_BENCHMARK
    return Lead("Verdict", answer(sweep), tables.get(table), figures, lint_lines(sweep))


def confirmation_lead(sweep: SweepData, tables: Mapping[str, Table]) -> Lead | None:
    """Return the first section of the report of a confirmation, or of a sweep that has one; None without a result.

    Args:
        sweep: the confirmation, a sweep under new seeds.
        tables: those of the confirmation.
    """
    if not sweep.counted:
        return None
    seeds = len({seed for group in sweep.counted for seed in group.counted_seeds})
    table, figures = OF_CONFIRMATION
    title = f"Confirmation under {seeds} new seeds ({sweep.name})"
    return Lead(title, answer(sweep), tables.get(table), figures, lint_lines(sweep))


def lint_lines(sweep: SweepData) -> list[str]:
    """Return one line per finding of the lint: code, check, detail and paragraph; ignored ones have their reason."""
    lines = []
    for row in fairness_table(sweep).rows:
        if row.values["finding"] in (WARNING, IGNORED):
            values = row.values
            lines.append(f"{values['code']} ({values['check']}): {values['detail']}. See {values['page']}.")
    return lines
