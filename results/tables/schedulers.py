"""Tables of schedulers and of momentum variants."""

from __future__ import annotations

import numpy as np

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics.intervals import mean_t_interval, sd_chi2_interval
from results.tables.summary import FINAL, RUNS, SEED_SD, TEST
from results.tables.table import Column, Row, Table, Value


def schedulers_table(sweep: SweepData) -> Table | None:
    """Learning rates and final accuracy by scheduler; None for a sweep with one scheduler."""
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
            finite = group.counted & np.isnan(group.diverged_epochs)
            if finite.any():
                values["lr_first"] = float(group.curves["lr_first"][finite][:, 0].mean())
                values["lr_last"] = float(group.curves["lr_last"][finite][:, -1].mean())
            values["final_val_acc"] = mean_t_interval(group.final)
            values["test_acc"] = mean_t_interval(group.accuracy("test")[:, -1])
            at_best = float(group.final.mean()) == best[values["optimizer"], values["scheduler"]]  # type: ignore[index]
            values["best_rate"] = "best lr" if at_best else ""
        rows.append(Row(values, group.counted_ids))
    return Table(
        "schedulers",
        f"Schedulers of {sweep.name}: first and last learning rate, and final accuracy",
        (
            Column("optimizer", "Optimizer"), Column("scheduler", "Scheduler"),
            Column("lr", "Learning rate", general=True),
            Column("lr_first", "First lr", general=True), Column("lr_last", "Last lr", general=True), RUNS, FINAL, TEST,
            Column("best_rate", "Compared at"),
        ),
        rows,
        [
            "Schedulers are compared at their own best learning rate by validation accuracy.",
            "First and last lr: the learning rates of the first and of the last batch.",
            *sweep.caveats(),
        ],
    )  # fmt: skip


def momentum_table(sweep: SweepData) -> Table | None:
    """Momentum, dampening and Nesterov; None if the sweep varies none of them."""
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
        f"Momentum variants of {sweep.name}",
        (
            Column("momentum", "Momentum β"), Column("dampening", "Dampening"), Column("nesterov", "Nesterov"),
            Column("lr", "Learning rate", general=True), Column("scheduler", "Scheduler"), RUNS, FINAL, SEED_SD,
        ),
        rows,
        ["Dampening has no effect without momentum, so such rows must be equal.", *sweep.caveats()],
    )  # fmt: skip


def _optimizer(group: ConfigurationRuns) -> str:
    """Return the optimizer with its momentum settings, without its learning rate."""
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
    """Return a number as a float, so that the column has one type."""
    return float(value) if isinstance(value, int | float) else None
