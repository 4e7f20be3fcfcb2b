"""The tables from which figures are drawn."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from results.figures.chart_data import (
    best_per_scheduler,
    profile_steps,
    sorted_by_epochs_to_target,
    stability_and_accuracy_table,
)
from results.figures.plot_data import curves_table, train_and_test_table
from results.figures.rate_data import learning_rate_table
from results.figures.selection import select_configurations
from results.metrics.intervals import Estimate
from results.reports.registry import report_tables
from results.tables.table import Column, Row, Table
from tests.results.figure_sweeps import made_up_sweep
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, sweep_of


def test_a_curve_is_the_mean_over_seeds_between_the_lowest_and_the_highest():
    sweep = made_up_sweep(seeds=3)
    table = curves_table(sweep, "val_acc")
    assert table is not None
    first = sweep.configurations[0]
    row = table.rows[2]
    measured = first.curves["val_acc"][:, 2]
    assert row.values["epoch"] == 3
    assert row.values["n"] == 3
    assert row.values["value"] == pytest.approx(measured.mean())
    assert (row.values["low"], row.values["high"]) == (measured.min(), measured.max())
    assert row.run_ids == first.run_ids
    assert row.values["named"]


def test_a_diverged_run_counts_as_chance_in_accuracy_and_nowhere_in_loss():
    sweep = made_up_sweep(diverged={0})
    accuracy, loss = curves_table(sweep, "val_acc"), curves_table(sweep, "val_loss")
    assert accuracy is not None
    assert loss is not None
    assert accuracy.rows[0].values["value"] == 1.0
    assert math.isnan(loss.rows[0].values["value"])  # type: ignore[arg-type]
    assert any("Diverged runs (2)" in note for note in loss.notes)


def test_chance_does_not_replace_epochs_without_a_test():
    sweep = made_up_sweep(configurations=1)
    group = dataclasses.replace(
        sweep.configurations[0], statuses=("diverged", "done"), diverged_epochs=np.array([1.0, np.nan])
    )
    table = curves_table(dataclasses.replace(sweep, configurations=(group,)), "test_acc")
    assert table is not None
    assert [(row.values["run"], row.values["epoch"]) for row in table.rows if row.values["n"]] == [(0, 5), (1, 5)]


def test_nothing_measured_is_no_table():
    sweep = made_up_sweep(diverged=range(4))
    assert curves_table(sweep, "train_loss") is None
    assert learning_rate_table(sweep) is None
    assert curves_table(dataclasses.replace(sweep, configurations=()), "val_acc") is None
    assert train_and_test_table(dataclasses.replace(sweep, configurations=())) is None


def test_up_to_twelve_configurations_are_all_shown():
    assert select_configurations(made_up_sweep(12)).notes == ()
    assert len(select_configurations(made_up_sweep(12)).configurations) == 12


def test_past_twelve_the_best_of_each_optimizer_stays_and_the_note_counts():
    sweep = made_up_sweep(24)
    selection = select_configurations(sweep, limit=5)
    finals = {group.label: group.final.mean() for group in sweep.configurations}
    kinds = [group.columns.get("optimizer.momentum") for group in selection.configurations]
    assert set(kinds) == {None, 0.0, 0.3, 0.6}
    assert len(selection.configurations) == 5
    assert max(finals, key=finals.__getitem__) in selection.labels
    assert selection.notes[0].startswith("5 of 24 configurations shown")


def test_the_held_out_line_is_test_only_where_every_epoch_was_tested():
    sweep = made_up_sweep(configurations=1)
    last_only = train_and_test_table(sweep)
    group = sweep.configurations[0]
    tested = dataclasses.replace(group, curves=group.curves | {"test_acc": group.curves["val_acc"] + 1})
    always = train_and_test_table(dataclasses.replace(sweep, configurations=(tested,)))
    for table, split in ((last_only, "validation"), (always, "test")):
        assert table is not None
        assert table.rows[1].values["held_out"] == table.rows[1].values[split]


def test_a_median_that_missed_comes_last_and_is_infinite():
    rows = [Row({"configuration": name, "epochs_to_target": value}) for name, value in (("a", 3.0), ("b", math.inf))]
    table = sorted_by_epochs_to_target(Table("t", "", [Column("epochs_to_target", "")], rows), 9)
    assert table is not None
    assert [row.values["epochs_to_target"] for row in table.rows] == [math.inf, 3.0]
    assert table.rows[0].values["last_epoch"] == 9


def test_a_scheduler_is_judged_at_its_best_rate():
    rows = [
        Row({"optimizer": "SGD", "scheduler": "StepLR", "lr": lr, "final_val_acc": Estimate(value, 0, 9, 3)})
        for lr, value in ((0.01, 3.0), (0.1, 5.0), (0.3, math.nan))
    ]
    table = best_per_scheduler(Table("t", "", [], rows))
    assert table is not None
    assert [row.values["lr"] for row in table.rows] == [0.1]


def test_a_profile_steps_at_its_true_ratios():
    """Epochs 2 and 4 against 3 and 4: ratios 1 and 1, 1.5 and 1; the ends of the lines are beyond the last step."""
    columns = [Column(key, "") for key in ("configuration", "target_50", "target_100")]
    rows = [
        Row({"configuration": "a", "target_50": 2.0, "target_100": 4.0}),
        Row({"configuration": "b", "target_50": 3.0, "target_100": 4.0}),
        Row({"configuration": "c", "target_50": math.inf, "target_100": math.inf}),
    ]
    table = profile_steps(Table("profile", "", columns, rows))
    assert table is not None
    steps = {name: [] for name in "abc"}
    for row in table.rows:
        steps[str(row.values["configuration"])].append((row.values["tau"], row.values["share"]))
    end = pytest.approx(1.525)
    assert steps == {
        "a": [(1.0, 1.0), (end, 1.0)], "b": [(1.0, 0.5), (1.5, 1.0), (end, 1.0)], "c": [(1.0, 0.0), (end, 0.0)]
    }  # fmt: skip


def test_a_diverged_configuration_is_not_a_point_of_stability(tmp_path):
    """Its SD of 0 is that of chance; a note counts it."""
    curves = {MOMENTUM: [climb(30), climb(31)], ADAM: [[5.0], [5.0]]}
    sweep = sweep_of(tmp_path, curves, diverged={(ADAM, 0): 1, (ADAM, 1): 1})
    tables = report_tables(sweep)
    joined = stability_and_accuracy_table(tables["stability"], tables["convergence"])
    assert joined is not None
    assert [row.values["configuration"] for row in joined.rows] == ["SGD lr=0.01 momentum=0.9"]
    assert any(note.startswith("Not shown: 1 configuration") for note in joined.notes)
