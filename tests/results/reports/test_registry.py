"""Claims about all tables of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from results.reports.column_texts import column_text
from results.reports.registry import REPORT_TABLES, report_tables
from results.reports.summary import answer
from results.tables.benchmark import BENCHMARK_TABLES
from results.tables.table import Column, Table
from tests.results.hand_worked import (
    every_kind,
)
from tests.results.ledger_sweeps import TunedMethod, benchmark_of, sweep_of


def test_every_row_names_the_runs_that_count(tmp_path):
    """A failed run, one that still trains and one with a hole are in no row of any table."""
    sweep = every_kind(tmp_path / "a")
    curves = {group.configuration: [list(curve) for curve in group.curves["val_acc"]] for group in sweep.configurations}
    first, second, third = list(curves)[:3]
    curves[first][0] = curves[first][0][:4]
    curves[second][1][9] = math.nan
    curves[third][2] = curves[third][2][:9]
    broken = sweep_of(tmp_path / "b", curves, failed={(third, 2)})
    counted = {group.label: list(group.counted_ids) for group in broken.configurations}
    every_counted = {run_id for ids in counted.values() for run_id in ids}
    assert len(every_counted) == 3 * len(curves) - 3
    tables = report_tables(broken)
    for table in tables.values():
        for row in table.rows:
            assert set(row.run_ids) <= every_counted
            if table.name in ("convergence", "stability", "consolidated", "profile", "adam"):
                assert list(row.run_ids) == counted[str(row.values["configuration"])]
    for name in ("schedulers", "momentum", "learning_rates"):
        for row in tables[name].rows:
            assert row.values["runs"] == f"{len(row.run_ids)} of 3" + (
                "" if len(row.run_ids) == 3 else row.values["runs"][6:]
            )
            assert len(row.run_ids) == row.values["final_val_acc"].n


def test_every_table_has_its_data_and_its_caveats(tmp_path):
    """Every format of a table says that its data are synthetic."""
    sweep = replace(every_kind(tmp_path), synthetic=True)
    tables = report_tables(sweep)
    assert tables.keys() == REPORT_TABLES.keys() - {"claimed"} - BENCHMARK_TABLES.keys()
    for name, table in tables.items():
        assert table.name == name
        assert table.data == "cifar100 (made from a seed)"
        assert set(sweep.caveats()) <= set(table.notes)


def test_selection_does_not_depend_on_the_test_split(tmp_path):
    """Other test accuracies change the test columns and the comparison's measure, and nothing else."""
    sweep = every_kind(tmp_path)
    shuffled = replace(
        sweep,
        configurations=tuple(
            replace(group, curves={**group.curves, "test_acc": other.curves["test_acc"][::-1] * 1.1 + 3,
                                   "test_loss": other.curves["test_loss"] + 1})
            for group, other in zip(sweep.configurations, reversed(sweep.configurations), strict=True)
        ),
    )  # fmt: skip
    assert shuffled.best is not None
    assert sweep.best is not None
    assert (shuffled.best.label, shuffled.target) == (sweep.best.label, sweep.target)
    assert answer(shuffled)[0] == answer(sweep)[0]
    before, after = report_tables(sweep), report_tables(shuffled)
    assert before.keys() == after.keys() == REPORT_TABLES.keys() - BENCHMARK_TABLES.keys()
    changed = set()
    for name in before:
        old, new = before[name].frame(), after[name].frame()
        changed |= {(name, column) for column in old if not old[column].equals(new[column])}
        assert before[name].notes == after[name].notes
        assert before[name].caption == after[name].caption
    measure = ("difference", "n_won", "n_tied", "p_", "verdict", "equivalence", "seeds_for")
    assert ("comparison", "difference_low") in changed
    assert ("convergence", "test_acc") in changed
    for name, column in changed:
        assert column.startswith("test_") or (name == "comparison" and column.startswith(measure)), (name, column)


def test_every_table_and_every_column_is_documented(tmp_path):
    """In docs/tables.md, whose text is also at the head of the column in the report."""
    method = TunedMethod([[[30.0 + k] for k in range(5)]] * 2, [[34.0, 35.0]] * 2, [20.0])
    of_benchmark = report_tables(benchmark_of(tmp_path / "b", {"one": method, "other": method}))
    tables = {**report_tables(every_kind(tmp_path)), **of_benchmark}
    assert tables.keys() == REPORT_TABLES.keys()
    assert undocumented(tables) == []
    planted = replace(tables["stability"], columns=[*tables["stability"].columns, Column("new_column", "New")])
    assert undocumented({**tables, "stability": planted}) == [("stability", "new_column")]


def undocumented(tables: Mapping[str, Table]) -> list[tuple[str, str]]:
    """Table and key of every column without a description of ten characters."""
    return [
        (name, column.key)
        for name, table in tables.items()
        for column in table.columns
        if len(column_text(name, column.key)) < 10
    ]
