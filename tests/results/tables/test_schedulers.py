"""Tables of schedulers and of momentum variants."""

from __future__ import annotations

import pytest

from results.reports.registry import report_tables
from search_spaces import Configuration
from tests.results.hand_worked import (
    numbers,
    rows_of,
    sd_interval,
    t_interval,
)
from tests.results.ledger_sweeps import climb, sweep_of


def test_the_momentum_table_has_one_row_per_variant(hand_tables):
    rows = rows_of(hand_tables["momentum"], "momentum")
    assert set(rows) == {"0.9", "0.0"}
    values = rows["0.9"].values
    assert (values["dampening"], values["nesterov"], values["lr"], values["scheduler"]) == (0, "no", 0.01, "none")
    assert numbers(values["final_val_acc"]) == pytest.approx(t_interval([30, 31, 32]))
    assert rows["0.0"].values["seed_sd"].value == pytest.approx(sd_interval([10, 12, 1])[0])


def test_schedulers_are_compared_at_their_best_learning_rate(tmp_path):
    """StepLR is best at 0.03, the constant rate at 0.01; the rates are those that were really used."""
    curves = {
        Configuration("SGD", {"lr": rate}, scheduler): [climb(final)]
        for scheduler, rate, final in (
            ("none", 0.01, 20), ("none", 0.03, 15), ("StepLR", 0.01, 21), ("StepLR", 0.03, 25)
        )
    }  # fmt: skip
    table = report_tables(sweep_of(tmp_path, curves))["schedulers"]
    found = [[row.values[key] for key in ("scheduler", "lr", "best_rate")] for row in table.rows]
    assert found == [
        ["none", 0.01, "best lr"],
        ["none", 0.03, ""],
        ["StepLR", 0.01, ""],
        ["StepLR", 0.03, "best lr"],
    ]
    assert {(row.values["lr_first"], row.values["lr_last"]) for row in table.rows} == {(0.2, 0.05)}
