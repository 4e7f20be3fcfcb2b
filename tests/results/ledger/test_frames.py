from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.ledger.frames import EPOCH_COLUMNS, epochs_frame, runs_frame
from results.ledger.ledger import EpochRow, Ledger
from search_spaces.configuration import Configuration
from search_spaces.run import Protocol, Run


def test_a_frame_of_runs_has_a_row_a_planned_run_in_the_order_of_planning(ledger, runs):
    """Also where nothing is measured yet: then the numbers are missing, not zero."""
    frame = runs_frame(ledger)
    assert list(frame["run_id"]) == [run.run_id for run in runs]
    assert list(frame["seed"]) == [0, 1, 0, 1]
    assert list(frame["epochs"]) == [0, 0, 0, 0]
    nothing = ["final_val_acc", "best_val_acc", "best_val_epoch", "test_acc", "train_seconds", "pack_size", "device"]
    assert frame[nothing].isna().all(axis=None)


def test_a_frame_of_runs_has_its_columns_in_a_fixed_order(ledger):
    """Identity, configuration, results and conditions."""
    configuration = ["optimizer", "optimizer.lr", "optimizer.momentum", "optimizer.nesterov", "optimizer.betas"]
    schedule = ["scheduler", "scheduler.T_max", "warmup"]
    outcome = [
        "configuration_id", "seed", "status", "epochs", "target_epochs", "final_val_acc", "final_val_loss",
        "best_val_acc", "best_val_epoch", "test_acc", "test_loss", "train_seconds", "diverged_epoch", "error",
        "data", "synthetic", "pack_size", "device", "threads",
    ]  # fmt: skip
    assert list(runs_frame(ledger).columns) == ["run_id", *configuration, *schedule, *outcome]


def test_a_frame_of_epochs_begins_with_the_measured_columns(ledger, runs, attempt_of, row_of):
    """Then comes the configuration, then the data."""
    ledger.record([attempt_of(runs)], [row_of(run, epoch) for epoch in (2, 1) for run in runs[::-1]], {})
    frame = epochs_frame(ledger)
    assert tuple(frame.columns[: len(EPOCH_COLUMNS)]) == EPOCH_COLUMNS
    assert list(frame.columns[-2:]) == ["data", "synthetic"]
    assert list(zip(frame["run_id"], frame["epoch"], strict=True)) == [(r.run_id, e) for r in runs for e in (1, 2)]
    assert list(frame["optimizer"]) == ["SGD"] * 4 + ["Adam"] * 4
    assert set(frame["pack_size"]) == {4}


def test_each_configuration_column_has_one_type(ledger):
    """Lists are JSON text; a key that another configuration lacks is missing there."""
    frame = runs_frame(ledger)
    assert list(frame["optimizer.lr"]) == [0.1, 0.1, 0.001, 0.001]
    assert list(frame["optimizer.betas"].dropna()) == ["[0.9,0.999]"] * 2
    assert list(frame["optimizer.nesterov"].dropna()) == [True, True]
    assert str(frame["scheduler.T_max"].dtype) == "Int64"
    assert "object" not in frame.dtypes.astype(str).tolist()


def test_numbers_and_lists_under_one_key_become_text(tmp_path):
    """One column, one type, and nothing lost."""
    runs = [Run(Configuration("X", {"a": a, "b": b}), 0, Protocol(), "d") for a, b in ((1, 1), ([1, 2], 0.5))]
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        ledger.plan(runs, 1, data_name="d", synthetic=True)
        frame = runs_frame(ledger)
    assert list(frame["optimizer.a"]) == ["1", "[1,2]"]
    assert list(frame["optimizer.b"]) == [1.0, 0.5]
    assert list(frame["synthetic"]) == [True, True]


def test_a_diverged_run_counts_as_chance_and_a_running_one_has_no_final_accuracy(ledger, runs, attempt_of, row_of):
    """As in the tables: chance from the epoch of the divergence on, without a loss."""
    rows = [row_of(run, epoch, val_acc=10.0 * epoch) for run in runs[:2] for epoch in (1, 2, 3)]
    ledger.record([attempt_of(runs)], [*rows, row_of(runs[2], 2)], {runs[1].run_id: 2})
    frame = runs_frame(ledger)
    assert list(frame["status"]) == ["done", "diverged", "running", "running"]
    assert list(frame["final_val_acc"].dropna()) == [30.0, 1.0]
    assert list(frame["final_val_acc"].notna()) == [True, True, False, False]
    assert list(frame["final_val_loss"].notna()) == [True, False, False, False]
    assert list(frame["best_val_acc"].fillna(-1)) == [30.0, 10.0, 20.0, -1]
    assert list(frame["diverged_epoch"].dropna()) == [2]


