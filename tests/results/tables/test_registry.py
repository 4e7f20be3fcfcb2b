"""Every table from ledgers whose numbers are worked by hand, or by scipy."""

from __future__ import annotations

import itertools
import math
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from results.ledger.arrays import SweepData, load_sweep
from results.reports.registry import REPORT_TABLES, report_tables
from results.reports.summary import answer, question
from results.tables.formats import TEXTS
from results.tables.table import Row, Table
from search_spaces import Configuration
from search_spaces.errors import LedgerError
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

DIP = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 15.0, 20.0]
CURVES = {
    MOMENTUM: [[3.0 * e + s for e in range(1, 11)] for s in (0, 1, 2)],  # 30, 31, 32 at the end
    ADAM: [DIP, [2.0 * e + 2 for e in range(1, 11)], [2.0 * e + 1 for e in range(1, 11)]],  # 20, 22, 21
    PLAIN: [[1.0 * e for e in range(1, 11)], [1.0 * e + 2 for e in range(1, 11)], [1.0, 2.0, 3.0]],  # 10, 12, lost
}
TESTS = {MOMENTUM: [28.0, 30.0, 29.0], ADAM: [21.0, 20.0, 19.0], PLAIN: [9.0, 11.0, None]}


def hand_worked(folder: Path, target: float | None = 20.0) -> SweepData:
    return sweep_of(folder, CURVES, tests=TESTS, diverged={(PLAIN, 2): 4}, target=target, name="hand")


def rate_grid(folder: Path, finals: dict[float, tuple[float, ...]], scheduler: str = "none") -> SweepData:
    curves = {
        Configuration("SGD", {"lr": rate, "momentum": 0.9}, scheduler): [climb(value) for value in values]
        for rate, values in finals.items()
    }
    return sweep_of(folder, curves)


def every_kind(folder: Path) -> SweepData:
    """A sweep that has something for every table: a rate grid, two schedulers, two momenta, Adam."""
    configurations = [
        *(replace_lr(MOMENTUM, rate) for rate in (0.003, 0.01, 0.03, 0.1)),
        Configuration("SGD", MOMENTUM.optimizer_params, "CosineAnnealingLR", {"T_max": 10}),
        PLAIN,
        ADAM,
    ]
    curves = {
        configuration: [climb(30 + i), climb(32 - i), climb(20 + 2 * i)]
        for i, configuration in enumerate(configurations)
    }
    tests = {configuration: [25.0 + i, 26.0 - i, 24.5] for i, configuration in enumerate(configurations)}
    return sweep_of(folder, curves, tests=tests)


def replace_lr(configuration: Configuration, rate: float) -> Configuration:
    return replace(configuration, optimizer_params={**configuration.optimizer_params, "lr": rate})


def rows_of(table: Table | None, key: str = "configuration") -> dict[str, Row]:
    """The rows by one of their cells."""
    assert table is not None
    return {str(row.values[key]): row for row in table.rows}


def numbers(estimate: object) -> tuple[float, float, float, int]:
    return (estimate.value, estimate.low, estimate.high, estimate.n)  # type: ignore[attr-defined]


def t_interval(values: list[float]) -> tuple[float, float, float, int]:
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return (float(np.mean(values)), low, high, len(values))


def sd_interval(values: list[float]) -> tuple[float, float, float, int]:
    n, sd = len(values), float(np.std(values, ddof=1))
    low, high = (sd * ((n - 1) / stats.chi2.ppf(q, n - 1)) ** 0.5 for q in (0.975, 0.025))
    return (sd, low, high, n)


