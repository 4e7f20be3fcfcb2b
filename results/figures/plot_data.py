"""The tables that only figures need: mean curves, and the columns that one drawing takes from several tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.ledger.arrays import ConfigurationRuns, Floats, SweepData
from results.metrics.intervals import Estimate
from results.tables.table import Column, Row, Table, Value

MOST_CONFIGURATIONS = 12
MOST_PAIRS_OF_LINES = 6

ACCURACIES = ("train_acc", "val_acc", "test_acc")
QUANTITIES = {
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "test_loss": "Test loss",
    "train_acc": "Training accuracy",
    "val_acc": "Validation accuracy",
    "test_acc": "Test accuracy",
}
"""What a curve may show → the name of its axis."""


@dataclass(frozen=True)
class Picked:
    """The configurations that a figure shows, in the sweep's order, and what it says about those it does not."""

    configurations: tuple[ConfigurationRuns, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> frozenset[str]:
        """The labels of the configurations shown."""
        return frozenset(group.label for group in self.configurations)


def pick(sweep: SweepData, most: int = MOST_CONFIGURATIONS) -> Picked:
    """Pick at most ``most`` of the configurations that have a result.

    The best of each optimizer (its class and parameters without the learning rate) come first, then the others, both
    by mean final validation accuracy, a configuration without one last.
    """
    groups = sweep.counted
    if len(groups) <= most:
        return Picked(groups, ())
    finals = [_mean_final(group) for group in groups]
    ranked = sorted(range(len(groups)), key=lambda i: -finals[i])
    best_of: dict[str, int] = {}
    for i in ranked:
        best_of.setdefault(_optimizer(groups[i]), i)
    leaders = list(best_of.values())
    chosen = sorted(list(dict.fromkeys([*leaders, *ranked]))[:most])
    rule = (
        f"the best {most} among the best of each optimizer, by final validation accuracy"
        if len(leaders) > most
        else "the best of each optimizer, then by final validation accuracy"
    )
    return Picked(tuple(groups[i] for i in chosen), (f"{most} of {len(groups)} configurations shown: {rule}.",))


def curves_table(sweep: SweepData, quantity: str, most: int = MOST_CONFIGURATIONS) -> Table | None:
    """Return a quantity of :data:`QUANTITIES` by configuration and epoch: mean over seeds, lowest, highest, n.

    A diverged run counts as chance in accuracies and is left out of losses from the epoch in which it diverged on.
    None where no run has a value.
    """
    picked = pick(sweep, most)
    notes = list(picked.notes)
    rows: list[Row] = []
    for group in picked.configurations:
        mean, low, high, n = _over_seeds(_values(group, quantity))
        rows += _rows_by_epoch(group, {"value": mean, "low": low, "high": high}, n)
    if not any(row.values["n"] for row in rows):
        return None
    if any(group.counted.sum() > 1 for group in picked.configurations):
        notes.append("Line: mean over seeds. Band: lowest to highest seed.")
    diverged = sum(int(np.isfinite(group.diverged_epochs[group.counted]).sum()) for group in picked.configurations)
    if diverged:
        what = "count as chance" if quantity in ACCURACIES else "are left out"
        notes.append(f"Diverged runs ({diverged}) {what} from the epoch in which they diverged.")
    title = QUANTITIES[quantity]
    unit = "%" if quantity in ACCURACIES else ""
    return Table(
        quantity,
        f"{title} by epoch",
        [
            Column("configuration", "Configuration"),
            Column("epoch", "Epoch"),
            Column("value", title, unit, 3),
            Column("low", "Lowest seed", unit, 3),
            Column("high", "Highest seed", unit, 3),
            Column("n", "n"),
        ],
        rows,
        notes,
    )


def learning_rate_table(sweep: SweepData, most: int = MOST_CONFIGURATIONS) -> Table | None:
    """Return the learning rate that each configuration really used in each epoch.

    ``value`` is the mean over the epoch's steps and the seeds; ``low`` and ``high`` bound what the epoch began and
    ended with. None where no run has a value.
    """
    picked = pick(sweep, most)
    rows: list[Row] = []
    for group in picked.configurations:
        mean, _, _, n = _over_seeds(group.curves["lr"][group.counted])
        ends = np.concatenate([group.curves["lr_first"][group.counted], group.curves["lr_last"][group.counted]])
        _, low, high, _ = _over_seeds(ends)
        rows += _rows_by_epoch(group, {"value": mean, "low": low, "high": high}, n)
    if not any(row.values["n"] for row in rows):
        return None
    return Table(
        "learning_rate",
        "Learning rate by epoch",
        [
            Column("configuration", "Configuration"),
            Column("epoch", "Epoch"),
            Column("value", "Learning rate", decimals=6),
            Column("low", "Lowest at the epoch's ends", decimals=6),
            Column("high", "Highest at the epoch's ends", decimals=6),
            Column("n", "n"),
        ],
        rows,
        [*picked.notes, "Line: mean over the epoch's steps. Band: between its first and its last step."],
    )


def train_and_test_table(sweep: SweepData, most: int = MOST_PAIRS_OF_LINES) -> Table | None:
    """Return training beside test accuracy by epoch; beside validation accuracy where not every epoch was tested.

    Means over seeds in percent; ``held_out`` is the split named in its column's heading. None where nothing was
    measured.
    """
    picked = pick(sweep, most)
    test = [_values(group, "test_acc") for group in picked.configurations]
    whole = bool(test) and all(np.isfinite(values).any(axis=0).all() for values in test)
    held_out = "test_acc" if whole else "val_acc"
    rows: list[Row] = []
    for group in picked.configurations:
        columns = {"train": "train_acc", "validation": "val_acc", "test": "test_acc", "held_out": held_out}
        means = {key: _over_seeds(_values(group, quantity)) for key, quantity in columns.items()}
        rows += _rows_by_epoch(group, {key: mean for key, (mean, *_) in means.items()}, means["train"][3])
    if not any(row.values["n"] for row in rows):
        return None
    return Table(
        "train_and_test",
        "Training and held-out accuracy by epoch",
        [
            Column("configuration", "Configuration"),
            Column("epoch", "Epoch"),
            Column("train", "Training accuracy", "%"),
            Column("validation", "Validation accuracy", "%"),
            Column("test", "Test accuracy", "%"),
            Column("held_out", "test" if whole else "validation", "%"),
            Column("n", "n"),
        ],
        rows,
        [
            *picked.notes,
            "Means over seeds. Training accuracy is a mean over the epoch's batches, with augmentation and dropout.",
        ],
    )


def chosen_rows(table: Table | None, picked: Picked) -> Table | None:
    """Return the rows of the picked configurations; of the table's own notes only the one that names the target."""
    if table is None:
        return None
    rows = [row for row in table.rows if row.values.get("configuration") in picked.labels]
    notes = [*(note for note in table.notes if note.startswith("Target:")), *picked.notes]
    return Table(table.name, table.caption, table.columns, rows, notes) if rows else None


def by_accuracy(table: Table | None) -> Table | None:
    """Return the rows from the lowest to the highest ``final_val_acc``; those without one are left out."""
    if table is None:
        return None
    rows = [row for row in table.rows if _finite(row.values.get("final_val_acc"))]
    rows.sort(key=lambda row: _number(row.values["final_val_acc"]))
    notes = [note for note in table.notes if not note.startswith("Target:")]
    return Table(table.name, table.caption, table.columns, rows, notes) if rows else None


def by_epochs_to_target(table: Table | None, epochs: int) -> Table | None:
    """Return the rows from the last to the first to reach the target, with ``last_epoch`` beside it.

    None where no configuration has a target.
    """
    if table is None:
        return None
    told = [row for row in table.rows if row.values.get("epochs_to_target") is not None]
    if not told:
        return None
    times = {id(row): _epochs(row.values["epochs_to_target"]) for row in told}
    rows = [
        Row({**row.values, "epochs_to_target": times[id(row)], "last_epoch": epochs}, row.run_ids)
        for row in sorted(told, key=lambda row: -times[id(row)])
        if not math.isnan(times[id(row)])
    ]
    columns = [*table.columns, Column("last_epoch", "Epochs")]
    return Table(table.name, table.caption, columns, rows, table.notes) if rows else None


def stability_and_accuracy_table(stability: Table | None, convergence: Table | None) -> Table | None:
    """Join the standard deviation over seeds with the final accuracy; a configuration that lacks either is left out."""
    if stability is None or convergence is None:
        return None
    finals = {str(row.values["configuration"]): row for row in convergence.rows}
    rows = [
        Row({**row.values, "final_val_acc": finals[name].values.get("final_val_acc")}, row.run_ids)
        for row in stability.rows
        if (name := str(row.values["configuration"])) in finals
    ]
    rows = [row for row in rows if _finite(row.values.get("seed_sd")) and _finite(row.values.get("final_val_acc"))]
    columns = [
        Column("configuration", "Configuration"),
        Column("final_val_acc", "Final validation accuracy", "%"),
        Column("seed_sd", "SD over seeds", "pp"),
    ]
    return (
        Table("stability_and_accuracy", "Stability against accuracy", columns, rows, stability.notes) if rows else None
    )


def scheduler_cells(table: Table | None) -> Table | None:
    """Return the row with the best ``final_val_acc`` for every scheduler and optimizer."""
    return _best_of_each(table, ("optimizer", "scheduler"), ["Each cell is at its own best learning rate."])


def momentum_variants(table: Table | None) -> Table | None:
    """Return the best row for every momentum, dampening and Nesterov; all under one scheduler, if possible ``none``."""
    if table is None:
        return None
    schedulers = [row.values.get("scheduler") for row in table.rows]
    scheduler = "none" if "none" in schedulers else schedulers[0] if schedulers else None
    rows = [row for row in table.rows if row.values.get("scheduler") == scheduler]
    rates = {row.values.get("lr") for row in rows}
    notes = ["Each is at its own best learning rate."] if len(rates) > 1 else []
    if len(set(schedulers)) > 1:
        notes.append(f"Only configurations with scheduler {scheduler}.")
    under_one = Table(table.name, table.caption, table.columns, rows)
    return _best_of_each(under_one, ("momentum", "dampening", "nesterov"), notes)


def best_families(table: Table | None, most: int = MOST_CONFIGURATIONS) -> Table | None:
    """Return the rows of the ``most`` groups whose best learning rate is best, and a note on the others."""
    if table is None:
        return None
    best: dict[Value, float] = {}
    for row in table.rows:
        best[row.values["group"]] = max(
            best.get(row.values["group"], -math.inf), _number(row.values.get("final_val_acc"))
        )
    chosen = sorted(best, key=lambda name: -best[name])[:most]
    rows = [row for row in table.rows if row.values["group"] in chosen and _finite(row.values.get("final_val_acc"))]
    left_out = [f"{most} of {len(best)} configurations shown: those with the best accuracy at their best rate."]
    notes = left_out if len(best) > most else []
    return Table(table.name, table.caption, table.columns, rows, notes) if rows else None


def _best_of_each(table: Table | None, keys: Sequence[str], notes: Sequence[str]) -> Table | None:
    if table is None:
        return None
    best: dict[tuple[Value, ...], Row] = {}
    for row in table.rows:
        place = tuple(row.values.get(key) for key in keys)
        accuracy = _number(row.values.get("final_val_acc"))
        if place not in best or accuracy > _number(best[place].values.get("final_val_acc")):
            best[place] = row
    rows = list(best.values())
    if not any(_finite(row.values.get("final_val_acc")) for row in rows):
        return None
    return Table(table.name, table.caption, table.columns, rows, notes)


def _rows_by_epoch(group: ConfigurationRuns, numbers: dict[str, Floats], n: Floats) -> list[Row]:
    """Return a row an epoch, from 1, of ``numbers [E]``."""
    lists = {key: values.tolist() for key, values in numbers.items()}
    return [
        Row(
            {
                "configuration": group.label,
                "epoch": i + 1,
                **{key: values[i] for key, values in lists.items()},
                "n": int(count),
            },
            group.counted_ids,
        )
        for i, count in enumerate(n)
    ]


def _values(group: ConfigurationRuns, quantity: str) -> Floats:
    """Return ``[k, E]`` of the runs that count, NaN where nothing is known."""
    measured = group.curves[quantity][group.counted]
    epochs = np.arange(1, measured.shape[1] + 1)
    diverged = epochs >= group.diverged_epochs[group.counted][:, None]  # False where NaN
    if quantity not in ACCURACIES:
        return np.where(diverged, math.nan, measured)
    # Chance stands only where its epoch was measured: test accuracies may exist for the last epoch alone.
    told = (np.isfinite(measured) & ~diverged).any(axis=0) | diverged.all(axis=0)
    return np.where(told, group.accuracy(quantity.removesuffix("_acc")), math.nan)


def _over_seeds(values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, lowest, highest and n ``[E]`` of ``values [k, E]``, NaN apart; quiet where there are none."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.divide(total, n, out=np.full(values.shape[1], math.nan), where=n > 0)
    low = np.where(known, values, math.inf).min(axis=0, initial=math.inf)
    high = np.where(known, values, -math.inf).max(axis=0, initial=-math.inf)
    nothing = n == 0
    return mean, np.where(nothing, math.nan, low), np.where(nothing, math.nan, high), n.astype(np.float64)


def _mean_final(group: ConfigurationRuns) -> float:
    known = group.final[np.isfinite(group.final)]
    return float(known.mean()) if len(known) else -math.inf


def _optimizer(group: ConfigurationRuns) -> str:
    parts = {key: value for key, value in group.columns.items() if key.partition(".")[0] == "optimizer"}
    parts.pop("optimizer.lr", None)
    return json.dumps(parts, sort_keys=True, default=str)


def _number(value: Value) -> float:
    """Return a cell as a number that sorts: what is not known lies below everything."""
    number = value.value if isinstance(value, Estimate) else value
    return float(number) if isinstance(number, int | float) and not math.isnan(number) else -math.inf


def _epochs(value: Value) -> float:
    """Return epochs to the target as a number; a miss, which may be written ``> E``, is ∞."""
    return math.inf if isinstance(value, str) else _plain(value)


def _plain(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _finite(value: Value) -> bool:
    return math.isfinite(_number(value))
