"""The ledger as tidy data frames: one row per run, or one row per run and epoch.

Both have the planned runs only, each up to its target epoch; other runs in the ledger are omitted. Of a benchmark, the
runs of the tuning are a second pair of frames. Every column has one type; accuracies are in percent; missing values are
NA or NaN. Rows are in the order of planning: configuration, seed, epoch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.ledger.data_facts import kept_facts
from results.ledger.ledger import Ledger, QueryResult
from results.ledger.schema import KERNELS
from search_spaces.canonical import canonical_json
from search_spaces.configuration import Configuration

CONFIGURATION_GROUPS = ("optimizer", "scheduler", "warmup")
"""Order of the configuration's columns; each is followed by its dotted columns."""

PLANNED = "SELECT run_id FROM runs WHERE planned"
OF_TUNING = "SELECT run_id FROM phases WHERE phase = 'tuning'"

RUNS = """
    SELECT run_id, configuration, configuration_id, seed, status, target_epochs,
           CASE WHEN diverged_epoch <= target_epochs THEN diverged_epoch END AS diverged_epoch,
           CASE status WHEN 'failed' THEN error END AS error, data_name AS data, synthetic
    FROM run_statuses WHERE run_id IN ({}) ORDER BY ordinal, seed, run_id
"""

EPOCHS = """
    SELECT e.run_id, r.seed, e.epoch, e.train_loss, e.train_acc, e.val_loss, e.val_acc, e.test_loss, e.test_acc,
           e.lr, e.lr_first, e.lr_last, e.epoch_seconds, e.pack_size, e.attempt_id, a.device, a.threads
    FROM runs r JOIN epochs e ON e.run_id = r.run_id AND e.epoch <= r.target_epochs JOIN attempts a USING (attempt_id)
    WHERE r.run_id IN ({}) ORDER BY r.ordinal, r.seed, r.run_id, e.epoch
"""

ATTEMPTS = """
    SELECT a.attempt_id, a.device, a.threads, a.versions, a.members, COALESCE(p.begun, 1) = 2 AS alone
    FROM attempts a LEFT JOIN packs p USING (pack_id) ORDER BY a.started, a.attempt_id
"""

CONDITIONS = ("device", "threads", "versions", "members")
"""Conditions that must be equal for equal bits; the kernels are a part of the column ``versions``."""

EPOCH_COLUMNS = (
    "run_id", "seed", "epoch", "train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc",
    "lr", "lr_first", "lr_last", "epoch_seconds", "pack_size", "differs_in",
)  # fmt: skip

TYPES = (
    dict.fromkeys(("run_id", "configuration_id", "status", "error", "data", "device"), "string")
    | dict.fromkeys(("seed", "epoch", "target_epochs", "pack_size", "threads"), "int64")
    | dict.fromkeys(EPOCH_COLUMNS[3:-2], "float64")
    | {"diverged_epoch": "Int64", "synthetic": "bool"}
)
"""Column of a query → its type, so that no type depends on the values."""


def runs_frame(ledger: Ledger, which: str = PLANNED) -> pd.DataFrame:
    """Return one row per planned run; with :data:`OF_TUNING`, those of the tuning of a benchmark.

    ``final_*`` are those of the target epoch; only done and diverged runs have them. A diverged run counts as in the
    tables: its accuracies are chance from the epoch of its divergence on, and its losses are missing.
    ``best_val_epoch`` is the first epoch with ``best_val_acc``; ``test_*`` are those of the last tested epoch;
    ``train_seconds`` is the sum of ``epoch_seconds``, the pack's wall time; ``pack_size``, ``device`` and ``threads``
    are those of the last attempt.
    """
    runs, epochs = _typed(ledger.read(RUNS.format(which), EPOCHS.format(which)))
    chance = kept_facts(ledger).chance
    epochs = _with_chance(runs, epochs, chance)
    ids = runs["run_id"]
    targets = epochs["run_id"].map(pd.Series(runs["target_epochs"].to_numpy(), index=ids))
    finals = _one_a_run(epochs[epochs["epoch"] == targets], ids)
    bests = epochs.dropna(subset="val_acc").sort_values("val_acc", ascending=False, kind="stable")
    best = _one_a_run(bests.drop_duplicates("run_id"), ids)
    tested = epochs.dropna(subset=["test_acc", "test_loss"], how="all")
    test = _one_a_run(tested.drop_duplicates("run_id", keep="last"), ids)
    last = _one_a_run(epochs.drop_duplicates("run_id", keep="last"), ids)
    by_run = epochs.groupby("run_id")
    ended = runs["status"].isin(["done", "diverged"])
    lost = (runs["status"] == "diverged") & runs["diverged_epoch"].notna()
    first_lost = runs["diverged_epoch"].where(lost)
    never_better = lost & ~(best["val_acc"] >= chance)
    best_val_acc = best["val_acc"].mask(never_better, chance)
    best_val_epoch = best["epoch"].astype("Int64").mask(never_better, first_lost)
    return pd.concat(
        [
            ids,
            _configuration_columns(runs["configuration"]),
            runs[["configuration_id", "seed", "status"]],
            by_run.size().reindex(ids, fill_value=0).reset_index(drop=True).astype("int64").rename("epochs"),
            runs["target_epochs"],
            finals["val_acc"].where(ended).mask(lost, chance).rename("final_val_acc"),
            finals["val_loss"].where(ended & ~lost).rename("final_val_loss"),
            best_val_acc.rename("best_val_acc"),
            best_val_epoch.rename("best_val_epoch"),
            test["test_acc"].mask(lost, chance),
            test["test_loss"].mask(lost),
            by_run["epoch_seconds"].sum().reindex(ids).reset_index(drop=True).rename("train_seconds"),
            runs[["diverged_epoch", "error", "data", "synthetic"]],
            last[["pack_size", "device", "threads"]].astype({"pack_size": "Int64", "threads": "Int64"}),
        ],
        axis="columns",
    )