def test_epochs_beyond_the_target_are_not_shown(ledger, runs, attempt_of, row_of):
    """A ledger with more epochs than the spec gives the same frames as one without them."""
    ledger.record([attempt_of(runs)], [row_of(run, epoch) for run in runs for epoch in (1, 2, 3)], {})
    short = runs_frame(ledger), epochs_frame(ledger)
    beyond = [row_of(run, epoch, val_acc=99.0, test_acc=99.0) for run in runs for epoch in (4, 5)]
    ledger.record([attempt_of(runs)], beyond, {runs[0].run_id: 5})
    pd.testing.assert_frame_equal(runs_frame(ledger), short[0])
    pd.testing.assert_frame_equal(epochs_frame(ledger), short[1])


def test_the_test_accuracy_is_that_of_the_last_tested_epoch(ledger, runs, attempt_of, row_of):
    """Not the best one: the test set selects nothing."""
    rows = [row_of(runs[0], epoch, test_acc=acc, test_loss=1.0) for epoch, acc in ((1, 50.0), (2, 40.0))]
    ledger.record([attempt_of(runs)], [*rows, row_of(runs[0], 3)], {})
    assert runs_frame(ledger)["test_acc"][0] == 40.0


def test_the_conditions_are_those_of_the_last_attempt(ledger, runs, attempt_of, row_of):
    """A run that moved shows where it ended."""
    ledger.record([attempt_of(runs)], [row_of(run, 1) for run in runs], {})
    ledger.record(
        [attempt_of(runs[:1], "attempt-2", device="cuda", threads=8)],
        [row_of(runs[0], 2, pack_size=1, attempt_id="attempt-2")],
        {},
    )
    frame = runs_frame(ledger)
    assert list(frame["device"]) == ["cuda", "cpu", "cpu", "cpu"]
    assert list(frame["threads"]) == [8, 2, 2, 2]
    assert list(frame["pack_size"]) == [1, 4, 4, 4]


def test_an_empty_ledger_gives_frames_without_rows(tmp_path):
    """Their columns are there nevertheless."""
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        runs, epochs = runs_frame(ledger), epochs_frame(ledger)
    assert len(runs) == len(epochs) == 0
    assert {"run_id", "optimizer", "final_val_acc", "best_val_epoch"} <= set(runs.columns)
    assert tuple(epochs.columns[: len(EPOCH_COLUMNS)]) == EPOCH_COLUMNS


measured = st.none() | st.floats(0, 100) | st.just(math.nan)
a_curve = st.dictionaries(st.integers(1, 5), st.tuples(measured, measured, measured, measured), max_size=5)