def test_convergence_of_the_hand_worked_sweep(tmp_path):
    """Target 20: 3e + s reaches it at 7, 7, 6; the second at 10, 9, 10; the third never."""
    rows = rows_of(report_tables(hand_worked(tmp_path))["convergence"])
    momentum, adam, plain = (rows[name].values for name in ("SGD lr=0.01 momentum=0.9", "Adam lr=0.001", "SGD lr=0.01"))
    assert numbers(momentum["final_val_acc"]) == pytest.approx(t_interval([30, 31, 32]))
    assert numbers(momentum["test_acc"]) == pytest.approx(t_interval([28, 30, 29]))
    assert numbers(plain["final_val_acc"]) == pytest.approx(t_interval([10, 12, 1]))
    assert numbers(plain["test_acc"]) == pytest.approx(t_interval([9, 11, 1]))
    assert numbers(plain["best_val_acc"]) == pytest.approx(t_interval([10, 12, 3]))
    assert plain["best_val_epoch"] == pytest.approx((10 + 10 + 3) / 3)
    assert [row["epochs_to_target"] for row in (momentum, adam, plain)] == [7, 10, "> 10"]
    assert [row["hits"] for row in (momentum, adam, plain)] == ["3/3", "3/3", "0/3"]
    assert [row["seconds_to_target"] for row in (momentum, adam, plain)] == [10.5, 15, math.inf]  # 1.5 s an epoch
    assert [row["pack_size"] for row in (momentum, adam, plain)] == ["4"] * 3
    assert [row["epochs_to_95pct_final"] for row in (momentum, adam, plain)] == [10, 10, (10 + 10 + 1) / 3]
    assert [row["speed"] for row in (momentum, adam, plain)] == ["medium", "slow", "never"]
    assert numbers(momentum["auc"]) == pytest.approx(t_interval([16.5, 17.5, 18.5]))
    assert numbers(adam["auc"]) == pytest.approx(t_interval([11 - 3 / 9, 13, 12]))
    assert numbers(plain["auc"]) == pytest.approx(t_interval([5.5, 7.5, (1.5 + 2.5 + 2 + 6) / 9]))
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
    assert keys[2:5] == ["final_val_acc", "final_val_iqm", "test_acc"]
    three = report_tables(hand_worked(tmp_path / "three"))["convergence"]
    assert [column.key for column in three.columns] == [key for key in keys if key != "final_val_iqm"]


def test_stability_of_the_hand_worked_sweep(tmp_path):
    """Straight lines have no tail SD; one curve dips by 1, one run is lost at 3 %."""
    rows = rows_of(report_tables(hand_worked(tmp_path))["stability"])
    momentum, adam, plain = (rows[name].values for name in ("SGD lr=0.01 momentum=0.9", "Adam lr=0.001", "SGD lr=0.01"))
    assert numbers(momentum["seed_sd"]) == pytest.approx(sd_interval([30, 31, 32]))
    assert numbers(plain["seed_sd"]) == pytest.approx(sd_interval([10, 12, 1]))
    line = stats.linregress(range(5), DIP[-5:])
    residuals = np.array(DIP[-5:]) - (line.intercept + line.slope * np.arange(5))
    assert momentum["tail_sd"] == pytest.approx(0, abs=1e-9)
    assert adam["tail_sd"] == pytest.approx((residuals @ residuals / 3) ** 0.5 / 3)
    assert [row["max_drawdown"] for row in (momentum, adam, plain)] == pytest.approx([0, 1 / 3, 2 / 3])
    assert [row["diverged"] for row in (momentum, adam, plain)] == pytest.approx([0, 0, 100 / 3])
    assert [row["at_chance"] for row in (momentum, adam, plain)] == pytest.approx([0, 0, 100 / 3])
    assert [row["stability"] for row in (momentum, adam, plain)] == ["high", "high", "low"]
    assert all(math.isnan(row["lr_sensitivity"]) for row in (momentum, adam, plain))  # one rate each


def test_the_consolidated_table_repeats_the_other_two(tmp_path):
    tables = report_tables(hand_worked(tmp_path))
    consolidated = tables["consolidated"].frame()
    for name in ("convergence", "stability"):
        other = tables[name].frame()
        shared = [column for column in consolidated if column in other]
        assert len(shared) > 4
        assert consolidated[shared].equals(other[shared])


def test_the_comparison_is_scipys_paired_t(tmp_path):
    """Shown on test, against the best by validation; 2^(1-3) = 0.25, twice that by Holm."""
    table = report_tables(hand_worked(tmp_path))["comparison"]
    rows = rows_of(table)
    assert set(rows) == {"Adam lr=0.001", "SGD lr=0.01"}
    assert table.caption.startswith("SGD lr=0.01 momentum=0.9 against every other one of hand: final test accuracy")
    for name, theirs in (("Adam lr=0.001", [21, 20, 19]), ("SGD lr=0.01", [9, 11, 1])):
        values = rows[name].values
        interval = stats.ttest_rel([28, 30, 29], theirs).confidence_interval()
        mean = float(np.mean(np.subtract([28, 30, 29], theirs)))
        assert numbers(values["difference"]) == pytest.approx((mean, interval.low, interval.high, 3))
        assert (values["n"], values["method"], values["wins"]) == (3, "paired t", 100)
        assert (values["p_value"], values["p_holm"], values["smallest_p"]) == (0.25, 0.5, 0.25)
        assert values["verdict"] == "n too small to reject"


