"""Convergence and stability tables, compared with values computed by hand or by scipy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from results.reports.registry import report_tables
from tests.results.hand_worked import (
    DIP,
    hand_worked,
    numbers,
    rows_of,
    sd_interval,
    t_interval,
)
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of


def test_convergence_of_the_hand_worked_sweep(hand_tables):
    """Target 20: 3e + s reaches it at 7, 7, 6; the second at 10, 9, 10; the third never."""
    rows = rows_of(hand_tables["convergence"])
    momentum, adam, plain = (rows[name].values for name in ("SGD lr=0.01 momentum=0.9", "Adam lr=0.001", "SGD lr=0.01"))
    assert numbers(momentum["final_val_acc"]) == pytest.approx(t_interval([30, 31, 32]))
    assert numbers(momentum["test_acc"]) == pytest.approx(t_interval([28, 30, 29]))
    no_interval = (math.nan, math.nan, 3)  # one run diverged
    assert numbers(plain["final_val_acc"]) == pytest.approx((23 / 3, *no_interval), nan_ok=True)
    assert numbers(plain["test_acc"]) == pytest.approx((7, *no_interval), nan_ok=True)
    assert numbers(plain["best_val_acc"]) == pytest.approx((25 / 3, *no_interval), nan_ok=True)
    assert plain["best_val_epoch"] == pytest.approx((10 + 10 + 3) / 3)
    assert [row["epochs_to_target"] for row in (momentum, adam, plain)] == [7, 10, math.inf]
    assert [row["n_hit"] for row in (momentum, adam, plain)] == [3, 3, 0]
    assert [row["hit"] for row in (momentum, adam, plain)] == [True, True, False]
    assert [row["seconds_to_target"] for row in (momentum, adam, plain)] == [10.5, 15, math.inf]  # 1.5 s an epoch
    assert [row["pack_size"] for row in (momentum, adam, plain)] == [4] * 3
    assert [row["epochs_to_95pct_final"] for row in (momentum, adam, plain)] == [10, 10, (10 + 10 + 1) / 3]
    assert [row["speed"] for row in (momentum, adam, plain)] == ["medium", "slow", "fewer than half"]
    assert numbers(momentum["auc"]) == pytest.approx(t_interval([16.5, 17.5, 18.5]))
    assert numbers(adam["auc"]) == pytest.approx(t_interval([11 - 3 / 9, 13, 12]))
    assert plain["auc"].value == pytest.approx((5.5 + 7.5 + (1.5 + 2.5 + 2 + 6) / 9) / 3)
    assert [row["runs"] for row in (momentum, adam, plain)] == ["3 of 3"] * 3


def test_the_interquartile_mean_has_a_column_from_four_runs_on(tmp_path):
    """By hand: of 10, 11, 12, 13 and 90 the middle three; of 20, 22, 24 and 60 the middle two."""
    curves = {
        MOMENTUM: [climb(value) for value in (13.0, 90.0, 10.0, 12.0, 11.0)],
        ADAM: [climb(value) for value in (60.0, 20.0, 24.0, 22.0)],
        PLAIN: [climb(value) for value in (5.0, 6.0, 7.0)],
    }
    table = report_tables(sweep_of(tmp_path / "five", curves))["convergence"]
    found = {name: row.values["final_val_iqm"] for name, row in rows_of(table).items()}
    assert found == pytest.approx(
        {"SGD lr=0.01 momentum=0.9": 12, "Adam lr=0.001": 23, "SGD lr=0.01": math.nan}, nan_ok=True
    )
    text = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")
    assert "| `final_val_iqm` |" in text
    keys = [column.key for column in table.columns]
    assert keys[4:7] == ["final_val_acc", "final_val_iqm", "test_acc"]
    three = report_tables(hand_worked(tmp_path / "three"))["convergence"]
    assert [column.key for column in three.columns] == [key for key in keys if key != "final_val_iqm"]


def test_stability_of_the_hand_worked_sweep(hand_tables):
    """Straight lines have no tail SD; one curve dips by 1, one run is lost at 3 %."""
    rows = rows_of(hand_tables["stability"])
    momentum, adam, plain = (rows[name].values for name in ("SGD lr=0.01 momentum=0.9", "Adam lr=0.001", "SGD lr=0.01"))
    assert numbers(momentum["seed_sd"]) == pytest.approx(sd_interval([30, 31, 32]))
    assert numbers(plain["seed_sd"]) == pytest.approx((sd_interval([10, 12, 1])[0], math.nan, math.nan, 3), nan_ok=True)
    line = stats.linregress(range(5), DIP[-5:])
    residuals = np.array(DIP[-5:]) - (line.intercept + line.slope * np.arange(5))
    assert momentum["tail_sd"] == pytest.approx(0, abs=1e-9)
    assert adam["tail_sd"] == pytest.approx((residuals @ residuals / 3) ** 0.5 / 3)
    assert [row["max_drawdown"] for row in (momentum, adam, plain)] == pytest.approx([0, 1 / 3, 2 / 3])
    assert [row["diverged"] for row in (momentum, adam, plain)] == pytest.approx([0, 0, 100 / 3])
    assert [row["at_chance"] for row in (momentum, adam, plain)] == pytest.approx([0, 0, 100 / 3])
    assert [row["stability"] for row in (momentum, adam, plain)] == [None] * 3  # three seeds are too few
    assert all(math.isnan(row["lr_sensitivity"]) for row in (momentum, adam, plain))  # one rate each


def test_the_consolidated_table_repeats_the_other_two(hand_tables):
    tables = hand_tables
    consolidated = tables["consolidated"].frame()
    for name in ("convergence", "stability"):
        other = tables[name].frame()
        shared = [column for column in consolidated if column in other]
        assert len(shared) > 4
        assert consolidated[shared].equals(other[shared])


def test_seconds_of_unlike_conditions_are_left_out(hand_sweep):
    """And the note says why."""
    sweep = hand_sweep
    for mixed in (replace(sweep, devices=("cpu", "cuda:H200")), replace(sweep, pack_sizes=(1, 4))):
        table = report_tables(mixed)["convergence"]
        assert [row.values["seconds_to_target"] for row in table.rows] == [None] * 3
        assert any("different devices" in note for note in table.notes)


def test_seconds_that_were_not_measured_are_not_zero(tmp_path):
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(30)]}, measured={"epoch_seconds": math.nan})
    table = report_tables(sweep)["convergence"]
    assert table.text()[0][[column.key for column in table.printed].index("seconds_to_target")] == "n/a"


def test_a_note_gives_the_target(tmp_path):
    """So is the default: 95 % of 31."""
    asked, default = (report_tables(hand_worked(tmp_path / str(t), t))["convergence"].notes[0] for t in (20.0, None))
    assert asked.startswith("Target: 20.00 % validation accuracy")
    assert "> 10" in asked
    assert default.startswith("Target: 29.45 % validation accuracy")


@pytest.mark.parametrize(
    ("final", "has_note"), [(0.0, False), (100.0, False), (35.0, True), (0.02, False), (99.98, True)]
)
def test_the_binomial_note_is_omitted_at_chance_and_at_100_percent(tmp_path, final, has_note):
    """At 100 % the standard error is 0, and at chance there is no best configuration."""
    notes = report_tables(sweep_of(tmp_path, {MOMENTUM: [climb(final)] * 2}))["stability"].notes
    assert any("binomial" in note for note in notes) == has_note


def test_an_accuracy_above_100_by_rounding_breaks_nothing(tmp_path):
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(100.00000000000001)] * 3})
    assert "binomial" not in "".join(report_tables(sweep)["stability"].notes)


def test_the_binomial_note_is_the_binomials(tmp_path):
    """35 %: 0.67 pp on 5,000 images, 0.48 pp on 10,000, and 1.96·√2·0.67 = 1.9 pp between two runs."""
    note = report_tables(sweep_of(tmp_path, {MOMENTUM: [climb(35)]}))["stability"].notes[0]
    val, test = (100 * float(stats.binom(images, 0.35).std()) / images for images in (5_000, 10_000))
    assert f"is {val:.2f} pp on 5,000 validation images and {test:.2f} pp on 10,000 test images" in note
    assert "on validation: 1.9 pp" in note


def test_the_binomial_note_depends_on_the_split(tmp_path):
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(35)]})
    larger = replace(sweep, protocol={**sweep.protocol, "val_fraction": 0.2})
    assert "on 10,000 validation images" in report_tables(larger)["stability"].notes[0]