def _with_chance(runs: pd.DataFrame, epochs: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Return ``epochs`` with the accuracies of diverged runs at chance from the epoch of their divergence on."""
    since = runs["diverged_epoch"].where(runs["status"] == "diverged").astype("float64")
    first = epochs["run_id"].map(pd.Series(since.to_numpy(), index=runs["run_id"])).astype("float64")
    lost = epochs["epoch"] >= first
    epochs = epochs.copy()
    epochs.loc[lost, "val_acc"] = chance
    return epochs


def epochs_frame(ledger: Ledger, which: str = PLANNED) -> pd.DataFrame:
    """Return one row per run and epoch: ``EPOCH_COLUMNS``, the configuration's columns, ``data`` and ``synthetic``.

    The runs are the planned ones; with :data:`OF_TUNING`, those of the tuning of a benchmark.

    ``differs_in`` lists the conditions that differ from those of the run's first attempt: device, threads, kernels,
    versions, pack. If it is empty in all rows, the numbers are bit-identical to those of an uninterrupted training.
    """
    runs, epochs, attempts = _typed(ledger.read(RUNS.format(which), EPOCHS.format(which), ATTEMPTS))
    epochs["differs_in"] = _differences(epochs, attempts)
    of_run = pd.concat([_configuration_columns(runs["configuration"]), runs[["data", "synthetic"]]], axis="columns")
    row_of_run = pd.Index(runs["run_id"]).get_indexer(epochs["run_id"])
    return pd.concat(
        [epochs[list(EPOCH_COLUMNS)], of_run.take(row_of_run).reset_index(drop=True)],
        axis="columns",
    )


def _differences(epochs: pd.DataFrame, attempts: pd.DataFrame) -> pd.Series:
    """Return for every row the conditions in which its attempt differs from the run's first attempt."""
    by_id = {attempt.attempt_id: attempt for attempt in attempts.itertuples(index=False)}
    first: dict[str, Any] = {}
    for attempt in by_id.values():
        for run_id in json.loads(str(attempt.members)):
            first.setdefault(run_id, attempt)
    differences: dict[tuple[str, str], str | None] = {}
    for run_id, attempt_id in dict.fromkeys(zip(epochs["run_id"], epochs["attempt_id"], strict=True)):
        now = by_id[attempt_id]
        then = first.get(run_id, now)
        differ = [name for name in CONDITIONS if getattr(now, name) != getattr(then, name)]
        if now.alone and "members" not in differ:
            differ.append("members")
        if "versions" in differ:
            place = differ.index("versions")
            differ[place : place + 1] = _versions_that_differ(now, then)
        named = ", ".join("pack" if name == "members" else name for name in differ)
        differences[run_id, attempt_id] = named or None
    pairs = zip(epochs["run_id"], epochs["attempt_id"], strict=True)
    return pd.Series([differences[pair] for pair in pairs], index=epochs.index, dtype="string")


def _versions_that_differ(now: Any, then: Any) -> list[str]:
    """Return whether the kernels, the versions or both differ between two attempts."""
    ours, theirs = json.loads(str(now.versions)), json.loads(str(then.versions))
    kernels = [_pop_kernels(versions, attempt.device) for versions, attempt in ((ours, now), (theirs, then))]
    others = None not in kernels and kernels[0] != kernels[1]
    return ["kernels"] * others + ["versions"] * (ours != theirs)


def _pop_kernels(versions: dict[str, str], device: str) -> str | None:
    """Take the kernels out of ``versions``; None: not recorded, as on a GPU by an earlier version."""
    return versions.pop(KERNELS, "torch" if device == "cpu" else None)


def _typed(results: Sequence[QueryResult]) -> list[pd.DataFrame]:
    frames = [pd.DataFrame(result.rows, columns=result.columns) for result in results]
    return [frame.astype({name: TYPES[name] for name in frame.columns if name in TYPES}) for frame in frames]


def _one_a_run(epochs: pd.DataFrame, ids: pd.Series) -> pd.DataFrame:
    """Return the row of each run in ``ids``, in their order, with missing values for a run without a row."""
    return epochs.set_index("run_id").reindex(ids).reset_index(drop=True)


def _configuration_columns(configurations: pd.Series) -> pd.DataFrame:
    """Return one column per key of any configuration; ``configurations`` is their JSON, one per run."""
    rows = [Configuration.from_dict(json.loads(text)).columns() for text in configurations]
    names = dict.fromkeys(name for row in ({}.fromkeys(CONFIGURATION_GROUPS), *rows) for name in row)
    ordered = sorted(names, key=lambda name: CONFIGURATION_GROUPS.index(name.partition(".")[0]))
    return pd.DataFrame(
        {name: _one_type([row.get(name) for row in rows]) for name in ordered}, index=configurations.index
    )


def _one_type(values: list[Any]) -> pd.Series:
    """Return a parameter's values as one column of one type; lists and mixed types as JSON text."""
    kinds = {type(value) for value in values if value is not None}
    for kind, dtype in ((str, "string"), (bool, "boolean"), (int, "Int64")):
        if kinds == {kind}:
            return pd.Series(values, dtype=dtype)
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series([None if value is None else canonical_json(value) for value in values], dtype="string")
