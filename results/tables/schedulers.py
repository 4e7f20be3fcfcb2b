"""Schedulers, and momentum variants, of a sweep."""

from __future__ import annotations

import numpy as np

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics.intervals import mean_t_interval, sd_chi2_interval
from results.tables.summary import FINAL, RUNS, SEED_SD, TEST
from results.tables.table import Column, Row, Table, Value


def schedulers_table(sweep: SweepData) -> Table | None:
    """What each scheduler did with the rate and what it brought; None where the sweep has one scheduler only."""
    if len({group.columns["scheduler"] for group in sweep.configurations}) < 2:
        return None
    best: dict[tuple[str, str], float] = {}
    for group in sweep.counted:
        key = (_optimizer(group), _scheduler(group))
        best[key] = max(best.get(key, -np.inf), float(group.final.mean()))
    rows = []
    for group in sweep.configurations:
        values: dict[str, Value] = {
            "optimizer": _optimizer(group), "scheduler": _scheduler(group), "runs": group.share_of_runs,
            "lr": _plain(group.columns.get("optimizer.lr")),
        }  # fmt: skip
        if group.counted.any():
            alive = group.counted & np.isnan(group.diverged_epochs)
            if alive.any():
                values["lr_first"] = float(group.curves["lr_first"][alive][:, 0].mean())
                values["lr_last"] = float(group.curves["lr_last"][alive][:, -1].mean())
            values["final_val_acc"] = mean_t_interval(group.final)
            values["test_acc"] = mean_t_interval(group.accuracy("test")[:, -1])
            at_best = float(group.final.mean()) == best[values["optimizer"], values["scheduler"]]  # type: ignore[index]
            values["best_rate"] = "best rate" if at_best else ""
        rows.append(Row(values, group.counted_ids))
    return Table(
        "schedulers",
        f"Schedulers of {sweep.name}: the rate of the first and the last batch, and the final accuracy",
        (
            Column("optimizer", "Optimizer"), Column("scheduler", "Scheduler"), Column("lr", "Rate asked", decimals=5),
            Column("lr_first", "First rate", decimals=6), Column("lr_last", "Last rate", decimals=6), RUNS, FINAL, TEST,
            Column("best_rate", "Judged at"),
        ),
        rows,
        ["A scheduler is judged at its own best rate, by validation accuracy.", *sweep.caveats()],
    )  # fmt: skip


def momentum_table(sweep: SweepData) -> Table | None:
    """Momentum × dampening × Nesterov; None where the sweep varies none of them."""
    keys = ("optimizer.momentum", "optimizer.dampening", "optimizer.nesterov")
    groups = [group for group in sweep.configurations if "optimizer.nesterov" in group.columns]
    if len({tuple(group.columns.get(key) for key in keys) for group in groups}) < 2:
        return None
    rows = []
    for group in groups:
        values: dict[str, Value] = {
            "momentum": _plain(group.columns.get("optimizer.momentum")),
            "dampening": _plain(group.columns.get("optimizer.dampening")),
            "nesterov": "yes" if group.columns.get("optimizer.nesterov") else "no",
            "lr": _plain(group.columns.get("optimizer.lr")), "scheduler": _scheduler(group),
            "runs": group.share_of_runs,
        }  # fmt: skip
        if group.counted.any():
            values |= {"final_val_acc": mean_t_interval(group.final), "seed_sd": sd_chi2_interval(group.final)}
        rows.append(Row(values, group.counted_ids))
    return Table(
        "momentum",
        f"Momentum in {sweep.name}",
        (
            Column("momentum", "Momentum β"), Column("dampening", "Dampening"), Column("nesterov", "Nesterov"),
            Column("lr", "Rate", decimals=5), Column("scheduler", "Scheduler"), RUNS, FINAL, SEED_SD,
        ),
        rows,
        ["Without momentum, dampening does nothing: such rows must be equal.", *sweep.caveats()],
    )  # fmt: skip


def _optimizer(group: ConfigurationRuns) -> str:
    """The optimizer and what makes it another variant, without its rate."""
    columns = group.columns
    words = [str(columns["optimizer"])]
    if columns.get("optimizer.momentum"):
        words.append(f"momentum={columns['optimizer.momentum']:g}")
    if columns.get("optimizer.nesterov"):
        words.append("nesterov")
    return " ".join(words)


def _scheduler(group: ConfigurationRuns) -> str:
    columns = group.columns
    words = [str(columns["scheduler"])]
    if "scheduler.lr_lambda" in columns:
        words = [str(columns["scheduler.lr_lambda"])]
    if columns["warmup"]:
        words.append(f"warmup={columns['warmup']:g}")
    return " ".join(words)


def _plain(value: object) -> Value:
    """A number as a float, so that whole ones and others share a column."""
    return float(value) if isinstance(value, int | float) else None