def plainly(rows: list[EpochRow], target: int, diverged: int | None) -> dict[str, Any]:
    """Compute a run's row of the frame with loops; what is missing is None."""

    def clean(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value

    rows = sorted((row for row in rows if row.epoch <= target), key=lambda row: row.epoch)
    row: dict[str, Any] = dict.fromkeys(
        ("final_val_acc", "final_val_loss", "best_val_acc", "best_val_epoch", "test_acc", "test_loss", "train_seconds")
    )
    row["epochs"] = len(rows)
    lost = diverged is not None and diverged <= target
    for epoch in rows:
        val_acc, test_acc, test_loss = clean(epoch.val_acc), clean(epoch.test_acc), clean(epoch.test_loss)
        if lost and epoch.epoch >= diverged:
            val_acc = 1.0
        row["train_seconds"] = (row["train_seconds"] or 0.0) + epoch.epoch_seconds
        if val_acc is not None and (row["best_val_acc"] is None or val_acc > row["best_val_acc"]):
            row["best_val_acc"], row["best_val_epoch"] = val_acc, epoch.epoch
        if test_acc is not None or test_loss is not None:
            row["test_acc"], row["test_loss"] = test_acc, test_loss
        if epoch.epoch == target and not lost:
            row["final_val_acc"], row["final_val_loss"] = val_acc, clean(epoch.val_loss)
    if lost:  # as in the tables: chance, without a loss
        row |= {"final_val_acc": 1.0, "test_acc": 1.0, "test_loss": None}
        if row["best_val_acc"] is None or row["best_val_acc"] < 1.0:
            row |= {"best_val_acc": 1.0, "best_val_epoch": diverged}
    return row


@settings(max_examples=60)
@given(
    curves=st.lists(a_curve, min_size=4, max_size=4),
    target=st.integers(1, 5),
    diverged=st.none() | st.integers(1, 5),
)
def test_the_frame_is_what_plain_loops_over_the_rows_give(runs, attempt_of, row_of, curves, target, diverged):
    """Vectorised or not, the same numbers."""
    names = ("val_acc", "val_loss", "test_acc", "test_loss")
    rows = [
        [replace(row_of(run, epoch), **dict(zip(names, values, strict=True))) for epoch, values in curve.items()]
        for run, curve in zip(runs, curves, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, Ledger.create_or_open(Path(folder) / "ledger.sqlite") as ledger:
        ledger.plan(runs, target, data_name="cifar100", synthetic=False)
        divergences = {} if diverged is None else {runs[0].run_id: diverged}
        ledger.record([attempt_of(runs)], [row for of_run in rows for row in of_run], divergences)
        frame = runs_frame(ledger)
    for index, of_run in enumerate(rows):
        expected = plainly(of_run, target, diverged if index == 0 else None)
        found = {name: None if pd.isna(frame[name][index]) else frame[name][index] for name in expected}
        assert found == expected


def test_the_first_attempt_is_the_one_that_was_made_first_for_any_clocks(ledger, runs, attempt_of, row_of):
    """The second attempt ran on a machine whose clock is behind, or after the clock was set back."""
    pair = runs[:2]
    first = attempt_of(pair, "first", started=100.0)
    second = attempt_of(pair, "second", started=50.0, threads=4)
    third = attempt_of(pair, "athird", started=50.0)
    for epoch, attempts in enumerate(([first], [first, second], [second, third]), start=1):
        rows = [row_of(run, epoch, attempt_id=attempts[-1].attempt_id) for run in pair]
        ledger.record(attempts, rows, {})
        ledger.record(attempts, rows, {})
    frame = epochs_frame(ledger)
    assert list(frame["differs_in"].fillna("")) == ["", "threads", ""] * 2


def test_a_row_says_what_was_not_as_when_its_run_began(ledger, runs, attempt_of, row_of):
    """Equal conditions give no text; other threads, versions or packs are named."""
    pair = runs[:2]
    began = attempt_of(pair, "began", started=1.0)
    same = attempt_of(pair, "same", started=2.0, pid=7)
    other = attempt_of(pair, "other", started=3.0, threads=4, device="NVIDIA H200")
    alone = attempt_of(runs[:1], "alone", started=4.0, pack_id="pack-2")
    for epoch, attempt in enumerate((began, same, other), start=1):
        ledger.record([attempt], [row_of(run, epoch, attempt_id=attempt.attempt_id) for run in pair], {})
    frame = epochs_frame(ledger)
    assert list(frame["differs_in"].isna()) == [True, True, False] * 2
    assert set(frame["differs_in"].dropna()) == {"device, threads"}
    ledger.record([alone], [row_of(runs[0], epoch, attempt_id="alone") for epoch in (1, 2, 3)], {})
    frame = epochs_frame(ledger)
    assert list(frame[frame["run_id"] == runs[0].run_id]["differs_in"]) == ["pack"] * 3


@pytest.mark.parametrize(
    ("second", "third", "named"),
    [
        ({"torch": "2.15", "kernels": "compiled"}, {"torch": "2.16"}, ["", "kernels", "versions"]),
        ({"torch": "2.16", "kernels": "compiled"}, {"torch": "2.15"}, ["", "kernels, versions", ""]),
    ],
)
def test_a_row_names_other_kernels_apart_from_other_versions(
    ledger, runs, attempt_of, row_of, second, third, named
):  # fmt: skip
    pair = runs[:2]
    for epoch, versions in enumerate(({"torch": "2.15"}, second, third), start=1):
        attempt = replace(attempt_of(pair, f"attempt {epoch}", started=float(epoch)), versions=versions)
        ledger.record([attempt], [row_of(run, epoch, attempt_id=attempt.attempt_id) for run in pair], {})
    assert list(epochs_frame(ledger)["differs_in"].fillna("")) == named * 2


def test_kernels_of_a_gpu_count_where_both_attempts_recorded_them(ledger, runs, attempt_of, row_of):
    """Attempts of an earlier version on a GPU did not record their kernels."""
    ledger.plan(runs, 5, data_name="cifar100", synthetic=False)
    old = {"torch": "2.11"}
    grouped, products = (old | {"kernels": name} for name in ("grouped", "matrix products"))
    for first, named in ((grouped, ["", "kernels", "kernels, versions", ""]), (old, ["", "", "versions", ""])):
        run = runs[0] if first is grouped else runs[1]
        for epoch, versions in enumerate((first, products, products | {"torch": "2.12"}, old), start=1):
            attempt = attempt_of([run], f"{run.run_id} {epoch}", started=float(epoch))
            attempt = replace(attempt, device="NVIDIA H200", versions=versions)
            ledger.record([attempt], [row_of(run, epoch, attempt_id=attempt.attempt_id)], {})
        frame = epochs_frame(ledger)
        assert list(frame[frame["run_id"] == run.run_id]["differs_in"].fillna("")) == named
