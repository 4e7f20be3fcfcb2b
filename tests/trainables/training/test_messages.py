"""The messages of a trial have the ledger's columns, and are read back from JSON unchanged."""

from __future__ import annotations

import sqlite3
from dataclasses import fields

from results.ledger.schema import CREATE, KERNELS, Attempt, EpochRow
from tests.trainables.small_runs import CPU, make_run
from trainables.training import messages
from trainables.training.messages import Assignment, AttemptInfo, EpochMetrics, TrialSpec, this_attempt

DRIVER_ADDS = {"ended", "outcome", "error"}
"""Columns of an attempt that the driver fills in."""


def names(record: type) -> list[str]:
    return [field.name for field in fields(record)]


def columns(table: str) -> list[str]:
    connection = sqlite3.connect(":memory:")
    for statement in CREATE:
        connection.execute(statement)
    return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]


def test_epoch_metrics_are_the_columns_of_an_epoch() -> None:
    assert names(EpochMetrics) == names(EpochRow) == columns("epochs")


def test_attempt_infos_are_the_columns_of_an_attempt() -> None:
    assert set(names(AttemptInfo)) == set(names(Attempt)) - DRIVER_ADDS
    assert set(names(AttemptInfo)) == set(columns("attempts")) - DRIVER_ADDS - {"pack_size"}  # derived from members


def test_a_trial_spec_is_read_back_from_json() -> None:
    runs = [make_run("SGD", lr=0.1), make_run("Adam", "CosineAnnealingLR", warmup=1)]
    trial = TrialSpec(
        Assignment("pack", runs, 3, frozenset({1, 3})), "s3://b/checkpoints", "s3://b/weights", threads=2, gpus=0.25,
        save_weights_every=2, checkpoint_seconds=5.0, on_drivers_disk=True, stop_signal="actor", kernels="compiled",
    )  # fmt: skip
    assert TrialSpec.from_json(trial.to_json()) == trial


def test_the_kernels_have_the_key_that_the_ledger_knows() -> None:
    """Else ``differs_in`` would name a kernel as a version."""
    assert messages.KERNELS == KERNELS


def test_an_attempt_is_read_back_from_a_checkpoint() -> None:
    attempt = AttemptInfo("a", "p", "host", 7, "cpu", "", 1, ("r1", "r2"), {"torch": "2"}, 1.5)
    assert AttemptInfo.from_dict(attempt.to_dict()) == attempt


def test_an_attempt_names_its_kernels_where_they_are_not_pytorchs() -> None:
    assignment = Assignment("pack", [make_run("SGD", lr=0.1)], 1, frozenset())
    plain, compiled = (this_attempt(assignment, CPU, kernels=kernels) for kernels in ("torch", "compiled"))
    assert "kernels" not in plain.versions
    assert compiled.versions == {**plain.versions, "kernels": "compiled"}
