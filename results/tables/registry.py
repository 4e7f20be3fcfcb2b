"""The tables of every sweep by name. A new table is a new entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from results.ledger.arrays import SweepData
from results.tables.benchmark import BENCHMARK_TABLES
from results.tables.comparison import comparison_table, profile_table
from results.tables.fairness import fairness_table
from results.tables.learning_rates import expected_best_table, learning_rates_table
from results.tables.schedulers import momentum_table, schedulers_table
from results.tables.summary import consolidated_table, convergence_table, stability_table
from results.tables.table import Table

TABLES: dict[str, Callable[[SweepData], Table | None]] = {
    **BENCHMARK_TABLES,
    "consolidated": consolidated_table,
    "convergence": convergence_table,
    "stability": stability_table,
    "comparison": comparison_table,
    "schedulers": schedulers_table,
    "momentum": momentum_table,
    "learning_rates": learning_rates_table,
    "expected_best": expected_best_table,
    "profile": profile_table,
    "fairness": fairness_table,
}
"""Table → the function that makes it; None if the sweep has no data for it."""

OF_CHOSEN_CONFIGURATIONS = (
    "comparison", "schedulers", "momentum", "learning_rates", "expected_best", "adam", "claimed",
)  # fmt: skip
"""Tables of a sweep whose configurations were chosen by hand; a benchmark has its own comparison of methods."""


def make_tables(
    sweep: SweepData, registry: Mapping[str, Callable[[SweepData], Table | None]] = TABLES
) -> dict[str, Table]:
    """Return every table of ``registry`` that the sweep has data for, by name."""
    made = {name: build(sweep) for name, build in registry.items() if has_table(sweep, name)}
    return {name: replace(table, data=sweep.data_label) for name, table in made.items() if table is not None}


def has_table(sweep: SweepData, name: str) -> bool:
    """Return whether this kind of sweep has the table at all: some are only for configurations chosen by hand."""
    return sweep.benchmark is None or name not in OF_CHOSEN_CONFIGURATIONS
