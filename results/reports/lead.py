"""What a report shows first: the answer or the verdict in one or two sentences, with its figure and its table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from results.ledger.arrays import SweepData
from results.reports.ranking import ranked, ranking_table
from results.reports.summary import answer
from results.tables.fairness import IGNORED, WARNING, fairness_table
from results.tables.table import Table

OF_SWEEP = ("final_accuracy",)
"""The figures that a report shows first."""
OF_BENCHMARK = ("benchmark", ("evaluation", "tuning_curves"))
OF_CONFIRMATION = ("comparison", ("evaluation",))
"""The table and the figures that the report of a benchmark or of a confirmation shows first."""


@dataclass(frozen=True)
class Lead:
    """The first section of a report."""

    title: str
    sentences: Sequence[str]  # the answer or the verdict
    table: Table | None
    figures: Sequence[str]  # names
    findings: Sequence[str] = ()  # of the lint
    details: Sequence[str] = ()  # sentences below the table
    of_another_sweep: bool = False  # of the confirmation of this sweep

    def shown(self, drawn: Collection[str]) -> list[str]:
        """Return which of the figures ``drawn`` are shown first.

        A result without its figures, such as a confirmation with one result so far, has those of a sweep.
        """
        own = [name for name in self.figures if name in drawn]
        if own or not self.title or self.of_another_sweep:
            return own
        return [name for name in OF_SWEEP if name in drawn]


def sweep_lead(sweep: SweepData) -> Lead:
    """Return the first section of the report of a sweep: the same sentence and ranking as on the terminal."""
    ranking = ranked(sweep)
    return Lead("Answer", [ranking.sentence()], ranking_table(ranking), OF_SWEEP, details=answer(sweep)[1:])


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
    first, *details = answer(sweep)
    return Lead(title, [first], tables.get(table), figures, lint_lines(sweep), details)


def lint_lines(sweep: SweepData) -> list[str]:
    """Return one line per finding of the lint: code, check, detail and paragraph; ignored ones have their reason."""
    lines = []
    for row in fairness_table(sweep).rows:
        if row.values["finding"] in (WARNING, IGNORED):
            values = row.values
            lines.append(f"{values['code']} ({values['check']}): {values['detail']}. See {values['page']}.")
    return lines