def test_a_pair_of_no_seed_has_no_p(tmp_path):
    """Nothing was compared: n/a, not 1."""
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(30), []], ADAM: [[], climb(20)]})
    table = report_tables(sweep)["comparison"]
    shown = dict(zip((column.key for column in table.columns), table.text()[0], strict=True))
    assert shown["n"] == "0"
    assert {shown[key] for key in ("difference", "method", "wins", "p_value", "p_holm", "smallest_p")} == {"n/a"}
    assert table.rows[0].run_ids == []


def test_all_diverged_runs_were_not_tested(tmp_path):
    """Chance is what they count as, not what the test set said."""
    lost = {(configuration, seed): 1 for configuration in (MOMENTUM, ADAM) for seed in (0, 1)}
    sweep = sweep_of(tmp_path, {MOMENTUM: [[5.0], [5.0]], ADAM: [[5.0], [5.0]]}, diverged=lost)
    assert "final validation accuracy" in report_tables(sweep)["comparison"].caption


def test_the_profile_of_the_hand_worked_sweep(tmp_path):
    """Targets are 50 ... 100 % of 31; the second is 1.6 and 1.5 times as slow, then reaches none."""
    rows = rows_of(report_tables(hand_worked(tmp_path))["profile"])
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


def test_adam_along_the_way_has_the_nearest_epochs(tmp_path):
    """Epochs 1 and 10 as they were; the last stands for 25 and 50, and the note says so."""
    table = report_tables(hand_worked(tmp_path))["adam"]
    assert [row.values["epoch"] for row in table.rows] == [1, 10]
    assert numbers(table.rows[0].values["val_acc"]) == pytest.approx(t_interval([2, 4, 3]))
    assert numbers(table.rows[1].values["val_acc"]) == pytest.approx(t_interval([20, 22, 21]))
    assert table.rows[1].values["test_acc"].value == pytest.approx(20)
    assert math.isnan(table.rows[0].values["test_acc"].value)
    assert table.notes[0] == "The study's epochs 25, 50 lie beyond this sweep's 10; its last stands for them."


def test_claimed_and_measured_stand_side_by_side(tmp_path):
    """Each claim beside the configuration that it is about, and no other."""
    rows = rows_of(report_tables(hand_worked(tmp_path))["claimed"])
    assert {
        name: (row.values["claimed_accuracy"], row.values["final_val_acc"].value) for name, row in rows.items()
    } == {
        "SGD": (34.22, pytest.approx(23 / 3)),
        "SGD + momentum": (52.18, 31),
        "Adam": (58.73, 21),
    }
    assert rows["Adam"].values["epochs_to_target"] == 10
    assert rows["SGD"].values["epochs_to_target"] == "> 10"


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


def test_made_data_measures_no_claim(tmp_path):
    sweep = replace(hand_worked(tmp_path), synthetic=True)
    assert "claimed" not in report_tables(sweep)


def test_momentum_is_told_row_by_row(tmp_path):
    rows = rows_of(report_tables(hand_worked(tmp_path))["momentum"], "momentum")
    assert set(rows) == {"0.9", "0.0"}
    values = rows["0.9"].values
    assert (values["dampening"], values["nesterov"], values["lr"], values["scheduler"]) == (0, "no", 0.01, "none")
    assert numbers(values["final_val_acc"]) == pytest.approx(t_interval([30, 31, 32]))
    assert numbers(rows["0.0"].values["seed_sd"]) == pytest.approx(sd_interval([10, 12, 1]))


def test_a_scheduler_is_judged_at_its_own_best_rate(tmp_path):
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
        ["none", 0.01, "best rate"],
        ["none", 0.03, ""],
        ["StepLR", 0.01, ""],
        ["StepLR", 0.03, "best rate"],
    ]
    assert {(row.values["lr_first"], row.values["lr_last"]) for row in table.rows} == {(0.2, 0.05)}


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


def findings(sweep: SweepData) -> dict[str, tuple[str, str]]:
    return {
        str(row.values["check"]): (str(row.values["finding"]), str(row.values["detail"]))
        for row in report_tables(sweep)["fairness"].rows
    }


def test_a_fair_sweep_passes_every_check(tmp_path):
    finals = {0.01: tuple(range(10, 16)), 0.1: tuple(range(20, 26)), 1.0: tuple(range(5, 11))}
    assert set(findings(rate_grid(tmp_path, finals)).values()) == {("ok", "–")}


