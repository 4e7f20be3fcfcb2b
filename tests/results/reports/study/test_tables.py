"""The study's tables: Adam by epoch, and claims beside measured values."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from results.reports.registry import report_tables
from search_spaces import Configuration
from tests.results.hand_worked import (
    numbers,
    replace_lr,
    rows_of,
    t_interval,
)
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, sweep_of


def test_the_table_of_adam_has_the_nearest_epochs(hand_tables):
    """Epochs 1 and 10 as they were; the last is shown for 25 and 50, with a note."""
    table = hand_tables["adam"]
    assert [row.values["epoch"] for row in table.rows] == [1, 10]
    assert numbers(table.rows[0].values["val_acc"]) == pytest.approx(t_interval([2, 4, 3]))
    assert numbers(table.rows[1].values["val_acc"]) == pytest.approx(t_interval([20, 22, 21]))
    assert table.rows[1].values["test_acc"].value == pytest.approx(20)
    assert math.isnan(table.rows[0].values["test_acc"].value)
    assert "10 epochs" in table.notes[0]
    assert "epochs 25, 50" in table.notes[0]


def test_claimed_and_measured_are_side_by_side(hand_tables):
    """Each claim beside the configuration that it is about, and no other."""
    rows = rows_of(hand_tables["claimed"])
    assert {
        name: (row.values["claimed_accuracy"], row.values["final_val_acc"].value) for name, row in rows.items()
    } == {
        "SGD": (34.22, pytest.approx(23 / 3)),
        "SGD + momentum": (52.18, 31),
        "Adam": (58.73, 21),
    }
    assert rows["Adam"].values["epochs_to_target"] == 10
    assert rows["SGD"].values["epochs_to_target"] == math.inf


@pytest.mark.parametrize(
    "other",
    [
        replace_lr(ADAM, 0.01),
        Configuration("Adam", {"lr": 0.001, "betas": [0.8, 0.999]}),
        Configuration("Adam", {"lr": 0.001}, "CosineAnnealingLR", {"T_max": 10}),
        Configuration("Adam", {"lr": 0.001}, warmup=1),
        Configuration("SGD", {**MOMENTUM.optimizer_params, "weight_decay": 5e-4}),
    ],
    ids=["rate", "betas", "scheduler", "warm-up", "weight decay"],
)
def test_a_claim_is_about_its_own_configuration(tmp_path, other):
    assert "claimed" not in report_tables(sweep_of(tmp_path, {other: [climb(20)]}))


def test_synthetic_data_measure_no_claim(hand_sweep):
    sweep = replace(hand_sweep, synthetic=True)
    assert "claimed" not in report_tables(sweep)
