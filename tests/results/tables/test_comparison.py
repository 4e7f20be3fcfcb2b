"""Comparison, profile and learning-rate tables, compared with values computed by hand or by scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from results.reports.registry import report_tables
from tests.results.hand_worked import (
    numbers,
    rate_grid,
    rows_of,
)
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, sweep_of


def test_the_comparison_is_scipys_paired_t(hand_tables):
    """Shown on test, against the best by validation; 2^(1-3) = 0.25, twice that by Holm."""
    table = hand_tables["comparison"]
    rows = rows_of(table)
    assert set(rows) == {"Adam lr=0.001", "SGD lr=0.01"}
    assert table.caption.startswith("SGD lr=0.01 momentum=0.9 ")
    assert "final test accuracy" in table.caption
    values = rows["SGD lr=0.01"].values  # one of its runs diverged
    assert numbers(values["difference"]) == pytest.approx((22, math.nan, math.nan, 3), nan_ok=True)
    assert (values["test"], values["p_value"], values["p_holm"]) == ("McNemar, exact", 1, 1)
    assert (values["n_trained"], values["n_trained_other"], values["verdict"]) == (3, 2, "too few seeds")
    for name, theirs in (("Adam lr=0.001", [21, 20, 19]),):
        values = rows[name].values
        interval = stats.ttest_rel([28, 30, 29], theirs).confidence_interval()
        mean = float(np.mean(np.subtract([28, 30, 29], theirs)))
        assert numbers(values["difference"]) == pytest.approx((mean, interval.low, interval.high, 3))
        assert (values["n"], values["test"], values["n_won"]) == (3, "sign-flip, exact", 3)
        assert (values["p_value"], values["p_holm"], values["smallest_p"]) == (0.25, 0.5, 0.25)
        assert values["verdict"] == "too few seeds"


def test_a_pair_of_no_seed_has_no_p(tmp_path):
    """Nothing was compared: n/a, not 1."""
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(30), []], ADAM: [[], climb(20)]})
    table = report_tables(sweep)["comparison"]
    shown = dict(zip((column.key for column in table.printed), table.text()[0], strict=True))
    assert shown["n"] == "0"
    assert {shown[key] for key in ("difference", "test", "won", "p_value", "p_holm", "smallest_p")} == {"n/a"}
    assert list(table.rows[0].run_ids) == []


def test_the_profile_of_the_hand_worked_sweep(hand_tables):
    """Targets are 50 ... 100 % of 31; the second is 1.6 and 1.5 times as slow, then reaches none."""
    rows = rows_of(hand_tables["profile"])
    shares = (50, 60, 70, 80, 90, 100)
    inf = math.inf
    expected = {
        "SGD lr=0.01 momentum=0.9": ([5, 6, 7, 8, 9, 10], {"1": 1, "1.25": 1, "1.5": 1, "2": 1, "5": 1}),
        "Adam lr=0.001": ([8, 9, inf, inf, inf, inf], {"1": 0, "1.25": 0, "1.5": 1 / 6, "2": 2 / 6, "5": 2 / 6}),
        "SGD lr=0.01": ([inf] * 6, {"1": 0, "1.25": 0, "1.5": 0, "2": 0, "5": 0}),
    }
    for name, (epochs, rho) in expected.items():
        assert [rows[name].values[f"target_{share}"] for share in shares] == epochs
        assert {tau: rows[name].values[f"rho_{tau}"] for tau in rho} == pytest.approx(rho)


def test_a_rate_grid_gives_sensitivity_and_expected_best(tmp_path):
    """Two of four rates within 2 pp; the expected best is the mean over all draws with replacement."""
    sweep = rate_grid(tmp_path, {0.1: (25, 25), 0.01: (19, 21), 1.0: (5, 5), 0.3: (23.5, 24.5)})
    tables = report_tables(sweep)
    assert [row.values["lr_sensitivity"] for row in tables["stability"].rows] == [50] * 4
    assert [row.values["lr"] for row in tables["learning_rates"].rows] == [0.01, 0.1, 0.3, 1.0]
    assert [row.values["final_val_acc"].value for row in tables["learning_rates"].rows] == [20, 25, 24, 5]
    (row,) = tables["expected_best"].rows
    for m in (1, 2, 3, 4):
        draws = [max(draw) for draw in itertools.product([20, 25, 24, 5], repeat=m)]
        assert row.values[f"best_of_{m}"] == pytest.approx(sum(draws) / len(draws))
    assert set(row.run_ids) == {run_id for group in sweep.configurations for run_id in group.run_ids}