@pytest.mark.parametrize(
    ("curves", "facts", "check", "detail"),
    [
        ({MOMENTUM: [climb(9)], replace_lr(MOMENTUM, 0.1): [climb(9)], ADAM: [climb(9)]}, {},
         "equal numbers of learning rates", "between 1 and 2 rates an optimizer; more tries find a better best"),
        ({MOMENTUM: [climb(9)], ADAM: [climb(9)]}, {}, "equal numbers of learning rates",
         "one rate each, chosen before the sweep: it judges the pair of optimizer and rate, not the optimizer"),
        ({MOMENTUM: [climb(9)] * 7, ADAM: [climb(9)] * 6}, {}, "equal numbers of seeds",
         "between 6 and 7 runs with a result a configuration"),
        ({MOMENTUM: [climb(9)] * 2}, {}, "equal numbers of seeds",
         "at most 2 seeds: below 6 no sign-flip p can fall under 0.05"),
        ({MOMENTUM: [climb(9)], replace_lr(MOMENTUM, 0.1): [climb(8)], replace_lr(MOMENTUM, 1.0): [climb(7)]}, {},
         "best rate inside its grid", "SGD lr=0.01 is best at the lowest of its 3 rates: widen the grid"),
        ({MOMENTUM: [climb(9), []], ADAM: [[], climb(9)]}, {}, "runs paired by seed",
         "configurations have results under different seeds; only common seeds are compared"),
        ({Configuration("SGD", {"lr": 0.1}, "StepLR"): [climb(9)]}, {}, "schedulers at a rate of their own",
         "SGD lr=0.1 · StepLR has one rate"),
        ({MOMENTUM: [climb(9), climb(9)[:2]]}, {"failed": {(MOMENTUM, 1)}}, "no failed run left out",
         "SGD lr=0.01: 1 of 2 (1 failed)"),
    ],
)  # fmt: skip
def test_the_lint_finds_what_is_unfair(tmp_path, curves, facts, check, detail):
    assert findings(sweep_of(tmp_path, curves, **facts))[check] == ("look", detail)


def test_the_lint_finds_mixed_devices(tmp_path):
    sweep = replace(hand_worked(tmp_path), devices=("cpu", "cuda:H200"))
    assert findings(sweep)["one kind of device"] == ("look", "cpu, cuda:H200: the same run gives other bits there")


def test_seconds_of_unlike_conditions_are_left_out(tmp_path):
    """And the note says why."""
    sweep = hand_worked(tmp_path)
    for mixed in (replace(sweep, devices=("cpu", "cuda:H200")), replace(sweep, pack_sizes=(1, 4))):
        table = report_tables(mixed)["convergence"]
        assert [row.values["seconds_to_target"] for row in table.rows] == [None] * 3
        assert (
            "Seconds are left out: the runs trained on different devices or in packs of different sizes." in table.notes
        )


def test_seconds_that_were_not_measured_are_not_zero(tmp_path):
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(30)]}, measured={"epoch_seconds": math.nan})
    table = report_tables(sweep)["convergence"]
    assert table.text()[0][[column.key for column in table.columns].index("seconds_to_target")] == "n/a"


def test_a_target_that_was_asked_for_is_told(tmp_path):
    """So is the default: 95 % of 31."""
    asked, default = (report_tables(hand_worked(tmp_path / str(t), t))["convergence"].notes[0] for t in (20.0, None))
    assert asked == "Target: 20.00 % validation accuracy (as asked for); a median of misses prints as > 10."
    assert default.startswith("Target: 29.45 % validation accuracy (95 % of the best configuration's median final")


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
    """Wherever a table is read, it says that its data were made."""
    sweep = replace(every_kind(tmp_path), synthetic=True)
    tables = report_tables(sweep)
    assert tables.keys() == REPORT_TABLES.keys() - {"claimed"}
    for name, table in tables.items():
        assert table.name == name
        assert table.data == "cifar100 (made from a seed)"
        assert set(sweep.caveats()) <= set(table.notes)


def test_selection_never_looks_at_test(tmp_path):
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
    assert before.keys() == after.keys() == REPORT_TABLES.keys()
    changed = set()
    for name in REPORT_TABLES:
        old, new = before[name].frame(), after[name].frame()
        changed |= {(name, column) for column in old if not old[column].equals(new[column])}
        assert before[name].notes == after[name].notes
        assert before[name].caption == after[name].caption
    measure = ("difference", "wins", "p_", "verdict")
    assert ("comparison", "difference") in changed
    assert ("convergence", "test_acc") in changed
    for name, column in changed:
        assert column.startswith("test_") or (name == "comparison" and column.startswith(measure)), (name, column)


