"""Tables of schedulers and of momentum variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.metrics.intervals import TOLERANCE
from results.tables.summary import COUNTS, FINAL, SEED_SD, TEST, run_counts, spread
from results.tables.table import Column, Row, Table, Value
from search_spaces.plain_text import plain_text


def schedulers_table(sweep: SweepData) -> Table | None:
    """Learning rates and final accuracy by scheduler; None for a sweep with one scheduler."""
    if len({group.columns["scheduler"] for group in sweep.configurations}) < 2:
        return None
    best: dict[tuple[str, str], float] = {}
    for group in sweep.counted:
        key = (_optimizer(group), scheduler_name(group.columns))
        best[key] = max(best.get(key, -np.inf), float(group.final.mean()))
    rows = []
    for group in sweep.configurations:
        values: dict[str, Value] = {
            "optimizer": _optimizer(group), "scheduler": scheduler_name(group.columns), **run_counts(group),
            "lr": _plain(group.columns.get("optimizer.lr")),
        }  # fmt: skip
        if group.counted.any():
            finite = group.counted & np.isnan(group.diverged_epochs)
            if finite.any():
                values["lr_first"] = float(group.curves["lr_first"][finite][:, 0].mean())
                values["lr_last"] = float(group.curves["lr_last"][finite][:, -1].mean())
            values["final_val_acc"] = group.mean()
            values["test_acc"] = group.mean("test")
            at_best = float(group.final.mean()) >= best[_optimizer(group), scheduler_name(group.columns)] - TOLERANCE
            values["best_rate"] = "best lr" if at_best else ""
        rows.append(Row(values, group.counted_ids))
    return Table(
        "schedulers",
        f"Schedulers of {sweep.name}: first and last learning rate, and final accuracy",
        (
            Column("optimizer", "Optimizer"), Column("scheduler", "Scheduler"),
            Column("lr", "Learning rate", general=True),
            Column("lr_first", "First lr", general=True), Column("lr_last", "Last lr", general=True), *COUNTS, FINAL,
            TEST,
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
            "lr": _plain(group.columns.get("optimizer.lr")), "scheduler": scheduler_name(group.columns),
            **run_counts(group),
        }  # fmt: skip
        if group.counted.any():
            values |= {"final_val_acc": group.mean(), "seed_sd": spread(group)}
        rows.append(Row(values, group.counted_ids))
    return Table(
        "momentum",
        f"Momentum variants of {sweep.name}",
        (
            Column("momentum", "Momentum β"), Column("dampening", "Dampening"), Column("nesterov", "Nesterov"),
            Column("lr", "Learning rate", general=True), Column("scheduler", "Scheduler"), *COUNTS, FINAL,
            SEED_SD,
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
    return plain_text(" ".join(words))


def scheduler_name(columns: Mapping[str, Any]) -> str:
    """Return the scheduler, or its function, with the warm-up. ``columns`` are those of the configuration."""
    words = [str(columns["scheduler"])]
    if "scheduler.lr_lambda" in columns:
        words = [str(columns["scheduler.lr_lambda"])]
    if columns["warmup"]:
        words.append(f"warmup={columns['warmup']:g}")
    return plain_text(" ".join(words))


def _plain(value: object) -> Value:
    """Return a number as a float, so that the column has one type."""
    return float(value) if isinstance(value, int | float) else None
