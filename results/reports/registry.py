"""The tables of a report: those of every sweep, those of its analyses, and those of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.ledger.arrays import SweepData
from results.reports.study.tables import STUDY_TABLES, with_claims
from results.tables.registry import TABLES, make_tables
from results.tables.table import Table

if TYPE_CHECKING:  # tables are made without loading matplotlib
    from results.analyses.captures import Analyses

REPORT_TABLES = {**TABLES, **STUDY_TABLES}
"""Table → the function that makes it from the sweep; None if the sweep has no data for it."""


def report_tables(sweep: SweepData) -> dict[str, Table]:
    """Return every table that the sweep has data for, by name."""
    return make_tables(sweep, REPORT_TABLES)


def analysis_tables(analyses: Analyses) -> dict[str, Table]:
    """Return every table of the analyses by name, with the study's claims where they apply."""
    tables = analyses.tables()
    for suffix, capture in analyses.gradients_by_suffix():
        name = f"gradient_stages{suffix}"
        tables[name] = with_claims(tables[name], capture, capture.about["beta"])
    return tables