ONE_HOLE = [*climb(30)[:9], math.nan]
BAD = {
    "empty": ({}, {}, "Empty: no run is planned."),
    "nothing yet": ({MOMENTUM: [[], []], ADAM: [[], []]}, {}, "Partial: 0 of 4 runs have a result so far."),
    "one epoch": ({MOMENTUM: [[9.0], [8.0]], ADAM: [[5.0], [6.0]]}, {"epochs": 1}, "1 epoch; the study's protocol has"),
    "one seed": ({MOMENTUM: [climb(30)], ADAM: [climb(20)]}, {}, "10 epochs; the study's protocol has 50"),
    "one configuration": ({MOMENTUM: [climb(30), climb(31)]}, {}, "10 epochs; the study's protocol has 50"),
    "all diverged": ({MOMENTUM: [[5.0], [5.0]], ADAM: [[5.0], [5.0]]},
                     {"diverged": {(c, s): 1 + s for c in (MOMENTUM, ADAM) for s in (0, 1)}}, "10 epochs; the study's"),
    "NaN at the end": ({MOMENTUM: [climb(30), ONE_HOLE], ADAM: [ONE_HOLE, ONE_HOLE]}, {},
                       "Partial: 1 of 4 runs have a result so far."),
    "still running": ({MOMENTUM: [climb(30), climb(30)[:4]], ADAM: [[], []]}, {},
                      "Partial: 1 of 4 runs have a result so far."),
    "all failed": ({MOMENTUM: [[5.0], [5.0]]}, {"failed": {(MOMENTUM, 0), (MOMENTUM, 1)}},
                   "Partial: 0 of 2 runs have a result so far."),
    "perfect": ({MOMENTUM: [climb(100), climb(100)], ADAM: [climb(0), climb(0)]}, {}, "10 epochs; the study's"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_poor_sweep_is_told_in_every_table(tmp_path, case):
    """No traceback, no warning, no NaN that a reader sees; each format takes it, and question and answer are said."""
    curves, facts, caveat = BAD[case]
    sweep = sweep_of(tmp_path, curves, **facts)
    tables = report_tables(sweep)
    assert {"convergence", "stability", "consolidated", "fairness"} <= tables.keys()
    for table in tables.values():
        assert any(note.startswith(caveat) for note in table.notes)
        assert not {"nan", "inf", "None"} & {word for cells in table.text() for cell in cells for word in cell.split()}
        for render in TEXTS.values():
            assert render(table)
        assert len(table.frame()) == len(table.rows)
    assert question(sweep).startswith(f"Which of {len(curves)} configuration")
    assert all(answer(sweep))


def shown(sweep: SweepData, name: str) -> list[dict[str, str]]:
    table = report_tables(sweep)[name]
    return [dict(zip((column.key for column in table.columns), cells, strict=True)) for cells in table.text()]


@pytest.mark.parametrize("case", ["nothing yet", "all failed"])
def test_no_result_is_no_number(tmp_path, case):
    """Every configuration is a row with its status, and n/a in all else; nothing is compared."""
    curves, facts, _ = BAD[case]
    sweep = sweep_of(tmp_path, curves, **facts)
    for name in ("convergence", "stability", "consolidated"):
        rows = shown(sweep, name)
        assert len(rows) == len(curves)
        for row in rows:
            assert row.pop("configuration")
            assert re.fullmatch(r"0 of 2 \(2 (pending|failed)\)", row.pop("runs"))
            assert set(row.values()) == {"n/a"}
    assert not {"comparison", "profile", "claimed", "adam", "learning_rates"} & report_tables(sweep).keys()


def test_one_seed_has_no_spread(tmp_path):
    curves, facts, _ = BAD["one seed"]
    sweep = sweep_of(tmp_path, curves, **facts)
    assert [row["final_val_acc"] for row in shown(sweep, "convergence")] == ["30.00", "20.00"]
    assert [(row["seed_sd"], row["stability"]) for row in shown(sweep, "stability")] == [("n/a", "n/a")] * 2
    (row,) = shown(sweep, "comparison")
    assert (row["difference"], row["method"], row["p_value"]) == ("10.00", "n/a", "1.000")
    assert row["verdict"] == "n too small to reject"


def test_one_epoch_has_no_way(tmp_path):
    """Neither an area nor a tail."""
    curves, facts, _ = BAD["one epoch"]
    sweep = sweep_of(tmp_path, curves, **facts)
    assert [row["auc"] for row in shown(sweep, "convergence")] == ["n/a", "n/a"]
    assert [row["tail_sd"] for row in shown(sweep, "stability")] == ["n/a", "n/a"]
    assert {row["epoch"] for row in shown(sweep, "adam")} == {"1"}


def test_what_diverged_ends_at_chance_and_is_not_stable(tmp_path):
    curves, facts, _ = BAD["all diverged"]
    sweep = sweep_of(tmp_path, curves, **facts)
    for row in shown(sweep, "convergence"):
        assert (row["final_val_acc"], row["epochs_to_target"], row["hits"]) == ("1.00 ± 0", "> 10", "0/2")
        assert (row["speed"], row["seconds_to_target"]) == ("never", "∞")
    for row in shown(sweep, "stability"):
        assert (row["diverged"], row["at_chance"], row["stability"]) == ("100", "100", "n/a")


def test_one_configuration_is_compared_with_nothing(tmp_path):
    curves, facts, _ = BAD["one configuration"]
    assert not {"comparison", "profile", "schedulers"} & report_tables(sweep_of(tmp_path, curves, **facts)).keys()


@pytest.mark.parametrize(("final", "told"), [(0.0, False), (100.0, False), (35.0, True), (0.02, True), (99.98, True)])
def test_the_binomial_note_stands_where_it_says_something(tmp_path, final, told):
    """At 0 % and 100 % the standard error is 0, and a gap of 0 pp says nothing is nonsense."""
    notes = report_tables(sweep_of(tmp_path, {MOMENTUM: [climb(final)] * 2}))["stability"].notes
    assert any("binomial" in note for note in notes) == told


def test_an_accuracy_above_100_by_rounding_breaks_nothing(tmp_path):
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(100.00000000000001)] * 3})
    assert "binomial" not in "".join(report_tables(sweep)["stability"].notes)


