"""What a tracker gets about a run: its identity, its hyperparameters and its metrics by epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.ledger.ledger import EpochRow, Ledger
from search_spaces.configuration import Configuration
from search_spaces.labels import configuration_labels

METRICS = ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc", "lr", "epoch_seconds")
"""Columns of an epoch that are tracked, under the same names; accuracies are in percent."""


@dataclass(frozen=True)
class TrackedRun:
    """A run, for a tracker: the runs of one configuration are a group, its seeds are replicates."""

    run_id: str
    sweep: str
    label: str  # of the configuration
    configuration_id: str
    seed: int
    data: str
    status: str
    parameters: dict[str, Any]  # flat: optimizer, optimizer.lr, …, seed

    @property
    def name(self) -> str:
        """The run's name for a user."""
        return f"{self.label}, seed {self.seed}"

    @property
    def tags(self) -> dict[str, str]:
        """Text that identifies the run."""
        return {
            "sweep": self.sweep, "configuration": self.label, "configuration_id": self.configuration_id,
            "seed": str(self.seed), "data": self.data, "run_id": self.run_id,
        }  # fmt: skip


@dataclass(frozen=True)
class Epoch:
    """The measured metrics of one epoch of a run, and the Unix time of its end."""

    run_id: str
    epoch: int
    time: float
    values: dict[str, float]

    @property
    def begun(self) -> float:
        """The Unix time of its begin, later by its evaluation; that of its end if its length was not measured."""
        return self.time - self.values.get("epoch_seconds", 0.0)

    @classmethod
    def of(cls, row: EpochRow, time: float) -> Epoch:
        """Return the epoch of a row; a metric that was not measured is left out."""
        measured = {name: getattr(row, name) for name in METRICS}
        return cls(row.run_id, row.epoch, time, {name: float(x) for name, x in measured.items() if _finite(x)})


def _finite(value: float | None) -> bool:
    return value is not None and abs(value) < float("inf")


def tracked_runs(ledger: Ledger, sweep: str) -> list[TrackedRun]:
    """Return the planned runs of a ledger."""
    rows = ledger.rows(
        """
        SELECT run_id, configuration, seed, data_name, status FROM run_statuses WHERE planned
        ORDER BY ordinal, seed, run_id
        """,
        {},
    )
    configurations = {text: Configuration.from_dict(json.loads(text)) for text in dict.fromkeys(row[1] for row in rows)}
    labels = configuration_labels(list(configurations.values()))
    return [
        TrackedRun(
            run_id=run_id, sweep=sweep, label=labels[configurations[text].configuration_id],
            configuration_id=configurations[text].configuration_id, seed=seed, data=data, status=status,
            parameters={**configurations[text].columns(), "seed": seed},
        )
        for run_id, text, seed, data, status in rows
    ]  # fmt: skip


def recorded_epochs(ledger: Ledger) -> list[Epoch]:
    """Return the recorded epochs of the planned runs, each with the time at which its attempt had finished it."""
    rows: Sequence[tuple[Any, ...]] = ledger.rows(
        f"""
        SELECT e.run_id, e.epoch, a.started + SUM(e.epoch_seconds + COALESCE(e.eval_seconds, 0)) OVER (
                   PARTITION BY e.run_id, e.attempt_id ORDER BY e.epoch), {", ".join(f"e.{name}" for name in METRICS)}
        FROM epochs e JOIN attempts a USING (attempt_id) JOIN runs r USING (run_id) WHERE r.planned
        ORDER BY r.ordinal, r.seed, e.run_id, e.epoch
        """,
        {},
    )
    return [
        Epoch(run_id, epoch, time or 0.0, {n: float(x) for n, x in zip(METRICS, values, strict=True) if _finite(x)})
        for run_id, epoch, time, *values in rows
    ]
