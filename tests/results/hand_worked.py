"""Sweeps whose tables are computed by hand, and intervals by scipy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from results.ledger.arrays import SweepData
from results.reports.registry import report_tables
from results.tables.table import Row, Table
from search_spaces import Configuration
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


def shown(sweep: SweepData, name: str) -> list[dict[str, str]]:
    table = report_tables(sweep)[name]
    return [dict(zip((column.key for column in table.printed), cells, strict=True)) for cells in table.text()]