def test_the_binomial_note_is_the_binomials(tmp_path):
    """35 %: 0.67 pp on 5,000 images, 0.48 pp on 10,000, and 1.96·√2·0.67 = 1.9 pp between two runs."""
    note = report_tables(sweep_of(tmp_path, {MOMENTUM: [climb(35)]}))["stability"].notes[0]
    val, test = (100 * float(stats.binom(images, 0.35).std()) / images for images in (5_000, 10_000))
    assert f"is {val:.2f} pp on 5,000 validation images and {test:.2f} pp on 10,000 test images" in note
    assert "a validation gap under 1.9 pp says nothing" in note


def test_the_binomial_note_knows_the_split(tmp_path):
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(35)]})
    larger = replace(sweep, protocol={**sweep.protocol, "val_fraction": 0.2})
    assert "on 10,000 validation images" in report_tables(larger)["stability"].notes[0]


def test_a_newer_ledger_is_refused_in_one_line(tmp_path):
    sweep_of(tmp_path, {MOMENTUM: [climb(30)]})
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match=r"^[^\n]*has schema 99, this installation knows [^\n]*; update lenet-sweep$"):
        load_sweep(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("content", [b"optimizer,accuracy\nAdam,99\n", b"SQLite format 3\0" + b"x" * 2000])
def test_a_file_that_is_no_ledger_is_refused_in_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=rf"^{re.escape(str(path))}: [^\n]+$"):
        load_sweep(path)


def test_a_missing_ledger_is_refused_in_one_line(path):
    with pytest.raises(LedgerError, match=r"^[^\n]*there is no ledger[^\n]*$"):
        load_sweep(path)


def test_every_table_and_every_column_is_documented(tmp_path):
    """In backticks, in docs/tables.md, under the heading of its table; numbered families by their pattern."""
    text = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")
    sections = {
        name.strip("`"): section for name, section in re.findall(r"^## (`\w+`)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    }
    tables = report_tables(every_kind(tmp_path))
    assert tables.keys() == REPORT_TABLES.keys()
    assert REPORT_TABLES.keys() <= sections.keys()
    families = (("target_", "`target_50` … `target_100`"), ("rho_", "`rho_τ`"), ("best_of_", "`best_of_m`"))
    for name, table in tables.items():
        for column in table.columns:
            family = next((shown for prefix, shown in families if column.key.startswith(prefix)), f"`{column.key}`")
            assert family in sections[name], f"{name}: {family}"
