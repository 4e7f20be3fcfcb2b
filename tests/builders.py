"""Builders for ledgers: runs, and what a trial reports about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from results.ledger.checksums import checksum, store_checksums
from results.ledger.ledger import Attempt, EpochRow
from results.ledger.verification import TABLES
from search_spaces.configuration import Configuration
from search_spaces.run import Protocol, Run


def two_by_two_runs() -> list[Run]:
    """Two configurations under two seeds, in the order of planning; the first is not the first by name."""
    configurations = [
        Configuration("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, "CosineAnnealingLR", {"T_max": 3}),
        Configuration("Adam", {"lr": 0.001, "betas": [0.9, 0.999]}),
    ]
    return [Run(configuration, seed, Protocol(), "d" * 16) for configuration in configurations for seed in (0, 1)]


def attempt_of(runs: Sequence[Run], attempt_id: str = "attempt-1", **changes: Any) -> Attempt:
    """One attempt to train ``runs`` together."""
    members = tuple(run.run_id for run in runs)
    facts = {"pack_id": "pack-1", "host": "here", "pid": 1, "device": "cpu", "threads": 2, "started": 1e9}
    return Attempt(attempt_id=attempt_id, members=members, versions={"torch": "2.11"}, **(facts | changes))


def row_of(run: Run, epoch: int, **measured: Any) -> EpochRow:
    """What one epoch of one run measured."""
    facts: dict[str, Any] = {
        "train_loss": 4.0, "train_acc": 10.0, "val_loss": 3.0, "val_acc": 20.0, "test_loss": None,
        "test_acc": None, "lr": 0.1, "lr_first": 0.2, "lr_last": 0.05, "epoch_seconds": 1.5, "eval_seconds": 0.5,
        "pack_size": 4, "attempt_id": "attempt-1",
    }  # fmt: skip
    return EpochRow(run.run_id, epoch, **(facts | measured))


def forge_checksums(path: Path) -> None:
    """Make the checksums of a ledger fit its rows, as after a deliberate change."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in TABLES:
            store_checksums(connection, {table: checksum(connection.execute(f"SELECT * FROM {table}").fetchall())})
