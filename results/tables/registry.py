"""All tables of a sweep, by name; a new one is one more entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from results.ledger.arrays import SweepData
from results.tables.comparison import comparison_table, expected_best_table, learning_rates_table, profile_table
from results.tables.fairness import lint_table
from results.tables.schedulers import momentum_table, schedulers_table
from results.tables.study import adam_table, claimed_table
from results.tables.summary import consolidated_table, convergence_table, stability_table
from results.tables.table import Table

TABLES: dict[str, Callable[[SweepData], Table | None]] = {
    "consolidated": consolidated_table,
    "convergence": convergence_table,
    "stability": stability_table,
    "comparison": comparison_table,
    "schedulers": schedulers_table,
    "momentum": momentum_table,
    "learning_rates": learning_rates_table,
    "expected_best": expected_best_table,
    "profile": profile_table,
    "adam": adam_table,
    "claimed": claimed_table,
    "fairness": lint_table,
}


def make_tables(sweep: SweepData) -> dict[str, Table]:
    """Return every table that the sweep has something for."""
    made = {name: build(sweep) for name, build in TABLES.items()}
    return {name: replace(table, data=sweep.data_label) for name, table in made.items() if table is not None}
